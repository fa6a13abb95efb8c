"""Is this machine ready for the lab? Looks at what has to work, by doing it."""

from __future__ import annotations

import html
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from labkit.errors import LabError

_OLDEST = (3, 11)
_PACKAGES = ("cryptography", "python-pkcs11", "pyopenssl", "azure-iot-device", "jupyterlab")


@dataclass(frozen=True, slots=True)
class Finding:
    """``name`` is what has to hold, ``detail`` what was seen here, ``cure`` what to do if not."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


class Diagnosis:
    """What was found. In a notebook it shows what holds, not the details of this machine."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def verdict(self) -> str:
        if self.ok:
            return "Everything is there. You can start."
        return "Something is missing: see the lines marked ✗."

    def details(self) -> str:
        """With versions and places, for a report of a problem."""
        lines = [f"{_mark(f)} {f.name}: {f.detail}{_cure(f)}" for f in self.findings]
        return "\n".join([*lines, self.verdict])

    def __str__(self) -> str:
        return "\n".join([*(f"{_mark(f)} {f.name}{_cure(f)}" for f in self.findings), self.verdict])

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        rows = "".join(
            f"<li>{_mark(f)} {html.escape(f.name)}<b>{html.escape(_cure(f))}</b></li>"
            for f in self.findings
        )
        listing = f'<ul style="list-style:none;padding-left:0">{rows}</ul>'
        return {"text/plain": str(self), "text/html": f"{listing}<p><b>{self.verdict}</b></p>"}


def examine() -> Diagnosis:
    """Looks at everything; one failure hides no other."""
    questions = (
        ("Python is 3.11 or newer", _python),
        ("The lab's packages are installed", _packages),
        ("SoftHSM is installed", _softhsm),
        ("A key can be made in a token and signs there", _token),
        ("Port 8883 is free on a loopback address", _port),
        ("Workspaces can be written", _home),
    )
    return Diagnosis([_ask(name, look) for name, look in questions])


def _ask(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except LabError as error:
        found = " ".join(part for part in (error.message, error.found) if part)
        return Finding(name, False, found, error.cure)
    except Exception as error:  # a doctor that falls over its patient helps nobody
        return Finding(name, False, f"{type(error).__name__}: {error}", "run ./lab setup again")


def _python() -> str:
    found = platform.python_version()
    if sys.version_info < _OLDEST:
        raise LabError(
            "too old", found=found, cure="install Python 3.11 or newer, then ./lab setup"
        )
    return f"{found} at {sys.executable}"


def _packages() -> str:
    try:
        return ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    except PackageNotFoundError as error:
        raise LabError(f"{error.name} is missing", cure="run ./lab setup") from error


def _softhsm() -> str:
    from labkit.hsm.library import find_module

    return str(find_module())


def _token() -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from labkit.hsm import TokenEcKey, TokenStore

    with tempfile.TemporaryDirectory(prefix="labkit-doctor-") as directory:
        store = TokenStore(Path(directory) / "hsm")
        try:
            key = store.token("doctor").generate_key("test")
            assert isinstance(key, TokenEcKey)
            algorithm = ec.ECDSA(hashes.SHA256())
            key.public_key().verify(key.sign(b"test", algorithm), b"test", algorithm)
        finally:
            store.close()
    return "a P-256 key signed, and its signature verifies"


def _port() -> str:
    from labkit.wire import sockets

    host, bound = sockets.free_loopback(sockets.MQTT_PORT)
    bound.close()
    return f"free on {host}"


def _home() -> str:
    from labkit.workspace import home

    place = home()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise LabError(
            f"{place} cannot be written",
            found=str(error),
            cure="set LABKIT_HOME to a folder of yours",
        ) from error
    return str(place)


def _mark(finding: Finding) -> str:
    return "✓" if finding.ok else "✗"


def _cure(finding: Finding) -> str:
    return "" if finding.ok else f" → {finding.detail}. {finding.cure}"
