"""The Device Registry as the one who signs what DPS is asked to have signed.

is DPS linked to a namespace? ── has that the policy? ── may its CA sign now? ── the request

Its signature is verified, and the certificate signed, as tasks: wherever those are done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from labkit.cloud import codes
from labkit.cloud.adr import conditions, ledger, lookups, requests
from labkit.cloud.adr.books import Books
from labkit.cloud.adr.ledger import Entry
from labkit.cloud.adr.lookups import Place
from labkit.cloud.adr.requests import Examination
from labkit.cloud.adr.tables import Signer
from labkit.cloud.dps.issuance import REGISTRY, Carried, Order
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.errors import AzureError
from labkit.pki import request
from labkit.pki.authority import validity
from labkit.pki.tasks import Issue, Verify
from labkit.steps import Steps
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

    def accept(self, order: Order) -> Steps[RegistryCommission]:
        """Examines an order. Raises Denial (400)."""
        with self._books.database.quick_read() as connection:
            namespace, policy = lookups.policy(connection, order.issuer)
        yield from _examine(self._checks(order, namespace, policy), _answer, _ALL)
        csr = requests.read(order.request)
        assert csr is not None, "it was examined"
        assert policy is not None, "its absence fails"
        return RegistryCommission(self._books, order, policy, csr)

    def renew(self, hub: str, device_id: str, text: str) -> Steps[Callable[[Connection], int]]:
        """Examines what a device has asked its hub for, and signs: by the policy that signed its
        last certificate. What is returned puts it on record, and gives its number. Raises Denial
        (400037 where it is the request's fault, else 400040)."""
        with self._books.database.quick_read() as connection:
            last = lookups.last_issued(connection, hub, device_id)
            registration_id, namespace, named = last or (device_id, "", "")
            policy = lookups.signing(connection, namespace, named)
            place = lookups.place(connection, hub, device_id)
        order = Order(registration_id, text, named, device_id)
        yield from _examine(self._of_renewal(order, hub, last, policy, place), _renewal_answer)
        csr = requests.read(text)
        assert csr is not None, "it was examined"
        assert policy is not None, "its absence fails"
        commission = RegistryCommission(self._books, order, policy, csr)
        entry = commission.entry(device_id, hub)
        with self._books.database.quick_read() as connection:
            known = ledger.repeated(connection, entry)
        if known:
            return lambda _: known
        signed = yield from commission.sign(entry)
        return lambda connection: ledger.add(connection, signed)

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
        return leaf, *self._books.authorities.chain(ca).ders

    def _checks(self, order: Order, namespace: str, policy: Signer | None) -> Examination:
        yield conditions.linked(order, namespace)
        yield conditions.has_policy(order, namespace, policy)
        assert policy is not None, "asked only after it was found"
        yield self._may_sign(order, policy)
        yield conditions.fits(order)
        yield from self._of_request(order.request, order.registration_id)

    def _of_renewal(
        self,
        order: Order,
        hub: str,
        last: tuple[str, str, str] | None,
        policy: Signer | None,
        place: Place,
    ) -> Examination:
        yield conditions.managed(order.device_id, hub, last)
        assert last is not None, "asked only after it was found"
        yield from _of_place(order, hub, order.device_id, place, last[1])
        yield conditions.still_has_policy(order, last[1], policy)
        assert policy is not None, "asked only after it was found"
        yield self._may_sign(order, policy)
        yield from self._of_request(order.request, order.device_id)

    def _may_sign(self, order: Order, policy: Signer) -> Check:
        ca = self._books.authorities.chain(policy.number).certificates[0]
        return conditions.may_sign(order, ca, self._books.clock.now())

    def _of_request(self, text: str, name: str) -> Examination:
        return requests.examine(text, name, self._books.switches.request_key)


@dataclass(frozen=True, slots=True)
class RegistryCommission:
    """An order that was examined: see :class:`labkit.cloud.dps.issuance.Commission`."""

    _books: Books
    _order: Order
    _policy: Signer
    _csr: x509.CertificateSigningRequest

    by = REGISTRY

    def carry_out(self, device_id: str, hub: str) -> Steps[Carried]:
        """The hub knows the device by a CA above it: each renewal is another certificate. Raises
        Denial for a hub of another namespace, or of none; and for one that has disabled the
        device. A request that was answered a moment ago is not signed again."""
        entry = self.entry(device_id, hub)
        with self._books.database.quick_read() as connection:
            place = lookups.place(connection, hub, device_id)
            known = ledger.repeated(connection, entry)
        checks = _of_place(self._order, hub, device_id, place, self._policy.namespace)
        yield from _examine(checks, lambda _: codes.NOT_ISSUED)
        if known:
            return Carried(_BY_AUTHORITY, lambda _: known)
        signed = yield from self.sign(entry)
        return Carried(_BY_AUTHORITY, lambda connection: ledger.add(connection, signed))

    def sign(self, entry: Entry) -> Steps[Entry]:
        """The entry with its certificate. The name is the hub's for the device: a hub that knows
        devices by a CA compares it."""
        authorities, policy = self._books.authorities, self._policy
        lifetime = timedelta(days=policy.days)
        chain, name = authorities.chain(policy.number), entry.device_id
        valid = validity(chain.certificates[0], lifetime, self._books.clock.now())
        place = authorities.place(policy)
        der = yield Issue(entry.request, name, lifetime, valid, chain.ders[0], place)
        signed = replace(entry, der=der, ends=valid[1].replace(microsecond=0))
        told = f"{policy.policy!r} signed for {name}: valid until {signed.ends:%Y-%m-%d}"
        self._books.record("issued", told)
        return signed

    def entry(self, device_id: str, hub: str) -> Entry:
        """What is to be put on record, but for the certificate."""
        key = request.key_of(self._csr).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
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


def _of_place(order: Order, hub: str, device_id: str, place: Place, namespace: str) -> Examination:
    yield conditions.hub_linked(order, hub, place, namespace)
    yield conditions.enabled(order, hub, place, device_id)


def _examine(
    checks: Examination, answer: Callable[[Check], AzureError], every: Iterable[str] = ()
) -> Steps[None]:
    """Raises Denial at the first check that fails, with those of ``every`` that it came before."""
    made, said = list[Check](), None
    with suppress(StopIteration):  # all of them are made
        while True:
            found = checks.send(said)
            if isinstance(found, Verify):
                said = yield found
                continue
            said = None
            made.append(found)
            if found.failed:
                asked = {check.name for check in made}
                later = [not_reached(name) for name in every if name not in asked]
                raise Denial(answer(found), *made, *later)


def _answer(check: Check) -> AzureError:
    """Whether it is the device's request that is at fault, or what DPS was configured with."""
    configured = (conditions.LINKED, conditions.POLICY, conditions.VALID, conditions.FITS)
    return codes.NOT_ISSUED if check.name in configured else codes.CSR_REFUSED


def _renewal_answer(check: Check) -> AzureError:
    """The same of a renewal."""
    by_others = (*_CONDITIONS, conditions.STILL, conditions.VALID)
    return codes.CREDENTIAL_FAILED if check.name in by_others else codes.CSR_UNVERIFIED
