"""How a hub comes to trust what a namespace issues: its issuing CAs are put among the hub's own
certificates, verified, for nobody has to prove anything to themselves.

    namespace.synchronize() ──> hub.certificates: adr-short-2, verified ──> admission
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from labkit.cloud.adr.books import DPS, Books
from labkit.cloud.adr.tables import CaRow, LinkRow
from labkit.cloud.certificates import CaCertificates
from labkit.pki import chain

_LONGEST_IN_NAME = 40


def synchronize(books: Books, namespace: str) -> list[str]:
    """Brings the issuing CA of each policy of a namespace to its hubs; returns these."""
    mine = (CaRow.namespace == namespace) & (CaRow.policy != "") & CaRow.retired.is_(None)
    with books.database.read() as session:
        policies = list(session.scalars(select(CaRow).where(mine).order_by(CaRow.number)))
    hubs = hubs_of(books, namespace)
    bring(books, policies, hubs)
    return hubs


def bring(books: Books, policies: Sequence[CaRow], hubs: Sequence[str]) -> None:
    """Brings these issuing CAs to these hubs."""
    for hub in hubs:
        held = books.hubs.get(hub).certificates
        for row in policies:
            held.upload(name_in_hub(row), row.certificate, verified=True)
    cas = ", ".join(chain.subject(row.certificate) for row in policies) or "no CA"
    books.record("synchronized", f"{', '.join(hubs) or 'no hub'} knows {cas} now")


def hubs_of(books: Books, namespace: str) -> list[str]:
    """The hubs that are linked to a namespace, by their names."""
    mine = (LinkRow.namespace == namespace) & (LinkRow.service != DPS)
    with books.database.read() as session:
        return list(session.scalars(select(LinkRow.service).where(mine).order_by("service")))


def withdraw(books: Books, root: CaRow) -> None:
    """Takes everything below a root out of the namespace's hubs again."""
    below = select(CaRow).where(CaRow.issuer == root.number)
    with books.database.read() as session:
        gone = {name_in_hub(row) for row in session.scalars(below)}
    for hub in hubs_of(books, root.namespace):
        held = books.hubs.get(hub).certificates
        for name in _names(held) & gone:
            held.delete(name)


def name_in_hub(row: CaRow) -> str:
    """What an issuing CA is called among a hub's certificates. Another policy may have the name of
    one that is gone, whose CA stays there: the number tells them apart."""
    return f"adr-{row.policy[:_LONGEST_IN_NAME]}-{row.number}"


def _names(held: CaCertificates) -> set[str]:
    return {certificate.name for certificate in held}
