"""What several stories and exercises are put together from."""

from __future__ import annotations

from cryptography import x509

from labkit.cloud.dps.entries import Entry, X509Attestation
from labkit.device import Device
from labkit.lab import Lab
from labkit.supplychain import CertificateAuthority


def only_ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    """The CA of a custodian who has just one. Raises ValueError for any other."""
    (found,) = lab.custodian(custodian).authorities()
    return found


def verify(lab: Lab, name: str, ca: CertificateAuthority[Device]) -> None:
    """Uploads a CA to DPS, and its owner proves possession of it."""
    entry = lab.dps.certificates.upload(name, ca.certificate)
    lab.dps.certificates.verify(entry, ca.prove_possession(entry.verification_code))


def start(device: Device) -> None:
    """Asks DPS for the device's hub, and connects anew: a hub sees what a device sends only when
    a connection is made."""
    device.provision()
    device.disconnect()
    device.connect()


def named(entry: Entry) -> tuple[x509.Certificate, ...]:
    """The certificates in an entry, the primary one first; none for keys and references."""
    attestation = entry.attestation
    return attestation.certificates if isinstance(attestation, X509Attestation) else ()


def came_with(lab: Lab, service: str, device: str, certificate: x509.Certificate) -> bool:
    """Whether a device's last visit to a service was with this certificate, and it was let in.

    Raises StopIteration where it was never there.
    """
    visit = next(visit for visit in lab.cloud.visits(service) if visit.device == device)
    return visit.accepted and visit.chain[0] == certificate
