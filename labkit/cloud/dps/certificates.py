"""The CA certificates of a DPS: those of any service, and as many as its quota allows."""

from __future__ import annotations

from typing import Any

from cryptography import x509

from labkit import ids
from labkit.clock import Clock
from labkit.cloud.certificates import CaCertificate, CaCertificates
from labkit.cloud.dps.limits import Limits
from labkit.cloud.refusals import Refusals
from labkit.database import Database
from labkit.events import Events
from labkit.pki.forms import Readable


class DpsCertificates(CaCertificates):
    """Like its parent; a new one is refused where :class:`Limits` says so."""

    def __init__(
        self,
        service: str,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        limits: Limits,
    ) -> None:
        super().__init__(service, database, clock, events, refusals)
        self._limits = limits

    def upload(
        self, name: str, certificate: x509.Certificate | Readable, **conditions: Any
    ) -> CaCertificate:
        """See :meth:`CaCertificates.upload`. Raises ServiceRefusal (400203) beyond the quota."""
        if self._limits.quotas:
            names = {ids.key(known.name) for known in self}
            with self._refusals.told(self._service, name):
                most = self._limits.ca_certificates
                self._limits.check_quota("CA certificates", len(names - {ids.key(name)}), most)
        return super().upload(name, certificate, **conditions)
