"""A cloud without tokens and sockets: certificates are forged, devices are plain values."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import forge
import pytest
from cryptography import x509

from labkit.clock import Clock
from labkit.cloud import Cloud, Presented
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import Operation, Registration
from labkit.errors import AzureError, ServiceRefusal
from labkit.events import Events
from labkit.trace import first_failure

HUBS = ("alpha-hub", "beta-hub", "gamma-hub")


def hmac_sha256(key: str, text: str) -> str:
    """With the standard library alone; key and digest in base64."""
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def token(resource: str, key: str, until: int = 4_000_000_000) -> str:
    """A SAS token as Microsoft's Python SDK makes it: no skn."""
    resource = quote(resource, safe="")
    signature = quote(hmac_sha256(key, f"{resource}\n{until}"), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={until}"


def host(name: str) -> str:
    return f"{name}.azure-devices.net"


class Emulated:
    """One cloud. ``register`` and ``refusal`` are what devices do to it."""

    def __init__(self, path: Path, hubs: tuple[str, ...] = HUBS) -> None:
        self.clock = Clock(path / "clock.json")
        self.clock.set(forge.NOW)
        self.events = Events(self.clock)
        self.cloud = Cloud(path / "cloud.db", self.clock, self.events)
        for hub in hubs:
            self.cloud.hubs.add(hub)
        self.dps = self.cloud.dps

    def trust(self, ca: forge.Forged, *, prove: bool = True) -> None:
        """Uploaded, and verified by its own key."""
        entry = self.dps.certificates.upload(ca.name, ca.certificate)
        if prove:
            proof = forge.device(entry.verification_code, ca)
            self.dps.certificates.verify(entry, proof.certificate)

    def caller(self, name: str, *sent: forge.Forged | x509.Certificate, token: str = "") -> Caller:
        chain = tuple(s.certificate if isinstance(s, forge.Forged) else s for s in sent)
        return Caller(self.dps.id_scope, name, Presented(chain, "127.0.0.1"), token)

    def signing(self, name: str, key: str, *, resource: str = "", seconds: int = 3600) -> Caller:
        """A device that signs with a symmetric key."""
        resource = resource or f"{self.dps.id_scope}/registrations/{name}"
        until = int(datetime.now(UTC).timestamp()) + seconds
        return self.caller(name, token=token(resource, key, until))

    def operation(
        self, name: str, *sent: forge.Forged | x509.Certificate, **options: Any
    ) -> Operation:
        return self.dps.register(self.caller(name, *sent), **options)

    def register(
        self, name: str, *sent: forge.Forged | x509.Certificate, **options: Any
    ) -> Registration:
        """The record of a registration that ended in an assignment."""
        return assigned(self.operation(name, *sent, **options))

    def refusal(self, name: str, *sent: forge.Forged | x509.Certificate) -> tuple[AzureError, str]:
        """Azure's answer, and the check that decided."""
        return self.refused(self.caller(name, *sent))

    def refused(self, caller: Caller) -> tuple[AzureError, str]:
        with pytest.raises(ServiceRefusal) as caught:
            self.dps.register(caller)
        refusal = caught.value
        kept = self.cloud.refusals.find(refusal.tracking_id)
        assert kept.checks == refusal.checks, "what is raised is what is kept"
        failure = first_failure(refusal.checks)
        assert failure is not None
        assert failure.why
        assert failure.cures, "every refusal says what would cure it"
        return refusal.error, failure.name

    def why(self) -> str:
        """What the last refusal says was wrong."""
        last = self.cloud.refusals.last()
        assert last is not None
        failure = first_failure(last.checks)
        assert failure is not None
        return failure.why


def assigned(operation: Operation) -> Registration:
    assert operation.status == "assigned", operation
    assert operation.registration is not None
    return operation.registration


@contextmanager
def emulated(path: Path, hubs: tuple[str, ...] = HUBS) -> Iterator[Emulated]:
    path.mkdir(exist_ok=True)
    opened = Emulated(path, hubs)
    try:
        yield opened
    finally:
        opened.cloud.close()
