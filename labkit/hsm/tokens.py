"""The tokens of one workspace: one for each custodian and each device, with a PIN each."""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass, TokenFlag
from pkcs11.exceptions import PKCS11Error

from labkit.errors import Conflict, NotFound, TokenError
from labkit.files import write_whole
from labkit.hsm import cryptoki, library, pairs, repair
from labkit.hsm.keys import Algorithm, KeyPlace, TokenKey, wrap
from labkit.hsm.library import LOCK

LONGEST_LABEL = 32
_CLOSED = "its lab was closed or started over: run again the cells that made it"


class TokenStore:
    """The tokens below ``directory`` (made, mode 0700, when absent), with their PINs.

    SoftHSM encrypts a token's objects under its PIN. A real custodian keeps that PIN in
    their head or in a safe; the lab keeps every PIN in ``pins.json``, mode 0600, because one
    person plays all the parts.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory, self._copies = directory, directory / "token-copies"
        self._files = directory / "tokens"
        self._files.mkdir(mode=0o700, exist_ok=True)
        repair.mend(self._files, self._copies)
        self._pins = _PinBook(directory / "pins.json")
        self._open: dict[str, Token] = {}
        self.configuration = self._configure()
        self._library: Any = library.take(self.configuration)
        try:
            self._blank, self._tokens = self._survey({})
        except BaseException:
            self.close()
            raise

    def _configure(self) -> Path:
        path = self._directory / "softhsm2.conf"
        write_whole(
            path,
            f"directories.tokendir = {_plain_path(self._files)}\n"
            "objectstore.backend = file\n"
            "objectstore.umask = 0077\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
            "library.reset_on_fork = false\n",
        )
        return path

    @property
    def labels(self) -> list[str]:
        """The labels of all tokens in this workspace, sorted."""
        with LOCK:
            self._using()
            return sorted(self._tokens)

    def token(self, label: str) -> Token:
        """The token of this label, made when there is none. Raises TokenError for a bad label."""
        with LOCK:
            self._using()
            if label not in self._open:
                _check_label(label)
                if label in self._tokens and label not in self._pins:
                    raise self._locked(label, "no PIN at all")
                pins = self._pins.of(label)
                self._ensure(label, pins)
                self._open[label] = self._log_in(label, pins)
            return self._open[label]

    def place(self, token: str, key: str) -> KeyPlace:
        """Where a key is, for whoever is to sign with it. Asks no token, which may be busy: whether
        the key is there is found out by who signs. Raises TokenError for a token without a PIN."""
        if token not in self._pins:
            raise self._locked(token, "no PIN at all")
        return KeyPlace(str(self.configuration), token, key, self._pins.of(token)["user"])

    def key(self, place: KeyPlace) -> TokenKey:
        """The key at a place of this workspace. Raises NotFound, TokenError."""
        return self.token(place.token).key(place.key)

    def close(self) -> None:
        """Ends every session. Keys that are still held refuse to sign from now on."""
        with LOCK:
            if self._library is None:
                return
            opened, self._library = self._library, None
            with ExitStack() as leaving:  # each is left, whatever the others do
                leaving.callback(library.release, opened, self.configuration)
                for token in self._open.values():
                    leaving.callback(token.close)
            self._open.clear()

    def _using(self) -> Any:
        if self._library is None:
            raise TokenError("This workspace's tokens are closed", cure=_CLOSED)
        return self._library

    def _ensure(self, label: str, pins: dict[str, str]) -> None:
        """Makes the token, or finishes one whose making was cut off before it had a PIN."""
        path = self._using().so
        if label not in self._tokens:
            cryptoki.init_token(path, self._blank, label, pins["so"])
            self._blank, self._tokens = self._survey(self._tokens)
        token = self._tokens[label]
        if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
            cryptoki.init_pin(path, token.slot.slot_id, pins["so"], pins["user"])

    def _survey(self, known: dict[str, pkcs11.Token]) -> tuple[int, dict[str, pkcs11.Token]]:
        """The empty slot, and every token by its label.

        To ask a token what it is takes SoftHSM as long as everything else at 200 tokens, so
        those in ``known`` are not asked again. A token that is made may move to another slot;
        no other does.
        """
        blank, tokens = -1, dict(known)
        slots = {token.slot.slot_id for token in known.values()}
        for slot in self._using().get_slots(token_present=True):
            if slot.slot_id in slots:
                continue
            token = slot.get_token()
            if token.flags & TokenFlag.TOKEN_INITIALIZED:
                tokens[token.label] = token
            else:
                blank = slot.slot_id
        return blank, tokens

    def _log_in(self, label: str, pins: dict[str, str]) -> Token:
        repair.keep(self._files, self._copies, self._tokens[label].serial.decode())
        try:
            session = self._tokens[label].open(rw=True, user_pin=pins["user"])
        except PKCS11Error as error:
            raise self._locked(label, type(error).__name__) from error
        token = Token(label, pins["user"], session)
        pairs.sweep_unnamed(token)
        return token

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

        Raises Conflict when the token has a key of this label; half of one, which a crash left,
        is destroyed first.
        """
        with LOCK:
            if self.has_key(label):
                raise Conflict(f"Token {self.label!r} has a key {label!r} already")
            pairs.sweep(self.session, label)
            public, private = pairs.generate(self.session, label, algorithm, keep=True)
            self._keys[label] = wrap(self, label, public, private)
            return self._keys[label]

    @contextmanager
    def passing_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> Iterator[TokenKey]:
        """A key pair for one use: never stored, and destroyed when the block ends."""
        with LOCK:
            public, private = pairs.generate(self.session, label, algorithm, keep=False)
        try:
            yield wrap(self, label, public, private)
        finally:
            with LOCK:
                private.destroy()
                public.destroy()

    def ensure_key(self, label: str, algorithm: Algorithm = Algorithm.P256) -> TokenKey:
        """The key of this label, made when there is none: so a step that a crash cut off after
        its key was born goes on with that key. One that was cut off while it was born is made
        anew: nothing can have been signed with it. Raises Conflict where the key that is there
        is of another algorithm, or was made to be carried away
        (:mod:`labkit.hsm.transport`)."""
        with LOCK:
            if not self.has_key(label):
                return self.generate_key(label, algorithm)
            key = self.key(label)
            if key.attributes["EXTRACTABLE"]:
                raise Conflict(
                    f"Token {self.label!r} has a key {label!r} already",
                    expected="one that never leaves its token",
                    found="one that was made to be carried away",
                    cure="choose another name",
                )
            if (found := Algorithm.of(key.public_key())) is not algorithm:
                raise Conflict(
                    f"Token {self.label!r} has a key {label!r} already",
                    expected=f"a key for {algorithm.value}",
                    found=f"one for {found.value}",
                    cure="ask for the algorithm that it has, or choose another name",
                )
            return key

    def key(self, label: str) -> TokenKey:
        """The key of this label. Raises NotFound, or TokenError where only half of it is there."""
        with LOCK:
            if self.has_key(label):
                return self._keys[label]
            if not pairs.stored(self.session, ObjectClass.PRIVATE_KEY, label):
                raise NotFound(
                    f"Token {self.label!r} has no key {label!r}",
                    found=f"keys: {', '.join(self.key_labels) or 'none'}",
                )
            raise TokenError(
                f"Key {label!r} in token {self.label!r} is damaged",
                expected="a private key whose signatures its public key verifies",
                found="halves that do not fit, as a process leaves that is killed meanwhile",
                cure="repeat the step that makes the key, or start over: Lab.open(..., fresh=True)",
            )

    def has_key(self, label: str) -> bool:
        """Whether there is a key of this label that works: tried once, when it is first named."""
        with LOCK:
            if label not in self._keys and (key := pairs.sound(self, label)) is not None:
                self._keys[label] = key
            return label in self._keys

    def destroy_key(self, label: str) -> None:
        """Destroys the key pair of this label for good: nobody signs with it any more, whoever
        still holds its handle. Harmless where there is none."""
        with LOCK:
            self._keys.pop(label, None)
            pairs.sweep(self.session, label)

    @property
    def slot(self) -> int:
        """The number of the slot that it is in just now. SoftHSM may give it another when it is
        opened anew: a token is known by its label."""
        with LOCK:
            number: int = self.session.token.slot.slot_id
            return number

    @property
    def key_labels(self) -> list[str]:
        """The labels of the private keys in this token, sorted."""
        with LOCK:
            found = self.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            return sorted(key.label for key in found if key.label)

    @property
    def session(self) -> Any:
        """The PKCS#11 session. Raises TokenError once the lab is closed: a handle of a closed
        session may by then name another token's key."""
        if self._session is None:
            raise TokenError(f"Token {self.label!r} is closed", cure=_CLOSED)
        return self._session

    def close(self) -> None:
        with LOCK:
            if self._session is not None:
                self._session.close()
                self._session = None


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
    long = len(label.encode()) if isinstance(label, str) else 0
    if not 0 < long <= LONGEST_LABEL or label != label.strip():
        raise TokenError(
            f"{label!r} cannot be the label of a token",
            expected=f"1 to {LONGEST_LABEL} bytes of text, without blanks at the ends (PKCS#11)",
            found=f"{long} bytes" if isinstance(label, str) else type(label).__name__,
        )
