"""Certificate authorities and trust bundles in DPS's service API (2021-11-01-preview).

    certificateAuthorities/{id}    GET, PUT, DELETE; POST certificateAuthorities/query
    trustBundles/{id}              GET, PUT, DELETE; POST trustBundles/query

An API key goes in and never comes out.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509

from labkit.cloud.dps.certificate_authorities import CertificateAuthorities, CertificateAuthority
from labkit.cloud.dps.trust_bundles import TrustBundle, TrustBundles
from labkit.cloud.store import wire_etag
from labkit.errors import BadCertificate
from labkit.pki.reading import read_certificate
from labkit.wire import azure_json
from labkit.wire.http.entry_json import no_certificate
from labkit.wire.http.fields import Fields

KIND, PROFILE, API_KEY = "certificateAuthorityType", "profileName", "apiKey"


def put_authority(
    book: CertificateAuthorities, name: str, said: Fields, if_match: str
) -> CertificateAuthority:
    """Links DPS to the authority that the JSON describes. Raises Denial, ServiceRefusal."""
    fields = (said.text(KIND), said.text(PROFILE), said.text(API_KEY))
    return book.put(name, *fields, if_match)


def authority_json(found: CertificateAuthority) -> dict[str, Any]:
    """A certificate authority as the service API shows it."""
    return {
        "id": found.id,
        KIND: found.kind,
        PROFILE: found.profile,
        "createdDateTimeUtc": azure_json.timestamp(found.stamp.created),
        "lastUpdatedDateTimeUtc": azure_json.timestamp(found.stamp.updated),
        "etag": wire_etag(found.stamp.etag),
    }


def put_bundle(book: TrustBundles, name: str, said: Fields, if_match: str) -> TrustBundle:
    """Keeps the bundle that the JSON holds. Raises Denial, ServiceRefusal."""
    certificates = [_certificate(each) for each in said.objects("certificates")]
    return book.put(name, certificates, if_match)


def _certificate(said: Fields) -> x509.Certificate:
    try:
        return read_certificate(said.text("certificate"))
    except BadCertificate as error:
        raise no_certificate(said.path("certificate"), error) from error
