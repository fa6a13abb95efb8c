"""The exercise of the breach drill: each way that holds is accepted, each mistake is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import Lab
from labkit.device import Device
from labkit.drill import Incident
from labkit.scenarios.breach_drill import CARELESS, GROUP, VICTIM, begin, contained
from labkit.ui.check import Report

Way = Callable[[Lab, Device], object]


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    yield
    Lab.open("breach-drill").close()


def admit(lab: Lab, widget: Device) -> None:
    """A new certificate on the device, and an entry of its own that names it."""
    (technician,) = lab.custodian("Technician-Z").authorities()
    lab.dps.enrollments.create(widget.name, certificate=widget.renew(technician))


def and_provision(lab: Lab, widget: Device) -> None:
    admit(lab, widget)
    widget.provision()


def and_delete(lab: Lab, widget: Device) -> None:
    admit(lab, widget)
    lab.hub().devices.delete(widget.name)


def and_tell_the_hub(lab: Lab, widget: Device) -> None:
    admit(lab, widget)
    lab.hub().devices.update(widget.name, certificate=widget.certificate)


def lock_out(lab: Lab, widget: Device) -> None:
    lab.dps.enrollments.create(widget.name, certificate=widget.certificate, status="disabled")
    lab.hub().devices.delete(widget.name)


def done(lab: Lab, answer: object) -> int:
    return Report("contained", answer, contained(lab, answer)).done


def played(way: Way, *robbed: str, rounds: int = 2) -> tuple[Lab, Incident]:
    lab = begin(*robbed)
    for name in robbed:
        way(lab, lab.device(name))
    incident = lab.incident()
    for _ in range(rounds):
        incident.round()
    return lab, incident


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("way", [and_provision, and_delete, and_tell_the_hub])
def test_each_way_that_holds_is_accepted(way: Way) -> None:
    lab, incident = played(way, *CARELESS)
    assert done(lab, incident) == 6
    assert incident.score.points == 100


@pytest.mark.usefixtures("home")
def test_each_mistake_is_caught_by_its_case() -> None:
    lab, incident = played(and_provision, VICTIM, rounds=0)
    assert [done(lab, answer) for answer in (..., None, object(), [incident])] == [0] * 4
    assert done(lab, incident) == 1, "one widget alone was robbed"
    lab, incident = played(and_provision, *CARELESS, rounds=1)
    assert done(lab, incident) == 2
    lab, incident = played(admit, *CARELESS, rounds=2)
    assert done(lab, incident) == 5, "the hub let them in once"
    lab, incident = played(lock_out, *CARELESS)
    assert done(lab, incident) == 4, "out are the widgets, too"
    lab, incident = played(lambda *_: None, *CARELESS)
    assert done(lab, incident) == 3
    assert lab.dps.enrollment_groups.get(GROUP).enabled
