"""Keys in files: what most devices have instead of a token, and the mistake of one lesson.

A :class:`KeyFolder` plays the part of a token for one device, so that all the rest of the device
is as it is with a token. It protects nothing: there is no PIN, and whoever can read the file has a
copy of the key, which nobody misses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from labkit.errors import Conflict, NotFound, TokenError
from labkit.files import write_whole
from labkit.hsm.keys import Algorithm, TokenEcKey, TokenKey, TokenRsaKey
from labkit.hsm.tokens import Token

SUFFIX: Final = ".key.pem"
"""What the name of a file with a key ends in; before it stands the key's label."""

_ATTRIBUTES: Final = {
    "SENSITIVE": False,
    "EXTRACTABLE": True,
    "ALWAYS_SENSITIVE": False,
    "NEVER_EXTRACTABLE": False,
    "LOCAL": True,
}
_PUBLIC_EXPONENT: Final = 65537


class _InFile:
    """What both kinds of key share: a file, and nothing that keeps anybody from reading it."""

    file: Path
    """Where it lies, in PEM (PKCS#8), not encrypted."""
    label: str
    _private: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label!r} in a file>"

    @property
    def attributes(self) -> dict[str, bool]:
        """What a token would say of such a key: it can be read, and could be all the time."""
        return dict(_ATTRIBUTES)

    def private_numbers(self) -> Any:
        return self._private.private_numbers()

    def private_bytes(self, *form: Any, **forms: Any) -> Any:
        return self._private.private_bytes(*form, **forms)


class FileEcKey(_InFile, TokenEcKey):
    """An EC private key in a file."""

    def __init__(self, folder: KeyFolder, label: str, file: Path, private: Any) -> None:
        self.token, self.label, self.file, self._private = folder, label, file, private
        self._public = private.public_key()

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The DER signature of ``data``."""
        signature: bytes = self._private.sign(data, signature_algorithm)
        return signature


class FileRsaKey(_InFile, TokenRsaKey):
    """An RSA private key in a file."""

    def __init__(self, folder: KeyFolder, label: str, file: Path, private: Any) -> None:
        self.token, self.label, self.file, self._private = folder, label, file, private
        self._public = private.public_key()

    def sign(self, data: Any, padding_: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        """The signature of ``data`` under PKCS#1 v1.5 or PSS."""
        signature: bytes = self._private.sign(data, padding_, algorithm)
        return signature


FILE_KEYS: Final = (FileEcKey, FileRsaKey)
"""For ``isinstance``: whether a key lies in a file."""


class KeyFolder(Token):
    """The key files in ``directory`` (made, mode 0700, when first needed), mode 0600 each.

    It has of a token what a device needs: keys by their labels. What only a token has (a PIN, a
    slot, a session) raises TokenError.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory.name, "", None)
        self._directory = directory

    def __repr__(self) -> str:
        return f"<KeyFolder {self.label!r}: {len(self.key_labels)} keys in files>"

    def generate_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> TokenKey:
        """A new key pair, written down. Raises Conflict when there is a key of this label."""
        if self.has_key(label):
            raise Conflict(
                f"There is a key {label!r} already", found=f"the file {self._file(label)}"
            )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        write_whole(self._file(label), _new(algorithm).private_bytes(*form))
        return self.key(label)

    def ensure_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> TokenKey:
        """The key of this label, made when there is none. Raises Conflict where the one that is
        there is of another algorithm."""
        if not self.has_key(label):
            return self.generate_key(label, algorithm)
        key = self.key(label)
        if (found := Algorithm.of(key.public_key())) is not algorithm:
            raise Conflict(
                f"There is a key {label!r} already",
                expected=f"one for {algorithm.value}",
                found=f"one for {found.value}, in {self._file(label)}",
                cure="ask for the algorithm that it has, or choose another name",
            )
        return key

    def key(self, label: str) -> TokenKey:
        """The key of this label. Raises NotFound, or TokenError for a file that holds none."""
        if not self.has_key(label):
            raise NotFound(
                f"There is no key {label!r} in a file",
                found=f"keys: {', '.join(self.key_labels) or 'none'}",
            )
        file = self._file(label)
        try:
            private = load_pem_private_key(file.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise TokenError(
                f"{file} holds no private key that can be read", found=str(error)
            ) from error
        kind = FileEcKey if isinstance(private, ec.EllipticCurvePrivateKey) else FileRsaKey
        return kind(self, label, file, private)

    def has_key(self, label: str) -> bool:
        """Whether there is a file for a key of this label."""
        return self._file(label).exists()

    @property
    def key_labels(self) -> list[str]:
        """The labels of the keys, sorted."""
        found = self._directory.glob(f"*{SUFFIX}")
        return sorted(unquote(file.name.removesuffix(SUFFIX)) for file in found)

    def destroy_key(self, label: str) -> None:
        """The file is gone; copies of it are not. Harmless where there is none."""
        self._file(label).unlink(missing_ok=True)

    @property
    def session(self) -> Any:
        """Raises TokenError: there is no token behind it."""
        raise TokenError(
            f"{self.label!r} has no token",
            expected="a token that makes keys and keeps them",
            found="a folder with keys in files",
            cure="make the device without key_in_file",
        )

    def _file(self, label: str) -> Path:
        return self._directory / f"{quote(label, safe=' ')}{SUFFIX}"


def _new(algorithm: Algorithm) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if algorithm.curve is not None:
        return ec.generate_private_key(algorithm.curve)
    return rsa.generate_private_key(_PUBLIC_EXPONENT, algorithm.bits)
