"""The Device Registry as the one who signs what DPS is asked to have signed.

is DPS linked to a namespace? ── has that the policy? ── may its CA sign now? ── the request
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from labkit.cloud import codes
from labkit.cloud.adr import conditions, ledger, lookups, requests
from labkit.cloud.adr.books import Books
from labkit.cloud.adr.ledger import Entry
from labkit.cloud.adr.tables import CaRow
from labkit.cloud.dps.issuance import REGISTRY, Order
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.errors import AzureError
from labkit.pki import profiles, request
from labkit.trace import Check, not_reached

_BY_AUTHORITY = Credentials(by_authority=True)
_ALL = (
    *(conditions.LINKED, conditions.POLICY, conditions.VALID, conditions.FITS),
    *(requests.FORM, requests.KEY, requests.NAME),
)
_CONDITIONS = (conditions.MANAGED, conditions.HUB_LINKED, conditions.ENABLED)


class RegistryIssuer:
    """Signs by the policies of the namespace that the provisioning service is linked to."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def accept(self, order: Order) -> RegistryCommission:
        """Examines an order. Raises Denial (400)."""
        with self._books.database.quick_read() as connection:
            namespace, policy = lookups.policy(connection, order.issuer)
        _examine(self._checks(order, namespace, policy), _answer, _ALL)
        csr = requests.read(order.request)
        assert csr is not None, "it was examined"
        assert policy is not None, "its absence fails"
        return RegistryCommission(self._books, order, policy, csr)

    def renew(self, hub: str, device_id: str, text: str) -> Callable[[Connection], int]:
        """Examines what a device has asked its hub for, and signs: by the policy that signed its
        last certificate. What is returned puts it on record, and gives its number. Raises Denial
        (400037 where it is the request's fault, else 400040)."""
        with self._books.database.quick_read() as connection:
            last = lookups.last_issued(connection, hub, device_id)
            registration_id, namespace, named = last or (device_id, "", "")
            policy = lookups.signing(connection, namespace, named)
        order = Order(registration_id, text, named, device_id)
        _examine(self._of_renewal(order, hub, last, policy), _renewal_answer)
        csr = requests.read(text)
        assert csr is not None, "it was examined"
        assert policy is not None, "its absence fails"
        return RegistryCommission(self._books, order, policy, csr).issue(device_id, hub)

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
        yield conditions.linked(order, namespace)
        yield conditions.has_policy(order, namespace, policy)
        assert policy is not None, "asked only after it was found"
        yield conditions.may_sign(order, policy, self._books.clock.now())
        yield conditions.fits(order)
        yield from self._of_request(order.request, order.registration_id)

    def _of_renewal(
        self, order: Order, hub: str, last: tuple[str, str, str] | None, policy: CaRow | None
    ) -> Iterator[Check]:
        yield conditions.managed(order.device_id, hub, last)
        assert last is not None, "asked only after it was found"
        yield from _of_hub(self._books, order, hub, order.device_id, last[1])
        yield conditions.still_has_policy(order, last[1], policy)
        assert policy is not None, "asked only after it was found"
        yield conditions.may_sign(order, policy, self._books.clock.now())
        yield from self._of_request(order.request, order.device_id)

    def _of_request(self, text: str, name: str) -> Iterator[Check]:
        yield from requests.examine(text, name, self._books.switches.request_key)


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
        Raises Denial for a hub of another namespace, or of none; and for one that has disabled the
        device."""
        name = self._order.device_id or self._order.registration_id
        checks = _of_hub(self._books, self._order, hub, name, self._policy.namespace)
        _examine(checks, lambda _: codes.NOT_ISSUED)
        return _BY_AUTHORITY

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


def _of_hub(
    books: Books, order: Order, hub: str, device_id: str, namespace: str
) -> Iterator[Check]:
    with books.database.quick_read() as connection:
        linked_to = lookups.namespace_of(connection, hub)
    yield conditions.hub_linked(order, hub, linked_to, namespace)
    yield conditions.enabled(order, hub, books.hubs.get(hub).devices.find(device_id))


def _examine(
    checks: Iterable[Check], answer: Callable[[Check], AzureError], every: Iterable[str] = ()
) -> None:
    """Raises Denial at the first check that fails, with those of ``every`` that it came before."""
    made: list[Check] = []
    for check in checks:
        made.append(check)
        if check.failed:
            asked = {check.name for check in made}
            later = [not_reached(name) for name in every if name not in asked]
            raise Denial(answer(check), *made, *later)


def _answer(check: Check) -> AzureError:
    """Whether it is the device's request that is at fault, or what DPS was configured with."""
    configured = (conditions.LINKED, conditions.POLICY, conditions.VALID, conditions.FITS)
    return codes.NOT_ISSUED if check.name in configured else codes.CSR_REFUSED


def _renewal_answer(check: Check) -> AzureError:
    """The same of a renewal."""
    by_others = (*_CONDITIONS, conditions.STILL, conditions.VALID)
    return codes.CREDENTIAL_FAILED if check.name in by_others else codes.CSR_UNVERIFIED
