"""A device's flash memory: a folder with its certificate chains, its trust store, and what it
learned. No key, unless the device was made with the mistake of keeping that in a file.

    slot a   chain.pem      ┐ one of the two is in use: state.json says which, so that a new chain
    slot b   chain-b.pem    ┘ takes the place of the old one in one step, and the old one stays

and two more, operational.pem and operational-b.pem, for what a service issues to it.

A device may lose power at any time, so each file is replaced whole.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509

from labkit.files import write_whole
from labkit.hsm.key_folder import SUFFIX
from labkit.pki import chain, reading


def folder_of(directory: Path, device: str) -> Path:
    """The folder, below ``directory``, that is a device's flash."""
    return directory / quote(device, safe="")


class Slots:
    """Two places for a chain, PEM, the device's own certificate first: ``files``. Which of them is
    in use is remembered in ``flash``, under the name ``key``."""

    def __init__(self, flash: Flash, files: tuple[Path, Path], key: str) -> None:
        self._flash, self._key = flash, key
        self._files = dict(zip("ab", files, strict=True))
        self._read: dict[Path, tuple[tuple[int, int], list[x509.Certificate]]] = {}

    @property
    def file(self) -> Path:
        """The one that is in use."""
        return self._files[self._in_use]

    @property
    def chain(self) -> list[x509.Certificate]:
        """What is in use; empty while nothing is installed."""
        return self._certificates(self.file)

    @property
    def reserve(self) -> list[x509.Certificate]:
        """What is in the other slot; empty while nothing is."""
        return self._certificates(self._files[self._other])

    def install(self, certificates: Sequence[x509.Certificate]) -> None:
        """Replaces what is in use."""
        write_whole(self.file, chain.to_pem(certificates))

    def install_beside(self, certificates: Sequence[x509.Certificate], **learned: Any) -> None:
        """Into the other slot, which is in use when this returns; what was in use is in reserve.
        What was ``learned`` with it is remembered in the same step."""
        write_whole(self._files[self._other], chain.to_pem(certificates))
        self.switch(**learned)

    def switch(self, **learned: Any) -> None:
        """The slots change their parts."""
        self._flash.learn(**{self._key: self._other}, **learned)

    def clear_reserve(self) -> None:
        self._files[self._other].unlink(missing_ok=True)

    def clear(self) -> None:
        """Forgets what is in use and what is in reserve."""
        for file in self._files.values():
            file.unlink(missing_ok=True)

    @property
    def _in_use(self) -> str:
        return str(self._flash.state.get(self._key, "a"))

    @property
    def _other(self) -> str:
        return "b" if self._in_use == "a" else "a"

    def _certificates(self, path: Path) -> list[x509.Certificate]:
        try:
            found = path.stat()
        except FileNotFoundError:
            return []
        edition = found.st_mtime_ns, found.st_ino  # each install makes a new file
        if path not in self._read or self._read[path][0] != edition:
            self._read[path] = edition, reading.read_certificates(path.read_bytes())
        return list(self._read[path][1])


class Flash:
    """The chains of its identity; ``operational`` are those that a service has issued to it."""

    def __init__(self, directory: Path, device: str) -> None:
        self._directory = folder_of(directory, device)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._identity = self._two("chain", "slot")
        self.operational = self._two("operational", "operational_slot")
        self._roots_file = self._directory / "server-roots.pem"
        self._update_keys_file = self._directory / "update-keys.pem"
        self._state_file = self._directory / "state.json"
        self._changing = threading.Lock()

    def _two(self, name: str, key: str) -> Slots:
        files = (self._directory / f"{name}.pem", self._directory / f"{name}-b.pem")
        return Slots(self, files, key)

    # ---- what it was made with, or has got since: its identity

    @property
    def chain_file(self) -> Path:
        """What the device sends in TLS."""
        return self._identity.file

    @property
    def chain(self) -> list[x509.Certificate]:
        """What is in use; empty while nothing is installed."""
        return self._identity.chain

    @property
    def reserve(self) -> list[x509.Certificate]:
        """What is in the other slot; empty while nothing is."""
        return self._identity.reserve

    def install(self, certificates: Sequence[x509.Certificate]) -> None:
        """Replaces what is in use."""
        self._identity.install(certificates)

    def install_beside(self, certificates: Sequence[x509.Certificate], **learned: Any) -> None:
        """Into the other slot, which is in use when this returns; what was in use is in reserve.
        What was ``learned`` with it is remembered in the same step."""
        self._identity.install_beside(certificates, **learned)

    def switch(self) -> None:
        """The slots change their parts."""
        self._identity.switch()

    def clear_reserve(self) -> None:
        self._identity.clear_reserve()

    @property
    def holds_a_key(self) -> bool:
        """Whether a private key lies in it, where it does not belong."""
        return any(self._directory.glob(f"*{SUFFIX}"))

    # ---- whom it trusts

    @property
    def roots(self) -> str:
        """The trust store, in PEM; empty while none was installed."""
        return self._roots_file.read_text() if self._roots_file.exists() else ""

    def install_roots(self, certificates: Sequence[x509.Certificate]) -> None:
        write_whole(self._roots_file, chain.to_pem(certificates))

    @property
    def update_keys(self) -> bytes:
        """The public keys that updates may be signed with, in PEM; empty while there are none."""
        return self._update_keys_file.read_bytes() if self._update_keys_file.exists() else b""

    def install_update_keys(self, pem: bytes) -> None:
        write_whole(self._update_keys_file, pem)

    # ---- what it learned

    @property
    def state(self) -> dict[str, Any]:
        if not self._state_file.exists():
            return {}
        found: dict[str, Any] = json.loads(self._state_file.read_text())
        return found

    def learn(self, **learned: Any) -> None:
        """Remembers this beside what it knows. The SDK's threads may do so, too."""
        with self._changing:
            write_whole(self._state_file, json.dumps({**self.state, **learned}))
