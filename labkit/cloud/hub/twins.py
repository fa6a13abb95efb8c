"""Device twins: what the device and its back ends write, and when a write is refused.

A change of the desired properties is written and handed to the device under one lock, so that
versions reach a device in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from labkit.cloud import codes
from labkit.cloud.hub import limits
from labkit.cloud.hub.live import DesiredChange, Subject
from labkit.cloud.hub.running import Running
from labkit.cloud.hub.tables import Twin
from labkit.cloud.refusals import Denial
from labkit.cloud.store import etag_matches
from labkit.database import Database
from labkit.trace import failed

UNCHANGED = "the twin is still what the back end saw"
REPORTED_UNCHANGED = "the reported properties are still what the device saw"
"""What comes with a section that was read, and is passed over where it is written back."""


class Twins:
    """The twins of one hub. Every refusal is raised as a Denial. ``now`` is the lab's clock."""

    def __init__(
        self, hub: str, database: Database, running: Running, now: Callable[[], datetime]
    ) -> None:
        self._hub, self._database, self._running, self._now = hub, database, running, now

    def find(self, device_id: str) -> Twin | None:
        with self._database.read() as session:
            return session.get(Twin, (self._hub, device_id))

    def report(self, device_id: str, patch: Mapping[str, Any], version: int | None) -> int:
        """Merges a patch into the reported properties and returns their new version."""
        _examine("the reported properties", patch)
        with self._database.write() as session:
            row = session.get(Twin, (self._hub, device_id))
            if row is None:
                raise _unknown(self._hub, device_id)
            if version not in (None, row.reported_version):
                found = f"the patch is for version {version}, it is {row.reported_version} now"
                cures = ("read the twin, and report against its version",)
                check = failed(REPORTED_UNCHANGED, device_id, found, *cures, source=limits.SOURCE)
                raise Denial(codes.TWIN_CHANGED, check)
            row.reported = _sized("the reported properties", merged(row.reported, patch))
            row.reported_version += 1
            _stamp(row, "reported", patch, row.reported_version, self._now())
            return row.reported_version

    def update(
        self,
        device_id: str,
        desired: Mapping[str, Any] | None,
        tags: Mapping[str, Any] | None,
        etag: str,
        *,
        replace: bool,
    ) -> Twin:
        """Merges patches into desired properties and tags, or replaces each that is named; the
        device is told of the desired ones as they were written. ``etag`` as of If-Match."""
        desired, tags = _writable(desired), _writable(tags)
        with self._running.order:
            with self._database.write() as session:
                row = session.get(Twin, (self._hub, device_id))
                if row is None:
                    raise _unknown(self._hub, device_id)
                if not etag_matches(etag, row.etag):
                    raise _stale(row, etag)
                self._write(row, desired, tags, replace=replace)
            if desired is not None:
                self._push(device_id, DesiredChange(row.desired_version, desired))
        return row

    def _write(
        self,
        row: Twin,
        desired: Mapping[str, Any] | None,
        tags: Mapping[str, Any] | None,
        *,
        replace: bool,
    ) -> None:
        if tags is not None:
            _examine("the tags", tags)
            after = merged({} if replace else row.tags, tags)
            row.tags = _sized("the tags", after, limits.LARGEST_TAGS)
        if desired is not None:
            _examine("the desired properties", desired)
            after = merged({} if replace else row.desired, desired)
            row.desired = _sized("the desired properties", after)
            row.desired_version += 1
            if replace:
                row.stamps = {**row.stamps, "desired": {}}
            _stamp(row, "desired", desired, row.desired_version, self._now())
        if tags is not None or desired is not None:
            row.changes += 1

    def _push(self, device_id: str, change: DesiredChange) -> None:
        outlet = self._running.connections.reach(self._hub, device_id, Subject.DESIRED)
        if outlet is not None:
            outlet.deliver(change)


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7396): objects are merged, null takes away, all else replaces."""
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = value
    return result


def stamped(
    before: Mapping[str, Any], patch: Mapping[str, Any], stamp: Mapping[str, Any]
) -> dict[str, Any]:
    """A section's ``$metadata`` behind a patch: every value in it, and every object above one,
    bears the ``stamp`` of the patch."""
    result = {**before, **stamp}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            result[name] = stamped(result.get(name, {}), value, stamp)
        else:
            result[name] = dict(stamp)
    return result


def _stamp(row: Twin, half: str, patch: Mapping[str, Any], version: int, now: datetime) -> None:
    at = f"{now:%Y-%m-%dT%H:%M:%S.%f}0Z"  # as .NET writes it
    stamp = {"$lastUpdated": at}
    if half == "desired":
        stamp["$lastUpdatedVersion"] = version  # type: ignore[assignment]
    row.stamps = {**row.stamps, half: stamped(row.stamps.get(half, {}), patch, stamp)}


def _writable(section: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if section is None else limits.writable(section)


def _examine(what: str, section: Mapping[str, Any]) -> None:
    if why := limits.fault(section):
        cure = "see Azure's documents on the format of tags and properties"
        check = failed(limits.FORM, what, why, cure, source=limits.SOURCE)
        raise Denial(codes.BAD_REQUEST, check)


def _sized(
    what: str, section: dict[str, Any], largest: int = limits.LARGEST_SECTION
) -> dict[str, Any]:
    if (found := limits.size(section)) <= largest:
        return section
    why = f"{what} would be {found:,} bytes; {largest:,} at most"
    cure = "write less, or take old properties away by writing null for them"
    raise Denial(codes.BAD_REQUEST, failed(limits.SIZE, what, why, cure, source=limits.SOURCE))


def _stale(row: Twin, etag: str) -> Denial:
    why = f"the request is for ETag {etag!r}, the twin's is {row.etag!r}"
    cures = ("read the twin, and change what you find", 'send no ETag, or "*", to change it anyway')
    check = failed(UNCHANGED, row.device_id, why, *cures, source=limits.SOURCE)
    return Denial(codes.TWIN_CHANGED, check)


def _unknown(hub: str, device_id: str) -> Denial:
    why = f"{hub} has no device {device_id!r}, and so no twin of it"
    cure = "a twin comes and goes with the device's identity: look at .devices"
    return Denial(codes.NO_SUCH_DEVICE, failed("the hub has a twin of it", device_id, why, cure))
