"""What a thief can try: to take a key out of its token, or to carry the token's files away.

PKCS#11 knows two ways out for a private key, and the token answers for both:

    C_GetAttributeValue   the number itself          refused for what is SENSITIVE
    C_WrapKey             encrypted under another    refused for what is not EXTRACTABLE

A software token has a third way out, which a chip has not: its files can be copied. What is in
them is encrypted under the PIN, so the copy is worth as much as the PIN is hard to guess.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error

from labkit.errors import NotFound, TokenError
from labkit.files import write_whole
from labkit.hsm import cryptoki, library
from labkit.hsm.keys import TokenEcKey, TokenKey
from labkit.hsm.library import LOCK


def take_out(key: TokenKey) -> bytes:
    """Asks the token for the private number, and then for a wrapped copy of the key.

    Returns the wrapped copy where the token makes one: of a key that was made to be carried. What
    it is wrapped under ends with this call, so nobody can unwrap it. Raises TokenError, with the
    token's own answers, for a key that cannot leave.
    """
    number = Attribute.VALUE if isinstance(key, TokenEcKey) else Attribute.PRIVATE_EXPONENT
    with LOCK:
        wrapping = key.token.session.generate_key(KeyType.AES, 256, store=False)
        try:
            read = _answer(lambda: key._handle[number])
            out = _answer(
                lambda: wrapping.wrap_key(key._handle, mechanism=Mechanism.AES_KEY_WRAP_PAD)
            )
        finally:
            wrapping.destroy()
    if isinstance(out, bytes):
        return out
    raise TokenError(
        f"Key {key.label!r} does not leave token {key.token.label!r}",
        expected="the private number, or a wrapped copy of it",
        found=f"C_GetAttributeValue: {read}; C_WrapKey: {out}",
        cure="none is needed: bring what is to be signed to the token",
    )


class Thief:
    """Somebody who copies the token files of a lab, and has SoftHSM, but no PIN.

    ``workspace`` is the lab's path. Each call works on copies of its own, which it deletes.
    """

    def __init__(self, workspace: Path) -> None:
        self._files = workspace / "hsm" / "tokens"

    def __repr__(self) -> str:
        return f"<Thief with copies of {len(self.slots)} tokens>"

    @property
    def slots(self) -> dict[str, int]:
        """The slot number of each token, by its label: as SoftHSM counts when it is opened anew."""
        with self._opened() as opened:
            return {label: token.slot.slot_id for label, token in _tokens(opened).items()}

    def log_in(self, label: str, pin: str, *, officer: bool = False) -> list[str]:
        """The labels of the private keys that this PIN opens, sorted.

        ``officer`` logs in as the security officer (SO), who gives out PINs and uses no key.
        Raises TokenError with the token's own answer, and NotFound.
        """
        with self._opened() as opened:
            found = _tokens(opened)
            if label not in found:
                raise NotFound(f"There is no token {label!r}", found=", ".join(sorted(found)))
            whose = {"so_pin" if officer else "user_pin": pin}
            session = _answer(lambda: found[label].open(rw=True, **whose))
            if isinstance(session, str):
                raise _refused(label, session, "SO PIN" if officer else "user PIN")
            with session:
                wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
                return sorted(key.label for key in session.get_objects(wanted))

    def open_slot(self, number: int) -> None:
        """Opens a session with whatever token is in this slot. Raises TokenError."""
        with self._opened() as opened:
            cryptoki.try_slot(opened.so, number)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """A SoftHSM of their own, which reads the copies: it knows nothing of the lab's log-ins."""
        with LOCK, tempfile.TemporaryDirectory(prefix="labkit-thief-") as loot:
            shutil.copytree(self._files, Path(loot) / "tokens")
            configuration = Path(loot) / "softhsm2.conf"
            write_whole(configuration, f"directories.tokendir = {loot}/tokens\n")
            opened = library.take(configuration)
            try:
                yield opened
            finally:
                library.release(opened, configuration)


def _tokens(opened: Any) -> dict[str, Any]:
    tokens = (slot.get_token() for slot in opened.get_slots(token_present=True))
    return {token.label: token for token in tokens if token.label}


def _answer(ask: Callable[[], Any]) -> Any:
    """What the token returns, or the name of its refusal: ``CKR_KEY_UNEXTRACTABLE``."""
    try:
        return ask()
    except PKCS11Error as error:
        words = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(error).__name__)
        return f"CKR_{words.upper()}"


def _refused(label: str, answer: str, wanted: str) -> TokenError:
    return TokenError(
        f"Token {label!r} does not open",
        expected=f"its {wanted}",
        found=answer,
        cure="ask its owner: without the PIN, what is in the files stays encrypted",
    )
