"""How a device asks DPS for a certificate, and what it gets: in the words of two api-versions.

2021-11-01-preview   clientCertificateCsr, PEM    issuedClientCertificate, PEM   trustBundle
2025-07-01-preview   csr, base64 of DER           issuedCertificateChain, a list of those
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.device.registration import Csr
from labkit.errors import LabError, ProvisioningFailed
from labkit.pki import reading

AUTHORITY, REGISTRY = "2021-11-01-preview", "2025-07-01-preview"
"""The api-versions: who signs is an authority of another company, or the Device Registry."""

Chain = tuple[x509.Certificate, ...]
_State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words of one api-version. ``issued`` and ``trust_bundle`` read a registration's state,
    and are empty where it holds none; they raise ProvisioningFailed for what cannot be read."""

    version: str
    field: str
    written: Callable[[x509.CertificateSigningRequest], str]
    issued: Callable[[_State], Chain]
    trust_bundle: Callable[[_State], Chain]

    def text(self, csr: Csr) -> str:
        """A request as the service's field holds it. Text goes out as it is, right or wrong."""
        return csr if isinstance(csr, str) else self.written(csr)


def dialect(version: str) -> Dialect:
    """The words of an api-version. Raises LabError for one that this client does not speak."""
    if version not in _DIALECTS:
        raise LabError(
            f"This client does not speak api-version {version!r}",
            expected=" or ".join(_DIALECTS),
            cure="choose one of these: api_version=...",
        )
    return _DIALECTS[version]


def chain_of(texts: Iterable[str]) -> Chain:
    """Certificates as a list has them: each base64 of DER. Raises ValueError, TypeError."""
    ders = (base64.b64decode(text, validate=True) for text in texts)
    return tuple(map(x509.load_der_x509_certificate, ders))


def _pem(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(Encoding.PEM).decode()


def base64_of(csr: x509.CertificateSigningRequest) -> str:
    """A request in one line: base64 of DER."""
    return base64.b64encode(csr.public_bytes(Encoding.DER)).decode()


def _of_pem(state: _State) -> Chain:
    return _read(state.get("issuedClientCertificate"))


def _of_list(state: _State) -> Chain:
    try:
        return chain_of(state.get("issuedCertificateChain", ()))
    except (ValueError, TypeError) as error:
        raise _unreadable("certificates as base64 of DER", str(error)) from error


def _bundle(state: _State) -> Chain:
    try:
        found = (state.get("trustBundle") or {}).get("certificates") or ()
        texts = [each.get("certificate") for each in found]
    except (AttributeError, TypeError) as error:
        raise _unreadable(
            "a trust bundle: certificates in a list of objects", str(error)
        ) from error
    return tuple(one for text in texts for one in _read(text))


def _no_bundle(state: _State) -> Chain:
    return ()


def _read(pem: Any) -> Chain:
    try:
        return tuple(reading.read_certificates(str(pem))) if pem else ()
    except LabError as error:
        raise _unreadable("certificates in PEM", error.found) from error


def _unreadable(expected: str, found: str) -> ProvisioningFailed:
    return ProvisioningFailed("DPS sent what cannot be read", expected=expected, found=found)


_DIALECTS = {
    AUTHORITY: Dialect(AUTHORITY, "clientCertificateCsr", _pem, _of_pem, _bundle),
    REGISTRY: Dialect(REGISTRY, "csr", base64_of, _of_list, _no_bundle),
}
