"""Who may connect to a hub? Checked in this order; the first failure ends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from labkit.cloud import sas
from labkit.cloud.hub.placement import SAS
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.presented import Presented
from labkit.pki import chain
from labkit.trace import Check, failed, passed

TOKEN = "the device sent a SAS token"
CERTIFICATE = "the device sent a certificate in TLS"
CLIENT_ID = "the MQTT client ID is the device ID"
KNOWN = "the hub has an identity of this device"
ENABLED = "that identity is enabled"
THUMBPRINT = "the certificate is the one that the identity holds"
VALIDITY = "the lab's clock is within its validity"

_SHA1_DIGITS = 40
_SOURCE = "Azure documentation, IoT Hub: authenticate identities with X.509 certificates"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants to connect: the IDs that it claims, what it showed in TLS, and its SAS token.
    ``dialled`` is what it calls the hub: its host name, or an address."""

    device_id: str
    client_id: str
    presented: Presented
    token: str = field(default="", repr=False)
    dialled: str = ""


def authenticate(
    host_name: str,
    visitor: Visitor,
    identity: DeviceIdentity | None,
    now: datetime,
    real_now: datetime,
) -> tuple[Check, ...]:
    """The checks up to the first that fails: each later one needs those before it. ``now`` is
    the lab's time, ``real_now`` the machine's, which is that of tokens."""
    keyed = identity is not None and identity.authentication == SAS
    questions = (
        _of_key(host_name, visitor, identity, real_now)
        if keyed or (visitor.token and not visitor.presented.chain)
        else _of_certificate(host_name, visitor, identity, now)
    )
    checks: list[Check] = []
    for check in questions:
        checks.append(check)
        if check.failed:
            break
    return tuple(checks)


def _of_key(
    host_name: str, visitor: Visitor, identity: DeviceIdentity | None, real_now: datetime
) -> Iterator[Check]:
    about = visitor.device_id
    yield _sent_token(visitor)
    yield _client_id(about, visitor.client_id)
    yield _known(_label(host_name), about, identity)
    assert identity is not None, "asked only after the identity was found"
    yield _enabled(identity)
    keys = tuple(key for key in (identity.primary_key, identity.secondary_key) if key)
    resource = f"{visitor.dialled or host_name}/devices/{about}"
    yield sas.check(visitor.token, resource, keys, real_now)


def _sent_token(visitor: Visitor) -> Check:
    if visitor.token:
        return passed(TOKEN, visitor.device_id, "as the password of MQTT")
    why = "its identity wants a symmetric key, and the client sent no token"
    cure = "give the client the device's key: it signs a token with it"
    return failed(TOKEN, visitor.device_id, why, cure, source=_SOURCE)


def _label(host_name: str) -> str:
    return host_name.partition(".")[0]


def _of_certificate(
    host_name: str, visitor: Visitor, identity: DeviceIdentity | None, now: datetime
) -> Iterator[Check]:
    leaf, device_id = visitor.presented.leaf, visitor.device_id
    yield _certificate(device_id, leaf)
    yield _client_id(device_id, visitor.client_id)
    yield _known(_label(host_name), device_id, identity)
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
    held = (identity.thumbprint, identity.secondary_thumbprint)
    sent = {chain.thumbprint(leaf), chain.thumbprint_sha1(leaf)}
    for role, thumbprint in zip(("primary", "secondary"), map(_plain, held), strict=True):
        if thumbprint in sent:
            kind = "SHA-1" if len(thumbprint) == _SHA1_DIGITS else "SHA-256"
            return passed(THUMBPRINT, about, f"it has the {role} one, by its {kind} thumbprint")
    return failed(
        THUMBPRINT,
        about,
        "the thumbprints differ: this is not the certificate that the device was provisioned with",
        "provision again: DPS then gives the hub the new thumbprint",
        source=_SOURCE,
    )


def _plain(thumbprint: str) -> str:
    """As people paste it: with colons or blanks, in any case."""
    return "".join(thumbprint.split()).replace(":", "").upper()


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
