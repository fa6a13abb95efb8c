"""Namespaces: each a PKI of its own, and the services that are linked to it.

namespace ─┬─ credential (root CA) ── policies (issuing CAs)
           ├─ the provisioning service that has certificates issued
           └─ hubs, which accept them once they were synchronised
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from sqlalchemy import select

from labkit.cloud.adr import names, synchronizing
from labkit.cloud.adr.authorities import current
from labkit.cloud.adr.books import DPS, Books
from labkit.cloud.adr.ledger import IssuedCertificate, Ledger
from labkit.cloud.adr.policies import Policies, no_credential
from labkit.cloud.adr.retired import RetiredCa, retired
from labkit.cloud.adr.tables import CaRow, LinkRow, NamespaceRow
from labkit.cloud.hub import Hub
from labkit.errors import Conflict, LabError, NotFound
from labkit.pki import chain

MOST = 32
"""Namespaces of a lab; each has a token. A bound of ours."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The root CA of a namespace; its key is in the namespace's token."""

    namespace: str
    certificate: x509.Certificate
    created: datetime
    updated: datetime = field(repr=False)
    etag: str = field(repr=False)

    def __repr__(self) -> str:
        return f"<Credential of {self.namespace}: {chain.subject(self.certificate)}>"


class Namespace:
    """One namespace. What it holds is read from the registry each time."""

    def __init__(self, name: str, books: Books) -> None:
        self.name, self._books = name, books
        self.policies = Policies(name, books)

    def __repr__(self) -> str:
        links = ", ".join(self.links) or "nothing"
        return f"<Namespace {self.name!r}: {len(self.policies)} policies, linked to {links}>"

    # ---- its PKI

    def create_credential(self) -> Credential:
        """The root CA, made when there is none: its key is made in a token of the namespace's own.
        The same again is harmless."""
        with self._books.changing:
            existing = self.root
            if existing is not None:
                self._books.record("again", f"{self.name} had a credential already")
                return self.credential
            row = self._books.authorities.make_root(self.row)
        subject = chain.subject(row.certificate)
        self._books.record("credential", f"{self.name} has a root CA now: {subject}")
        return self.credential

    @property
    def credential(self) -> Credential:
        """The root CA. Raises NotFound where there is none yet."""
        row = self.root
        if row is None:
            raise no_credential(self.name)
        return Credential(self.name, row.certificate, row.created, row.updated, row.etag)

    def delete_credential(self) -> None:
        """Takes the root away: linked hubs trust nothing below it any more, and this cannot be
        taken back. Raises NotFound; Conflict while there are policies."""
        with self._books.changing:
            row = self.root
            if row is None:
                raise no_credential(self.name)
            if policies := [policy.name for policy in self.policies]:
                raise Conflict(
                    f"The credential of {self.name} is in use",
                    expected="no policies below it",
                    found=", ".join(policies),
                    cure="delete them first: namespace.policies.delete(...)",
                )
            with self._books.database.write() as session:
                session.merge(row).retired = self._books.clock.now()
            synchronizing.withdraw(self._books, row)
        self._books.record("deleted", f"the credential of {self.name} was deleted")

    # ---- its links

    @property
    def links(self) -> list[str]:
        """The linked services: ``dps``, and hubs by their names."""
        mine = select(LinkRow.service).where(LinkRow.namespace == self.name)
        with self._books.database.read() as session:
            return list(session.scalars(mine.order_by(LinkRow.service)))

    @property
    def hubs(self) -> list[str]:
        """The linked hubs, by their names."""
        return synchronizing.hubs_of(self._books, self.name)

    def link_dps(self) -> None:
        """From now on the provisioning service has certificates issued here. Raises Conflict where
        it belongs to another namespace."""
        self._link(DPS, "the provisioning service")

    def link_hub(self, hub: Hub | str) -> None:
        """From now on the hub belongs to this namespace; it trusts its CAs once it was
        synchronised. Raises NotFound; Conflict where the hub belongs to another namespace."""
        name = hub.name if isinstance(hub, Hub) else self._books.hubs.get(hub).name
        self._link(name, f"hub {name!r}")

    def unlink(self, service: Hub | str) -> None:
        """Takes back a link: ``dps``, or a hub. What the hub trusts, it goes on trusting. Raises
        NotFound where there is none."""
        name = service.name if isinstance(service, Hub) else service
        with self._books.changing, self._books.database.write() as session:
            row = session.get(LinkRow, name)
            if row is None or row.namespace != self.name:
                linked = ", ".join(self.links) or "nothing"
                raise NotFound(f"{name!r} is not linked to {self.name}", found=f"linked: {linked}")
            session.delete(row)
        self._books.record("unlinked", f"{name} does not belong to {self.name} any more")

    def _link(self, service: str, called: str) -> None:
        with self._books.changing, self._books.database.write() as session:
            row = session.get(LinkRow, service)
            if row is None:
                session.add(LinkRow(service, self.name))
        if row is None:
            self._books.record("linked", f"{called} is linked to namespace {self.name}")
        elif row.namespace == self.name:
            self._books.record("again", f"{called} was linked to {self.name} already")
        else:
            raise Conflict(
                f"{called[:1].upper()}{called[1:]} belongs to a namespace already",
                expected="one namespace for each service",
                found=row.namespace,
                cure=f"unlink it there first: lab.registry.namespaces.get({row.namespace!r})"
                f".unlink({service!r})",
            )

    def synchronize(self) -> list[str]:
        """Brings the certificate of each policy's CA to each linked hub, which accepts devices
        below it from then on. Returns the hubs. Raises NotFound where there is no credential."""
        if self.root is None:
            raise no_credential(self.name)
        return synchronizing.synchronize(self._books, self.name)

    # ---- what it issued

    def certificates(self, registration_id: str = "") -> list[IssuedCertificate]:
        """Every certificate that was issued here, the oldest first; of one device where it is
        named."""
        return Ledger(self._books.database).of(self.name, registration_id)

    @property
    def row(self) -> NamespaceRow:
        """As it is kept. Raises NotFound once it is deleted."""
        with self._books.database.read() as session:
            found = session.get(NamespaceRow, self.name)
        if found is None:
            raise NotFound(f"There is no namespace {self.name!r} any more")
        return found

    @property
    def root(self) -> CaRow | None:
        """The root's row, where there is one."""
        with self._books.database.read() as session:
            return current(session, self.name)


