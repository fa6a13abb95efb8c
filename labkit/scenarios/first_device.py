"""Lesson 01: the first device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.lab import Lab
from labkit.ui.check import Case

SECOND = "smart-x-widget-002"


def _count(lab: Lab) -> tuple[int, int]:
    return len(list(lab.dps.certificates)), len(list(lab.dps.enrollment_groups))


def second_widget(lab: Lab, answer: Any) -> Iterator[Case]:
    """A second device from the same line: nothing new has to be registered for it."""
    yield Case(
        f"it is a device named {SECOND}",
        lambda: answer.name == SECOND,
        f'technician.make_device("{SECOND}") makes it; assign that to second',
    )
    yield Case(
        "its key was born in a token of its own and cannot leave it",
        lambda: answer.key.token.label == SECOND and answer.key.attributes["NEVER_EXTRACTABLE"],
        "make_device sees to that: do not build the device by hand",
    )
    yield Case(
        "DPS assigned it to a hub",
        lambda: lab.dps.registrations.get(answer.name).status == "assigned",
        "let it ask: second.provision()",
    )
    yield Case(
        "the hub has a message from it",
        lambda: lab.hub().messages(answer.name),
        'second.connect().send({"temperature": 19.0})',
    )
    yield Case(
        "it took no second CA and no second enrollment group",
        lambda: answer.name and _count(lab) == (1, 1),
        "one verified CA and one group serve every device below it: add none",
    )
