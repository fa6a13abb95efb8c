"""The Device Registry as the one who signs what DPS is asked to have signed.

is DPS linked to a namespace? ── has that the policy? ── may its CA sign now? ── the request
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from labkit.cloud import codes
from labkit.cloud.adr import ledger, lookups, requests
from labkit.cloud.adr.books import Books
from labkit.cloud.adr.ledger import Entry
from labkit.cloud.adr.tables import CaRow
from labkit.cloud.dps.issuance import REGISTRY, Order
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.errors import AzureError
from labkit.pki import profiles, request
from labkit.trace import Check, failed, first_failure, not_reached, passed

LINKED = "the provisioning service is linked to a namespace"
POLICY = "the namespace has the credential policy that the enrollment names"
VALID = "the policy's CA may sign now"
FITS = "the device ID fits into a certificate"
HUB_LINKED = "the hub that the device is assigned to is linked to the namespace"

_SOURCE = "Azure documentation, IoT Hub: deploy IoT Hub with ADR integration"
_BY_AUTHORITY = Credentials(by_authority=True)
_ALL = (LINKED, POLICY, VALID, FITS, requests.FORM, requests.KEY, requests.NAME)


class RegistryIssuer:
    """Signs by the policies of the namespace that the provisioning service is linked to."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def accept(self, order: Order) -> RegistryCommission:
        """Examines an order. Raises Denial (400)."""
        with self._books.database.quick_read() as connection:
            namespace, policy = lookups.policy(connection, order.issuer)
        checks: list[Check] = []
        for check in self._checks(order, namespace, policy):
            checks.append(check)
            if check.failed:
                raise Denial(_answer(check), *checks, *_unasked(checks))
        csr = requests.read(order.request)
        assert csr is not None, "it was examined"
        assert policy is not None, "its absence fails"
        return RegistryCommission(self._books, order, policy, csr)

    def knows(self, registration_id: str) -> Credentials | None:
        """By a CA, where the device has a valid certificate already."""
        now = self._books.clock.now()
        with self._books.database.quick_read() as connection:
            has = ledger.has_lasting(connection, registration_id, now)
        return _BY_AUTHORITY if has else None

    def chain(self, number: int) -> tuple[bytes, ...]:
        """A certificate on record and its issuers up to the root, each in DER."""
        with self._books.database.quick_read() as connection:
            ca, leaf = ledger.read(connection, number)
        issuers = self._books.authorities.chain(ca)
        return leaf, *(issuer.public_bytes(Encoding.DER) for issuer in issuers)

    def _checks(self, order: Order, namespace: str, policy: CaRow | None) -> Iterator[Check]:
        yield _linked(order, namespace)
        yield _has_policy(order, namespace, policy)
        assert policy is not None, "asked only after it was found"
        yield _may_sign(order, policy, self._books.clock.now())
        yield _fits(order)
        key = self._books.switches.request_key
        yield from requests.examine(order.request, order.registration_id, key)


