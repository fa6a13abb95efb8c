"""Lesson 10: who is heard while nobody is there, by what a hub knows a device, and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from performing import Stage
from stories import CA, Story, enroll, supply_chain

from labkit import Lab
from labkit.cloud.hub import authentication
from labkit.device import Device
from labkit.pki import request, verdict
from labkit.scenarios.talking_to_the_hub import (
    FIRST,
    FLEET,
    HUB,
    PARTNER,
    SECOND,
    SENSORS,
    STORY,
    THIRD,
    by_its_ca,
)
from labkit.ui.check import Report
from labkit.ui.performance import Frame, Performance
from labkit.ui.scene import scene_of

READY, SENT, SET, AWAY, HEARD, JOB, ALONE, RENEWED, CURED, BY_CA, ALL, CUT, END = range(1, 14)
HUB_CA = f"hub ca {HUB}/company-x"


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def identity(frame: Frame, name: str) -> dict[str, Any]:
    found: dict[str, Any] = frame.graph.nodes[f"identity {HUB}/{name}"]
    return found


def added(play: Performance, step: int, source: str, kind: str) -> list[str]:
    """What a step added to the events of one kind."""
    before = len(play.frames[step - 1].events)
    return [
        event.text
        for event in play.frames[step].events[before:]
        if (event.source, event.kind) == (source, kind)
    ]


# ---- the story's promises: what they say to each other


def test_the_hub_asks_nobody_about_a_device_that_connects(play: Performance) -> None:
    before = len(play.frames[READY].events)
    sources = {event.source for event in play.frames[SENT].events[before:]}
    assert "hub" in sources
    assert "dps" not in sources


def test_the_setting_waited_in_the_twin(play: Performance) -> None:
    twin = play.lab.hub().twin(FIRST)
    assert (twin.desired["interval"], twin.reported["interval"]) == (30, 30)


def test_the_message_waited_and_the_method_did_not(play: Performance) -> None:
    assert added(play, AWAY, "device", "method") == []
    assert added(play, HEARD, "device", "message") == [
        f'{SECOND} received {{"notice": "maintenance at noon"}}'
    ]
    assert added(play, HEARD, "device", "method") == [f"{SECOND} answers blink with 200"]


def test_the_job_is_completed_though_one_was_away(play: Performance) -> None:
    (job,) = play.lab.hub().jobs
    assert (job.status, dict(job.counts)) == ("completed", {"completed": 2, "failed": 1})
    (failed,) = (p for p in play.lab.hub().jobs.outcomes(job.id) if p.status == "failed")
    assert failed.device_id == THIRD


# ---- by what the hub knows them


def test_the_picture_says_who_is_connected_and_by_what_it_is_known(play: Performance) -> None:
    states = [identity(play.frames[step], FIRST)["state"] for step in (READY, SENT, RENEWED)]
    assert states == ["enabled", "connected", "enabled"]
    assert identity(play.frames[CURED], FIRST)["detail"] == "thumbprint, 3 messages"
    assert identity(play.frames[BY_CA], THIRD)["detail"] == "CA chain"
    assert HUB_CA not in play.frames[CURED].graph
    assert play.frames[BY_CA].graph.nodes[HUB_CA]["state"] == "verified"


def test_by_thumbprint_the_chain_is_not_asked_for(play: Performance) -> None:
    assert "holds 1 of 3" in play.frames[ALONE].graph.nodes[f"device {FIRST}"]["detail"]
    assert identity(play.frames[ALONE], FIRST)["state"] == "connected"


@pytest.mark.parametrize(
    ("step", "check", "state"),
    [
        (RENEWED, authentication.THUMBPRINT, "not named"),
        (CUT, verdict.ISSUER, "untrusted issuer"),
    ],
)
def test_one_return_code_for_two_faults_and_the_picture_tells_them_apart(
    play: Performance, step: int, check: str, state: str
) -> None:
    frame = play.frames[step]
    assert frame.explanation is not None
    assert frame.explanation.failure is not None
    assert (frame.explanation.answer, frame.explanation.failure.name) == (
        "401 401003: IotHubUnauthorized",
        check,
    )
    assert frame.graph.graph["title"] == f"{FIRST} is refused by {HUB}"
    assert frame.graph.nodes[f"device {FIRST}"]["state"] == state


def test_where_the_player_says_that_a_check_failed(play: Performance) -> None:
    failed = {}
    for step in (RENEWED, CUT):
        play.go_to(step)
        failed[step] = scene_of(play, 0)["failed"]
    play.go_to(play.steps)
    assert failed == dict.fromkeys((RENEWED, CUT), f"device {FIRST}")


def test_renewed_certificates_change_nothing_in_a_hub_that_holds_the_ca(play: Performance) -> None:
    before, after = play.frames[BY_CA], play.frames[ALL]
    for name in FLEET:
        one, other = (frame.inspections[f"device {name}"].certificate for frame in (before, after))
        assert one != other
    events = after.events[len(before.events) :]
    assert not [event for event in events if event.kind in ("updated", "assigned")]
    assert all(identity(after, name)["state"] == "connected" for name in FLEET)


def test_in_the_end_all_is_well(play: Performance) -> None:
    assert len(play.lab.hub().connected()) == len(FLEET)
    assert not [n for n, d in play.frames[END].graph.nodes(data=True) if d["state"] == "not sent"]


@pytest.mark.parametrize(
    ("step", "place", "label"),
    [
        (RENEWED, 0, "Provision again and connect"),
        (RENEWED, 1, "Put the new thumbprint into the identity and connect"),
        (CUT, 0, "Install the factory's chain and connect"),
    ],
)
def test_the_story_goes_on_after_a_cure_by_the_button(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, place: int, label: str
) -> None:
    """What a hub refused is cured at the hub: a device that provisions would change more."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    played = Performance(STORY)
    with played.lab:
        played.go_to(step)
        known_by = played.lab.hub().devices.get(FIRST).authentication
        assert played.frame.remedies[place].label == label
        assert "**is connected**" in played.cure(place).narration
        assert identity(played.frame, FIRST)["state"] == "connected"
        assert played.lab.hub().devices.get(FIRST).authentication == known_by
        played.go_to(END)
        assert [f.step for f in played.frames if f.failure] == [AWAY, RENEWED, CUT]


