"""An attacker on the board: what they have, where they come to, and how often they got in."""

from __future__ import annotations

import pytest
from stories import Story

from labkit.drill import Attacker, Attempt
from labkit.graph import Picture
from labkit.graph.intruder import node_of
from labkit.graph.model import of_lab
from labkit.ui.inspector import inspect_all

NAME = "smart-x-widget-002"
GROUP, IDENTITY = "group smart-x-widgets", f"identity contoso-hub/{NAME}"


def note(mallory: Attacker, service: str, *outcomes: str) -> None:
    """Attempts of which the book knows, without a client that makes them."""
    place = mallory._grounds
    for outcome in outcomes:
        now = place.clock.now()
        place.attempts.add(Attempt(mallory.name, NAME, service, now, now, outcome))


@pytest.fixture
def robbed(story: Story) -> tuple[Story, Attacker]:
    """A device with its key in a file, provisioned and robbed."""
    widget = story.technician.make_device(NAME, key_in_file=True)
    widget.provision()
    mallory = story.lab.attacker()
    mallory.steal(widget)
    return story, mallory


def test_a_lab_without_attackers_has_none_on_its_board(story: Story) -> None:
    graph = of_lab(story.lab)
    assert not [data for _, data in graph.nodes(data=True) if data["kind"] == "attacker"]


def test_the_card_says_what_they_have(robbed: tuple[Story, Attacker]) -> None:
    story, mallory = robbed
    data = of_lab(story.lab).nodes[node_of(mallory)]
    assert (data["state"], data["detail"]) == ("has a key", f"key of {NAME}")
    trudy = story.lab.attacker("Trudy")
    assert of_lab(story.lab).nodes[node_of(trudy)]["detail"] == "attacker · has stolen nothing"
    trudy.steal(story.widget)
    data = of_lab(story.lab).nodes[node_of(trudy)]
    assert (data["state"], data["detail"]) == (
        "has no key",
        "certificates of smart-x-widget-001",
    )


def test_a_link_says_how_often_they_got_in_and_is_broken_when_they_do_not_any_more(
    robbed: tuple[Story, Attacker],
) -> None:
    story, mallory = robbed
    note(mallory, "dps", "got in", "refused", "ended in TLS")
    note(mallory, "contoso-hub", "refused", "got in", "got in")
    edges = of_lab(story.lab).edges
    at_dps, at_hub = edges[node_of(mallory), GROUP], edges[node_of(mallory), IDENTITY]
    assert (at_dps["label"], at_dps["broken"]) == ("got in 1 of 3", True)
    assert (at_hub["label"], at_hub["broken"]) == ("got in 2 of 3", False)


def test_the_link_goes_to_the_devices_own_entry_also_when_that_was_deleted(
    robbed: tuple[Story, Attacker],
) -> None:
    story, mallory = robbed
    note(mallory, "dps", "got in")
    story.lab.dps.enrollments.create(NAME, certificate=story.lab.device(NAME).certificate)
    assert (node_of(mallory), f"enrollment {NAME}") in of_lab(story.lab).edges
    story.lab.dps.enrollments.delete(NAME)
    assert (node_of(mallory), f"enrollment {NAME}") in of_lab(story.lab).edges


def test_without_an_identity_the_link_goes_to_the_hub(robbed: tuple[Story, Attacker]) -> None:
    story, mallory = robbed
    note(mallory, "contoso-hub", "refused")
    story.lab.hub().devices.delete(NAME)
    assert (node_of(mallory), "hub contoso-hub") in of_lab(story.lab).edges


def test_the_words_tell_the_same(robbed: tuple[Story, Attacker]) -> None:
    story, mallory = robbed
    note(mallory, "dps", "got in", "refused")
    note(mallory, "contoso-hub", "got in")
    text = Picture.of(of_lab(story.lab)).text
    (line,) = (line for line in text.splitlines() if line.startswith("- Mallory"))
    assert line == (
        f"- Mallory, attacker, has a key, key of {NAME}; comes to smart-x-widgets: got in 1 "
        f"of 2, kept out the last time; comes to {NAME}: got in 1, got in the last time."
    )


def test_the_headline_tells_who_it_was_that_dps_took_for_the_device(
    robbed: tuple[Story, Attacker],
) -> None:
    story, mallory = robbed
    assert of_lab(story.lab).graph["title"] == f"{NAME} is provisioned"
    mallory.try_dps()
    assert of_lab(story.lab).graph["title"] == f"Mallory is taken for {NAME}"
    story.lab.device(NAME).provision()
    assert of_lab(story.lab).graph["title"] == f"{NAME} is provisioned"


def test_the_inspector_knows_loot_and_attempts(robbed: tuple[Story, Attacker]) -> None:
    story, mallory = robbed
    note(mallory, "contoso-hub", "got in")
    story.lab.dps.enrollment_groups.delete("smart-x-widgets")
    mallory.try_dps()
    facts = inspect_all(story.lab)[node_of(mallory)].facts
    assert ("has stolen", f"the certificates of {NAME}, and its private key") in facts
    assert ("at DPS", f"as {NAME}: kept out 1") in facts
    assert ("at contoso-hub", f"as {NAME}: got in 1") in facts
    assert any(value.startswith("401 401002") for name, value in facts if name == "the last answer")
    key = dict(inspect_all(story.lab)[f"device {NAME}"].facts)["private key"]
    assert key.startswith("in a file of its flash")


def test_a_fleet_and_its_attacker_are_drawn(story: Story) -> None:
    """The identity is one of many in a fold; the link goes there, and keeps its numbers."""
    names = [f"fleet-{number}" for number in range(1, 7)]
    for name in names:
        story.lab.hub().devices.create(name)
    widget = story.technician.make_device(NAME, key_in_file=True)
    widget.provision()
    mallory = story.lab.attacker()
    mallory.steal(widget)
    note(mallory, "contoso-hub", "got in", "refused")
    svg = Picture.of(of_lab(story.lab)).svg
    assert 'data-kind="attacks"' in svg
    assert ">got in 1/2</text>" in svg
