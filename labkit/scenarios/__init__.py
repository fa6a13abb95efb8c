"""The lessons' own code: the story that each plays, and what its exercises ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import NotFound
from labkit.lab import Lab
from labkit.progress import note
from labkit.scenarios import (
    acquire,
    breach_drill,
    ca_roll,
    certificate_management,
    device_roll,
    disallow,
    enrollment_groups,
    first_boot,
    first_connection,
    first_device,
    individual_enrollment,
    keys,
    manufacturing_line,
    possession,
    reprovision,
    server_root,
    supply_chain,
    talking_to_the_hub,
)
from labkit.ui.check import Case, Report
from labkit.ui.scenario import Scenario

if TYPE_CHECKING:
    from labkit.ui.player import Player


@dataclass(frozen=True, slots=True)
class _Exercise:
    """``story`` is the lesson's: the trainee works in a lab of the same name and clock."""

    story: Scenario
    cases: Callable[[Lab, Any], Iterable[Case]]


_EXERCISES = {
    "second-widget": _Exercise(first_device.STORY, first_device.second_widget),
    "signed-release": _Exercise(keys.STORY, keys.signed_release),
    "bought-ca": _Exercise(acquire.STORY, acquire.bought_ca),
    "proven-intermediate": _Exercise(possession.STORY, possession.proven_intermediate),
    "own-line": _Exercise(supply_chain.STORY, supply_chain.own_line),
    "smallest-buffer": _Exercise(manufacturing_line.STORY, manufacturing_line.smallest_buffer),
    "both-ways": _Exercise(first_connection.STORY, first_connection.both_ways),
    "two-certificates": _Exercise(
        individual_enrollment.STORY, individual_enrollment.two_certificates
    ),
    "workshop": _Exercise(enrollment_groups.STORY, enrollment_groups.workshop),
    "by-its-ca": _Exercise(talking_to_the_hub.STORY, talking_to_the_hub.by_its_ca),
    "next-root": _Exercise(server_root.STORY, server_root.next_root),
    "without-a-gap": _Exercise(device_roll.STORY, device_roll.without_a_gap),
    "nobody-left-behind": _Exercise(ca_roll.STORY, ca_roll.nobody_left_behind),
    "moved-fleet": _Exercise(reprovision.STORY, reprovision.moved_fleet),
    "one-stolen": _Exercise(disallow.STORY, disallow.one_stolen),
    "contained": _Exercise(breach_drill.STORY, breach_drill.contained),
    "own-profile": _Exercise(first_boot.STORY, first_boot.own_profile),
    "kept-valid": _Exercise(certificate_management.STORY, certificate_management.kept_valid),
}


_STORIES = {
    story.name: story
    for story in (
        first_device.STORY,
        keys.STORY,
        acquire.STORY,
        possession.STORY,
        supply_chain.STORY,
        manufacturing_line.STORY,
        first_connection.STORY,
        individual_enrollment.STORY,
        enrollment_groups.STORY,
        talking_to_the_hub.STORY,
        server_root.STORY,
        device_roll.STORY,
        ca_roll.STORY,
        reprovision.STORY,
        disallow.STORY,
        breach_drill.STORY,
        first_boot.STORY,
        certificate_management.STORY,
    )
}


def play(name: str) -> Player:
    """A lesson's story, from its beginning, in a lab of its own. Raises NotFound."""
    from labkit.ui.player import Player  # late: the widgets are slow to import

    if name not in _STORIES:
        raise NotFound(f"There is no story {name!r}", found=", ".join(sorted(_STORIES)))
    return Player(_STORIES[name])


def check(name: str, answer: object) -> Report:
    """Looks at what a trainee made in the lesson's lab, and remembers how far that is.

    Raises nothing for an answer, whatever it is; NotFound where the lesson itself names an
    exercise that does not exist.
    """
    if name not in _EXERCISES:
        raise NotFound(f"There is no exercise {name!r}", found=", ".join(sorted(_EXERCISES)))
    exercise = _EXERCISES[name]
    story = exercise.story
    lab = Lab.open(story.name, clock=story.clock, hubs=story.hubs)
    report = Report(name, answer, exercise.cases(lab, answer))
    note(lab.path, "exercise", name, report.done, len(report.cases))
    return report


__all__ = ["check", "play"]
