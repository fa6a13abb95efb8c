"""Firmware that keeps an operational certificate, over the real wire: with Microsoft's client for
what it can, and the lab's own for what it cannot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from issuance_stories import POLICY, managed, set_policy
from stories import Story, eventually, failed_check

from labkit import Lab
from labkit.device.firmware import Decision, Step

ORDER, ASK_HUB, CONNECT, REPORT = Step.ORDER, Step.ASK_HUB, Step.CONNECT, Step.REPORT
FALL_BACK, REST = Step.FALL_BACK, Step.REST


@pytest.fixture
def running(story: Story) -> Iterator[Story]:
    """The widget has an operational certificate, is connected by it, and has said so."""
    managed(story)
    story.widget.firmware.configure(keep_operational=True)
    assert steps(story.widget.firmware.run()) == [ORDER, CONNECT, REPORT, REST]
    yield story
    story.widget.close()


def steps(decisions: list[Decision]) -> list[Step]:
    return [decision.step for decision in decisions]


def issued(story: Story) -> int:
    return len(story.lab.registry.namespaces.get("contoso").certificates())


@pytest.mark.parametrize(("at_hub", "step"), [(False, ORDER), (True, ASK_HUB)])
def test_it_renews_before_expiry_and_nobody_refuses_it(
    running: Story, at_hub: bool, step: Step
) -> None:
    widget, old = running.widget, running.widget.operational.certificate
    assert old is not None
    widget.firmware.configure(renew_at_hub=at_hub)
    running.lab.clock.advance(days=4)
    assert steps(widget.firmware.run()) == [REST], "not yet"
    running.lab.clock.advance(days=2)
    assert steps(widget.firmware.run()) == [step, CONNECT, REPORT, REST]
    assert widget.key.token.key_labels == ["identity", "operational 2"]
    assert widget.firmware.memory.refusals == 0
    running.lab.clock.advance(days=2)
    assert running.lab.clock.now() > old.not_valid_after_utc, "the old one is over"
    widget.disconnect()
    widget.connect().send({"after": "renewal"})


def test_what_the_hub_does_not_know_is_given_up_and_the_old_one_used_again(running: Story) -> None:
    """The enrollment names a policy whose CA nobody has brought to the hub. Once somebody has, the
    next attempt works."""
    lab, widget = running.lab, running.widget
    old = widget.operational.chain
    namespace = lab.registry.namespaces.get("contoso")
    namespace.policies.create("new", validity_days=7)
    set_policy(running, "new")
    lab.clock.advance(days=6)
    done = steps(widget.firmware.run())
    assert done[:2] == [ORDER, CONNECT]
    assert FALL_BACK in done
    assert done[-1] is REST
    assert widget.operational.chain == old
    assert widget.connected
    assert widget.key.token.key_labels == ["identity", "operational 1"]
    namespace.synchronize()
    lab.clock.advance(hours=12)
    widget.firmware.run()
    assert widget.operational.chain[1] == namespace.policies.get("new").certificate
    assert widget.connected
    assert widget.firmware.memory.missed == 1


def test_a_renewal_that_is_refused_is_told_in_the_twin_and_made_later(running: Story) -> None:
    lab, widget = running.lab, running.widget
    lab.registry.namespaces.get("contoso").policies.delete(POLICY)
    lab.clock.advance(days=6)
    assert steps(widget.firmware.run()) == [ORDER, REPORT, REST]
    assert lab.dashboard().failures == 1
    assert issued(running) == 1


def test_a_disabled_device_is_out_and_gets_nothing(running: Story) -> None:
    lab, widget = running.lab, running.widget
    lab.hub().devices.disable(widget.name, "stolen")
    eventually(lambda: not widget.connected)
    for _ in range(10):
        lab.clock.advance(days=1)
        widget.firmware.run()
    assert not widget.connected
    assert issued(running) == 1
    assert failed_check(lab, widget) == "the hub has not disabled the device's identity"
    lab.hub().devices.enable(widget.name)
    lab.clock.advance(days=1)
    assert steps(widget.firmware.run())[-3:] == [CONNECT, REPORT, REST]
    assert widget.connected


def test_it_goes_on_when_the_lab_is_opened_again(running: Story) -> None:
    """Policies, memory, certificate and what the twin was told are in its flash."""
    path, name = running.lab.path, running.widget.name
    running.lab.close()
    with Lab.open(path) as again:
        widget = again.device(name)
        assert steps(widget.firmware.run()) == [CONNECT, REST]
        again.clock.advance(days=6)
        assert steps(widget.firmware.run()) == [ORDER, CONNECT, REPORT, REST]
        assert again.dashboard().renewals == 1
