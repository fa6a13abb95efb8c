"""Lists that are handed out page by page: the service APIs' continuation tokens."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from labkit.cloud import codes, strict_json
from labkit.cloud.refusals import Refusals
from labkit.trace import failed

LARGEST = 1_000
"""Records of one page, whatever is asked for."""
USUAL = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list ``of`` of a service, with at most ``limit`` records; 0 leaves that to the
    service."""

    of: str
    limit: int
    service: str = "dps"

    @property
    def size(self) -> int:
        """How many records it has at most."""
        return min(self.limit, LARGEST) if self.limit > 0 else USUAL


def start_of(page: Page, continuation: str, refusals: Refusals) -> str:
    """The key behind which the page begins. Raises ServiceRefusal (400) for a token that is not
    from this list."""
    if not continuation:
        return ""
    try:
        of, key = strict_json.read(urlsafe_b64decode(continuation.encode()))
    except (ValueError, TypeError):
        of, key = "", ""
    if of != page.of or not (isinstance(key, str) and key.isascii()):
        check = failed(
            "the continuation token is from this query",
            page.of,
            "it is not one that this query gave",
            "begin without a token, and send each answer's x-ms-continuation with the next request",
        )
        raise refusals.refuse(page.service, "", codes.BAD_REQUEST, (check,))
    return key


def next_page(page: Page, found: list[T], key: Callable[[T], str]) -> tuple[list[T], str]:
    """The page out of one record more than it holds, and the token for the one behind it."""
    if len(found) <= page.size:
        return found, ""
    shown = found[: page.size]
    token = json.dumps([page.of, key(shown[-1])]).encode()
    return shown, urlsafe_b64encode(token).decode()
