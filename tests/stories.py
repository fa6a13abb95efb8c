"""Labs as tests need them: the supply chain of the first lesson, and ways to watch it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from labkit import Lab
from labkit.device import Device
from labkit.pki import chain, profiles, request
from labkit.pki.authority import Authority
from labkit.supplychain import CertificateAuthority
from labkit.wire.ports import Ports

PATIENCE = 20.0
"""Seconds that a test waits for something that takes milliseconds."""

CA = CertificateAuthority[Device]


@dataclass(frozen=True)
class Story:
    """Company-X, Factory-Y, Technician-Z, and a widget at the end of their chain."""

    lab: Lab
    company: CA
    factory: CA
    technician: CA
    widget: Device


def supply_chain(lab: Lab, widget: str = "smart-x-widget-001") -> Story:
    """Everything of the first lesson up to the finished device; the cloud knows nothing yet."""
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
    return Story(lab, company, factory, technician, technician.make_device(widget))


def enroll(lab: Lab, ca: CA, name: str = "company-x", group: str = "smart-x-widgets") -> None:
    """Uploads the CA to DPS, proves possession and makes an enrollment group of it."""
    uploaded = lab.dps.certificates.upload(name, ca.certificate)
    lab.dps.certificates.verify(uploaded, ca.prove_possession(uploaded.verification_code))
    lab.dps.enrollment_groups.create(group, signing=ca.certificate)


def enrolled(lab: Lab) -> Story:
    """The first lesson up to the moment before the device provisions itself."""
    story = supply_chain(lab)
    enroll(lab, story.company)
    return story


def found_again(lab: Lab) -> Story:
    """The story of a workspace in which it was told before."""
    company, factory, technician = (
        lab.custodian(name).authorities()[0] for name in ("Company-X", "Factory-Y", "Technician-Z")
    )
    return Story(lab, company, factory, technician, lab.device("smart-x-widget-001"))


def open_lab(path: Path, **options: object) -> Lab:
    """A lab below ``path``, on free ports except the one that the SDK insists on."""
    return Lab.open(path, **{"ports": Ports(https=0), **options})  # type: ignore[arg-type]


def authority_of(ca: CA) -> Authority:
    """The bare authority of a CA, to sign what its own methods would not."""
    return Authority(ca.custodian.token.key(ca.name), ca.chain, ca._chain.clock)


@dataclass(frozen=True)
class PemDevice:
    """A device as most are: its key is in a file. ``chain_file`` holds the leaf first."""

    name: str
    chain_file: Path
    key_file: Path
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]


def pem_device(story: Story, directory: Path, name: str, *, sends: int = 3) -> PemDevice:
    """A device below Technician-Z with an ordinary key file, which sends so many certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority_of(story.technician)
    leaf = signer.issue(key.public_key(), request.name(name), profiles.DEVICE)
    return write_device(directory, key, (leaf, *story.technician.chain)[:sends])


def write_device(
    directory: Path, key: ec.EllipticCurvePrivateKey, certificates: tuple[x509.Certificate, ...]
) -> PemDevice:
    """Puts a key and a chain into PEM files. The directory is the test's, not the lab's."""
    directory.mkdir(exist_ok=True)
    number = len(list(directory.iterdir()))
    chain_file, key_file = directory / f"{number}.chain.pem", directory / f"{number}.key.pem"
    chain_file.write_text(chain.to_pem(certificates))
    key_file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    return PemDevice(
        chain.common_name(certificates[0]), chain_file, key_file, key, tuple(certificates)
    )


def eventually(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; what happens on the listener's thread takes a moment."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def said(lab: Lab, source: str, *words: str) -> bool:
    """Whether an event of this source has all these words."""
    return any(all(word in e.text for word in words) for e in lab.events.about(source=source))


def failed_check(lab: Lab, what: str | Device | None = None) -> str:
    """The name of the check that decided a refusal."""
    failure = lab.explain(what).failure
    return failure.name if failure else ""
