"""A refusal, told: what Azure says, what it looked at, and what would cure it."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.cloud.codes import POSSESSION_FAILED, STALE_ENTRY, STALE_ETAG
from labkit.cloud.dps.attestation import POSSESSION
from labkit.cloud.hub.authentication import CERTIFICATE
from labkit.cloud.refusals import Refusal, Refusals
from labkit.errors import NotFound, counted
from labkit.pki import chain, possession
from labkit.trace import Check, Outcome

_MARK = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.NOT_REACHED: "·"}
_COLOUR = {Outcome.PASSED: "#007a58", Outcome.FAILED: "#b34700", Outcome.NOT_REACHED: "#6b6b6b"}
_WIDTH = 96


class Explanation:
    """The trace of one refusal. Shows itself in a notebook; ``str()`` gives it as text.

    Tracking ID and time are attributes and not part of the text: they differ at every run.
    ``over`` tells that the same service has let in the same key since.
    """

    def __init__(self, refusal: Refusal, *, over: bool = False) -> None:
        self.refusal, self.over = refusal, over
        self.tracking_id, self.at = refusal.tracking_id, refusal.at
        self.checks = refusal.checks

    @property
    def failure(self) -> Check | None:
        """The check that decided."""
        return next((check for check in self.checks if check.failed), None)

    @property
    def rows(self) -> list[Row]:
        """The checks as they are told, line by line."""
        return list(_rows(self.checks))

    @property
    def cures(self) -> tuple[str, ...]:
        """Ways to mend it; any one suffices."""
        return self.failure.cures if self.failure else ()

    @property
    def answer(self) -> str:
        """All that Azure says; of a connection that ended without a word, how it ended."""
        if self.in_silence:
            return self.refusal.message
        return f"{self.refusal.status} {self.refusal.code}: {self.refusal.message}"

    @property
    def about(self) -> str:
        """Who or what was refused, in the middle of a sentence."""
        if self._is_proof:
            return f"the proof for {self.refusal.device}"
        if self._is_stale:
            return f"the change of {self.refusal.device}"
        return self.refusal.device or "a client"

    @property
    def shown(self) -> str:
        """What was shown, a code and an ETag left out: ``It sent: CN=a, CN=b``; empty where
        nobody asked for a certificate."""
        if self.in_tls and not self.refusal.chain:
            return "The client left before it had shown a certificate of its own"
        sent = self._sent()
        return sent and f"{'Shown was' if self._is_proof else 'It sent'}: {sent}"

    @property
    def since(self) -> str:
        """That it is over, where it is: ``Since then DPS has let it in, with the same key.``"""
        door = "DPS" if self.refusal.door == "dps" else self.refusal.door
        return f"Since then {door} has let it in, with the same key." if self.over else ""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def _lines(self) -> Iterator[str]:
        if self.in_silence:
            yield "".join(self._ended())
        else:
            yield f"{self._who()} was refused. Azure says only:"
            yield f"    {self.answer}"
        if self.shown:
            yield self.shown
        yield "What was checked, in order:"
        for row in self.rows:
            yield from _told(row)
        if self.cures:
            yield "What cures it" + (" (any one):" if len(self.cures) > 1 else ":")
            for number, cure in enumerate(self.cures, 1):
                yield _indented(f"{number}. {cure}", "  ")
        if self.failure and self.failure.source:
            yield f"See: {self.failure.source}"
        if self.since:
            yield self.since

    @property
    def in_silence(self) -> bool:
        """Whether a connection ended, and nothing was answered."""
        return self.refusal.status == 0

    @property
    def in_tls(self) -> bool:
        """Whether TLS ended before any service was asked."""
        return self.in_silence and self.refusal.service == "tls"

    @property
    def _is_proof(self) -> bool:
        return self.refusal.code == POSSESSION_FAILED

    @property
    def _is_stale(self) -> bool:
        return self.refusal.code in (STALE_ETAG.code, str(STALE_ENTRY.code))

    def _ended(self) -> tuple[str, str]:
        """What became of a handshake or a connection, in a few words and some more."""
        if not self.in_tls:
            return f"{self.about} was cut off", ": the connection ended, and Azure says nothing."
        if self.refusal.device:
            return f"{self.refusal.device} left in TLS", ": no service refused it, or heard of it."
        return f"{self._who()} ended in TLS", ", before any protocol of Azure could answer."

    def _who(self) -> str:
        if self._is_proof:
            return f"The proof for the CA certificate {self.refusal.device!r}"
        if self._is_stale:
            kind = "CA certificate" if self.refusal.code == STALE_ETAG.code else "record"
            return f"A change of the {kind} {self.refusal.device!r}"
        if self.in_tls:
            return "A connection"
        service = {"dps": "DPS", "hub": "IoT Hub"}.get(self.refusal.service, "the service")
        return f"{self.refusal.device or 'A client'} at {service}"

    def _sent(self) -> str:
        if self._is_stale:
            return "an ETag of an earlier state"
        if self._is_proof:
            return possession.describe(self.refusal.chain[0])
        if self.refusal.chain:
            return chain.names(self.refusal.chain)
        return "no certificate" if self._wanted_certificate else ""

    @property
    def _wanted_certificate(self) -> bool:
        """Whether it was refused for want of one: a back end shows none, nor who has a token."""
        return self.failure is not None and self.failure.name in (POSSESSION, CERTIFICATE)

    def _opening(self) -> str:
        who, answer = html.escape(self._who()), html.escape(self.answer)
        if self.in_silence:
            ended, more = map(html.escape, self._ended())
            return f"<b>{ended}</b>{more}"
        return f"<b>{who} was refused.</b> Azure says only <code>{answer}</code>"

    def _html(self) -> str:
        e = html.escape
        rows = "".join(map(_markup, self.rows))
        cures = "".join(f"<li>{e(cure)}</li>" for cure in self.cures)
        heading = "Any one of these cures it" if len(self.cures) > 1 else "This cures it"
        source = f"<p><small>{e(self.failure.source)}</small></p>" if self.failure else ""
        return (
            f"<div><p>{self._opening()}{f'<br>{e(self.shown)}' if self.shown else ''}</p>"
            f'<ol style="list-style:none;padding-left:0">{rows}</ol>'
            + (f"<p><b>{heading}:</b></p><ol>{cures}</ol>{source}" if cures else "")
            + (f"<p>{e(self.since)}</p>" if self.since else "")
            + "</div>"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """What is told in one line: a check that did not pass, or the passed ones of a certificate."""

    about: str
    checks: tuple[Check, ...]

    @property
    def outcome(self) -> Outcome:
        """That of all its checks."""
        return self.checks[0].outcome


def _rows(checks: Sequence[Check]) -> Iterator[Row]:
    """In order up to the failure that decides, a row for each certificate that is well so far;
    then other failures, and in one row whatever else is well: a failure must not drown."""
    cut = next((place for place, check in enumerate(checks) if check.failed), len(checks))
    well: dict[str, list[Check]] = {}
    for check in checks[:cut]:
        well.setdefault(check.about, []).append(check)
    yield from (Row(about, tuple(group)) for about, group in well.items())
    later = checks[cut:]
    yield from (Row(check.about, (check,)) for check in later if check.failed)
    if rest := tuple(check for check in later if check.passed):
        yield Row("whatever else was looked at", rest)
    ahead = (check for check in later if not check.failed and not check.passed)
    yield from (Row(check.about, (check,)) for check in ahead)


def _told(row: Row) -> Iterator[str]:
    first, mark = row.checks[0], _MARK[row.outcome]
    if first.passed:
        yield f"  {mark} {row.about}"
        yield _indented("; ".join(dict.fromkeys(check.name for check in row.checks)))
        return
    yield f"  {mark} {first.name}"
    if first.failed:
        yield _indented(f"{first.about}: {first.why}")


def _markup(row: Row) -> str:
    e, first = html.escape, row.checks[0]
    mark, colour = _MARK[row.outcome], _COLOUR[row.outcome]
    if first.passed:
        count = f"{len(row.checks)} check{'s' if len(row.checks) > 1 else ''} passed"
        each = "".join(f"<li>{e(c.name)}: {e(c.why)}</li>" for c in row.checks)
        inside = (
            f"<details><summary>{mark} {e(row.about)} <small>({count})</small></summary>"
            f"<ul>{each}</ul></details>"
        )
    else:
        detail = f"<br><small>{e(first.about)}: {e(first.why)}</small>" if first.failed else ""
        inside = f"{mark} {e(first.name)} <small>({first.outcome})</small>{detail}"
    weight = "600" if first.failed else "400"
    return (
        f'<li style="border-left:4px solid {colour};padding:2px 10px;margin:3px 0;'
        f'font-weight:{weight}">{inside}</li>'
    )


def _indented(text: str, indent: str = "      ") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "   ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def explained(refusals: Refusals, what: str | None = None, *, device: str = "") -> Explanation:
    """A refusal by ``what`` (see :func:`find_refusal`); without it the most recent one, of one
    device where it is named. Raises NotFound."""
    found = find_refusal(refusals, what) if what is not None else last_refusal(refusals, device)
    return Explanation(found, over=refusals.is_over(found))


def find_refusal(refusals: Refusals, what: str) -> Refusal:
    """The refusal of this tracking ID, or the last one of the device of this name.

    Raises NotFound.
    """
    try:
        return refusals.find(what)
    except NotFound:
        found = refusals.last(what)
    if found is None:
        raise NotFound(
            f"No refusal has the tracking ID {what!r}, and no device of that name was refused",
            found=_kept(refusals),
            cure="ask for the last one: lab.explain(), or labkit explain --last",
        )
    return found


def last_refusal(refusals: Refusals, device: str = "") -> Refusal:
    """The most recent refusal, of one device where it is named. Raises NotFound."""
    found = refusals.last(device)
    if found is None:
        text = f"{device} was not refused" if device else "Nobody was refused yet"
        raise NotFound(text, found=_kept(refusals))
    return found


def _kept(refusals: Refusals) -> str:
    return f"{counted(refusals.count(), 'refusal')} in this workspace"
