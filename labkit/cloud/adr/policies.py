"""Credential policies: an issuing CA each, and for how many days it signs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from sqlalchemy import func, select

from labkit.cloud.adr import names, synchronizing
from labkit.cloud.adr.authorities import current
from labkit.cloud.adr.books import Books
from labkit.cloud.adr.tables import CaRow
from labkit.cloud.store import new_etag
from labkit.errors import Conflict, LabError, NotFound
from labkit.pki import chain

LONGEST_VALIDITY = 90
USUAL_VALIDITY = 30
MOST = 32
"""Policies of a credential; each has a key in the namespace's token. A bound of ours."""


class Policy:
    """One policy. Its attributes are read from the registry each time."""

    def __init__(self, namespace: str, name: str, books: Books) -> None:
        self.namespace, self.name, self._books = namespace, name, books

    def __repr__(self) -> str:
        subject = chain.subject(self.certificate)
        return f"<Policy {self.name!r} of {self.namespace}: {subject}, {self.validity_days} days>"

    @property
    def certificate(self) -> x509.Certificate:
        """That of its issuing CA. Raises NotFound once the policy is deleted."""
        return self.row.certificate

    @property
    def validity_days(self) -> int:
        """For how many days a device's certificate is valid that is issued now."""
        return self.row.days

    @property
    def created(self) -> datetime:
        """By the lab's clock."""
        return self.row.created

    def update(self, *, validity_days: int) -> Policy:
        """Changes how long certificates are valid from now on; those that were issued stay as they
        are. Raises LabError for a number of days that cannot be."""
        check_days(validity_days, self._books.switches.shortest_validity)
        with self._books.changing, self._books.database.write() as session:
            row = session.merge(self.row)
            row.days, row.updated, row.etag = validity_days, self._books.clock.now(), new_etag()
        text = f"policy {self.name!r} signs for {validity_days} days from now on"
        self._books.record("policy", text)
        return self

    @property
    def row(self) -> CaRow:
        """As it is kept. Raises NotFound."""
        with self._books.database.read() as session:
            found = current(session, self.namespace, self.name)
        if found is None:
            raise NotFound(f"There is no policy {self.name!r} in {self.namespace} any more")
        return found


class Policies:
    """The policies of one namespace's credential, in the order of their names."""

    def __init__(self, namespace: str, books: Books) -> None:
        self._namespace, self._books = namespace, books

    def create(self, name: str, *, validity_days: int = USUAL_VALIDITY) -> Policy:
        """A policy, and the CA that signs for it; certificates are valid for 1 to 90 days. The same
        again is harmless.

        Raises LabError for what cannot be, NotFound where the namespace has no credential,
        Conflict where there is a policy of this name that differs, or none may be added.
        """
        names.check_policy(name)
        check_days(validity_days, self._books.switches.shortest_validity)
        with self._books.changing:
            if (existing := self._find(name)) is not None:
                return self._again(existing, validity_days)
            row = self._books.authorities.make_issuing(self._room(), name, validity_days)
            self._spread(row)
        subject = chain.subject(row.certificate)
        text = f"policy {name!r} of {self._namespace} signs by {subject}, for {validity_days} days"
        self._books.record("policy", text)
        return Policy(self._namespace, name, self._books)

    def get(self, name: str) -> Policy:
        """Raises NotFound."""
        found = self._find(name)
        if found is None:
            known = ", ".join(policy.name for policy in self) or "none yet"
            raise NotFound(
                f"There is no policy {name!r} in {self._namespace}", found=f"policies: {known}"
            )
        return Policy(self._namespace, found.policy, self._books)

    def delete(self, policy: Policy | str) -> None:
        """Nothing more is signed under it. What was signed stays valid, and hubs go on trusting
        its CA. Raises NotFound."""
        name = policy if isinstance(policy, str) else policy.name
        with self._books.changing:
            row = self.get(name).row
            with self._books.database.write() as session:
                session.merge(row).retired = self._books.clock.now()
        self._books.record("deleted", f"policy {row.policy!r} of {self._namespace} was deleted")

    def __iter__(self) -> Iterator[Policy]:
        mine = (CaRow.namespace == self._namespace) & (CaRow.policy != "")
        wanted = select(CaRow.policy).where(mine, CaRow.retired.is_(None))
        with self._books.database.read() as session:
            found = list(session.scalars(wanted.order_by(func.lower(CaRow.policy))))
        return (Policy(self._namespace, name, self._books) for name in found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, name: str) -> CaRow | None:
        with self._books.database.read() as session:
            return current(session, self._namespace, name) if name else None

    def _again(self, existing: CaRow, days: int) -> Policy:
        if existing.days != days:
            raise Conflict(
                f"{self._namespace} has a policy {existing.policy!r} already",
                expected=f"one whose certificates are valid for {days} days",
                found=f"{existing.days} days",
                cure=f"choose another name, or change it: .update(validity_days={days})",
            )
        self._books.record("again", f"policy {existing.policy!r} was there already")
        return Policy(self._namespace, existing.policy, self._books)

    def _spread(self, row: CaRow) -> None:
        """To the linked hubs at once, where the registry is set so."""
        if self._books.switches.synchronizes_itself:
            hubs = synchronizing.hubs_of(self._books, self._namespace)
            synchronizing.bring(self._books, [row], hubs)

    def _room(self) -> CaRow:
        """The root that signs another policy's CA. Raises NotFound, Conflict."""
        with self._books.database.read() as session:
            root = current(session, self._namespace)
        if root is None:
            raise no_credential(self._namespace)
        most = 1 if self._books.switches.one_policy else MOST
        if len(self) >= most:
            raise Conflict(
                f"The credential of {self._namespace} has no room for another policy",
                expected=f"{most} at the most",
                found=", ".join(policy.name for policy in self),
                cure="delete one of them; or allow more: lab.registry.one_policy = False"
                if most == 1
                else "delete one of them",
            )
        return root


def check_days(days: int, shortest: int) -> None:
    """Raises LabError for a validity that no policy may have."""
    is_number = isinstance(days, int) and not isinstance(days, bool)
    if not is_number or not shortest <= days <= LONGEST_VALIDITY:
        raise LabError(
            f"No policy can sign for {days!r} days",
            expected=f"a whole number of days from {shortest} to {LONGEST_VALIDITY}",
            cure="the fewest are a switch, for the documents name 1 and 7: "
            "lab.registry.shortest_validity",
        )


def no_credential(namespace: str) -> NotFound:
    """The error for a namespace that has no root yet."""
    return NotFound(
        f"Namespace {namespace} has no credential",
        expected="the root CA under which policies sign",
        cure="create it: namespace.create_credential()",
    )
