"""The issuing CAs of policies that were deleted: they sign nothing more, and what they have signed
stays valid to its last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import aliased

from labkit.cloud.adr.tables import CaRow
from labkit.database import Database


@dataclass(frozen=True, slots=True)
class RetiredCa:
    """One such CA. ``number`` and ``root_number`` are those of its row and its root's; ``at`` is
    when its policy was deleted, ``root_at`` when the credential was, None while that is there: both
    are the lab's time."""

    number: int
    namespace: str
    policy: str
    at: datetime
    certificate: x509.Certificate
    root_number: int
    root: x509.Certificate
    root_at: datetime | None


def retired(database: Database) -> list[RetiredCa]:
    """All of them, the oldest first; also those of a namespace that is gone."""
    above = aliased(CaRow)
    wanted = select(CaRow, above).join(above, above.number == CaRow.issuer)
    with database.read() as session:
        rows = session.execute(wanted.where(CaRow.retired.is_not(None)).order_by(CaRow.number))
        return [_retired(row, root) for row, root in rows]


def _retired(row: CaRow, root: CaRow) -> RetiredCa:
    assert row.retired is not None
    who, above = (row.number, row.namespace, row.policy), (root.number, root.certificate)
    return RetiredCa(*who, row.retired, row.certificate, *above, root.retired)
