"""Oracles that others wrote: openssl, softhsm2-util, pkcs11-tool."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from labkit.hsm.library import find_module
from labkit.pki import chain


def run(
    *command: str | Path, env: dict[str, str] | None = None, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs a tool to its end; the test is skipped where the machine lacks it."""
    program = str(command[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run(
        [str(part) for part in command],
        input=data,
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, **(env or {})},
    )


def openssl(*arguments: str | Path, data: bytes = b"") -> str:
    """What openssl says, on either stream. Fails when openssl fails."""
    result = run("openssl", *arguments, data=data)
    text = (result.stdout + result.stderr).decode(errors="replace")
    assert result.returncode == 0, text
    return text


def openssl_verify(
    directory: Path,
    presented: Sequence[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    at: datetime,
) -> str:
    """Empty where ``openssl verify`` takes the chain as a TLS client's, else its complaint."""
    files = {
        "leaf.pem": presented[:1],
        "rest.pem": presented[1:],
        "anchors.pem": list(anchors),
    }
    for name, certificates in files.items():
        (directory / name).write_text(chain.to_pem(certificates))
    command: list[str | Path] = ["openssl", "verify", "-purpose", "sslclient", "-partial_chain"]
    command += ["-no-CApath", "-no-CAstore", "-attime", str(int(at.timestamp()))]
    command += ["-CAfile", directory / "anchors.pem"] if files["anchors.pem"] else ["-no-CAfile"]
    command += ["-untrusted", directory / "rest.pem"] if files["rest.pem"] else []
    result = run(*command, directory / "leaf.pem")
    return "" if result.returncode == 0 else result.stderr.decode()


def pkcs11_tool(configuration: Path, label: str, pin: str, *arguments: str) -> str:
    """What OpenSC's pkcs11-tool says of one token, logged in as its user."""
    result = run(
        "pkcs11-tool",
        "--module",
        find_module(),
        "--token-label",
        label,
        "--login",
        "--pin",
        pin,
        *arguments,
        env={"SOFTHSM2_CONF": str(configuration)},
    )
    return (result.stdout + result.stderr).decode()


def token_labels(configuration: Path) -> list[str]:
    """The labels of the initialised tokens that softhsm2-util sees, sorted."""
    shown = run("softhsm2-util", "--show-slots", env={"SOFTHSM2_CONF": str(configuration)})
    lines = shown.stdout.decode().splitlines()
    labels = (line.split(":", 1)[1].strip() for line in lines if "Label:" in line)
    return sorted(label for label in labels if label)
