"""The book of refusals."""

from __future__ import annotations

import pytest
from complaints import refused
from stories import Story

from labkit import Lab
from labkit.cloud import Presented, codes
from labkit.cloud import refusals as book
from labkit.errors import NotFound
from labkit.trace import failed

CHECK = failed("a rule", "widget", "it was not kept", "keep it", source="the rules")


def refuse(lab: Lab, device: str = "widget", presented: Presented = Presented()) -> str:  # noqa: B008
    found = lab.cloud.refusals.refuse("dps", device, codes.UNAUTHORIZED, (CHECK,), presented)
    return found.tracking_id


def test_a_refusal_is_found_by_its_tracking_id_with_all_that_was_looked_at(story: Story) -> None:
    presented = Presented(tuple(story.widget.chain))
    row = story.lab.cloud.refusals.find(refuse(story.lab, presented=presented))
    assert row.checks == (CHECK,)
    assert row.chain == presented.chain
    assert (row.status, row.code, row.message) == (401, "401002", "Unauthorized")


def test_each_has_a_tracking_id_of_its_own(lab: Lab) -> None:
    assert refuse(lab) != refuse(lab)


def test_the_last_comes_first_and_one_device_is_told_from_another(lab: Lab) -> None:
    ids = [refuse(lab, device) for device in ("a", "b", "a")]
    assert [row.tracking_id for row in lab.cloud.refusals.recent()] == ids[::-1]
    assert [row.tracking_id for row in lab.cloud.refusals.recent("a")] == [ids[2], ids[0]]
    last = lab.cloud.refusals.last("b")
    assert last is not None
    assert last.tracking_id == ids[1]
    assert lab.cloud.refusals.last("c") is None


def test_the_oldest_make_room(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "KEPT", 3)
    ids = [refuse(lab) for _ in range(5)]
    assert lab.cloud.refusals.count() == 3
    with refused(NotFound, "workspace: 3"):
        lab.cloud.refusals.find(ids[0])


def test_it_is_told_in_the_events_with_its_reason(lab: Lab) -> None:
    tracking_id = refuse(lab)
    event = lab.events.about(source="dps", kind="refused")[-1]
    assert "it was not kept" in event.text
    assert event.details["tracking_id"] == tracking_id
