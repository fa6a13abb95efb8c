"""The tokens of one workspace: one for each custodian and each device, with a PIN each."""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import NoSuchToken, PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from labkit.errors import Conflict, NotFound, TokenError
from labkit.files import write_whole
from labkit.hsm import cryptoki, library
from labkit.hsm.keys import Algorithm, TokenKey, wrap
from labkit.hsm.library import LOCK

_LONGEST_LABEL = 32
_KEY_ID_BYTES = 8


class TokenStore:
    """The tokens below ``directory`` (made, mode 0700, when absent), with their PINs.

    SoftHSM encrypts a token's objects under its PIN. A real custodian keeps that PIN in
    their head or in a safe; the lab keeps every PIN in ``pins.json``, mode 0600, because one
    person plays all the parts.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "tokens").mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._pins = _PinBook(directory / "pins.json")
        self._open: dict[str, Token] = {}
        self.configuration = self._configure()
        self._library: Any = library.take(self.configuration)

    def _configure(self) -> Path:
        path = self._directory / "softhsm2.conf"
        path.write_text(
            f"directories.tokendir = {_plain_path(self._directory / 'tokens')}\n"
            "objectstore.backend = file\n"
            "objectstore.umask = 0077\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
            "library.reset_on_fork = false\n"
        )
        return path

    @property
    def labels(self) -> list[str]:
        """The labels of all tokens in this workspace, sorted."""
        with LOCK:
            return sorted(t.label for t in self._using().get_tokens() if t.label)

    def token(self, label: str) -> Token:
        """The token of this label, made when there is none. Raises TokenError for a bad label."""
        with LOCK:
            if label not in self._open:
                _check_label(label)
                if self._find(label) is not None and label not in self._pins:
                    raise self._locked(label, "no PIN at all")
                pins = self._pins.of(label)
                self._ensure(label, pins)
                self._open[label] = self._log_in(label, pins)
            return self._open[label]

    def close(self) -> None:
        """Ends every session. Keys that are still held refuse to sign from now on."""
        with LOCK:
            if self._library is None:
                return
            for token in self._open.values():
                token.close()
            self._open.clear()
            library.release(self._library)
            self._library = None

    def _using(self) -> Any:
        if self._library is None:
            raise TokenError("This workspace's tokens are closed", cure="open the lab again")
        return self._library

    def _ensure(self, label: str, pins: dict[str, str]) -> None:
        """Makes the token, or finishes one whose making was cut off before it had a PIN."""
        path = self._using().so
        if self._find(label) is None:
            cryptoki.init_token(path, self._empty_slot(), label, pins["so"])
        token = self._find(label)
        if not token.flags & pkcs11.TokenFlag.USER_PIN_INITIALIZED:
            cryptoki.init_pin(path, token.slot.slot_id, pins["so"], pins["user"])

    def _find(self, label: str) -> Any:
        try:
            return self._using().get_token(token_label=label)
        except NoSuchToken:
            return None

    def _empty_slot(self) -> int:
        slots = self._using().get_slots(token_present=True)
        blank = (s for s in slots if not s.get_token().flags & pkcs11.TokenFlag.TOKEN_INITIALIZED)
        slot: int = next(blank).slot_id
        return slot

    def _log_in(self, label: str, pins: dict[str, str]) -> Token:
        try:
            session = self._find(label).open(rw=True, user_pin=pins["user"])
        except PKCS11Error as error:
            raise self._locked(label, type(error).__name__) from error
        return Token(label, pins["user"], session)

    def _locked(self, label: str, found: str) -> TokenError:
        return TokenError(
            f"Token {label!r} cannot be opened",
            expected=f"its PIN in {self._directory / 'pins.json'}",
            found=found,
            cure="restore pins.json, or start over with Lab.open(..., fresh=True)",
        )


class Token:
    """One token, logged in. Its private keys are made inside it and never leave it."""

    def __init__(self, label: str, pin: str, session: Any) -> None:
        self.label, self.pin = label, pin
        self._session: Any = session
        self._keys: dict[str, TokenKey] = {}

    def __repr__(self) -> str:  # without the PIN: a repr ends up in notebooks and logs
        return f"<Token {self.label!r}>"

    def generate_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> TokenKey:
        """A new key pair, made inside the token: sensitive, never extractable, for signing only.

        Raises Conflict when the token has a key of this label.
        """
        with LOCK:
            if self.has_key(label):
                raise Conflict(f"Token {self.label!r} has a key {label!r} already")
            public, private = self._generate(label, algorithm, keep=True)
            self._keys[label] = wrap(self, label, public, private)
            return self._keys[label]

    @contextmanager
    def passing_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> Iterator[TokenKey]:
        """A key pair for one use: never stored, and destroyed when the block ends."""
        with LOCK:
            public, private = self._generate(label, algorithm, keep=False)
        try:
            yield wrap(self, label, public, private)
        finally:
            with LOCK:
                private.destroy()
                public.destroy()

    def ensure_key(self, label: str) -> TokenKey:
        """The key of this label, made when there is none: so a step that a crash cut off after
        its key was born goes on with that key."""
        with LOCK:
            return self.key(label) if self.has_key(label) else self.generate_key(label)

    def key(self, label: str) -> TokenKey:
        """The key of this label. Raises NotFound."""
        with LOCK:
            if label not in self._keys:
                found = {c: self._look_up(label, c) for c in ObjectClass if "_KEY" in c.name}
                private, public = found[ObjectClass.PRIVATE_KEY], found[ObjectClass.PUBLIC_KEY]
                if private is None or public is None:
                    raise NotFound(
                        f"Token {self.label!r} has no key {label!r}",
                        found=f"keys: {', '.join(self.key_labels) or 'none'}",
                    )
                self._keys[label] = wrap(self, label, public, private)
            return self._keys[label]

    def has_key(self, label: str) -> bool:
        with LOCK:
            return label in self._keys or self._look_up(label, ObjectClass.PRIVATE_KEY) is not None

    @property
    def key_labels(self) -> list[str]:
        """The labels of the private keys in this token, sorted."""
        with LOCK:
            found = self.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            return sorted(key.label for key in found)

    @property
    def session(self) -> Any:
        """The PKCS#11 session. Raises TokenError once the lab is closed: a handle of a closed
        session may by then name another token's key."""
        if self._session is None:
            raise TokenError(f"Token {self.label!r} is closed", cure="open the lab again")
        return self._session

    def close(self) -> None:
        with LOCK:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _look_up(self, label: str, object_class: ObjectClass) -> Any:
        wanted = {Attribute.CLASS: object_class, Attribute.LABEL: label}
        return next(iter(list(self.session.get_objects(wanted))), None)

    def _generate(self, label: str, algorithm: Algorithm, keep: bool) -> tuple[Any, Any]:
        common = {"store": keep, "label": label, "id": secrets.token_bytes(_KEY_ID_BYTES)}
        private = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: True,
            Attribute.DECRYPT: False,
            Attribute.UNWRAP: False,
        }
        if algorithm.curve is None:
            pair = self.session.generate_keypair(
                KeyType.RSA, algorithm.bits, private_template=private, **common
            )
        else:
            curve = encode_named_curve_parameters(algorithm.curve.name)
            domain = self.session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True
            )
            pair = domain.generate_keypair(
                private_template={**private, Attribute.DERIVE: False}, **common
            )
        public, secret = pair
        return public, secret


