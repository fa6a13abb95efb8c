"""Queries of one hub, whole or page by page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from labkit.cloud import codes
from labkit.cloud.hub import language
from labkit.cloud.hub.documents import Documents
from labkit.cloud.hub.language import Query, QueryError
from labkit.cloud.pages import Page, next_page, start_of
from labkit.cloud.refusals import Refusals
from labkit.errors import ServiceRefusal
from labkit.trace import failed

READABLE = "the query can be read"
TWIN, DEVICE_JOB, RAW = "twin", "deviceJob", "raw"
"""What the rows of a query are: whole documents of a kind, or made of parts of them."""

_SOURCE = "Azure documentation, IoT Hub: query language for device and module twins, jobs"


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows, what they are, and what to ask on with; that is empty at the end."""

    rows: list[dict[str, Any]]
    kind: str
    continuation: str = ""


class Queries:
    """Runs queries on the documents of one hub. ``documents`` are what there is to find."""

    def __init__(self, documents: Documents, refusals: Refusals) -> None:
        self.documents, self._refusals = documents, refusals

    def all(self, text: str) -> list[dict[str, Any]]:
        """All rows. Raises ServiceRefusal (400004), which says where the query cannot be read."""
        query = self._parsed(text)
        return list(query.rows(document for _, document in self._of(query, "")))

    def page(self, text: str, limit: int = 0, continuation: str = "") -> Found:
        """At most so many rows, from where an earlier page ended. Raises ServiceRefusal."""
        query = self._parsed(text)
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        page = Page(mark, limit, "hub")
        start = start_of(page, continuation, self._refusals)
        whole = query.is_aggregate or query.top
        keyed = self._counted(query, start) if whole else self._keyed(query, start)
        found, more = next_page(page, list(islice(keyed, page.size + 1)), lambda pair: pair[0])
        return Found([row for _, row in found], _kind(query), more)

    def devices(self, condition: str) -> list[str]:
        """The IDs of the devices that a job's condition names. Raises ServiceRefusal (400004)."""
        query = self.condition(condition)
        return [name for name, document in self.documents.twins() if query.picks(document)]

    def condition(self, text: str) -> Query:
        """A job's condition, read. Raises ServiceRefusal (400004)."""
        try:
            return language.parse_condition(text)
        except QueryError as error:
            raise self._unreadable(text, error) from None

    def _keyed(self, query: Query, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, document in self._of(query, after):
            if query.picks(document):
                yield key, query.shaped(document)

    def _counted(self, query: Query, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows that are made of all documents are counted, and asked on for by number."""
        rows = query.rows(document for _, document in self._of(query, ""))
        first = int(after) if after.isdecimal() else 0
        numbered = enumerate(rows, 1)
        return ((str(number), row) for number, row in numbered if number > first)

    def _of(self, query: Query, after: str) -> Iterable[tuple[str, dict[str, Any]]]:
        is_jobs = query.source == language.JOBS
        return self.documents.jobs(after) if is_jobs else self.documents.twins(after)

    def _parsed(self, text: str) -> Query:
        try:
            return language.parse(text)
        except QueryError as error:
            raise self._unreadable(text, error) from None

    def _unreadable(self, text: str, error: QueryError) -> ServiceRefusal:
        near = text[max(0, error.at - 21) : error.at + 19]
        why = f"at character {error.at}, in {near!r}: {error.why}"
        cure = "SELECT * | column [AS name], … FROM devices [WHERE …] [GROUP BY …]"
        check = failed(READABLE, "", why, cure, source=_SOURCE)
        return self._refusals.refuse("hub", "", codes.BAD_REQUEST, (check,))


def _kind(query: Query) -> str:
    if query.columns:
        return RAW
    return DEVICE_JOB if query.source == language.JOBS else TWIN
