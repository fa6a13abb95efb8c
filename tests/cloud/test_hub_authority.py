"""Connecting to a hub by a CA's signature, by a policy's token, and the door's other questions."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
from provisioning import Emulated, emulated, token

from labkit.cloud.hub import Hub, authentication
from labkit.cloud.hub.authentication import Visitor
from labkit.cloud.policies import RIGHT
from labkit.cloud.presented import Presented
from labkit.cloud.sas import SIGNED
from labkit.errors import ServiceRefusal
from labkit.pki import verdict
from labkit.trace import first_failure

NAME = "Widget-1"
ROOT = forge.ca("Root")
MIDDLE = forge.ca("Middle", ROOT)
DEVICE = forge.device(NAME, MIDDLE)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud", hubs=("alpha-hub",)) as opened:
        yield opened


@pytest.fixture
def hub(service: Emulated) -> Hub:
    """It knows the device by any verified CA, and has none yet."""
    found = service.cloud.hubs.get("alpha-hub")
    found.devices.create(NAME, ca=True)
    return found


def trust(hub: Hub, ca: forge.Forged, *, prove: bool = True) -> None:
    entry = hub.certificates.upload(ca.name, ca.certificate)
    if prove:
        proof = forge.device(entry.verification_code, ca)
        hub.certificates.verify(entry, proof.certificate)


def connect(hub: Hub, *sent: forge.Forged, name: str = NAME, token: str = "") -> None:
    hub.connect(name, name, Presented(tuple(one.certificate for one in sent)), token)


def refusal(hub: Hub, *sent: forge.Forged, name: str = NAME, token: str = "") -> tuple[str, str]:
    """The check that decided, and its first cure; on the wire there is 401003 and no more."""
    with pytest.raises(ServiceRefusal) as caught:
        connect(hub, *sent, name=name, token=token)
    assert caught.value.error.code == 401003
    failure = first_failure(caught.value.checks)
    assert failure is not None
    return failure.name, failure.cures[0]


# ---- by a CA


def test_a_chain_to_a_verified_ca_is_let_in(hub: Hub) -> None:
    trust(hub, ROOT)
    connect(hub, DEVICE, MIDDLE)


def test_any_certificate_of_that_name_will_do(hub: Hub) -> None:
    """No thumbprint is held: a renewed certificate needs no change in the hub."""
    trust(hub, MIDDLE)
    connect(hub, DEVICE)
    connect(hub, forge.device(NAME, MIDDLE))


def test_a_ca_that_is_not_verified_does_not_count(hub: Hub) -> None:
    trust(hub, ROOT, prove=False)
    name, cure = refusal(hub, DEVICE, MIDDLE)
    assert name == verdict.ISSUER
    assert "uploaded as 'Root'" in cure


def test_the_leaf_alone_does_not_reach_the_root(hub: Hub) -> None:
    """Pain point 1, at a hub: both cures are right."""
    trust(hub, ROOT)
    name, cure = refusal(hub, DEVICE)
    assert name == verdict.ISSUER
    assert "a CA that the hub trusts" in cure
    trust(hub, MIDDLE)
    connect(hub, DEVICE)


def test_dps_and_hub_trust_cas_of_their_own(service: Emulated, hub: Hub) -> None:
    service.trust(ROOT)
    assert refusal(hub, DEVICE, MIDDLE)[0] == verdict.ISSUER


def test_the_cn_is_the_device_id_and_its_case_counts(hub: Hub) -> None:
    trust(hub, ROOT)
    for name in ("widget-1", "Widget-2"):
        other = forge.device(name, MIDDLE)
        assert refusal(hub, other, MIDDLE)[0] == authentication.COMMON_NAME


def test_expired_by_the_labs_clock(service: Emulated, hub: Hub) -> None:
    trust(hub, ROOT)
    service.clock.advance(days=366)
    assert refusal(hub, DEVICE, MIDDLE)[0] == verdict.VALIDITY


def test_what_it_may_be_used_for_is_asked_of_a_chain(hub: Hub) -> None:
    trust(hub, ROOT)
    server = forge.device(NAME, MIDDLE, purposes=(forge.SERVER,))
    assert refusal(hub, server, MIDDLE)[0] == verdict.PURPOSE


def test_by_thumbprint_neither_chain_nor_purpose_is_asked_for(hub: Hub) -> None:
    """iotedge PR #621: the match and the validity count, and nothing else."""
    server = forge.device(NAME, None, purposes=(forge.SERVER,), ca=True)
    hub.devices.update(NAME, certificate=server.certificate)
    connect(hub, server)


def test_a_disabled_identity_keeps_its_chain_out(hub: Hub) -> None:
    trust(hub, ROOT)
    hub.devices.disable(NAME)
    assert refusal(hub, DEVICE, MIDDLE)[0] == authentication.ENABLED


def test_a_deleted_ca_counts_no_more(hub: Hub) -> None:
    trust(hub, ROOT)
    connect(hub, DEVICE, MIDDLE)
    hub.certificates.delete("Root")
    assert refusal(hub, DEVICE, MIDDLE)[0] == verdict.ISSUER


# ---- by a token


def resource(name: str = NAME) -> str:
    return f"alpha-hub.azure-devices.net/devices/{name}"


def test_a_policy_that_may_speak_for_devices_connects_any(service: Emulated, hub: Hub) -> None:
    """``device`` is there from the beginning, as in every hub of Azure."""
    hub.devices.create("keyed")
    policy = service.cloud.policies("alpha-hub").find("device")
    assert policy is not None
    signed = f"{token('alpha-hub.azure-devices.net', policy.primary_key)}&skn=device"
    connect(hub, name="keyed", token=signed)


@pytest.mark.parametrize("name", ["service", "registryRead", "registryReadWrite"])
def test_a_policy_that_may_not_is_refused(service: Emulated, hub: Hub, name: str) -> None:
    hub.devices.create("keyed")
    policy = service.cloud.policies("alpha-hub").find(name)
    assert policy is not None
    signed = f"{token(resource('keyed'), policy.primary_key)}&skn={name}"
    assert refusal(hub, name="keyed", token=signed)[0] == RIGHT


def test_a_devices_key_does_not_sign_for_another(hub: Hub) -> None:
    one, two = (hub.devices.create(name) for name in ("one", "two"))
    connect(hub, name="one", token=token(resource("one"), one.primary_key))
    connect(hub, name="two", token=token(resource("two"), two.secondary_key))
    assert refusal(hub, name="two", token=token(resource("two"), one.primary_key))[0] == SIGNED
    assert refusal(hub, name="two", token=token(resource("one"), one.primary_key))[0] == SIGNED


def test_a_name_that_is_no_policys_is_judged_by_the_devices_key(hub: Hub) -> None:
    made = hub.devices.create("keyed")
    connect(hub, name="keyed", token=f"{token(resource('keyed'), made.primary_key)}&skn=mine")
    other = base64.b64encode(b"another" * 5).decode()
    signed = f"{token(resource('keyed'), other)}&skn=iothubowner"
    assert refusal(hub, name="keyed", token=signed)[0] == SIGNED


# ---- over HTTPS


def test_over_https_there_is_no_client_id(hub: Hub) -> None:
    trust(hub, ROOT)
    presented = Presented((DEVICE.certificate, MIDDLE.certificate))
    hub.admission.admit(Visitor(NAME, None, presented))
    with pytest.raises(ServiceRefusal):
        hub.admission.admit(Visitor(NAME, None, Presented()))
