"""The identity registry of a hub: which devices may connect, and by what they prove themselves.

    put without If-Match   makes a new identity; 409001 where there is one
    put with If-Match      changes the identity of this ETag; 412001 for another, 404001 for none

An identity that is disabled or deleted is cut off at once: its live connection ends. Whatever
happens to an enrollment in DPS does not touch it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, Table, func, select, update

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.hub import credentials, limits, placement
from labkit.cloud.hub.credentials import NOBODY, SAS, Credentials
from labkit.cloud.hub.live import Connections
from labkit.cloud.hub.placement import TwinState
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import etag_matches, new_etag
from labkit.database import Database
from labkit.errors import LabError
from labkit.events import Events
from labkit.pki import chain
from labkit.pki.forms import Readable
from labkit.pki.reading import read_certificate
from labkit.trace import Check, failed

EXISTS = "the hub has an identity of this ID"
ABSENT = "the hub has no identity of this ID yet"
ETAG = "the ETag is that of the identity's present state"
REASON = "the reason of a status is short"
LONGEST_REASON = 128
LARGEST_PAGE = 1_000
"""Identities that are listed at a time, at the most."""

_ANY = "*"
_SOURCE = "Azure documentation, IoT Hub: understand the identity registry"
_table: Table = DeviceIdentity.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a back end wants an identity to be. An ``authentication`` that is empty leaves the
    credentials as they are; a new identity gets symmetric keys then."""

    device_id: str
    authentication: str = ""
    credentials: Credentials = NOBODY
    enabled: bool = True
    status_reason: str = ""
    iot_edge: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many identities a hub has."""

    total: int
    enabled: int

    @property
    def disabled(self) -> int:
        return self.total - self.enabled


class Devices:
    """The device identities of one hub, in the order of their IDs. Case counts in an ID."""

    def __init__(
        self,
        hub: str,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        connections: Connections,
    ) -> None:
        self._hub, self._database, self._clock = hub, database, clock
        self._events, self._refusals, self._connections = events, refusals, connections
        self._mine = _table.c.hub == hub

    def __repr__(self) -> str:
        return f"<{len(self)} device identities in {self._hub}>"

    # ---- as the service API has it

    def put(self, wanted: Wanted, if_match: str = "") -> DeviceIdentity:
        """Makes an identity, or changes the one whose ETag ``if_match`` names.

        Raises ServiceRefusal: 400004 for what cannot be, 409001 where it exists, 404001 where
        there is none to change, 412001 for an ETag of an earlier state.
        """
        before, after = self._write(wanted, if_match)
        if before is None:
            proof = after.credentials.proof
            self._record("created", f"{after.device_id} is known to {self._hub} by {proof}", after)
        else:
            self._tell_change(before, after)
        return after

    def get(self, device_id: str) -> DeviceIdentity:
        """The identity of a device. Raises ServiceRefusal (404001), which is a NotFound."""
        found = self.find(device_id)
        if found is None:
            raise self._refusals.of(self._missing(device_id), "hub", device_id, quiet=True)
        return found

    def find(self, device_id: str) -> DeviceIdentity | None:
        """The identity of a device, if there is one."""
        with self._database.quick_read() as connection:
            return self._read(connection, device_id)

    def delete(self, device_id: str, *, etag: str = "") -> None:
        """Takes the identity away, and with it its twin and what waits for the device; its live
        connection ends. Raises ServiceRefusal (404001, 412001)."""
        missing = self._missing(device_id)
        with self._refusals.told("hub", device_id), self._database.quick_write() as connection:
            found = self._read(connection, device_id)
            if found is None:
                raise missing
            _check_etag(etag, found)
            placement.remove(connection, self._hub, device_id)
        self._connections.end(self._hub, device_id, "its identity was deleted")
        self._connections.forget(self._hub, device_id)
        text = f"{device_id} was deleted from {self._hub}"
        self._events.record("hub", "deleted", text, what="device identity", name=device_id)

    def page(self, limit: int = 0, after: str = "") -> list[DeviceIdentity]:
        """At most so many identities, from behind an ID on."""
        size = limit if 0 < limit <= LARGEST_PAGE else LARGEST_PAGE
        wanted = select(_table).where(self._mine, _table.c.device_id > after)
        with self._database.quick_read() as connection:
            rows = connection.execute(wanted.order_by(_table.c.device_id).limit(size)).all()
        return [DeviceIdentity(**row._mapping) for row in rows]

    def counts(self) -> Counts:
        """How many there are, and how many of them are enabled."""
        enabled = func.count().filter(_table.c.enabled)
        with self._database.quick_read() as connection:
            row = connection.execute(select(func.count(), enabled).where(self._mine)).one()
        return Counts(*row)

    # ---- as it is said in Python

    def create(
        self,
        device_id: str,
        *,
        certificate: x509.Certificate | Readable | None = None,
        thumbprint: str = "",
        secondary: x509.Certificate | Readable | None = None,
        ca: bool = False,
        keys: tuple[str, str] | None = None,
        iot_edge: bool = False,
    ) -> DeviceIdentity:
        """An identity of a device that proves itself in one of three ways.

        By its own ``certificate`` or that one's ``thumbprint`` (SHA-1 or SHA-256, in hex), and a
        ``secondary`` one of either kind; by any certificate below a verified ``ca`` whose CN is
        the device ID; or by symmetric ``keys`` (base64), which are made where none of all these
        is named. The same again is harmless.

        Raises ServiceRefusal: 409001 (a Conflict) where the ID belongs to another, 400004 for
        what cannot be; BadCertificate.
        """
        named, held = _credentials(device_id, certificate, thumbprint, secondary, ca, keys)
        wanted = Wanted(device_id, named or SAS, held, iot_edge=iot_edge)
        existing = self.find(device_id)
        if existing is not None and _is_the_same(existing, wanted):
            self._record("again", f"{device_id} was known to {self._hub} already", existing)
            return existing
        return self.put(wanted)

    def update(
        self,
        device_id: str,
        *,
        certificate: x509.Certificate | Readable | None = None,
        thumbprint: str = "",
        secondary: x509.Certificate | Readable | None = None,
        ca: bool = False,
        keys: tuple[str, str] | None = None,
        iot_edge: bool | None = None,
        etag: str = "",
    ) -> DeviceIdentity:
        """Changes how a device proves itself, or what it may do; what is not named stays. It
        counts at the next connection. Raises ServiceRefusal (404001, 400004; 412001 for the
        ``etag`` of an earlier state), BadCertificate."""
        named, held = _credentials(device_id, certificate, thumbprint, secondary, ca, keys)
        found = self.get(device_id)
        edge = found.iot_edge if iot_edge is None else iot_edge
        wanted = Wanted(device_id, named, held, found.enabled, found.status_reason, edge)
        return self.put(wanted, etag or _ANY)

    def disable(self, device_id: str, reason: str = "") -> DeviceIdentity:
        """Cuts the device off: its live connection ends, and it cannot connect any more. Its twin
        stays. Raises ServiceRefusal (404001)."""
        return self._switch(device_id, False, reason)

    def enable(self, device_id: str) -> DeviceIdentity:
        """Lets the device connect again. Raises ServiceRefusal (404001)."""
        return self._switch(device_id, True, "")

    def __iter__(self) -> Iterator[DeviceIdentity]:
        after = ""
        while found := self.page(after=after):
            yield from found
            after = found[-1].device_id

    def __len__(self) -> int:
        return self.counts().total

    def __contains__(self, device_id: object) -> bool:
        return self.find(ids.name(device_id)) is not None

    # ---- inside

    def _switch(self, device_id: str, enabled: bool, reason: str) -> DeviceIdentity:
        found = self.get(device_id)
        if (found.enabled, found.status_reason) == (enabled, reason):
            state = "enabled" if enabled else "disabled"
            self._record("again", f"{device_id} was {state} in {self._hub} already", found)
            return found
        wanted = Wanted(device_id, enabled=enabled, status_reason=reason, iot_edge=found.iot_edge)
        return self.put(wanted, _ANY)

    def _write(self, wanted: Wanted, if_match: str) -> tuple[DeviceIdentity | None, DeviceIdentity]:
        about = wanted.device_id
        missing = self._missing(about) if if_match else None
        with self._refusals.told("hub", about), self._database.quick_write() as connection:
            _check_wanted(wanted)
            before = self._read(connection, about)
            if before is None and missing is not None:
                raise missing
            if before is not None and not if_match:
                raise Denial(codes.DEVICE_EXISTS, _exists(before))
            if before is not None:
                _check_etag(if_match, before)
            self._save(connection, before, wanted)
            after = self._read(connection, about)
        assert after is not None, "it was written just now"
        return before, after

    def _save(self, connection: Connection, before: DeviceIdentity | None, wanted: Wanted) -> None:
        values = {**_columns(wanted, before), "etag": new_etag()}
        if before is None:
            values["created"] = self._clock.now()
            values["status_updated"] = None if wanted.enabled else self._clock.now()
            placement.add(connection, self._hub, wanted.device_id, values, TwinState())
            return
        if before.enabled != wanted.enabled:
            values["status_updated"] = self._clock.now()
        same = self._mine & (_table.c.device_id == wanted.device_id)
        connection.execute(update(_table).where(same).values(**values))

    def _read(self, connection: Connection, device_id: str) -> DeviceIdentity | None:
        wanted = select(_table).where(self._mine, _table.c.device_id == device_id)
        row = connection.execute(wanted).first()
        return None if row is None else DeviceIdentity(**row._mapping)

    def _tell_change(self, before: DeviceIdentity, after: DeviceIdentity) -> None:
        name, kind, text = after.device_id, "updated", "was changed"
        if before.enabled != after.enabled:
            kind = "enabled" if after.enabled else "disabled"
            text = f"was {kind}"
        because = f": {after.status_reason}" if after.status_reason else ""
        self._record(kind, f"{name} {text} in {self._hub}{because}", after)
        if not after.enabled:
            self._connections.end(self._hub, name, "its identity is disabled")

    def _missing(self, device_id: str) -> Denial:
        names = [identity.device_id for identity in self.page(6)]
        known = ", ".join(names[:5]) + (", …" if len(names) > 5 else "") or "none yet"
        why = f"{self._hub} has no identity {device_id!r}; it has: {known}"
        cures = ("let the device provision through DPS", "make it: hub.devices.create(…)")
        return Denial(codes.NO_SUCH_DEVICE, failed(EXISTS, device_id, why, *cures, source=_SOURCE))

    def _record(self, kind: str, text: str, identity: DeviceIdentity) -> None:
        self._events.record("hub", kind, text, name=identity.device_id)


def _columns(wanted: Wanted, before: DeviceIdentity | None) -> Mapping[str, Any]:
    """Raises Denial (400004)."""
    had = before.credentials if before else NOBODY
    held = had
    if wanted.authentication or before is None:
        named = wanted.authentication or SAS
        held = credentials.completed(wanted.device_id, named, wanted.credentials, had)
    return {
        **placement.credential_values(held),
        "enabled": wanted.enabled,
        "status_reason": wanted.status_reason,
        "iot_edge": wanted.iot_edge,
    }


def _credentials(
    device_id: str,
    certificate: x509.Certificate | Readable | None,
    thumbprint: str,
    secondary: x509.Certificate | Readable | None,
    ca: bool,
    keys: tuple[str, str] | None,
) -> tuple[str, Credentials]:
    """What was named, and the registry's word for it; empty where nothing was."""
    primary = thumbprint or (chain.thumbprint(read_certificate(certificate)) if certificate else "")
    other = _either(secondary) if secondary else ""
    ways = [
        (credentials.SELF_SIGNED, bool(primary or other)),
        (credentials.AUTHORITY, ca),
        (SAS, keys is not None),
    ]
    named = [word for word, is_named in ways if is_named]
    if len(named) > 1 or (thumbprint and certificate):
        raise LabError(
            f"{device_id!r} can prove itself in one way only",
            expected="certificate=... or thumbprint=..., or ca=True, or keys=...",
            found=" and ".join(named) if len(named) > 1 else "certificate and thumbprint",
        )
    first, second = keys or ("", "")
    held = Credentials(primary, other, first, second, by_authority=ca)
    return (named[0] if named else ""), held


