"""What a breach cost, round by round, and why: pure, from what was counted.

Each cost has its round and its reason, and the points are a hundred without them: a score that can
not be added up by hand teaches nothing. More of anything bad never makes it better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    ENABLED = "enabled an identity in the hub"
    DELETED = "deleted an identity in the hub"
    CHANGED = "changed an identity in the hub in another way"
    RENEWED = "renewed a device"
    PROVISIONED = "let a device provision"


UNDO_DISABLED: Final = frozenset({Act.ENABLED, Act.DELETED})
"""After these an identity is not switched off any more: what is deleted is made anew, and enabled.
"""


@dataclass(frozen=True, slots=True)
class Deed:
    """An act, and the ``device`` that it was about; empty where it was about no single one."""

    act: Act
    device: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Round:
    """One round: ``deeds`` before it, and the devices of which the attackers had something
    (``robbed``). The devices for which DPS (``dps``) and a hub (``hub``) took an attacker; those
    that could not send (``lost``), and those that could, but that DPS refused (``turned_away``)."""

    deeds: frozenset[Deed] = frozenset()
    robbed: tuple[str, ...] = ()
    dps: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    turned_away: tuple[str, ...] = ()

    @property
    def acts(self) -> frozenset[Act]:
        """What was done before it, to whichever device."""
        return frozenset(deed.act for deed in self.deeds)

    @property
    def got_in(self) -> int:
        """How often attackers got in, anywhere."""
        return len(self.dps) + len(self.hub)

    def __str__(self) -> str:
        told = [f"attackers: {_door('DPS', len(self.dps))}, {_door('hub', len(self.hub))}"]
        told.append(f"devices lost: {', '.join(self.lost) or 'none'}")
        if self.turned_away:
            told.append(f"refused by DPS, and still at their hub: {', '.join(self.turned_away)}")
        return "; ".join(told)

    __repr__ = __str__


def _door(name: str, times: int) -> str:
    if not times:
        return f"{name} kept them out"
    return f"{name} let them in" + (f" {times} times" if times > 1 else "")


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
        return sum(len(one.hub) for one in self.rounds)

    @property
    def registrations(self) -> int:
        """How often DPS assigned an attacker a hub."""
        return sum(len(one.dps) for one in self.rounds)

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
        """The three numbers, and the points; before the first round there are none."""
        if not self.rounds:
            return "no round was played yet: incident.round()"
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
        yield from _costs_of(number, one, done)
    if score.containment:
        what = f"{counted(score.containment, 'round')} until it was contained, x {LATE}"
        if not score.contained:
            what = f"{counted(score.containment, 'round')} with the attacker inside, x {LATE}"
        why = "Each round is time in which a thief reads and sends."
        yield Cost(0, score.containment * LATE, what, why)
    if score.rounds and not score.contained:
        yield Cost(0, OPEN, "not contained", "The attacker got in in the last round, too.")


def _costs_of(number: int, one: Round, done: frozenset[Deed]) -> Iterator[Cost]:
    """A line for each reason: what happened to two devices may have two."""
    for devices, why in _by_reason(one.hub, lambda name: _why_in_hub(name, one, done)):
        what = f"the hub took an attacker for {', '.join(devices)}, {len(devices)} x {CONNECTION}"
        yield Cost(number, len(devices) * CONNECTION, what, why)
    for devices, why in _by_reason(one.dps, lambda name: _why_in_dps(name, done)):
        what = f"DPS took an attacker for {', '.join(devices)}, {len(devices)} x {REGISTRATION}"
        yield Cost(number, len(devices) * REGISTRATION, what, why)
    for devices, why in _by_reason(one.lost, lambda name: _why_lost(name, one, done)):
        what = f"{', '.join(devices)} could not send, {len(devices)} x {LOST}"
        yield Cost(number, len(devices) * LOST, what, why)
    if away := one.turned_away:
        what = f"DPS refused {', '.join(away)}, {len(away)} x {TURNED_AWAY}"
        why = "Such a device lives on what its hub remembers, until somebody deletes that."
        yield Cost(number, len(away) * TURNED_AWAY, what, why)


def _by_reason(
    devices: Sequence[str], why: Callable[[str], str]
) -> Iterator[tuple[list[str], str]]:
    """The devices of each reason, in the order in which the reasons come up."""
    found: dict[str, list[str]] = {}
    for device in devices:
        found.setdefault(why(device), []).append(device)
    yield from ((named, reason) for reason, named in found.items())


def _history(rounds: Sequence[Round]) -> Iterator[tuple[int, Round, frozenset[Deed]]]:
    """Each round with its number, and with all that was done by then and still holds."""
    done: frozenset[Deed] = frozenset()
    for number, one in enumerate(rounds, 1):
        undone = {Deed(Act.DISABLED, d.device) for d in one.deeds if d.act in UNDO_DISABLED}
        done = (done - undone) | one.deeds
        yield number, one, done


def _to(device: str, deeds: frozenset[Deed]) -> frozenset[Act]:
    """What was done to this device, or to all."""
    return frozenset(deed.act for deed in deeds if deed.device in ("", device))


def _why_in_hub(device: str, one: Round, done: frozenset[Deed]) -> str:
    if device in one.dps and Act.DELETED in _to(device, one.deeds):
        return "The identity was deleted, and DPS made it again: for the stolen certificate."
    if device not in one.dps and Act.ENTRY in _to(device, done):
        return "DPS knows better by now; the identity still holds the stolen thumbprint."
    return "Its identity holds the thumbprint of the stolen certificate."


def _why_in_dps(device: str, done: frozenset[Deed]) -> str:
    if Act.RENEWED in _to(device, done):
        return "The device has another certificate, and an entry still takes the stolen one."
    return "An enabled entry takes the stolen certificate."


def _why_lost(device: str, one: Round, done: frozenset[Deed]) -> str:
    acts = _to(device, done)
    if Act.DISABLED in acts:
        return "A disabled identity tells nobody apart: it keeps the true device out, too."
    if Act.RENEWED in acts:
        return "What it presents is not what DPS or the hub expects of it."
    if device in one.robbed:
        return "It has only the certificate that was stolen, and nobody takes that any more."
    return "Nobody has robbed it: what keeps the thief out is about more than was stolen."


def _ideas(rounds: Sequence[Round]) -> Iterator[str]:
    """The wrong ideas among the acts, each with what it cost."""
    for number, one in enumerate(rounds, 1):
        yield from _ideas_of(number, one)
    told = list(_history(rounds))
    hole = sum(_count(set(one.hub) - set(one.dps), Act.ENTRY, done) for _, one, done in told)
    if hole:
        yield (
            f"A change in DPS alone does not reach the hub: it cost {counted(hole, 'connection')} "
            "of an attacker. Two cures, either will do: delete the identity, or let the device "
            "provision with another certificate."
        )
    if out := sum(_count(one.lost, Act.DISABLED, done) for _, one, done in told):
        yield (
            "To disable in the hub is a good first aid and no cure: it keeps the true device out, "
            f"too, here {counted(out, 'time')}."
        )


def _count(devices: Iterable[str], act: Act, deeds: frozenset[Deed]) -> int:
    """To how many of these devices it was done."""
    return sum(act in _to(device, deeds) for device in devices)


def _ideas_of(number: int, one: Round) -> Iterator[str]:
    """Those that cost something in the very round."""
    if not one.acts and one.got_in:
        yield f"You waited in round {number}: an attacker got in {counted(one.got_in, 'time')}."
    if Act.REVOKED in one.acts and one.got_in:
        yield (
            f"The revocation list of round {number} kept nobody out, for neither DPS nor a hub "
            f"asks for one: an attacker got in {counted(one.got_in, 'time')} in that round."
        )
    if _count(one.dps, Act.DELETED, one.deeds):
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
