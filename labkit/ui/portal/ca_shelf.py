"""Certificates: the CAs that were uploaded to a service, and the proof that makes them count."""

from __future__ import annotations

import base64
from itertools import islice
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud.certificates import CaCertificateRow
from labkit.ui.portal import deeds, snippets
from labkit.ui.portal.deeds import Deed, segment
from labkit.ui.portal.places import Place
from labkit.ui.portal.shelves import PAGE, Listing, Shelf
from labkit.ui.portal.snippets import FILE_IMPORT
from labkit.ui.portal.wishes import Attached
from labkit.wire.endpoints import DPS_NAME, RESOURCE_GROUP
from labkit.wire.http.arm import subscription

if TYPE_CHECKING:
    from labkit.lab import Lab


class CaShelf(Shelf):
    """The CA certificates of DPS or of a hub. Things are rows, as they were read: their ETags go
    with every change."""

    noun = "CA certificate"

    def __init__(self, lab: Lab, place: Place) -> None:
        super().__init__(lab, place)
        self._certificates = lab.hub(place.hub).certificates if place.hub else lab.dps.certificates
        self._python = f"{place.service}.certificates"
        kind = f"IotHubs/{place.hub}" if place.hub else f"ProvisioningServices/{DPS_NAME}"
        group = f"/subscriptions/{subscription(lab.cloud.database)}/resourceGroups/{RESOURCE_GROUP}"
        self._resource = f"{group}/providers/Microsoft.Devices/{kind}"

    def list(self, token: str = "") -> Deed[Listing]:
        return Deed(
            "List the CA certificates",
            f"list({self._python})",
            self._arm("GET", ""),
            lambda: self._page(int(token or 0)),
        )

    def _page(self, start: int) -> Listing:
        """Azure has no pages here, and no more than 25 certificates; a lab may have more."""
        found = [self._certificates.row(ca.name) for ca in islice(self._certificates, start, None)]
        more = str(start + PAGE) if len(found) > PAGE else ""
        return Listing(tuple(found[:PAGE]), more)

    def open(self, name: str) -> Deed[CaCertificateRow]:
        return Deed(
            f"Read CA certificate {name}",
            snippets.call(f"{self._python}.get", name),
            self._arm("GET", name),
            lambda: self._certificates.row(name),
        )

    def upload(self, name: str, given: Attached) -> Deed[Any]:
        """Keeps a new certificate, unverified."""
        python = snippets.call(f"{self._python}.upload", name, snippets.file(given.file))
        sent = {"properties": {"certificate": _base64(given.certificate)}}
        return Deed(
            f"Upload CA certificate {name}",
            snippets.lines([FILE_IMPORT], python),
            self._arm("PUT", name, sent),
            lambda: self._certificates.upload(name, given.certificate),
        )

    def generate_code(self, row: CaCertificateRow) -> Deed[str]:
        """A fresh verification code; an older one counts no more."""
        function = f"{self._python}.generate_verification_code"
        return Deed(
            f"Generate a verification code for {row.name}",
            snippets.call(function, row.name, etag=row.etag),
            self._arm("POST", row.name, suffix="/generateVerificationCode", if_match=row.etag),
            lambda: self._certificates.generate_verification_code(row.name, etag=row.etag),
        )

    def verify(self, row: CaCertificateRow, proof: Attached) -> Deed[None]:
        """Shows the proof of possession."""
        function, file = f"{self._python}.verify", snippets.file(proof.file)
        sent = {"certificate": _base64(proof.certificate)}
        return Deed(
            f"Verify CA certificate {row.name}",
            snippets.lines([FILE_IMPORT], snippets.call(function, row.name, file, etag=row.etag)),
            self._arm("POST", row.name, sent, suffix="/verify", if_match=row.etag),
            lambda: self._certificates.verify(row.name, proof.certificate, etag=row.etag),
        )

    def delete(self, thing: CaCertificateRow) -> Deed[None]:
        return Deed(
            f"Delete CA certificate {thing.name}",
            snippets.call(f"{self._python}.delete", thing.name, etag=thing.etag),
            self._arm("DELETE", thing.name, if_match=thing.etag),
            lambda: self._certificates.delete(thing.name, etag=thing.etag),
        )

    def name_of(self, thing: CaCertificateRow) -> str:
        return thing.name

    def _arm(
        self,
        method: str,
        name: str,
        body: dict[str, Any] | None = None,
        *,
        suffix: str = "",
        if_match: str = "",
    ) -> deeds.Rest:
        path = f"/certificates{f'/{segment(name)}' if name else ''}{suffix}"
        return deeds.arm(self._resource, method, path, body, if_match)


def _base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