# ---- the exercise


def done(lab: Lab, answer: Any) -> int:
    return Report("by-its-ca", answer, by_its_ca(lab, answer)).done


@pytest.fixture
def partner(lab: Lab) -> CA:
    """As the lesson leaves it: DPS has assigned two sensors of the partner's."""
    company = lab.custodian(PARTNER).create_root_ca()
    enroll(lab, company, "company-w", "sensors-of-w")
    for name in SENSORS:
        company.make_device(name).provision()
    return company


@pytest.fixture
def sensors(lab: Lab, partner: CA) -> list[Device]:
    return [lab.device(name) for name in SENSORS]


def trust(lab: Lab, ca: CA) -> None:
    entry = lab.hub().certificates.upload("company-w", ca.certificate)
    lab.hub().certificates.verify(entry, ca.prove_possession(entry.verification_code))


def renew(ca: CA, device: Device) -> None:
    device.install_chain(ca.sign_device(request.make(device.key, request.name(device.name))))


def test_each_part_counts_and_none_before_the_one_ahead_of_it(
    lab: Lab, partner: CA, sensors: list[Device]
) -> None:
    assert done(lab, sensors) == 1
    lab.hub().certificates.upload("company-w", partner.certificate)
    assert done(lab, sensors) == 1, "an upload is no proof"
    trust(lab, partner)
    assert done(lab, sensors) == 2
    for sensor in sensors:
        lab.hub().devices.update(sensor.name, ca=True)
    assert done(lab, sensors) == 3
    for sensor in sensors:
        sensor.connect().send({"humidity": 40})
    assert done(lab, sensors) == 3, "with the certificates of the first day"
    for sensor in sensors:
        renew(partner, sensor)
    assert done(lab, sensors) == 4, "they have not come with the new ones yet"
    for sensor in sensors:
        sensor.disconnect()
        sensor.connect()
    assert done(lab, sensors) == 6


def test_a_sensor_that_provisions_again_is_known_by_its_thumbprint_again(
    lab: Lab, partner: CA, sensors: list[Device]
) -> None:
    trust(lab, partner)
    for sensor in sensors:
        lab.hub().devices.update(sensor.name, ca=True)
        renew(partner, sensor)
        sensor.provision()
    assert done(lab, sensors) == 2


def test_other_devices_are_not_the_partner_s(lab: Lab) -> None:
    story: Story = supply_chain(lab)
    assert done(lab, [story.widget, story.widget]) == 0


@pytest.mark.parametrize("answer", [..., None, "ab", (), [1, 2], object()])
def test_nothing_that_is_handed_in_raises_or_counts(lab: Lab, answer: Any) -> None:
    before = [custodian.name for custodian in lab.custodians]
    assert done(lab, answer) == 0
    assert [custodian.name for custodian in lab.custodians] == before, "a check makes nothing"
