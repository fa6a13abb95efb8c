"""Who may connect to a hub? Checked in this order; the first failure ends it.

    with a SAS token      sent, client ID, known, enabled, signed by one of the identity's keys,
                          or by a policy of the hub that may speak for devices
    by thumbprint         sent, client ID, known, enabled, the thumbprint is held, in its validity
    by CA                 sent, client ID, known, enabled, CN = device ID, a chain to a verified CA

By thumbprint, nothing else of the certificate is looked at: not who signed it, nor what for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from labkit.cloud import sas
from labkit.cloud.cures import Place, cured
from labkit.cloud.hub import credentials
from labkit.cloud.hub.credentials import AUTHORITY, SAS
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.policies import DEVICE_CONNECT, Policy, may
from labkit.cloud.presented import Presented
from labkit.pki import chain, verdict
from labkit.trace import Check, failed, passed

TOKEN = "the device sent a SAS token"
CERTIFICATE = "the device sent a certificate in TLS"
CLIENT_ID = "the MQTT client ID is the device ID"
KNOWN = "the hub has an identity of this device"
ENABLED = "that identity is enabled"
THUMBPRINT = "the certificate is the one that the identity holds"
VALIDITY = "the lab's clock is within its validity"
COMMON_NAME = "the device ID is the CN of that certificate"

_SOURCE = "Azure documentation, IoT Hub: authenticate identities with X.509 certificates"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants to connect: the IDs that it claims, what it showed in TLS, and its SAS token.
    ``dialled`` are names by which it may call the hub in that, beside its own: an address, or a
    name with the port. Over HTTPS there is no ``client_id``, and it is None."""

    device_id: str
    client_id: str | None
    presented: Presented
    token: str = field(default="", repr=False)
    dialled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class House:
    """What the hub itself brings to the question: the CAs that chains may end in, and the policy
    that the token names, if it names one."""

    host_name: str
    place: Place
    verified: Sequence[x509.Certificate] = ()
    policy: Policy | None = None


def authenticate(
    house: House,
    visitor: Visitor,
    identity: DeviceIdentity | None,
    now: datetime,
    real_now: datetime,
) -> tuple[Check, ...]:
    """The checks up to the first that fails: each later one needs those before it. ``now`` is
    the lab's time, ``real_now`` the machine's, which is that of tokens."""
    keyed = identity is not None and identity.authentication == SAS
    questions = (
        _of_key(house, visitor, identity, real_now)
        if keyed or (visitor.token and not visitor.presented.chain)
        else _of_certificate(house, visitor, identity, now)
    )
    checks: list[Check] = []
    for check in questions:
        checks.append(check)
        if check.failed:
            break
    return tuple(checks)


# ---- with a SAS token


def _of_key(
    house: House, visitor: Visitor, identity: DeviceIdentity | None, real_now: datetime
) -> Iterator[Check]:
    yield _sent_token(visitor)
    yield from _identified(house, visitor, identity)
    assert identity is not None, "asked only after the identity was found"
    resource, policy = _resource(house, visitor), house.policy
    if policy is not None:
        yield sas.check(
            visitor.token, resource, (policy.primary_key, policy.secondary_key), real_now
        )
        yield may(policy, DEVICE_CONNECT)
        return
    keys = tuple(key for key in (identity.primary_key, identity.secondary_key) if key)
    yield sas.check(visitor.token, resource, keys, real_now)


def _resource(house: House, visitor: Visitor) -> str:
    """What the token has to be for: the device, by the name of the hub that it was signed for."""
    names = [f"{name}/devices/{visitor.device_id}" for name in (house.host_name, *visitor.dialled)]
    said = sas.read(visitor.token)
    return next((name for name in names if said is not None and said.covers(name)), names[0])


def _sent_token(visitor: Visitor) -> Check:
    if visitor.token:
        return passed(TOKEN, visitor.device_id, "it came with the request to connect")
    why = "its identity wants a symmetric key, and the client sent no token"
    cure = "give the client the device's key: it signs a token with it"
    return failed(TOKEN, visitor.device_id, why, cure, source=_SOURCE)


# ---- with a certificate


def _of_certificate(
    house: House, visitor: Visitor, identity: DeviceIdentity | None, now: datetime
) -> Iterator[Check]:
    leaf, device_id = visitor.presented.leaf, visitor.device_id
    yield _certificate(device_id, leaf)
    yield from _identified(house, visitor, identity)
    assert leaf is not None, "asked only after a certificate was found"
    assert identity is not None, "asked only after the identity was found"
    if identity.authentication == AUTHORITY:
        yield _common_name(device_id, leaf)
        yield from _chain(house, visitor.presented, now)
    else:
        yield _thumbprint(identity, leaf)
        yield _validity(leaf, now)


def _certificate(device_id: str, leaf: x509.Certificate | None) -> Check:
    if leaf is not None:
        return passed(CERTIFICATE, device_id, f"it sent {chain.subject(leaf)}")
    cure = "give the client its certificate chain and key"
    return failed(CERTIFICATE, device_id, "the client sent none", cure, source=_SOURCE)


def _thumbprint(identity: DeviceIdentity, leaf: x509.Certificate) -> Check:
    about = identity.device_id
    held = (identity.thumbprint, identity.secondary_thumbprint)
    sent = {chain.thumbprint(leaf), chain.thumbprint_sha1(leaf)}
    for role, thumbprint in zip(("primary", "secondary"), held, strict=True):
        if thumbprint in sent:
            form = credentials.form_of(thumbprint)
            return passed(THUMBPRINT, about, f"it has the {role} one, by its {form} thumbprint")
    return failed(
        THUMBPRINT,
        about,
        "the thumbprints differ: this is not the certificate that the device was provisioned with",
        "provision again: DPS then gives the hub the new thumbprint",
        f"put the new thumbprint into the identity: hub.devices.update({about!r}, certificate=…)",
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


def _common_name(device_id: str, leaf: x509.Certificate) -> Check:
    about, common_name = chain.subject(leaf), chain.common_name(leaf)
    if common_name == device_id:
        return passed(COMMON_NAME, about, f"both are {device_id!r}")
    why = f"the device connects as {device_id!r}, its certificate says {common_name!r}"
    if common_name.lower() == device_id.lower():
        why += ": in a hub, case counts"
    cures = (f"issue a certificate with CN={device_id}", f"connect as {common_name!r}")
    return failed(COMMON_NAME, about, why, *cures, source=_SOURCE)


def _chain(house: House, presented: Presented, now: datetime) -> Iterator[Check]:
    found = verdict.judge(presented.chain, house.verified, now)
    return (cured(check, found, house.place) for check in found.checks)


# ---- with either


def _identified(house: House, visitor: Visitor, identity: DeviceIdentity | None) -> Iterator[Check]:
    if visitor.client_id is not None:
        yield _client_id(visitor.device_id, visitor.client_id)
    yield _known(house.host_name.partition(".")[0], visitor.device_id, identity)
    assert identity is not None, "asked only after the identity was found"
    yield _enabled(identity)


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
    reason = f", because: {identity.status_reason}" if identity.status_reason else ""
    why = f"it is disabled in the hub{reason}"
    return failed(ENABLED, about, why, "enable it there", source=_SOURCE)
