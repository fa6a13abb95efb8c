"""A trust bundle is pushed to devices before the servers' root changes: over the real wire, by the
real SDK. What a device takes, what it refuses, and that it comes back by itself afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import forge
import pytest
from complaints import refused
from stories import PATIENCE, Story, eventually

from labkit.cloud.hub.trust_push import METHOD
from labkit.device import Device, trust_bundle
from labkit.errors import ServerNotTrusted, ServiceRefusal
from labkit.pki import chain


@pytest.fixture
def widget(story: Story) -> Iterator[Device]:
    """On its hub, and ready to take bundles."""
    story.widget.provision()
    story.widget.take_trust_bundles()
    yield story.widget.connect()
    story.widget.disconnect()


def call(story: Story, payload: Any) -> tuple[int, Any]:
    answer = story.lab.hub().invoke(story.widget.name, METHOD, payload)
    return answer.status, answer.payload


def trusted(widget: Device) -> str:
    return chain.to_pem(widget.trusted_roots)


# ---- the migration


def test_pushed_before_the_change_the_device_lives_through_it(story: Story, widget: Device) -> None:
    """Its connection breaks behind the change; the SDK makes the next one by itself."""
    server, hub = story.lab.server, story.lab.hub()
    new = server.new_root()
    pushed = server.push_trust_bundle(hub, widget.name)
    assert (pushed.installed, pushed.complete) == ((widget.name,), True)
    assert trusted(widget) == server.trust_bundle
    server.switch_root(new)
    assert hub.connections.end(hub.name, widget.name, "a line that broke")
    assert call_late(story, "ping") == 404, "it is there again, and has no such method"
    widget.disconnect()
    widget.connect().send("after the change")


def call_late(story: Story, name: str) -> int:
    hub = story.lab.hub()
    return hub.invoke(story.widget.name, name, connect_timeout=4 * PATIENCE).status


def test_without_the_push_the_same_change_shuts_it_out(story: Story, widget: Device) -> None:
    """The other half of the claim above: it is the push that helped."""
    story.lab.server.switch_root(story.lab.server.new_root())
    widget.disconnect()
    with refused(ServerNotTrusted, "did not trust the server"):
        widget.connect()


def test_a_job_reaches_all_devices_and_says_who_is_not_ready(story: Story, widget: Device) -> None:
    """One takes bundles, one has firmware that does not, one is away."""
    plain, away = (story.technician.make_device(f"widget-{name}") for name in ("plain", "away"))
    for device in (plain, away):
        device.provision()
    plain.on_method("reboot", lambda _: None)
    plain.connect()
    story.lab.server.new_root()
    try:
        pushed = story.lab.server.push_trust_bundle(story.lab.hub())
    finally:
        plain.disconnect()
    assert pushed.installed == (widget.name,)
    assert set(pushed.refused) == {plain.name}
    assert pushed.refused[plain.name].startswith(f"404 no method '{METHOD}'")
    assert pushed.not_reached == {away.name: "Timed out waiting for device to connect."}
    assert not pushed.complete
    assert "installed by 1" in repr(pushed)
    assert away.name in repr(pushed)
    assert story.lab.events.about(source="server", kind="pushed")


def test_a_device_that_comes_in_time_is_waited_for(story: Story, widget: Device) -> None:
    widget.disconnect()
    story.lab.server.new_root()
    job = story.lab.hub().jobs.invoke_method(
        "*", METHOD, {"roots": story.lab.server.trust_bundle}, connect_timeout=60, wait=False
    )
    widget.connect()
    eventually(lambda: story.lab.hub().jobs.get(job.id).is_over)
    assert trusted(widget) == story.lab.server.trust_bundle


def test_a_device_that_the_hub_does_not_know_is_an_error(story: Story) -> None:
    with refused(ServiceRefusal, "404001", "no identity"):
        story.lab.server.push_trust_bundle(story.lab.hub(), "nobody")


def test_twice_is_harmless_and_nothing_is_written_again(story: Story, widget: Device) -> None:
    before = len(story.lab.events.about(source="device", kind="installed"))
    for _ in range(2):
        assert story.lab.server.push_trust_bundle(story.lab.hub()).complete
    assert len(story.lab.events.about(source="device", kind="installed")) == before


# ---- what a device refuses


def test_a_bundle_that_would_cut_it_off_is_refused_unless_it_is_told(
    story: Story, widget: Device
) -> None:
    """Tried out on the server that it talks to, not compared with anything: the announced root is
    a good one, and too early."""
    before, new = trusted(widget), story.lab.server.new_root()
    status, told = call(story, {"roots": new.pem})
    assert (status, trusted(widget)) == (trust_bundle.CUT_OFF, before)
    assert "would be cut off" in told["error"]
    assert "unable to get local issuer certificate" in told["found"]
    assert "the old root and the new one" in told["cure"]
    assert call(story, {"roots": new.pem, "untried": True}) == (200, {"trusts": [new.name]})
    assert trusted(widget) == new.pem


def test_a_cross_signed_chain_lets_the_new_root_alone_pass(story: Story, widget: Device) -> None:
    """What counts is whether the handshake succeeds, by whichever way up."""
    new = story.lab.server.new_root()
    story.lab.server.switch_root(new, cross_signed=True)
    assert call(story, {"roots": new.pem}) == (200, {"trusts": [new.name]})


def unfit(story: Story) -> dict[str, Any]:
    good = story.lab.server.root_pem
    expired = forge.ca("Old Root", days=(-9 * 365, -8 * 365))
    leaf, issuing = story.lab.server.chain
    return {
        "no JSON object": good,
        "nothing": None,
        "no text": {"roots": [good]},
        "no PEM": {"roots": "trust me"},
        "no certificate": {"roots": ""},
        "a server's own certificate": {"roots": good + chain.to_pem([leaf])},
        "an issuing CA": {"roots": good + chain.to_pem([issuing])},
        "expired": {"roots": good + chain.to_pem([expired.certificate])},
        "too many": {"roots": good + "".join(pem(n) for n in range(trust_bundle.MOST_ROOTS))},
        "half a switch": {"roots": good, "untried": "yes"},
        "an expired one, untried": {
            "roots": chain.to_pem([expired.certificate]),
            "untried": True,
        },
    }


def pem(number: int) -> str:
    return chain.to_pem([forge.ca(f"Root {number}").certificate])


def test_what_is_no_trust_bundle_is_refused_with_a_cure(story: Story, widget: Device) -> None:
    before = trusted(widget)
    for what, payload in unfit(story).items():
        status, told = call(story, payload)
        assert status == trust_bundle.NO_STORE, what
        assert told["expected"], what
        assert told["found"] or told["cure"], what
        assert trusted(widget) == before, what


def test_where_there_is_no_server_to_try_it_on_nothing_is_installed(
    story: Story, widget: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trusted(widget)
    monkeypatch.setattr(trust_bundle, "MQTT_PORT", 1)
    status, told = call(story, {"roots": story.lab.server.root_pem + pem(1)})
    assert (status, trusted(widget)) == (trust_bundle.NOT_TRIED, before)
    assert "push it again later" in told["cure"]


def test_firmware_and_back_end_agree_on_the_method() -> None:
    assert trust_bundle.METHOD == METHOD
