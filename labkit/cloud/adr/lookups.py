"""What every request for a certificate asks the books: statements that are compiled once."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, bindparam, func, select

from labkit.cloud.adr.books import DPS
from labkit.cloud.adr.tables import CaRow, CertificateRow, LinkRow, Signer
from labkit.cloud.hub.tables import DeviceIdentity, HubRow
from labkit.cloud.prepared import Prepared

_cas: Table = CaRow.__table__  # type: ignore[assignment]
_links: Table = LinkRow.__table__  # type: ignore[assignment]
_signer = tuple(_cas.c[name] for name in Signer._fields)
_of_policy = and_(
    _cas.c.namespace == _links.c.namespace,
    func.lower(_cas.c.policy) == bindparam("named"),
    _cas.c.retired.is_(None),
)
_find = Prepared(
    select(_links.c.namespace, *_signer)
    .select_from(_links.outerjoin(_cas, _of_policy))
    .where(_links.c.service == DPS)
)
_issued: Table = CertificateRow.__table__  # type: ignore[assignment]
_last_issued = Prepared(
    select(_issued.c.registration_id, _cas.c.namespace, _cas.c.policy)
    .select_from(_issued.join(_cas, _cas.c.number == _issued.c.ca))
    .where(_issued.c.hub == bindparam("at_hub"), _issued.c.device_id == bindparam("of_device"))
    .order_by(_issued.c.number.desc())
    .limit(1)
)
_signing = Prepared(
    select(*_signer).where(
        _cas.c.namespace == bindparam("within"),
        func.lower(_cas.c.policy) == bindparam("named"),
        _cas.c.retired.is_(None),
    )
)
_hubs: Table = HubRow.__table__  # type: ignore[assignment]
_identities: Table = DeviceIdentity.__table__  # type: ignore[assignment]
_of_device = and_(
    _identities.c.hub == _hubs.c.name, _identities.c.device_id == bindparam("of_device")
)
_place = Prepared(
    select(
        func.coalesce(_links.c.namespace, ""),
        _identities.c.enabled,
        func.coalesce(_identities.c.status_reason, ""),
    )
    .select_from(
        _hubs.outerjoin(_links, _links.c.service == _hubs.c.name).outerjoin(_identities, _of_device)
    )
    .where(_hubs.c.name == bindparam("at_hub"))
)


class Place(NamedTuple):
    """What a hub says of a device: the ``namespace`` that it is linked to, empty for none; whether
    the device's identity is ``enabled``, None where it has none there yet; and the ``reason`` that
    whoever disabled it has given."""

    namespace: str = ""
    enabled: bool | None = None
    reason: str = ""


def policy(connection: Connection, name: str) -> tuple[str, Signer | None]:
    """The namespace that the provisioning service is linked to, empty for none, and the issuing CA
    of its policy of this name, where it has one."""
    found = _find.first(connection, named=name.lower())
    if found is None:
        return "", None
    namespace, *columns = found
    signer = Signer(*columns)
    return namespace, signer if signer.number is not None else None


def last_issued(connection: Connection, hub: str, device_id: str) -> tuple[str, str, str] | None:
    """Under which registration ID, by which namespace and policy a device of a hub got its last
    certificate; None where it never had one."""
    found = _last_issued.first(connection, at_hub=hub, of_device=device_id)
    return None if found is None else (found[0], found[1], found[2])


def signing(connection: Connection, namespace: str, policy: str) -> Signer | None:
    """The CA that signs for a policy of a namespace now; None where the policy is gone."""
    found = _signing.first(connection, within=namespace, named=policy.lower())
    return None if found is None else Signer(*found)


def place(connection: Connection, hub: str, device_id: str) -> Place:
    """What this hub says of a device now."""
    found = _place.first(connection, at_hub=hub, of_device=device_id)
    return Place() if found is None else Place(*found)
