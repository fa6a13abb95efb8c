"""The CAs above a device, validated once: the next device below them needs only its own check,
and a device that comes again needs none.

A fleet comes with one and the same CAs, and each signature among them costs as much as the
device's own. What path validation finds out about them is the same for every device:

    whole validation accepted     device A ── I1 ── I2 ── root     I1 … root are kept
    the next with the same CAs    device B ── I1                   the same verifier, I1 its anchor;
                                                                   I1 … root: are they valid now?
    device B once more            ·                                are all of them valid now?

A device does come again: it registers, and asks for the outcome until that is known.

Only an acceptance is shortened, never a refusal: whatever this way does not accept is validated as
a whole. And nothing is kept where the device itself has a say in what becomes of its CAs, or
another way up might be taken:

    name constraints (RFC 5280, 4.2.1.10)       they bind the device's names
    a device that is self-issued                it does not count for path lengths (4.2.1.9)
    two CAs of one name, presented or trusted   which of them is taken is the verifier's choice
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from labkit.pki import chain

KEPT = 64
"""Ways up that are kept for one set of anchors; the oldest makes room."""
DEVICES_KEPT = 1024
"""Devices that are kept, likewise."""


@dataclass(frozen=True, slots=True)
class WayUp:
    """CAs that a whole validation accepted, from a device's issuer to the anchor, and when all of
    them are valid."""

    cas: tuple[x509.Certificate, ...]
    begin: datetime
    end: datetime

    def is_valid(self, at: datetime) -> bool:
        """Whether every one of them is valid at this moment."""
        return self.begin <= at <= self.end


class KnownCas:
    """The ways up to one set of anchors, by what was presented above the device."""

    def __init__(self, anchors: Sequence[x509.Certificate]) -> None:
        self._anchors = frozenset(anchors)
        self._kept: OrderedDict[tuple[x509.Certificate, ...], WayUp] = OrderedDict()
        self._came: OrderedDict[tuple[x509.Certificate, WayUp], None] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, presented: Sequence[x509.Certificate], at: datetime) -> WayUp | None:
        """The way up for a device that presented this, if it may be shortened now."""
        way = self._kept.get(tuple(presented[1:]))
        usable = way is not None and way.is_valid(at) and self._may_be_shortened(presented[0])
        return way if usable else None

    def came_before(self, device: x509.Certificate, way: WayUp, at: datetime) -> bool:
        """Whether this device was accepted by this way, and is valid now."""
        valid = device.not_valid_before_utc <= at <= device.not_valid_after_utc
        return valid and (device, way) in self._came

    def came(self, device: x509.Certificate, way: WayUp) -> None:
        """Keeps that the device was accepted by this way, which :meth:`find` gave."""
        with self._lock:
            self._came[device, way] = None
            if len(self._came) > DEVICES_KEPT:
                self._came.popitem(last=False)

    def keep(self, presented: Sequence[x509.Certificate], path: Sequence[x509.Certificate]) -> None:
        """Keeps the CAs of a ``path`` that the whole validation of ``presented`` accepted, unless
        it has to be made again for the next device."""
        above = tuple(presented[1:])
        if above in self._kept:
            return
        with suppress(*chain.UNREADABLE):  # what strangers put beside a good chain
            if self._may_be_shortened(path[0]) and self._is_the_only_way(above, path[1:]):
                self._add(above, path[1:])

    def _add(self, above: tuple[x509.Certificate, ...], cas: Sequence[x509.Certificate]) -> None:
        begin = max(ca.not_valid_before_utc for ca in cas)
        end = min(ca.not_valid_after_utc for ca in cas)
        with self._lock:
            self._kept[above] = WayUp(tuple(cas), begin, end)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _is_the_only_way(
        self, above: Sequence[x509.Certificate], cas: Sequence[x509.Certificate]
    ) -> bool:
        """And the same for every device below."""
        all_of_them = {*above, *self._anchors}
        one_a_name = len({ca.subject for ca in all_of_them}) == len(all_of_them)
        return one_a_name and not any(map(_constrains_names, cas))

    def _may_be_shortened(self, leaf: x509.Certificate) -> bool:
        return leaf.subject != leaf.issuer and leaf not in self._anchors


def _constrains_names(ca: x509.Certificate) -> bool:
    return any(isinstance(extension.value, x509.NameConstraints) for extension in ca.extensions)
