"""Azure's limits, as switches: off unless somebody wants to see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
from complaints import refused
from provisioning import Emulated, emulated

from labkit.cloud.dps.entries import Enrollment, SymmetricKeyAttestation
from labkit.cloud.refusals import Throttled
from labkit.errors import ServiceRefusal

NAME = "widget-1"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def seconds(service: Emulated) -> list[float]:
    """The time that limits are measured by: append to it."""
    passed = [0.0]
    service.dps.limits.timer = lambda: sum(passed)
    return passed


def enrolled(service: Emulated) -> forge.Forged:
    device = forge.device(NAME, None)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    return device


def test_nothing_is_limited_unless_it_is_switched_on(service: Emulated) -> None:
    device = enrolled(service)
    service.dps.limits.registrations_a_minute = 1
    for _ in range(3):
        service.register(NAME, device)


def test_a_limit_of_none_at_all_lets_nobody_in(service: Emulated, seconds: list[float]) -> None:
    device = enrolled(service)
    service.dps.limits.on()
    service.dps.limits.registrations_a_minute = 0
    for _ in range(2):
        with refused(Throttled, "429001", "wait 60 s"):
            service.register(NAME, device)


def test_registrations_are_throttled_by_the_minute(service: Emulated, seconds: list[float]) -> None:
    device = enrolled(service)
    service.dps.limits.on()
    service.dps.limits.registrations_a_minute = 2
    service.register(NAME, device)
    seconds.append(20)
    service.register(NAME, device)
    with refused(Throttled, "429001", "wait 40 s") as caught:
        service.register(NAME, device)
    assert caught.error.retry_after == 40
    seconds.append(40)
    assert service.register(NAME, device).status == "assigned"


def test_a_device_may_ask_five_times_in_ten_seconds(
    service: Emulated, seconds: list[float]
) -> None:
    device = enrolled(service)
    operation = service.operation(NAME, device)
    service.dps.limits.on()
    caller = service.caller(NAME, device)
    for _ in range(5):
        service.dps.operation(caller, operation.operation_id)
    with refused(Throttled, "429001") as caught:
        service.dps.operation(caller, operation.operation_id)
    assert caught.error.retry_after == 10
    seconds.append(11)
    assert service.dps.operation(caller, operation.operation_id).status == "assigned"


def test_back_ends_are_throttled_too(service: Emulated, seconds: list[float]) -> None:
    """The wire counts each request: a call from Python is not one."""
    service.dps.limits.on()
    service.dps.limits.operations_a_minute = 2
    for _ in range(2):
        service.dps.count_operation()
    with refused(Throttled, "429001"):
        service.dps.count_operation()
    seconds.append(61)
    service.dps.count_operation()


def test_what_was_silent_is_forgotten(service: Emulated, seconds: list[float]) -> None:
    limits = service.dps.limits
    limits.on()
    for number in range(1_500):
        limits.count_poll(f"device-{number}")
        seconds.append(1)
    assert len(limits._calls) <= 1_001


def test_the_quota_of_cas(service: Emulated) -> None:
    service.dps.limits.on()
    service.dps.limits.ca_certificates = 2
    first, second, third = (forge.ca(f"ca-{n}") for n in range(3))
    for ca in (first, second, first):
        service.dps.certificates.upload(ca.name, ca.certificate)
    with refused(ServiceRefusal, "400203", "2 CA certificates"):
        service.dps.certificates.upload(third.name, third.certificate)
    service.dps.certificates.delete(first.name)
    service.dps.certificates.upload(third.name, third.certificate)


def test_the_quota_of_groups(service: Emulated) -> None:
    service.dps.limits.on()
    service.dps.limits.groups = 1
    groups = service.dps.enrollment_groups
    groups.create("one", keys=SymmetricKeyAttestation())
    with refused(ServiceRefusal, "400203"):
        groups.create("two", keys=SymmetricKeyAttestation())
    groups.disable("one")
    service.dps.enrollments.put(Enrollment("a", SymmetricKeyAttestation()))


def test_a_payload_has_a_largest_size(service: Emulated) -> None:
    device = enrolled(service)
    service.operation(NAME, device, payload="x" * 100_000)
    service.dps.limits.on()
    service.operation(NAME, device, payload="x" * 90_000)
    with refused(ServiceRefusal, "400004", "98,304 at most"):
        service.operation(NAME, device, payload="x" * 100_000)


def test_all_off_again(service: Emulated) -> None:
    service.dps.limits.on()
    service.dps.limits.registrations_a_minute = 0
    service.dps.limits.off()
    assert service.register(NAME, enrolled(service)).status == "assigned"
