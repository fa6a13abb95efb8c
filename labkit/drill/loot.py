"""What can be taken from a device by somebody who reads its flash, and what cannot.

certificates    always: a device shows them to whoever it speaks with
what it learned its hub and its ID there
its key         only where that lies in a file; a token does not give it out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from labkit.device import Device
from labkit.device.flash import Flash, folder_of
from labkit.errors import NotFound, TokenError
from labkit.files import write_whole
from labkit.hsm import KeyFolder, TokenKey, theft
from labkit.pki import chain
from labkit.trace import Check, failed, passed

CERTIFICATES: Final = "certificates lie in the flash"
KEY_FILE: Final = "the private key lies in a file of the flash"
GIVES_OUT: Final = "the token gives the private key out"
OPENS: Final = "a copy of the token's files opens"
GUESS: Final = "1234"
"""The PIN that is tried on the copy."""

_OWN: Final = "own"
"""The label of the key that an attacker makes who could not take the device's."""
_LARGEST: Final = 1 << 20
_MARKS: Final = {True: "✓", False: "✗"}


@dataclass(frozen=True, slots=True)
class Loot:
    """What ``attacker`` has of ``device``. ``chain`` is its own certificate first; ``account``
    tells what was tried, in order: a check that failed is a theft that did."""

    attacker: str
    device: str
    chain: tuple[x509.Certificate, ...]
    has_key: bool
    account: tuple[Check, ...]

    def __str__(self) -> str:
        told = "its private key" if self.has_key else "no key: that stays where it was born"
        head = f"{self.attacker} has the certificates of {self.device}, and {told}."
        return "\n".join([head, *(_line(check) for check in self.account)])

    __repr__ = __str__


def _line(check: Check) -> str:
    return f"  {_MARKS[check.passed]} {check.name}: {check.why}"


class Bag:
    """The copies that an attacker has, below ``directory``: a folder for each device, a flash in
    all its parts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def flash(self, device: str) -> Flash:
        """The copy of a device's flash."""
        return Flash(self._directory, device)

    def holds(self, device: str) -> bool:
        """Whether anything was taken from this device."""
        return folder_of(self._directory, device).exists()

    def devices(self) -> list[str]:
        """Whose copies there are, by the names of their certificates, sorted."""
        if not self._directory.exists():
            return []
        flashes = (Flash(self._directory, folder.name) for folder in self._directory.iterdir())
        return sorted(chain.common_name(flash.chain[0]) for flash in flashes if flash.chain)

    def has_key(self, device: str) -> bool:
        """Whether the key of the certificate is among the copies."""
        return self._stolen(device) is not None

    def key(self, device: str) -> TokenKey:
        """The stolen key; without one, a key of their own, which is not that of the certificate."""
        return self._stolen(device) or self._folder(device).ensure_key(_OWN)

    def fill(self, device: str, flash: Path) -> None:
        """Copies each file of ``flash``, in place of what was copied before. Where the key was
        among that, and is not now, the earlier copies stay: what is stolen is stolen."""
        if self.holds(device) and self.has_key(device) and not KeyFolder(flash).key_labels:
            return
        target = folder_of(self._directory, device)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for file in flash.iterdir():
            with suppress(FileNotFoundError):  # the device writes meanwhile
                if file.is_file() and file.stat().st_size <= _LARGEST:
                    write_whole(target / file.name, file.read_bytes())

    def _folder(self, device: str) -> KeyFolder:
        return KeyFolder(folder_of(self._directory, device))

    def _stolen(self, device: str) -> TokenKey | None:
        wanted, folder = self.flash(device).chain[0].public_key(), self._folder(device)
        keys = (folder.key(label) for label in folder.key_labels)
        return next((key for key in keys if key.public_key() == wanted), None)


def account(device: Device, flash: Path, workspace: Path) -> Iterator[Check]:
    """What a thief tries, one thing after the other, until they have the key."""
    found = Flash(flash.parent, device.name).chain
    yield passed(CERTIFICATES, device.name, f"{len(found)}: {chain.names(found)}")
    labels = KeyFolder(flash).key_labels
    if labels:
        yield passed(KEY_FILE, device.name, "not encrypted, so reading it is having it")
        return
    yield failed(KEY_FILE, device.name, "no file there holds one")
    yield _tried(GIVES_OUT, device.name, lambda: theft.take_out(device.key))
    thief = theft.Thief(workspace)
    yield _tried(OPENS, device.name, lambda: thief.log_in(device.key.token.label, GUESS))


def _tried(name: str, about: str, attempt: Callable[[], object]) -> Check:
    try:
        attempt()
    except (TokenError, NotFound) as error:
        return failed(name, about, error.found)
    return passed(name, about, "it does")
