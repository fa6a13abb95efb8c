"""The switches of DPS are state of the workspace; and names that no hub may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from provisioning import emulated

from labkit.cloud.hub.names import RESERVED, hub_label
from labkit.errors import LabError

CHANGED: dict[str, Any] = {
    "allocation_policy": "static",
    "assignment_delay": 2.5,
    "retry_after": 7,
    "disabled_answer": "status",
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_switch_is_as_it_was_left_when_the_workspace_is_opened_again(
    tmp_path: Path, name: str
) -> None:
    """One that was not touched keeps its default; back at its default, it stays there too."""
    with emulated(tmp_path) as first:
        before = {switch: getattr(first.dps, switch) for switch in CHANGED}
        setattr(first.dps, name, CHANGED[name])
    with emulated(tmp_path) as second:
        found = {switch: getattr(second.dps, switch) for switch in CHANGED}
        assert found == {**before, name: CHANGED[name]}
        setattr(second.dps, name, before[name])
    with emulated(tmp_path) as third:
        assert getattr(third.dps, name) == before[name]


def test_limits_are_kept_each_by_itself_and_all_together(tmp_path: Path) -> None:
    """What was counted is not: it is of the last minute, in this process."""
    with emulated(tmp_path) as first:
        first.dps.limits.polling = True
        first.dps.limits.groups = 3
    with emulated(tmp_path) as second:
        limits = second.dps.limits
        assert (limits.polling, limits.throttling, limits.groups) == (True, False, 3)
        limits.on()
    with emulated(tmp_path) as third:
        assert third.dps.limits.throttling
        third.dps.limits.off()
    with emulated(tmp_path) as fourth:
        assert not any((fourth.dps.limits.throttling, fourth.dps.limits.polling))
        assert fourth.dps.limits.groups == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allocation_policy", "whim"),
        ("assignment_delay", -1),
        ("assignment_delay", float("nan")),
        ("retry_after", 0),
        ("retry_after", "3"),
        ("retry_after", True),
        ("disabled_answer", ""),
    ],
)
def test_what_no_switch_can_be_is_refused_and_nothing_changes(
    tmp_path: Path, name: str, value: object
) -> None:
    with emulated(tmp_path) as service:
        before = getattr(service.dps, name)
        with refused(LabError, f"{name} cannot be"):
            setattr(service.dps, name, value)
        assert getattr(service.dps, name) == before


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("form", ["{}", "{}.azure-devices.net"])
def test_a_hub_is_not_called_like_a_service_of_the_lab(name: str, form: str) -> None:
    """Its certificates would be those of DPS, and its keys too."""
    with refused(LabError, "cannot be the name of a hub"):
        hub_label(form.format(name.upper() if form == "{}" else name))
    assert hub_label(f"{name}-hub") == f"{name}-hub"
