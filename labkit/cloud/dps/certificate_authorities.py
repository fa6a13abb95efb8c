"""Certificate authorities of other companies that DPS is linked to, and has sign for devices
(api-version 2021-11-01-preview, CertificateAuthority).

    put ──> DPS tries the link: API key, profile ──> kept
                └ refused, and nothing is kept
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.dps import ca_client
from labkit.cloud.dps.ca_client import AskCa, Link
from labkit.cloud.dps.resources import ResourceBook, Stamp
from labkit.cloud.refusals import Refusals
from labkit.database import Database
from labkit.events import Events
from labkit.trace import failed

DIGICERT = "DigiCertCertificateAuthority"
"""The kind that is served. Whoever answers is the lab's stand-in: that company has no part in it.
"""
LONGEST = 256
"""Characters of an API key, and of a profile's name."""

KIND = "the kind of certificate authority is served"
FIELDS = "API key and profile can be those of a certificate authority"
_SOURCE = "Azure REST API specifications, DPS service 2021-11-01-preview (CertificateAuthority)"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """One that DPS is linked to. Its API key never comes back out of DPS."""

    id: str
    profile: str
    stamp: Stamp
    kind: str = DIGICERT

    def __repr__(self) -> str:
        return f"<Certificate authority {self.id!r}: profile {self.profile!r}>"


class CertificateAuthorities(ResourceBook[CertificateAuthority]):
    """Those of one DPS. ``ask`` is the way to their web service."""

    noun, collection = "certificate authority", "certificateAuthorities"

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        super().__init__(database, clock, events, refusals)
        self.ask: AskCa = ca_client.nobody

    def create(self, name: str, *, profile: str, api_key: str) -> CertificateAuthority:
        """Links DPS to a certificate authority: what devices ask for is signed by this profile of
        the account that the API key is of. DPS tries it at once.

        The same name again replaces what was there, so that the key can be changed. Raises
        ServiceRefusal (400) where the authority is not reached, or does not take it.
        """
        return self.put(name, DIGICERT, profile, api_key)

    def put(
        self, name: str, kind: str, profile: str, api_key: str, if_match: str = ""
    ) -> CertificateAuthority:
        """The same as the service API has it. Raises ServiceRefusal (400, 412)."""
        self._check_name(name)
        self._check(name, kind, profile, api_key)
        with self._refusals.told("dps", name):
            ca_client.check(Link(name, profile, api_key), self.ask)
        said = {"kind": kind, "profile": profile, "api_key": api_key}
        self._events.record("dps", "connected", f"DPS has tried {name!r}: it takes the API key")
        return self._keep(name, said, if_match)

    def link(self, name: str) -> Link | None:
        """What DPS needs to speak with one; None where there is none of this name."""
        with self._database.quick_read() as connection:
            said = self._said(connection, name)
        return Link(said[0], said[1]["profile"], said[1]["api_key"]) if said is not None else None

    def _read(self, name: str, said: Any, stamp: Stamp) -> CertificateAuthority:
        return CertificateAuthority(name, said["profile"], stamp, said["kind"])

    def _check(self, name: str, kind: str, profile: str, api_key: str) -> None:
        found = None
        if kind != DIGICERT:
            why = f"certificateAuthorityType is {kind!r}"
            found = failed(KIND, name, why, f"send {DIGICERT}", source=_SOURCE)
        elif not (_fits(profile) and _fits(api_key) and api_key.isascii()):
            wanted = f"send both as text of 1 to {LONGEST} characters that can be printed"
            why = "profileName or apiKey is no text, empty, too long, or has other characters"
            found = failed(FIELDS, name, why, wanted, source=_SOURCE)
        if found is not None:
            raise self._refusals.refuse("dps", name, codes.BAD_REQUEST, (found,))


def _fits(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()
