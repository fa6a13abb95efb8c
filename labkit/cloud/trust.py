"""The CA certificates of a service as it needs them to judge: parsed once, read again on change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from sqlalchemy import Connection, Table, select

from labkit import ids
from labkit.cloud.certificates import CaCertificateRow
from labkit.cloud.prepared import Prepared
from labkit.database import Database
from labkit.pki import chain


@dataclass(frozen=True, slots=True)
class Uploaded:
    """``verified`` are the CAs that chains may end in; ``thumbprints`` (SHA-256) those of all
    that were uploaded, by their names in lower case."""

    verified: tuple[x509.Certificate, ...] = ()
    thumbprints: Mapping[str, str] = field(default_factory=dict)


_table: Table = CaCertificateRow.__table__  # type: ignore[assignment]


class Trust:
    """Asks the database each time whether anything changed: by the ETags, which costs little."""

    def __init__(self, service: str, database: Database) -> None:
        self._database = database
        mine = _table.c.service == service
        etags = select(_table.c.name, _table.c.etag).where(mine).order_by(_table.c.name)
        self._etags = Prepared(etags)
        columns = (_table.c.name, _table.c.der, _table.c.is_verified)
        self._rows = select(*columns).where(mine).order_by(_table.c.name)
        self._kept: tuple[tuple[tuple[str, ...], ...], Uploaded] = ((), Uploaded())

    def now(self) -> Uploaded:
        """What is uploaded and verified at this moment."""
        with self._database.quick_read() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> Uploaded:
        """The same, within a transaction."""
        state = tuple(self._etags.rows(connection))
        if state == self._kept[0]:
            return self._kept[1]
        rows = connection.execute(self._rows).all()
        parsed = [(name, x509.load_der_x509_certificate(der), ok) for name, der, ok in rows]
        found = Uploaded(
            tuple(certificate for _, certificate, is_verified in parsed if is_verified),
            {ids.key(name): chain.thumbprint(certificate) for name, certificate, _ in parsed},
        )
        self._kept = state, found
        return found
