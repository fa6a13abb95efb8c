"""A device's flash memory: a folder with its certificate chain, its trust store, and what it
learned. No key, unless the device was made with the mistake of keeping that in a file.

A device may lose power at any time, so each file is replaced whole.
"""

from __future__ import annotations

import json
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


class Flash:
    """``chain_file`` is what the device sends in TLS: PEM, its own certificate first."""

    def __init__(self, directory: Path, device: str) -> None:
        self._directory = folder_of(directory, device)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.chain_file = self._directory / "chain.pem"
        self._roots_file = self._directory / "server-roots.pem"
        self._state_file = self._directory / "state.json"
        self._edition = (0, 0)
        self._chain: list[x509.Certificate] = []

    @property
    def chain(self) -> list[x509.Certificate]:
        """Empty while nothing is installed."""
        try:
            found = self.chain_file.stat()
        except FileNotFoundError:
            return []
        edition = found.st_mtime_ns, found.st_ino  # each install makes a new file
        if edition != self._edition:
            self._chain = reading.read_certificates(self.chain_file.read_bytes())
            self._edition = edition
        return list(self._chain)

    def install(self, certificates: Sequence[x509.Certificate]) -> None:
        write_whole(self.chain_file, chain.to_pem(certificates))

    @property
    def holds_a_key(self) -> bool:
        """Whether a private key lies in it, where it does not belong."""
        return any(self._directory.glob(f"*{SUFFIX}"))

    @property
    def roots(self) -> str:
        """The trust store, in PEM; empty while none was installed."""
        return self._roots_file.read_text() if self._roots_file.exists() else ""

    def install_roots(self, certificates: Sequence[x509.Certificate]) -> None:
        write_whole(self._roots_file, chain.to_pem(certificates))

    @property
    def state(self) -> dict[str, Any]:
        if not self._state_file.exists():
            return {}
        found: dict[str, Any] = json.loads(self._state_file.read_text())
        return found

    def remember(self, state: dict[str, Any]) -> None:
        write_whole(self._state_file, json.dumps(state))
