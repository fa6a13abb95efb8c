"""Trust bundles: CA certificates that DPS hands to devices when they are provisioned, so that they
trust them from then on (api-version 2021-11-01-preview, TrustBundle)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from labkit.cloud import codes
from labkit.cloud.dps.resources import ResourceBook, Stamp
from labkit.pki import chain, reading
from labkit.pki.reading import Given
from labkit.trace import failed

MOST = 32
CERTIFICATES = "a trust bundle has CA certificates"
_SOURCE = "Azure REST API specifications, DPS service 2021-11-01-preview (TrustBundle)"


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """One bundle: roots, and intermediates where somebody wants to trust these by themselves."""

    id: str
    certificates: tuple[x509.Certificate, ...] = field(repr=False)
    stamp: Stamp

    def __repr__(self) -> str:
        return f"<Trust bundle {self.id!r}: {chain.names(self.certificates)}>"


class TrustBundles(ResourceBook[TrustBundle]):
    """Those of one DPS."""

    noun, collection = "trust bundle", "trustBundles"

    def create(self, name: str, certificates: Given | Sequence[Given]) -> TrustBundle:
        """A bundle of CA certificates (PEM, DER, a file, certificates, or a list of these), for
        the devices of the enrollments that name it. The same name again replaces it; that reaches
        a device when it provisions again. Raises ServiceRefusal (400), BadCertificate."""
        return self.put(name, certificates)

    def put(
        self, name: str, certificates: Given | Sequence[Given], if_match: str = ""
    ) -> TrustBundle:
        """The same as the service API has it. Raises ServiceRefusal (400, 412), BadCertificate."""
        self._check_name(name)
        cas = reading.bundle_of(certificates)
        others = [chain.subject(found) for found in cas if not chain.is_ca(found)]
        if others or not 0 < len(cas) <= MOST:
            why = f"{others[0]} is no CA's" if others else f"there are {len(cas)}"
            wanted = f"send 1 to {MOST} certificates of CAs"
            check = failed(CERTIFICATES, name, why, wanted, source=_SOURCE)
            raise self._refusals.refuse("dps", name, codes.BAD_REQUEST, (check,))
        return self._keep(name, chain.to_pem(dict.fromkeys(cas)), if_match)

    def delivered(self, name: str, device: str) -> TrustBundle | None:
        """What a device gets whose enrollment names this bundle."""
        found = self.find(name) if name else None
        if name and found is None:
            text = f"{device} gets no trust bundle: its enrollment names {name!r}, which is none"
            self._events.record("dps", "missing", text, device=device)
        return found

    def _read(self, name: str, said: Any, stamp: Stamp) -> TrustBundle:
        return TrustBundle(name, tuple(reading.read_certificates(said)), stamp)
