"""What can be stolen, what cannot, and what becomes of whoever speaks with it: over the wire, with
Microsoft's own client on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused
from stories import Story, eventually, found_again, open_lab

from labkit import Lab
from labkit.device import Device
from labkit.drill import loot
from labkit.drill.attempts import GOT_IN
from labkit.errors import LabError, NotFound

CARELESS, CAREFUL = "smart-x-widget-002", "smart-x-widget-001"
HUB = "contoso-hub"


@pytest.fixture
def careless(story: Story) -> Device:
    """A device with its key in a file, at work."""
    widget = story.technician.make_device(CARELESS, key_in_file=True)
    widget.provision()
    return widget


def test_a_key_in_a_file_is_stolen_and_speaks_as_the_device(story: Story, careless: Device) -> None:
    """At DPS and at the hub; the device itself notices nothing, and has done nothing."""
    mallory = story.lab.attacker()
    found = mallory.steal(careless)
    assert found.has_key
    assert [check.name for check in found.account] == [loot.CERTIFICATES, loot.KEY_FILE]
    assert "its private key" in str(found)
    assert mallory.try_dps().got_in
    assert mallory.try_hub().got_in
    mallory.as_device().connect().send({"from": "Mallory"})
    assert [m.text for m in story.lab.hub().messages(CARELESS)] == ['{"from": "Mallory"}']


def test_a_key_in_a_token_is_not_stolen_and_the_loot_tells_what_was_tried(story: Story) -> None:
    """The flash, the token's two ways out, and a copy of the token's files: each says no."""
    mallory = story.lab.attacker()
    found = mallory.steal(story.widget)
    assert not found.has_key
    assert list(found.chain) == story.widget.chain
    tried = {check.name: check for check in found.account if check.failed}
    assert list(tried) == [loot.KEY_FILE, loot.GIVES_OUT, loot.OPENS]
    assert "CKR_ATTRIBUTE_SENSITIVE" in tried[loot.GIVES_OUT].why
    assert "CKR_KEY_UNEXTRACTABLE" in tried[loot.GIVES_OUT].why
    assert "CKR_PIN_INCORRECT" in tried[loot.OPENS].why
    assert "no key: that stays where it was born" in str(found)


def test_with_another_key_tls_ends_the_handshake(story: Story) -> None:
    """The certificates are not enough: no service ever hears a name, at DPS as at the hub."""
    story.widget.provision()
    mallory = story.lab.attacker()
    mallory.steal(story.widget)
    for attempt in (mallory.try_dps(), mallory.try_hub()):
        assert attempt.outcome == "ended in TLS"
        assert story.lab.explain(attempt.tracking_id).in_tls
    assert story.lab.hub().connected() == []


def test_attempts_are_counted_and_kept_with_when_and_where_and_why(
    story: Story, careless: Device
) -> None:
    lab, mallory = story.lab, story.lab.attacker()
    mallory.steal(careless)
    before = lab.clock.now()
    mallory.try_dps()
    lab.dps.enrollment_groups.delete("smart-x-widgets")
    mallory.try_dps()
    first, second = mallory.attempts
    assert (first.outcome, first.where, first.answer) == (GOT_IN, "DPS", "")
    assert second.outcome == "refused"
    assert second.answer.startswith("401 401002")
    assert lab.explain(second.tracking_id).failure is not None
    assert before <= first.at <= first.ended <= second.at <= second.ended <= lab.clock.now()


def test_the_attacker_ends_the_devices_connection(
    story: Story, careless: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection an identity: what the device knows of it is a broken line, what the lab
    tells is Azure's 400027. A device that came back by itself would end the attacker's in turn,
    sooner than anybody looks."""
    monkeypatch.setattr(type(careless), "_reconnects", False)
    lab, mallory = story.lab, story.lab.attacker()
    careless.connect()
    mallory.steal(careless)
    attempt = mallory.try_hub(stay=True)
    assert attempt.displaced
    assert "the device was cut off" in repr(attempt)
    eventually(lambda: not careless.connected)
    assert lab.explain(careless).answer.startswith("400 400027")
    (event,) = lab.events.about(source="attacker", kind=GOT_IN)
    assert "the device's own connection ended" in event.text
    careless.disconnect()
    assert not mallory.try_hub().displaced, "there is nothing to displace"


def test_loot_and_attempts_are_there_when_the_lab_is_opened_again(
    told: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        widget = found_again(lab).technician.make_device(CARELESS, key_in_file=True)
        lab.attacker().steal(widget)
        lab.attacker().try_dps()
    with open_lab(tmp_path / "lab") as lab:
        (mallory,) = lab.attackers
        assert repr(mallory) == f"<Attacker 'Mallory': the key of {CARELESS}>"
        assert [attempt.outcome for attempt in mallory.attempts] == [GOT_IN]
        assert mallory.try_hub().got_in


def test_a_stolen_key_is_not_lost_when_the_device_has_no_file_any_more(
    story: Story, careless: Device
) -> None:
    mallory = story.lab.attacker()
    mallory.steal(careless)
    (story.lab.path / "devices" / CARELESS / "identity.key.pem").unlink()
    assert mallory.steal(careless).has_key
    assert mallory.try_dps().got_in


def test_trying_goes_on_in_the_background_and_ends_when_told(
    story: Story, careless: Device
) -> None:
    mallory = story.lab.attacker()
    mallory.steal(careless)
    with mallory.keeps_trying(every=0.05) as siege:
        eventually(lambda: siege.done)
    done = len(mallory.attempts)
    assert not siege.running
    assert siege.failure is None
    assert {attempt.service for attempt in mallory.attempts} == {"dps", HUB}
    assert len(mallory.attempts) == done, "nothing is tried behind its end"


def test_trying_is_bounded(story: Story, careless: Device) -> None:
    mallory = story.lab.attacker()
    mallory.steal(careless)
    siege = mallory.keeps_trying(every=0.05, most=2, hub=False)
    assert siege.wait()
    assert len(mallory.attempts) == 2
    for bounds in ({"every": 0.0}, {"every": 1e9}, {"most": 0}, {"most": 10**6}):
        with refused(LabError, "Nobody can keep trying so", "every=0.5"):
            mallory.keeps_trying(**bounds)  # type: ignore[arg-type]


def test_an_attacker_leaves_with_its_lab(told: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        widget = found_again(lab).technician.make_device(CARELESS, key_in_file=True)
        lab.attacker().steal(widget)
        siege = lab.attacker().keeps_trying(every=0.05)
    assert not siege.running


def test_who_has_stolen_nothing_is_told_so(lab: Lab) -> None:
    with refused(NotFound, "Whom shall they play?", "steal first"):
        lab.attacker().try_dps()
    with refused(NotFound, "has nothing of widget", "steal first"):
        lab.attacker().try_hub(device="widget")


def test_without_a_hub_there_is_nothing_to_connect_to(story: Story) -> None:
    """The flash of a device that was never provisioned tells of none; by its name it is found,
    and says that it has no such identity."""
    lab = story.lab
    mallory = lab.attacker()
    mallory.steal(story.technician.make_device(CARELESS, key_in_file=True))
    with refused(LabError, "knows of no hub", "try_dps"):
        mallory.try_hub()
    attempt = mallory.try_hub(HUB)
    assert (attempt.service, attempt.outcome) == (HUB, "refused")


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "x" * 33, " Mallory"])
def test_a_name_that_could_be_a_path_is_none(lab: Lab, name: str) -> None:
    with refused(LabError, "cannot be the name of an attacker"):
        lab.attacker(name)