class Namespaces:
    """The namespaces of one lab, in the order of their names."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def create(self, name: str) -> Namespace:
        """A namespace; it has no PKI yet. The same again is harmless. Raises LabError."""
        names.check_namespace(name)
        with self._books.changing, self._books.database.write() as session:
            is_new = session.get(NamespaceRow, name) is None
            if is_new:
                self._check_room()
                session.add(NamespaceRow(name, str(uuid.uuid4()), self._books.clock.now()))
        text = f"namespace {name!r} was " + ("created" if is_new else "there already")
        self._books.record("namespace" if is_new else "again", text)
        return Namespace(name, self._books)

    def get(self, name: str) -> Namespace:
        """Raises NotFound."""
        known = self._names()
        if name.lower() not in known:
            raise NotFound(
                f"There is no namespace {name!r}", found=f"namespaces: {', '.join(known) or 'none'}"
            )
        return Namespace(name.lower(), self._books)

    def delete(self, namespace: Namespace | str) -> None:
        """Raises NotFound; Conflict while it has a credential or links."""
        found = self.get(namespace if isinstance(namespace, str) else namespace.name)
        with self._books.changing:
            holds = ["a credential"] if found.root is not None else []
            if holds := holds + [f"a link to {service}" for service in found.links]:
                raise Conflict(
                    f"Namespace {found.name} is in use",
                    expected="neither credential nor links",
                    found=", ".join(holds),
                    cure="delete the credential and unlink the services first",
                )
            with self._books.database.write() as session:
                session.delete(session.merge(found.row))
        self._books.record("deleted", f"namespace {found.name!r} was deleted")

    def of(self, service: str) -> Namespace | None:
        """The namespace that a service belongs to: ``dps``, or a hub's name."""
        with self._books.database.read() as session:
            row = session.get(LinkRow, service)
        return Namespace(row.namespace, self._books) if row is not None else None

    def retired(self) -> list[RetiredCa]:
        """The issuing CAs of policies that were deleted, the oldest first."""
        return retired(self._books.database)

    def __iter__(self) -> Iterator[Namespace]:
        return (Namespace(name, self._books) for name in self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        with self._books.database.read() as session:
            return list(session.scalars(select(NamespaceRow.name).order_by(NamespaceRow.name)))

    def _check_room(self) -> None:
        if len(self) >= MOST:
            raise LabError(
                "This lab has no room for another namespace",
                expected=f"{MOST} at the most",
                cure="delete one of them",
            )