@dataclass(frozen=True, slots=True)
class RegistryCommission:
    """An order that was examined: see :class:`labkit.cloud.dps.issuance.Commission`."""

    _books: Books
    _order: Order
    _policy: CaRow
    _csr: x509.CertificateSigningRequest

    by = REGISTRY

    def known_by(self, hub: str) -> Credentials:
        """A CA above the device: each renewal is another certificate, and the hub need not know.
        Raises Denial for a hub of another namespace, or of none."""
        namespace = self._policy.namespace
        with self._books.database.quick_read() as connection:
            linked = lookups.namespace_of(connection, hub)
        if linked == namespace:
            return _BY_AUTHORITY
        check = failed(
            HUB_LINKED,
            self._order.registration_id,
            f"{hub} belongs to {linked or 'no namespace'}, the policy "
            f"{self._policy.policy!r} to {namespace}",
            f"link it: lab.registry.namespaces.get({namespace!r}).link_hub({hub!r})",
            "let the enrollment name hubs of that namespace",
            source=_SOURCE,
        )
        raise Denial(codes.NOT_ISSUED, check)

    def issue(self, device_id: str, hub: str) -> Callable[[Connection], int]:
        """Signs for a device; a request that was answered a moment ago is not signed again."""
        entry = self._entry(device_id, hub)
        with self._books.database.quick_read() as connection:
            if known := ledger.repeated(connection, entry):
                return lambda _: known
        signed = self._signed(entry)
        self._books.record(
            "issued",
            f"{self._policy.policy!r} signed for {device_id}: valid until {signed.ends:%Y-%m-%d}",
        )
        return lambda connection: ledger.add(connection, signed)

    def _entry(self, device_id: str, hub: str) -> Entry:
        key = self._csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        now = self._books.clock.now()
        return Entry(
            self._policy.number,
            self._order.registration_id,
            device_id,
            hub,
            hashlib.sha256(key).hexdigest(),
            b"",
            self._csr.public_bytes(Encoding.DER),
            now,
            now + timedelta(days=self._policy.days),
        )

    def _signed(self, entry: Entry) -> Entry:
        """The name is the hub's for the device: a hub that knows devices by a CA compares it."""
        certificate = self._books.authorities.of(self._policy).issue(
            self._csr.public_key(),
            request.name(entry.device_id),
            profiles.DEVICE.lasting(timedelta(days=self._policy.days)),
        )
        der = certificate.public_bytes(Encoding.DER)
        return replace(entry, der=der, ends=certificate.not_valid_after_utc)


def _linked(order: Order, namespace: str) -> Check:
    if namespace:
        return passed(LINKED, order.registration_id, f"to {namespace}")
    return failed(
        LINKED,
        order.registration_id,
        "it is linked to none, so nobody signs for its devices",
        "link it: lab.registry.namespaces.get(...).link_dps()",
        source=_SOURCE,
    )


def _has_policy(order: Order, namespace: str, policy: CaRow | None) -> Check:
    about = order.registration_id
    if policy is not None:
        return passed(POLICY, about, f"{order.issuer!r} signs for {policy.days} days")
    where = f"lab.registry.namespaces.get({namespace!r})"
    return failed(
        POLICY,
        about,
        f"the enrollment names {order.issuer!r}, and {namespace} has no such policy",
        f"create it: {where}.policies.create({order.issuer!r})",
        "let the enrollment name another one",
        source=_SOURCE,
    )


def _may_sign(order: Order, policy: CaRow, now: datetime) -> Check:
    ca = policy.certificate
    begin, end = ca.not_valid_before_utc, ca.not_valid_after_utc
    if begin <= now <= end:
        return passed(VALID, order.registration_id, f"it is valid until {end:%Y-%m-%d}")
    return failed(
        VALID,
        order.registration_id,
        f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}; the lab's clock says {now:%Y-%m-%d}",
        "create another policy, let the enrollment name it, and synchronise the namespace",
        "move the lab's clock",
    )


def _fits(order: Order) -> Check:
    name = order.device_id or order.registration_id
    if len(name) <= request.LONGEST_CN:
        return passed(FITS, order.registration_id, f"it has {len(name)} characters")
    return failed(
        FITS,
        order.registration_id,
        f"{name!r} has {len(name)} characters; there is room for {request.LONGEST_CN}",
        "give the device a shorter ID in the hub: deviceId of its individual enrollment",
        source="RFC 5280, appendix A.1 (ub-common-name)",
    )


def _answer(check: Check) -> AzureError:
    """Whether it is the device's request that is at fault, or what DPS was configured with."""
    return codes.NOT_ISSUED if check.name in (LINKED, POLICY, VALID, FITS) else codes.CSR_REFUSED


def _unasked(checks: list[Check]) -> list[Check]:
    asked = {check.name for check in checks}
    assert first_failure(checks) is not None, "somebody said no"
    return [not_reached(name) for name in _ALL if name not in asked]
