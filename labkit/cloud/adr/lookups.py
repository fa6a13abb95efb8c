"""What every registration with a request asks the books: statements that are compiled once."""

from __future__ import annotations

from sqlalchemy import Connection, Table, and_, bindparam, func, select

from labkit.cloud.adr.books import DPS
from labkit.cloud.adr.tables import CaRow, LinkRow
from labkit.cloud.prepared import Prepared

_cas: Table = CaRow.__table__  # type: ignore[assignment]
_links: Table = LinkRow.__table__  # type: ignore[assignment]
_NAMES = tuple(column.name for column in _cas.c)
_of_policy = and_(
    _cas.c.namespace == _links.c.namespace,
    func.lower(_cas.c.policy) == bindparam("named"),
    _cas.c.retired.is_(None),
)
_find = Prepared(
    select(_links.c.namespace, *_cas.c)
    .select_from(_links.outerjoin(_cas, _of_policy))
    .where(_links.c.service == DPS)
)
_namespace = Prepared(select(_links.c.namespace).where(_links.c.service == bindparam("linked")))


def policy(connection: Connection, name: str) -> tuple[str, CaRow | None]:
    """The namespace that the provisioning service is linked to, empty for none, and the issuing CA
    of its policy of this name, where it has one."""
    found = _find.first(connection, named=name.lower())
    if found is None:
        return "", None
    namespace, *columns = found
    values = dict(zip(_NAMES, columns, strict=True))
    return namespace, CaRow(**values) if values["number"] is not None else None


def namespace_of(connection: Connection, service: str) -> str:
    """The namespace that a service is linked to; empty for none."""
    found = _namespace.first(connection, linked=service)
    return found[0] if found is not None else ""
