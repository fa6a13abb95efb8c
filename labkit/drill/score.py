"""What a breach cost, round by round, and why: pure, from what was counted.

Each cost has its round and its reason, and the points are a hundred without them: a score that can
not be added up by hand teaches nothing. More of anything bad never makes it better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from labkit.errors import counted

FULL: Final = 100
CONNECTION, REGISTRATION, LOST, TURNED_AWAY = 10, 5, 8, 2
"""Points that go for each: an attacker in a hub, an attacker whom DPS assigned a hub, a device that
could not send, a device that could but that DPS refused."""
LATE: Final = 3
"""Points for each round until the breach was contained."""
OPEN: Final = 20
"""Points where it was not contained at all."""


class Act(StrEnum):
    """What an operator did before a round, as far as it matters here."""

    REVOKED = "signed a revocation list"
    ENTRY = "changed what DPS admits"
    DISABLED = "disabled an identity in the hub"
    DELETED = "deleted an identity in the hub"
    CHANGED = "changed an identity in the hub in another way"
    RENEWED = "renewed a device"
    PROVISIONED = "let a device provision"


@dataclass(frozen=True, slots=True, repr=False)
class Round:
    """One round: ``acts`` before it; how often DPS (``dps``) and a hub (``hub``) took an attacker
    for a device; the devices that could not send (``lost``), and those that could, but that DPS
    refused (``turned_away``)."""

    acts: frozenset[Act] = frozenset()
    dps: int = 0
    hub: int = 0
    lost: tuple[str, ...] = ()
    turned_away: tuple[str, ...] = ()

    @property
    def got_in(self) -> int:
        """How often attackers got in, anywhere."""
        return self.dps + self.hub

    def __str__(self) -> str:
        told = [f"attackers: {_door('DPS', self.dps)}, {_door('hub', self.hub)}"]
        told.append(f"devices lost: {', '.join(self.lost) or 'none'}")
        if self.turned_away:
            told.append(f"refused by DPS, and still at their hub: {', '.join(self.turned_away)}")
        return "; ".join(told)

    __repr__ = __str__


def _door(name: str, times: int) -> str:
    return (
        f"{name} let them in" + (f" {times} times" if times > 1 else "")
        if times
        else (f"{name} kept them out")
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """``points`` that went in a ``round`` (counted from 1; 0 is the whole drill) for ``what``, and
    ``why`` it came to that."""

    round: int
    points: int
    what: str
    why: str

    def __str__(self) -> str:
        when = f"round {self.round}" if self.round else "in all"
        return f"{when}: -{self.points}, {self.what}. {self.why}"


@dataclass(frozen=True)
class Score:
    """The score of ``rounds``, which begin when the theft is known: what was lost before is
    nobody's fault."""

    rounds: tuple[Round, ...]

    @property
    def contained(self) -> bool:
        """Whether the attackers got in nowhere in the last round."""
        return bool(self.rounds) and not self.rounds[-1].got_in

    @property
    def containment(self) -> int:
        """The containment time: rounds until the last in which an attacker got in. 0 is at once;
        where it is not contained, all rounds so far."""
        return max((n for n, one in enumerate(self.rounds, 1) if one.got_in), default=0)

    @property
    def connections(self) -> int:
        """How often an attacker connected to a hub."""
        return sum(one.hub for one in self.rounds)

    @property
    def registrations(self) -> int:
        """How often DPS assigned an attacker a hub."""
        return sum(one.dps for one in self.rounds)

    @property
    def lost(self) -> int:
        """Devices that could not send, counted anew in each round."""
        return sum(len(one.lost) for one in self.rounds)

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What went, in order: a hundred without these is the score, and no less than nothing."""
        return tuple(_costs(self))

    @property
    def points(self) -> int:
        """From 100 down to 0."""
        return max(0, FULL - sum(cost.points for cost in self.costs))

    @property
    def lessons(self) -> list[str]:
        """Which ideas cost what, and what would have been better."""
        return [*_ideas(self.rounds), *_better(self)]

    @property
    def headline(self) -> str:
        """The three numbers, and the points."""
        when = (
            f"contained after {counted(self.containment, 'round')}"
            if self.containment
            else "contained at once"
        )
        return (
            f"{self.points} of {FULL} points: {when if self.contained else 'not contained'}; "
            f"attackers connected {counted(self.connections, 'time')}; devices lost: {self.lost}"
        )

    def __str__(self) -> str:
        lines = [self.headline, *map(str, self.costs), *self.lessons]
        return "\n".join(lines)

    __repr__ = __str__


def _costs(score: Score) -> Iterator[Cost]:
    for number, one, done in _history(score.rounds):
        if one.hub:
            what = f"the hub took an attacker for a device, {one.hub} x {CONNECTION}"
            yield Cost(number, one.hub * CONNECTION, what, _why_in_hub(one, done))
        if one.dps:
            what = f"DPS took an attacker for a device, {one.dps} x {REGISTRATION}"
            yield Cost(number, one.dps * REGISTRATION, what, _why_in_dps(done))
        if one.lost:
            what = f"{', '.join(one.lost)} could not send, {len(one.lost)} x {LOST}"
            yield Cost(number, len(one.lost) * LOST, what, _why_lost(done))
        if away := one.turned_away:
            what = f"DPS refused {', '.join(away)}, {len(away)} x {TURNED_AWAY}"
            why = "Such a device lives on what its hub remembers, until somebody deletes that."
            yield Cost(number, len(away) * TURNED_AWAY, what, why)
    if score.containment:
        what = f"{counted(score.containment, 'round')} until it was contained, x {LATE}"
        if not score.contained:
            what = f"{counted(score.containment, 'round')} with the attacker inside, x {LATE}"
        why = "Each round is time in which a thief reads and sends."
        yield Cost(0, score.containment * LATE, what, why)
    if score.rounds and not score.contained:
        yield Cost(0, OPEN, "not contained", "The attacker got in in the last round, too.")


def _history(rounds: Sequence[Round]) -> Iterator[tuple[int, Round, frozenset[Act]]]:
    """Each round with its number, and with all that was done by then and still holds."""
    done: frozenset[Act] = frozenset()
    for number, one in enumerate(rounds, 1):
        if Act.CHANGED in one.acts:  # it was switched on again, for instance
            done -= {Act.DISABLED}
        done |= one.acts
        yield number, one, done


def _why_in_hub(one: Round, done: frozenset[Act]) -> str:
    if one.dps and Act.DELETED in one.acts:
        return "The identity was deleted, and DPS made it again: for the stolen certificate."
    if not one.dps and Act.ENTRY in done:
        return "DPS knows better by now; the identity still holds the stolen thumbprint."
    return "Its identity holds the thumbprint of the stolen certificate."


def _why_in_dps(done: frozenset[Act]) -> str:
    if Act.RENEWED in done:
        return "The device has another certificate, and an entry still takes the stolen one."
    return "An enabled entry takes the stolen certificate."


def _why_lost(done: frozenset[Act]) -> str:
    if Act.DISABLED in done:
        return "A disabled identity tells nobody apart: it keeps the true device out, too."
    if Act.RENEWED not in done:
        return "It has only the certificate that was stolen, and nobody takes that any more."
    return "What it presents is not what DPS or the hub expects of it."


def _ideas(rounds: Sequence[Round]) -> Iterator[str]:
    """The wrong ideas among the acts, each with what it cost."""
    for number, one in enumerate(rounds, 1):
        yield from _ideas_of(number, one)
    told = list(_history(rounds))
    hole = sum(one.hub for _, one, done in told if Act.ENTRY in done and not one.dps)
    if hole:
        yield (
            f"A change in DPS alone does not reach the hub: it cost {counted(hole, 'connection')} "
            "of an attacker. Two cures, either will do: delete the identity, or let the device "
            "provision with another certificate."
        )
    if out := sum(len(one.lost) for _, one, done in told if Act.DISABLED in done):
        yield (
            "To disable in the hub is a good first aid and no cure: it keeps the true device out, "
            f"too, here {counted(out, 'time')}."
        )


def _ideas_of(number: int, one: Round) -> Iterator[str]:
    """Those that cost something in the very round."""
    if not one.acts and one.got_in:
        yield f"You waited in round {number}: an attacker got in {counted(one.got_in, 'time')}."
    if Act.REVOKED in one.acts and one.got_in:
        yield (
            f"The revocation list of round {number} kept nobody out, for neither DPS nor a hub "
            f"asks for one: an attacker got in {counted(one.got_in, 'time')} in that round."
        )
    if Act.DELETED in one.acts and one.dps:
        yield (
            f"In round {number} the identity went before the entry did: DPS made it again. Close "
            "DPS first, or in the same round."
        )


def _better(score: Score) -> Iterator[str]:
    if not score.rounds:
        return
    if score.costs:
        yield (
            "A better way, all in the first round: give the device a new key and certificate, name "
            "the new one in an entry of its own, and let it provision at once."
        )
    else:
        yield "There was no better way."
    yield (
        "Also right: name the new certificate and delete the identity, which the device's next "
        "registration makes again; or, for many devices, a new CA in the group, each device "
        "renewed below it and provisioned."
    )
