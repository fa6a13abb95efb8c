"""The papers of a lesson: what people hand to one another as files, and openssl to look into them.

Public things only: requests, certificates, public keys, texts and signatures.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.errors import LabError
from labkit.lab import Lab
from labkit.pki import chain

Paper: TypeAlias = (
    bytes
    | str
    | x509.Certificate
    | Sequence[x509.Certificate]
    | x509.CertificateSigningRequest
    | ec.EllipticCurvePublicKey
    | rsa.RSAPublicKey
)

_SECONDS = 30
_LENGTH = re.compile(r" \[length [0-9a-f]+\]")  # of a message of TLS: that of a signature varies
_TRACE = re.compile(r"^[0-9A-F]+:error:", re.MULTILINE)  # the number is that of a thread


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool said. A cell shows it as it is."""

    text: str

    def only(self, *words: str) -> Said:
        """The lines that hold one of these words, without what differs from run to run."""
        lines = (line for line in self.text.splitlines() if any(word in line for word in words))
        return Said("\n".join(_LENGTH.sub("", line) for line in lines))

    def __repr__(self) -> str:
        return self.text


class Papers:
    """A folder in the lab's own; ``folder`` is its path."""

    def __init__(self, lab: Lab) -> None:
        self.folder = lab.path / "papers"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def __repr__(self) -> str:
        names = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        return f"<Papers: {names or 'none yet'}>"

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: Paper) -> Path:
        """A file of this name: certificates, requests and public keys as PEM, all else as it is."""
        (self / name).write_bytes(_as_bytes(content))
        return self / name

    def openssl(self, command: str) -> Said:
        """Runs openssl in the folder: what it says, to be shown.

        Raises LabError where it says nothing but that it failed, and where there is no openssl on
        this machine.
        """
        try:
            done = subprocess.run(
                ["openssl", *shlex.split(command)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
            )
        except FileNotFoundError as error:
            raise LabError(
                "openssl is not installed on this machine",
                cure="install it (Debian, Ubuntu: apt-get install openssl), or skip this cell",
            ) from error
        if done.returncode and not done.stdout:
            raise LabError(f"openssl {command} failed", found=_TRACE.sub("error:", done.stderr))
        return Said("\n".join(line.rstrip() for line in done.stdout.splitlines()))


def _as_bytes(content: Paper) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, x509.CertificateSigningRequest):
        return content.public_bytes(Encoding.PEM)
    if isinstance(content, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return content.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    several = [content] if isinstance(content, x509.Certificate) else content
    return chain.to_pem(several).encode()
