"""Who may connect to a hub? Checked in this order; the first failure ends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.presented import Presented
from labkit.pki import chain
from labkit.trace import Check, failed, passed

CERTIFICATE = "the device sent a certificate in TLS"
CLIENT_ID = "the MQTT client ID is the device ID"
KNOWN = "the hub has an identity of this device"
ENABLED = "that identity is enabled"
THUMBPRINT = "the certificate is the one that the identity holds"
VALIDITY = "the lab's clock is within its validity"

_SOURCE = "Azure documentation, IoT Hub: authenticate identities with X.509 certificates"


def authenticate(
    hub: str,
    device_id: str,
    client_id: str,
    presented: Presented,
    identity: DeviceIdentity | None,
    now: datetime,
) -> tuple[Check, ...]:
    """The checks up to the first that fails: each later one needs those before it."""
    checks: list[Check] = []
    for check in _questions(hub, device_id, client_id, presented, identity, now):
        checks.append(check)
        if check.failed:
            break
    return tuple(checks)


def _questions(
    hub: str,
    device_id: str,
    client_id: str,
    presented: Presented,
    identity: DeviceIdentity | None,
    now: datetime,
) -> Iterator[Check]:
    leaf = presented.leaf
    yield _certificate(device_id, leaf)
    yield _client_id(device_id, client_id)
    yield _known(hub, device_id, identity)
    assert leaf is not None, "asked only after a certificate was found"
    assert identity is not None, "asked only after the identity was found"
    yield _enabled(identity)
    yield _thumbprint(identity, leaf)
    yield _validity(leaf, now)


def _certificate(device_id: str, leaf: x509.Certificate | None) -> Check:
    if leaf is not None:
        return passed(CERTIFICATE, device_id, f"it sent {chain.subject(leaf)}")
    cure = "give the client its certificate chain and key"
    return failed(CERTIFICATE, device_id, "the client sent none", cure, source=_SOURCE)


def _client_id(device_id: str, client_id: str) -> Check:
    if client_id == device_id:
        return passed(CLIENT_ID, device_id, f"both are {device_id!r}")
    why = f"the client ID is {client_id!r}, the user name says {device_id!r}"
    return failed(CLIENT_ID, device_id, why, "use the device ID as MQTT client ID")


def _known(hub: str, device_id: str, identity: DeviceIdentity | None) -> Check:
    if identity is not None:
        return passed(KNOWN, device_id, f"{hub} has it")
    return failed(
        KNOWN,
        device_id,
        f"{hub} has no identity {device_id!r}",
        "let the device provision through DPS first",
        "connect to the hub that DPS assigned",
        source=_SOURCE,
    )


def _enabled(identity: DeviceIdentity) -> Check:
    about = identity.device_id
    if identity.enabled:
        return passed(ENABLED, about, "it is enabled")
    return failed(ENABLED, about, "it is disabled in the hub", "enable it there", source=_SOURCE)


def _thumbprint(identity: DeviceIdentity, leaf: x509.Certificate) -> Check:
    about = identity.device_id
    if identity.thumbprint == chain.thumbprint(leaf):
        return passed(THUMBPRINT, about, "the SHA-256 thumbprints are equal")
    return failed(
        THUMBPRINT,
        about,
        "the thumbprints differ: this is not the certificate that the device was provisioned with",
        "provision again: DPS then gives the hub the new thumbprint",
        source=_SOURCE,
    )


def _validity(leaf: x509.Certificate, now: datetime) -> Check:
    about = chain.subject(leaf)
    moment = now.replace(microsecond=0)  # what a certificate can express
    if leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        return passed(VALIDITY, about, f"the lab's clock says {now:%Y-%m-%d}")
    return failed(
        VALIDITY,
        about,
        f"it is not valid at {now:%Y-%m-%d}, the lab's time",
        "renew the certificate and provision again",
        source=_SOURCE,
    )
