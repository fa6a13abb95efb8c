"""Reading certificates out of what people hand over, and putting a bundle in order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from labkit.errors import BadCertificate
from labkit.pki import chain, forms
from labkit.pki.forms import Block, Document, Readable
from labkit.pki.request import describe_key

Given = x509.Certificate | Readable
LONGEST = 32
"""Certificates in a bundle that is put in order; more are no chain but a trust store."""


def read_certificates(data: Readable) -> list[x509.Certificate]:
    """The certificates in PEM (one or a bundle), DER, PKCS#7, or base64 of these, in their order.

    Raises BadCertificate, which says what the bytes are. A private key among them is refused
    whole: whoever uploads one must learn of it, and nothing of it may be kept.
    """
    return _certificates(forms.open_document(data, wanted=forms.CERTIFICATE))


def read_certificate(data: x509.Certificate | Readable) -> x509.Certificate:
    """The one certificate in ``data``. Raises BadCertificate where there are more, and for
    PKCS#7, which is made for several: who wants one certificate takes no container."""
    if isinstance(data, x509.Certificate):
        return data
    document = forms.open_document(data, wanted=forms.CERTIFICATE)
    if any(block.kind is forms.PKCS7 for block in document.blocks):
        raise document.unfit(forms.PKCS7.what, forms.PKCS7.cure)
    found = _certificates(document)
    if len(found) != 1:
        told = f"a bundle of {len(found)}: {chain.names(found)}"
        raise document.unfit(told, "hand over just the one that is wanted")
    return found[0]


def certificates_of(given: Given | Sequence[Given]) -> list[x509.Certificate]:
    """The certificates of a chain as it was handed over, in its order; one alone is a chain, too.
    Raises BadCertificate for what is none, such as a CA in place of its certificate."""
    return [read_certificate(one) for one in _each(given)]


def bundle_of(given: Given | Sequence[Given]) -> list[x509.Certificate]:
    """All certificates that were handed over, in their order: those of a file, a certificate, or
    of a list of these. Raises BadCertificate for what is none."""
    return [certificate for one in _each(given) for certificate in _all_in(one)]


def read_ca(data: x509.Certificate | Readable, *, cure: str) -> x509.Certificate:
    """The one CA certificate in ``data``. Raises BadCertificate, which advises ``cure``."""
    certificate = read_certificate(data)
    if not chain.is_ca(certificate):
        raise BadCertificate(
            f"{chain.subject(certificate)} is no CA certificate",
            expected="a certificate whose basic constraints say CA:TRUE",
            found="one that may not sign others",
            cure=cure,
        )
    return certificate


def chain_of(data: Given | Sequence[Given]) -> tuple[x509.Certificate, ...]:
    """The chain in ``data``, in whatever order its parts come: leaf first, each followed by the
    one whose key signed it, as far up as there are any. Duplicates are dropped.

    Of a CA that was signed by two others (cross-signed), the shorter way to a root is taken.
    Raises BadCertificate where a certificate is no part of the leaf's chain, and says which.
    """
    pool = list(dict.fromkeys(bundle_of(data)))
    if not 0 < len(pool) <= LONGEST:
        raise BadCertificate(
            "This is no chain",
            expected=f"1 to {LONGEST} certificates: a leaf and its issuers",
            found=f"{len(pool)} certificates",
            cure="hand over the leaf with its own issuers only",
        )
    ways = _ways_up(_leaf_of(pool), pool)
    if strangers := [c for c in pool if c not in ways]:
        raise _not_one_chain(strangers, ways)
    tops = [c for c in ways if chain.is_self_signed(c)] or list(ways)[-1:]
    return tuple(ways[tops[0]])


def matches(certificate: x509.Certificate, public_key: object) -> None:
    """Raises BadCertificate unless the certificate is for this key: who presents it must sign
    with the private half, or no TLS handshake ends well."""
    own = certificate.public_key()
    if own == public_key:
        return
    about, wanted = chain.subject(certificate), describe_key(public_key)
    other = "another" if describe_key(own) == wanted else "a"
    raise BadCertificate(
        f"The certificate of {about} does not match the key",
        expected=f"a certificate for the {wanted} key at hand",
        found=f"one for {other} {describe_key(own)} key",
        cure="take the certificate that was issued on this key's own request; these two must print "
        "the same: openssl x509 -in CERTIFICATE -noout -pubkey, and openssl pkey -in KEY -pubout",
    )


def _each(given: Given | Sequence[Given]) -> Sequence[Given]:
    """One thing alone is a list of one; so are text and bytes, though Python could count them."""
    if isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray):
        return given
    return [given]


def _all_in(given: Given) -> list[x509.Certificate]:
    return [given] if isinstance(given, x509.Certificate) else read_certificates(given)


def _certificates(document: Document) -> list[x509.Certificate]:
    found = [each for block in document.blocks for each in _of_block(block, document)]
    if not found:
        raise document.unfit()
    for certificate in found:
        if problem := chain.fault(certificate):
            raise document.unfit(f"a certificate that breaks the standard: {problem}")
    return found


def _of_block(block: Block, document: Document) -> list[x509.Certificate]:
    """Whatever else stands beside certificates, a request or parameters, is passed over."""
    try:
        if block.kind is forms.CERTIFICATE:
            return [x509.load_der_x509_certificate(block.der)]
        if block.kind is forms.PKCS7:
            return _unpacked(block.der)
    except chain.UNREADABLE as error:
        raise document.unfit() from error
    return []


def _unpacked(container: bytes) -> list[x509.Certificate]:
    """The library warns of certificates that are not sorted by their bytes, as DER would have
    them; openssl sorts none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pkcs7.load_der_pkcs7_certificates(container)


def _leaf_of(pool: Sequence[x509.Certificate]) -> x509.Certificate:
    """The one that signed no other. Where several did not, they are of several chains: a
    device's rather than a CA's, and of these the first."""
    ends = [c for c in pool if not any(chain.signed_by(d, c) for d in pool if d is not c)]
    return next(iter(sorted(ends or pool, key=chain.is_ca)))


def _ways_up(
    leaf: x509.Certificate, pool: Sequence[x509.Certificate]
) -> dict[x509.Certificate, list[x509.Certificate]]:
    """The shortest way from the leaf to each certificate above it, the nearest first."""
    ways, waiting = {leaf: [leaf]}, [leaf]
    for below in waiting:
        for issuer in pool:
            if issuer not in ways and chain.signed_by(below, issuer):
                ways[issuer] = [*ways[below], issuer]
                waiting.append(issuer)
    return ways


def _not_one_chain(
    strangers: Sequence[x509.Certificate], ways: dict[x509.Certificate, list[x509.Certificate]]
) -> BadCertificate:
    top = list(ways)[-1]
    belong = f"{chain.names(list(ways))} belong together"
    if not chain.is_self_signed(top):
        belong += f" (the issuer of the last, {chain.title(top.issuer)}, is not there)"
    return BadCertificate(
        "These certificates are not one chain",
        expected="a leaf and its issuers, in any order",
        found=f"{belong}; no key of theirs leads to {chain.names(strangers)}",
        cure="take out what does not belong, or add the issuer that is missing",
    )
