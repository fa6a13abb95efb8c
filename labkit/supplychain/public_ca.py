"""A stand-in for a company that sells CA certificates: it checks a request, vets who asks, signs.

    Example Trust Services Root CA          its key is in a token of its own, and signs once
      └─ Example Trust Services Issuing CA  the tier that customers meet
           └─ Company-X CA                  the customer's key, in the customer's token

A customer proves possession of their own CA, never of those above it: of these they have no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.errors import BadRequest, Conflict, NotFound
from labkit.hsm import Algorithm
from labkit.pki import chain, profiles, request
from labkit.pki.forms import Readable
from labkit.supplychain.authority import CertificateAuthority
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.custodian import Custodian
from labkit.supplychain.ledger import stored
from labkit.supplychain.records import OrderRow
from labkit.supplychain.terms import intermediate
from labkit.trace import Check, failed, first_failure, not_reached, passed

LISTED = "the applicant is a company that the register knows"
CONFIRMED = "the applicant confirms the request when they are called back"

ROOM = 2
"""CAs that may follow below a customer's: a factory's and a technician's."""

_TIERS = Algorithm.P384


class OrderRefused(BadRequest):
    """A public CA that does not sign, and every check that it made: ``checks``, in order."""

    def __init__(self, about: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        reason = first_failure(checks)
        super().__init__(
            about,
            expected=reason.name if reason else "",
            found=reason.why if reason else "",
            cure=" Or: ".join(reason.cures) if reason else "",
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One order. ``state`` is received, vetted or issued; ``checks`` are all that were made."""

    vendor: str
    organization: str
    request: x509.CertificateSigningRequest
    path_length: int
    state: str
    checks: tuple[Check, ...]

    def __repr__(self) -> str:
        name = chain.common_name(self.request)
        lines = (f"{'✓' if c.passed else '✗'} {c.name}: {c.why}" for c in self.checks)
        head = f"Order of {self.organization} at {self.vendor}, for {name!r}: {self.state}"
        return "\n  ".join([head, *lines])


class PublicCA(Generic[DeviceT]):
    """The vendor ``name``: its two tiers are made when it is first named, its orders are kept."""

    def __init__(self, name: str, supply_chain: SupplyChain[DeviceT]) -> None:
        self.name = name
        self._chain = supply_chain
        self.root = self._root(Custodian(f"{name} Root", supply_chain), f"{name} Root CA")
        self.issuing = self._issuing(Custodian(name, supply_chain), f"{name} Issuing CA")

    def __repr__(self) -> str:
        return f"<PublicCA {self.name!r}, orders: {len(self.orders)}>"

    @property
    def orders(self) -> list[Order]:
        """Every order, in the order in which they came."""
        return [self._as_it_is(row) for row in self._chain.records.orders(self.name)]

    def order(
        self,
        csr: x509.CertificateSigningRequest | Readable,
        organization: str | Custodian[DeviceT],
        *,
        path_length: int = ROOM,
    ) -> Order:
        """Takes an order of ``organization`` for a CA certificate, once the request is in order.

        ``path_length`` is how many CAs may follow below it. Raises BadCertificate for what is no
        request, OrderRefused for one that is not signed, and Conflict where the same key was
        ordered otherwise.
        """
        asked, who = request.read(csr), getattr(organization, "name", str(organization))
        checks = request.examine(asked, intermediate(path_length), organization=who)
        self._refuse_failed(asked, checks)
        row = self._chain.records.order(self.name, _key_of(asked))
        if row is None:
            der = asked.public_bytes(Encoding.DER)
            row = OrderRow(self.name, _key_of(asked), who, path_length, der)
            self._chain.records.save(row)
            self._tell("order", f"{who} orders {_title(asked)} at {self.name}")
        elif (before := _wish(*_ordered(row))) != (now := _wish(asked, who, path_length)):
            raise Conflict(
                f"A certificate for this key is on order at {self.name} already",
                expected=before,
                found=now,
                cure="order it just so again, or make a key of another name and a new request",
            )
        else:
            self._tell("again", f"{_title(asked)} was ordered already")
        return self._as_it_is(row)

    def vet(self, order: Order) -> Order:
        """Finds out who asks: looks them up, and calls them back. Raises OrderRefused."""
        row = self._row(order)
        checks = self._vetting(row)
        self._refuse_failed(_asked(row), checks)
        if row.vetted:
            self._tell("again", f"{row.organization} was vetted for this already")
        else:
            row.vetted = True
            self._chain.records.save(row)
            self._tell("vetted", f"{self.name} has called {row.organization} back: they asked")
        return self._as_it_is(row)

    def issue(self, order: Order) -> tuple[x509.Certificate, ...]:
        """The customer's certificate, then this vendor's two. Raises BadRequest until it is vetted.

        What is signed is the request that was examined and vetted, whatever ``order`` says now.
        The same order again gives the same chain.
        """
        row = self._row(order)
        asked = _asked(row)
        if row.chain_pem:
            self._tell("again", f"{_title(asked)} was issued already")
            return tuple(stored(row.chain_pem))
        if not row.vetted:
            raise BadRequest(
                f"{self.name} does not know yet who orders {_title(asked)}",
                expected="an order that is vetted",
                found="one that is received",
                cure="have them vet it: vendor.vet(order)",
            )
        issued = self.issuing._sign_ca(asked, intermediate(row.path_length))
        row.chain_pem = chain.to_pem(issued)
        self._chain.records.save(row)
        return issued

    def _vetting(self, row: OrderRow) -> tuple[Check, ...]:
        who, csr = row.organization, _asked(row)
        if who not in self._chain.ledger.custodians():
            cure = f"register the company: lab.custodian({who!r}), or order under a name it knows"
            unknown = failed(LISTED, who, "the register has no company of this name", cure)
            return (unknown, not_reached(CONFIRMED, who))
        listed = passed(LISTED, who, "it is in the register, and so is how to reach it")
        if Custodian(who, self._chain).confirms(csr):
            return (listed, passed(CONFIRMED, who, "the request's key is in their own token"))
        why = "they have no such key: somebody else made this request in their name"
        cure = f"have {who} make the request: lab.custodian({who!r}).request_ca(...)"
        return (listed, failed(CONFIRMED, who, why, cure))

    def _refuse_failed(
        self, asked: x509.CertificateSigningRequest, checks: Sequence[Check]
    ) -> None:
        if first_failure(checks):
            raise OrderRefused(f"{self.name} does not sign {_title(asked)}", checks)

    def _as_it_is(self, row: OrderRow) -> Order:
        asked, wanted = _asked(row), intermediate(row.path_length)
        checks = request.examine(asked, wanted, organization=row.organization)
        if row.vetted:
            checks = (*checks, *self._vetting(row))
        state = "issued" if row.chain_pem else "vetted" if row.vetted else "received"
        return Order(self.name, row.organization, asked, row.path_length, state, checks)

    def _row(self, order: Order) -> OrderRow:
        row = self._chain.records.order(self.name, _key_of(order.request))
        if row is None:
            raise NotFound(
                f"{self.name} has no such order",
                found=f"{len(self.orders)} others; this one is of {order.vendor}",
                cure="place it here first: vendor.order(csr, organization)",
            )
        return row

    def _root(self, owner: Custodian[DeviceT], name: str) -> CertificateAuthority[DeviceT]:
        return owner._ca(name) or owner._root(name, _TIERS, profiles.PUBLIC_ROOT)

    def _issuing(self, owner: Custodian[DeviceT], name: str) -> CertificateAuthority[DeviceT]:
        if found := owner._ca(name):
            return found
        csr = owner.request_ca(name, algorithm=_TIERS)
        return owner.accept_ca(csr, self.root._sign_ca(csr, profiles.ISSUING_CA))

    def _tell(self, kind: str, text: str) -> None:
        self._chain.events.record("supply chain", kind, text)


def _key_of(csr: x509.CertificateSigningRequest) -> str:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(csr.public_key().public_bytes(*form)).hexdigest()


def _asked(row: OrderRow) -> x509.CertificateSigningRequest:
    """The request as it came in: who holds an Order may hold another of the same key."""
    return x509.load_der_x509_csr(row.request)


def _ordered(row: OrderRow) -> tuple[x509.CertificateSigningRequest, str, int]:
    return _asked(row), row.organization, row.path_length


def _wish(csr: x509.CertificateSigningRequest, who: str, path_length: int) -> str:
    return f"{csr.subject.rfc4514_string()}, by {who}, with path length {path_length}"


def _title(csr: x509.CertificateSigningRequest) -> str:
    return chain.title(csr.subject)