def _either(slot: x509.Certificate | Readable) -> str:
    """The thumbprint of a certificate, or the thumbprint itself."""
    if isinstance(slot, str) and credentials.form_of(credentials.normalised(slot)):
        return slot
    return chain.thumbprint(read_certificate(slot))


def _is_the_same(existing: DeviceIdentity, wanted: Wanted) -> bool:
    """Whether an identity is what is wanted; that it was disabled since does not count."""
    if (existing.authentication, existing.iot_edge) != (wanted.authentication, wanted.iot_edge):
        return False
    had = existing.credentials
    try:
        return had == credentials.completed("", wanted.authentication, wanted.credentials, had)
    except Denial:
        return False


def _check_wanted(wanted: Wanted) -> None:
    name = wanted.device_id
    if not limits.is_device_id(name):
        why = f"it is {name!r}"
        check = failed(limits.DEVICE_ID, name, why, f"choose {limits.DEVICE_ID_RULE}")
        raise Denial(codes.BAD_REQUEST, check)
    if len(wanted.status_reason) > LONGEST_REASON:
        why = f"it has {len(wanted.status_reason)} characters"
        check = failed(REASON, name, why, f"say it in {LONGEST_REASON}")
        raise Denial(codes.BAD_REQUEST, check)


def _check_etag(if_match: str, found: DeviceIdentity) -> None:
    if etag_matches(if_match, found.etag):
        return
    why = "it was changed since that ETag was read"
    cures = ("read it again, and change what you read", 'send If-Match: "*" to change it as it is')
    check = failed(ETAG, found.device_id, why, *cures, source="RFC 9110, section 13.1.1 (If-Match)")
    raise Denial(codes.IDENTITY_CHANGED, check)


def _exists(found: DeviceIdentity) -> Check:
    return failed(
        ABSENT,
        found.device_id,
        f"there is one already, known by {found.credentials.proof}",
        "change it: hub.devices.update(…); over HTTPS, send its ETag in If-Match",
        "delete it first",
        source=_SOURCE,
    )