class _PinBook:
    """PINs by token label, in one file. Written before the token is made, so that a crash
    between the two leaves a PIN without a token and never a token without a PIN."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text() if path.exists() else "{}"
        self._pins: dict[str, dict[str, str]] = json.loads(text)

    def __contains__(self, label: str) -> bool:
        return label in self._pins

    def of(self, label: str) -> dict[str, str]:
        if label not in self._pins:
            self._pins[label] = {"so": secrets.token_hex(8), "user": secrets.token_hex(8)}
            write_whole(self._path, json.dumps(self._pins))
        return self._pins[label]


def _plain_path(directory: Path) -> Path:
    """The directory, or a link to it where SoftHSM's configuration cannot hold its path: there
    ``#`` begins a comment and ``=`` ends a name."""
    if not set(str(directory)) & set("#=\n"):
        return directory
    link = Path(tempfile.mkdtemp(prefix="labkit-tokens-")) / "tokens"
    link.symlink_to(directory)
    atexit.register(shutil.rmtree, link.parent, ignore_errors=True)
    return link


def _check_label(label: str) -> None:
    if not label or len(label.encode()) > _LONGEST_LABEL or label != label.strip():
        raise TokenError(
            f"{label!r} cannot be the label of a token",
            expected=f"1 to {_LONGEST_LABEL} bytes, without blanks at the ends (PKCS#11)",
            found=f"{len(label.encode())} bytes",
        )
