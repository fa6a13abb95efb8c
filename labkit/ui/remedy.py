"""Cures that the lab can carry out itself: what a button beside an explanation does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cryptography import x509

from labkit.cloud import handshakes
from labkit.cloud.dps import attestation
from labkit.cloud.dps.entries import CLIENT, X509Attestation
from labkit.cloud.hub import authentication
from labkit.device import Device
from labkit.errors import NotFound
from labkit.explanation import Explanation
from labkit.lab import Lab
from labkit.pki import chain, verdict
from labkit.supplychain import CertificateAuthority


@dataclass(frozen=True, slots=True)
class Remedy:
    """``label`` is what the button says, ``story`` what it did and why that helps, ``cure`` which
    of the explanation's cures it carries out, counted from 0, and ``apply`` does it; ``outcome``
    is what the device is then."""

    label: str
    story: str
    cure: int
    apply: Callable[[], object]
    outcome: str = "is provisioned"


def remedies(lab: Lab, explanation: Explanation) -> list[Remedy]:
    """Those that can be carried out in this lab; none for a refusal that it has no hand in."""
    return list(_remedies(lab, explanation))


def _remedies(lab: Lab, explanation: Explanation) -> Iterator[Remedy]:
    failure = explanation.failure
    device = _device(lab, explanation.refusal.device)
    if failure is None or device is None:
        return
    if explanation.refusal.service == "hub":
        yield from _at_the_hub(lab, failure.name, device)
        return
    if failure.name == verdict.ISSUER and lab.dps.certificates.verified():
        if device.chain != _whole_chain(lab, device):
            label = "Install the factory's chain and try again"
            story = "The device sends its issuers, too: DPS can follow them to a CA that it trusts."
            yield Remedy(label, story, 0, lambda: _send_all(lab, device))
        issuer = _issuer(lab, explanation, failure.about)
        if issuer is not None:
            label = f"Verify {issuer.name} in DPS and try again"
            story = (
                f"DPS trusts **{issuer.name}** itself now, and an enrollment group covers it. The "
                "chain may end there, so what lies above need not be sent."
            )
            yield Remedy(label, story, 1, lambda: _trust(lab, issuer, device))
    if failure.name == attestation.OWN_ENTRY and lab.dps.enrollments.find(device.name):
        label = "Put its own certificate into the entry and try again"
        story = f"The enrollment names the certificate that {device.name} sends."
        yield Remedy(label, story, 0, lambda: _name_its_own(lab, device))
    if failure.name == handshakes.TRUST and device.trusted_roots != _roots(lab):
        label = "Install the roots of the services and try again"
        story = "The device trusts the roots that servers lead to, and those that are announced."
        yield Remedy(label, story, 0, lambda: _trust_servers(lab, device))
    if failure.name == attestation.ENABLED:
        label = f"Enable {failure.about} and try again"
        story = "The enrollment admits again."
        yield Remedy(label, story, 0, lambda: _enable(lab, failure.about, device))


def _at_the_hub(lab: Lab, failure: str, device: Device) -> Iterator[Remedy]:
    if failure == authentication.THUMBPRINT:
        label = "Provision again and connect"
        story = "DPS gives the hub the thumbprint of the certificate that the device has now."
        yield Remedy(label, story, 0, lambda: _provision_and_connect(device), "is connected")
        label = "Put the new thumbprint into the identity and connect"
        story = "The hub knows the device by the certificate that it has now. DPS was not asked."
        yield Remedy(label, story, 1, lambda: _name_in_hub(lab, device), "is connected")
    if failure == verdict.ISSUER and device.chain != _whole_chain(lab, device):
        label = "Install the factory's chain and connect"
        story = "The device sends its issuers, too: the hub can follow them to a CA that it trusts."
        yield Remedy(label, story, 0, lambda: _send_all_to_hub(lab, device), "is connected")


def _provision_and_connect(device: Device) -> None:
    device.provision()
    device.connect()


def _name_in_hub(lab: Lab, device: Device) -> None:
    if (assigned := device.assignment) is not None:
        devices = lab.hub(assigned.hub).devices
        devices.update(assigned.device_id, certificate=device.certificate)
    device.connect()


def _send_all_to_hub(lab: Lab, device: Device) -> None:
    device.install_chain(_whole_chain(lab, device))
    device.connect()


def _device(lab: Lab, name: str) -> Device | None:
    try:
        return lab.device(name)
    except NotFound:
        return None


def _issuer(lab: Lab, explanation: Explanation, about: str) -> CertificateAuthority[Device] | None:
    """The CA that signed the certificate at which the chain broke off."""
    last = next((c for c in explanation.refusal.chain if chain.subject(c) == about), None)
    authorities = [ca for custodian in lab.custodians for ca in custodian.authorities()]
    signers = (ca for ca in authorities if last and chain.signed_by(last, ca.certificate))
    return next(signers, None)


def _send_all(lab: Lab, device: Device) -> None:
    device.install_chain(_whole_chain(lab, device))
    device.provision()


def _roots(lab: Lab) -> list[x509.Certificate]:
    return [root.certificate for root in lab.server.roots if root.state != "retired"]


def _trust_servers(lab: Lab, device: Device) -> None:
    device.install_roots(_roots(lab))
    device.provision()


def _whole_chain(lab: Lab, device: Device) -> list[x509.Certificate]:
    """Also of a device that came off the line with less."""
    path = lab.ledger().chain_of(device)
    return [certificate for certificate in path if not chain.is_self_signed(certificate)]


def _trust(lab: Lab, issuer: CertificateAuthority[Device], device: Device) -> None:
    name = issuer.name.lower().replace(" ", "-")
    ca = lab.dps.certificates.upload(name, issuer.certificate)
    lab.dps.certificates.verify(ca, issuer.prove_possession(ca.verification_code))
    path = chain.climb(issuer.certificate, lab.dps.certificates.verified())
    if lab.dps.enrollment_groups.deciding(path) is None:
        lab.dps.enrollment_groups.create(name, signing=issuer.certificate)
    device.provision()


def _name_its_own(lab: Lab, device: Device) -> None:
    entry = lab.dps.enrollments.get(device.name)
    own = X509Attestation(CLIENT, device.certificate)
    lab.dps.enrollments.update(replace(entry, attestation=own))
    device.provision()


def _enable(lab: Lab, entry: str, device: Device) -> None:
    dps = lab.dps
    book = dps.enrollment_groups if dps.enrollment_groups.find(entry) else dps.enrollments
    book.enable(entry)
    device.provision()
