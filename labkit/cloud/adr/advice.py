"""What would make a hub accept a chain that the Device Registry has issued."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from labkit.cloud.adr.tables import CaRow, LinkRow
from labkit.database import Database

SOURCE = "Azure documentation, IoT Hub: what is certificate management (synchronising CAs)"


def cures(database: Database, hub: str, presented: Iterable[x509.Certificate]) -> tuple[str, ...]:
    """The ways to make a hub accept this chain, where a namespace has issued it and the hub does
    not know the CA; none for any other chain."""
    sent = {certificate.public_bytes(Encoding.DER) for certificate in presented}
    with database.read() as session:
        row = session.scalar(select(CaRow).where(CaRow.der.in_(sent), CaRow.policy != ""))
        if row is None:
            return ()
        link = session.get(LinkRow, hub)
    steps = f"lab.registry.namespaces.get({row.namespace!r}).synchronize()"
    if link is None or link.namespace != row.namespace:
        return (f"link the hub to namespace {row.namespace}, then synchronise it: {steps}",)
    return (f"synchronise the namespace, which brings its CAs to the linked hubs: {steps}",)
