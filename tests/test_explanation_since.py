"""An explanation says that a refusal is over where that is true: the same service has let in the
same key since. A name alone proves nothing, and neither does the lab's clock."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import forge
import pytest
from complaints import refused
from forge import Forged
from provisioning import Emulated, emulated, token
from stories import Story

from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.cloud.hub import Hub
from labkit.errors import ConnectionFailed, NotFound, ProvisioningFailed, ServiceRefusal
from labkit.explanation import explained

NAME = "widget-1"
DPS = "Since then DPS has let it in, with the same key."


# ---- in a lab, with Microsoft's client


def test_a_device_that_was_mended_is_told_so_by_the_service_that_refused_it(story: Story) -> None:
    """In text and HTML, in whatever way it is asked for; and no more once it is refused again."""
    lab, widget = story.lab, story.widget
    sound = widget.chain
    widget.install_chain(sound[:1])
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    first = lab.explain(widget)
    assert first.since == ""
    assert "Since then" not in str(first)
    widget.install_chain(sound)
    widget.provision()
    for way in (widget, widget.name, None, first.tracking_id):
        assert str(lab.explain(way)) == f"{first}\n{DPS}"
    assert f"<p>{DPS}</p>" in lab.explain(widget)._repr_mimebundle_()["text/html"]
    widget.install_chain(sound[:1])
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    for again in (widget, first.tracking_id):
        assert lab.explain(again).since == ""


def test_dps_does_not_speak_for_the_hub(story: Story) -> None:
    lab, widget, devices = story.lab, story.widget, story.lab.hub().devices
    widget.provision()
    devices.disable(widget.name)
    with pytest.raises(ConnectionFailed):
        widget.connect()
    devices.enable(widget.name)
    widget.provision()
    assert lab.explain(widget).since == ""
    widget.connect()
    told = "Since then contoso-hub has let it in, with the same key."
    assert lab.explain(widget).since == told


def test_a_thief_without_the_key_is_not_let_in_when_the_device_is(story: Story) -> None:
    """TLS ends it: what was shown is kept, the device's own certificate, and no service's no."""
    mallory = story.lab.attacker()
    mallory.steal(story.widget)
    assert not mallory.try_dps().got_in
    story.widget.provision()
    found = story.lab.explain()
    assert found.in_tls
    assert found.since == ""


def test_of_a_renewed_device_nothing_is_said(story: Story) -> None:
    """Whether the old key would be let in today is not known: another one was."""
    lab, widget = story.lab, story.widget
    lab.dps.enrollment_groups.disable("smart-x-widgets")
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    lab.dps.enrollment_groups.enable("smart-x-widgets")
    widget.renew(story.technician)
    widget.provision()
    assert lab.explain(widget).since == ""


# ---- without sockets: one world, one device below a CA that DPS knows


class World:
    """``ok`` registers the device, ``no`` has it refused: its enrollment is switched off for so
    long."""

    def __init__(self, service: Emulated) -> None:
        self.service, self.dps = service, service.dps
        self.root = forge.ca("Company-X")
        self.device = forge.device(NAME, self.root)
        service.trust(self.root)
        self.dps.enrollment_groups.create("fleet", signing=self.root.certificate)

    def ok(self, device: Forged | None = None) -> None:
        self.service.register(NAME, device or self.device)

    def no(self, device: Forged | None = None) -> str:
        """Its tracking ID."""
        self.dps.enrollment_groups.disable("fleet")
        self.service.refusal(NAME, device or self.device)
        self.dps.enrollment_groups.enable("fleet")
        return self.last

    @property
    def last(self) -> str:
        return self.service.cloud.refusals.since(0)[-1].tracking_id

    def since(self, tracking_id: str = "") -> str:
        return explained(self.service.cloud.refusals, tracking_id or self.last).since

    def hub(self, name: str) -> Hub:
        """One that knows the device."""
        hub = self.service.cloud.hubs.get(name)
        hub.devices.create(NAME, certificate=self.device.certificate)
        return hub

    def enter(self, hub: Hub) -> None:
        hub.connect(NAME, NAME, self.service.caller(NAME, self.device).presented)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with emulated(tmp_path / "cloud") as opened:
        yield World(opened)


def test_a_refusal_after_the_last_time_that_it_got_in_is_not_over(world: World) -> None:
    world.ok()
    world.no()
    assert world.since() == ""
    world.ok()
    assert world.since() == DPS


def test_a_stranger_with_the_devices_name_is_not_let_in_when_the_device_is(world: World) -> None:
    """Nor does a stranger's refusal, which comes later, take back what is said of the device."""
    mine = world.no()
    strangers = world.no(forge.device(NAME, world.root))
    world.ok()
    assert world.since(strangers) == ""
    world.no(forge.device(NAME, None))
    assert world.since(mine) == DPS


def test_another_certificate_for_the_same_key_is_the_same_device(world: World) -> None:
    world.no()
    world.ok(forge.device(NAME, world.root, key=world.device.key))
    assert world.since() == DPS


def test_what_came_later_is_later_after_the_clock_was_set_back(world: World) -> None:
    clock = world.service.clock
    clock.advance(days=30)
    world.no()
    clock.advance(days=-29)
    world.ok()
    assert world.since() == DPS


def test_what_came_earlier_is_earlier_after_the_clock_was_set_back(world: World) -> None:
    """The visit that got in is the last that is kept, and a month later by the clock."""
    clock = world.service.clock
    clock.advance(days=30)
    world.ok()
    clock.advance(days=-29)
    with refused(ServiceRefusal, "401002", "client ID"):
        world.dps.connect(world.service.caller(NAME, world.device), "another")
    assert world.since() == ""
    world.ok()
    assert world.since() == DPS


def test_another_hub_does_not_speak_for_the_hub_that_refused(world: World) -> None:
    alpha, beta = world.hub("alpha-hub"), world.hub("beta-hub")
    alpha.devices.disable(NAME)
    with refused(ServiceRefusal, "401003"):
        world.enter(alpha)
    alpha.devices.enable(NAME)
    world.enter(beta)
    assert world.since() == ""
    world.enter(alpha)
    assert world.since() == "Since then alpha-hub has let it in, with the same key."


def asks_for_an_operation(world: World) -> None:
    world.dps.operation(world.service.caller(NAME, world.device), "5.0.unknown")


def asks_for_its_record(world: World) -> None:
    world.dps.lookup(world.service.caller(NAME, world.device))


def sends_nonsense(world: World) -> None:
    raise world.dps.refuse_request(world.service.caller(NAME, world.device), "why", "cure")


@pytest.mark.parametrize("act", [asks_for_an_operation, asks_for_its_record, sends_nonsense])
def test_what_is_no_admission_is_not_over_when_the_device_is_let_in(
    world: World, act: Callable[[World], None]
) -> None:
    """It was in, or was not asked who it is: the same would be refused again."""
    with pytest.raises((ServiceRefusal, NotFound)):
        act(world)
    world.ok()
    assert explained(world.service.cloud.refusals, world.last).refusal.chain
    assert world.since() == ""


def test_of_a_device_with_a_symmetric_key_nothing_is_said(world: World) -> None:
    """What is kept of its visits has no key: another may have come under its name."""
    key, other = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    resource = f"{world.dps.id_scope}/registrations/{NAME}"
    world.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(key, key))
    world.service.refused(world.service.caller(NAME, token=token(resource, other)))
    world.dps.register(world.service.caller(NAME, token=token(resource, key)))
    assert world.since() == ""
