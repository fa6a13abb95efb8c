"""Labs with many devices, for :mod:`benchmarks.registration`.

``python -m benchmarks.fleet DIR N`` serves a lab with N enrolled devices until its input ends;
``python -m benchmarks.fleet DIR enroll N KIND`` takes N enrollments, with keys or certificates
(``symmetricKey``, ``x509``), and prints the megabytes that it is resident with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.clock import Clock
from labkit.cloud import Cloud, Presented
from labkit.cloud.dps import registrations
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.entries import (
    CLIENT,
    Enrollment,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.dps.service import ProvisioningService
from labkit.cloud.hub import placement
from labkit.cloud.hub.credentials import Credentials
from labkit.events import Events
from labkit.lab import Lab
from labkit.pki import chain, profiles, request
from labkit.wire.ports import Ports

_DER, _NEW_KEYS = serialization.Encoding.DER, SymmetricKeyAttestation()
_CA = profiles.Profile("benchmark CA", timedelta(days=30), ("key_cert_sign",), is_ca=True)


class Issuer:
    """A root and an intermediate with keys in memory."""

    def __init__(self) -> None:
        self.root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = _certificate("Root", "Root", self.root_key, self.root_key, ca=True)
        self.certificate = _certificate("Line", "Root", self.key, self.root_key, ca=True)

    def device(self, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A device's certificate below the intermediate, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _certificate(name, "Line", key, self.key, ca=False), key

    def enroll(self, dps: ProvisioningService) -> None:
        """Makes the root count in a DPS, and a group of it."""
        ca = dps.certificates.upload("root", self.root)
        proof = _certificate(ca.verification_code, "Root", self.key, self.root_key, ca=False)
        dps.certificates.verify(ca, proof)
        dps.enrollment_groups.create("fleet", signing=self.root)


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = profiles.key_usage(*(("key_cert_sign",) if ca else ("digital_signature",)))
    return (
        x509.CertificateBuilder()
        .subject_name(request.name(name))
        .issuer_name(request.name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .sign(signer, hashes.SHA256())
    )


class Filled:
    """A cloud in which a fleet is registered; the first hundred of it can register again."""

    def __init__(self, directory: Path, size: int) -> None:
        directory.mkdir()
        clock = Clock(directory / "clock.json")
        self._cloud = Cloud(directory / "cloud.db", clock, Events(clock))
        self._cloud.hubs.add("contoso-hub")
        issuer = Issuer()
        issuer.enroll(self._cloud.dps)
        devices = (issuer.device(_name(number))[0] for number in range(min(size, 100)))
        self._chains = [(device, issuer.certificate) for device in devices]
        self._fill(size)

    def register(self, number: int) -> None:
        """A device that is known registers again."""
        scope, presented = self._cloud.dps.id_scope, Presented(self._chains[number])
        self._cloud.dps.register(Caller(scope, _name(number), presented))

    def close(self) -> None:
        self._cloud.close()

    def _fill(self, size: int) -> None:
        """The first registers as devices do; the others get records like its own."""
        self.register(0)
        pattern = self._cloud.dps.registrations.get(_name(0))
        leaf = Credentials(chain.thumbprint(self._chains[0][0]))
        with self._cloud.database.quick_write() as connection:
            for number in range(1, size):
                name = _name(number)
                record = {"registration_id": name, "device_id": name}
                registrations.save(connection, _copy(pattern, **record))
                placement.place(connection, "contoso-hub", name, leaf, pattern.created)


def _copy(pattern: registrations.Registration, **changes: str) -> registrations.Registration:
    from dataclasses import replace

    return replace(pattern, **changes)


def _name(number: int) -> str:
    return f"widget-{number:06}"


def filled(directory: Path, size: int) -> Filled:
    """A cloud with ``size`` registered devices."""
    return Filled(directory, size)


def serve(directory: Path, count: int) -> None:
    """Opens a lab, writes a PEM file for each device, says where it is, and waits."""
    ports = Ports(host="127.0.0.1", mqtt=0, https=0)
    with Lab.open(directory / "lab", ports=ports, say=None) as lab:
        issuer = Issuer()
        issuer.enroll(lab.dps)
        print(json.dumps(hand_out(directory, issuer, lab, count)), flush=True)
        sys.stdin.read()


def hand_out(directory: Path, issuer: Issuer, lab: Lab, count: int) -> dict[str, Any]:
    """Writes a PEM file for each of so many devices, with its chain and its key. Returns what they
    have to know of the lab."""
    names = [_name(number) for number in range(count)]
    for name in names:
        certificate, key = issuer.device(name)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        sent = chain.to_pem([certificate, issuer.certificate]).encode()
        (directory / f"{name}.pem").write_bytes(sent + pem)
    return {
        "port": lab.listener.mqtt_port,
        "scope": lab.dps.id_scope,
        "serverCa": str(lab.server.root_file),
        "devices": names,
    }


def enroll(directory: Path, count: int, kind: str) -> None:
    """Takes so many enrollments, ten at a time as back ends send them, reads a page of them, and
    says how large the process is."""
    clock = Clock(directory / "clock.json")
    cloud = Cloud(directory / "cloud.db", clock, Events(clock))
    named = _certificates() if kind == "x509" else None
    for start in range(0, count, 10):
        numbers = range(start, start + 10)
        entries = [
            Enrollment(_name(n), X509Attestation(CLIENT, named(n)) if named else _NEW_KEYS)
            for n in numbers
        ]
        assert cloud.dps.enrollments.bulk("create", entries).is_successful
    assert len(cloud.dps.enrollments.query("", 1_000)[0]) == 1_000
    print(resident())
    cloud.close()


def _certificates() -> Callable[[int], x509.Certificate]:
    """A certificate for each device. They are copies of one, with the device's name put in: nobody
    asks for the signature of a certificate that is enrolled."""
    key, there = ec.generate_private_key(ec.SECP256R1()), _name(0).encode()
    pattern = _certificate(_name(0), "Line", key, key, ca=False).public_bytes(_DER)

    def named(number: int) -> x509.Certificate:
        return x509.load_der_x509_certificate(pattern.replace(there, _name(number).encode()))

    return named


def resident(process: int | str = "self") -> float:
    """Megabytes that a process has in memory. Linux only."""
    status = Path(f"/proc/{process}/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(found.split()[1]) / 1024


if __name__ == "__main__":
    where, *rest = sys.argv[1:]
    if rest[0] == "enroll":
        enroll(Path(where), int(rest[1]), rest[2])
    else:
        serve(Path(where), int(rest[0]))
