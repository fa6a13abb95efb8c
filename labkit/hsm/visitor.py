"""Another process at the tokens of a workspace: it signs with keys that are there, and makes none.

SoftHSM lets several processes use one token, each of which logs in. The key stays inside; what is
handed over is where it is, and the PIN.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from labkit.errors import NotFound
from labkit.hsm import library
from labkit.hsm.keys import KeyPlace, TokenKey
from labkit.hsm.tokens import Token


class Visitor:
    """The keys of one workspace, for a process that has not made them."""

    def __init__(self) -> None:
        self._library: Any = None
        self._configuration = Path()
        self._tokens: dict[str, Token] = {}

    def key(self, place: KeyPlace) -> TokenKey:
        """The key at this place. Raises NotFound; TokenError, SoftHsmMissing or PKCS11Error where
        it cannot be reached.

        What was made since the library was loaded is not shown: where something is missing, it is
        loaded once more, and keys that it gave before are dead. So it is for another workspace.
        """
        wanted = Path(place.configuration)
        if self._library is not None and wanted == self._configuration:
            with suppress(NotFound):
                return self._token(place).key(place.key)
        self.close()
        self._library, self._configuration = library.take(wanted), wanted
        return self._token(place).key(place.key)

    def close(self) -> None:
        """Ends every session."""
        for token in self._tokens.values():
            token.close()
        self._tokens.clear()
        if self._library is not None:
            library.release(self._library, self._configuration)
            self._library = None

    def _token(self, place: KeyPlace) -> Token:
        if place.token not in self._tokens:
            session = self._found(place.token).open(user_pin=place.pin)
            self._tokens[place.token] = Token(place.token, place.pin, session)
        return self._tokens[place.token]

    def _found(self, label: str) -> Any:
        for slot in self._library.get_slots(token_present=True):
            token = slot.get_token()
            if token.label == label:
                return token
        raise NotFound(f"No token {label!r} is there", cure="name one that the workspace has")
