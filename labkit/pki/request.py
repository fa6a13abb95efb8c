"""Certificate signing requests (PKCS#10, RFC 2986): made by whoever has the key, checked by
whoever signs.

A good request says who asks (one common name), with which key (a strong one), and is signed
with that key by a hash that still protects. What else it asks for is compared with the profile
that is to be granted; the certificate holds what the profile says and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from labkit import ids
from labkit.errors import BadCertificate, BadRequest
from labkit.hsm import TokenKey
from labkit.pki import chain, forms, profiles, subjects
from labkit.pki.forms import Readable
from labkit.pki.profiles import Profile
from labkit.trace import Check, failed, first_failure, not_reached, passed

LONGEST_CN = subjects.LONGEST_CN

_SMALLEST_RSA = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
READABLE = "everything in the request can be read"
KEY = f"its key is EC P-256 or P-384, or RSA of {_SMALLEST_RSA} bits or more"
HASH = "it is signed over SHA-256, SHA-384 or SHA-512"
SIGNATURE = "it is signed with the key that it holds"
RANK = "it asks for what it is to become, a CA or no CA"
NAME = f"its subject has one common name, of 1 to {LONGEST_CN} characters that can be printed"
REGISTRATION = "its common name is a registration ID, and no verification code"
ORGANIZATION = "its subject names the applicant's organization"


def name(common_name: str, organization: str = "") -> x509.Name:
    """A subject of a CN and, before it, the organization where one is given.

    Raises BadRequest for a CN or an organization that no certificate can have.
    """
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, _fitting(common_name, "a common name"))]
    if organization:
        fitting = _fitting(organization, "an organization")
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, fitting))
    return x509.Name(parts)


def _fitting(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise BadRequest(
            f"{text!r} cannot be {what}",
            expected="text",
            found=f"a value of type {type(text).__name__}",
        )
    octets = len(text.encode(errors="replace"))
    # The RFC counts characters, the library that encodes them bytes: both must be content.
    if not 0 < octets <= LONGEST_CN:
        more = f", which are {octets} bytes" if octets != len(text) else ""
        raise BadRequest(
            f"{text!r} cannot be {what}",
            expected=f"1 to {LONGEST_CN} characters (RFC 5280, appendix A.1), "
            "where one outside of ASCII counts as 2 to 4",
            found=f"{len(text)} characters{more}",
            cure="choose a shorter name" if octets else "choose a name",
        )
    if not text.isprintable():
        raise BadRequest(
            f"{text!r} cannot be {what}",
            expected="characters that can be printed",
            found="a line break, a control character or half of a character",
            cure="choose a name in plain text",
        )
    return text


def make(
    key: TokenKey | ec.EllipticCurvePrivateKey, subject: x509.Name, wanted: Profile | None = None
) -> x509.CertificateSigningRequest:
    """A request for ``subject``, signed with ``key``: the proof that its asker holds the key.

    With ``wanted`` it also asks for that profile's extensions (PKCS#9, extensionRequest), as
    those who sign for strangers like to see.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in wanted.extensions if wanted else ():
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, digest_for(key.public_key()))


def read(data: x509.CertificateSigningRequest | Readable) -> x509.CertificateSigningRequest:
    """The request in PEM, DER or base64, or in a file of these. Raises BadCertificate, which
    says what the bytes are."""
    if isinstance(data, x509.CertificateSigningRequest):
        return _sound(data)
    document = forms.open_document(data, wanted=forms.REQUEST)
    found = [block for block in document.blocks if block.kind is forms.REQUEST]
    if len(found) != 1:
        raise document.unfit(f"{len(found)} requests in one file" if found else "")
    try:
        return _sound(x509.load_der_x509_csr(found[0].der))
    except chain.UNREADABLE as error:
        raise document.unfit() from error


def _sound(request: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    if problem := fault(request):
        raise BadCertificate(
            "This certificate signing request breaks the standard",
            expected=READABLE,
            found=problem,
            cure="make it anew: openssl req -new -key KEY -out REQUEST.pem",
        )
    return request


def fault(request: x509.CertificateSigningRequest) -> str:
    """Which part of it cannot be read; empty for a sound one."""
    return chain.unread(request, _READ)


@lru_cache(maxsize=64)  # a point on a curve takes its time, and is asked for by each who decides
def key_of(request: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    """The key that a request holds. Raises UnsupportedAlgorithm, or what else the reader does."""
    return request.public_key()


def digest_for(public_key: object) -> hashes.SHA256 | hashes.SHA384:
    """The hash to sign with by a key of this kind: SHA-384 for P-384, else SHA-256."""
    big = isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.key_size > 256
    return hashes.SHA384() if big else hashes.SHA256()


def examine(
    request: x509.CertificateSigningRequest,
    profile: Profile = profiles.DEVICE,
    *,
    organization: str = "",
    without: Container[str] = (),
    verified: bool | None = None,
) -> tuple[Check, ...]:
    """Every check of a request for a certificate of ``profile``, in order, each with its cures.

    All are made, whatever the first says, but for those that an earlier one makes pointless, and
    those ``without`` which the signer does, who has other rules in their place.
    ``organization`` is what the signer knows of the applicant; empty where they do not ask.
    ``verified`` is what :func:`verifies` has said, where it was asked already.
    """
    return tuple(_checks(request, profile, organization, without, verified))


def check(
    request: x509.CertificateSigningRequest,
    profile: Profile = profiles.DEVICE,
    *,
    organization: str = "",
) -> None:
    """Raises BadRequest with the first failure of :func:`examine`."""
    wrong = first_failure(_checks(request, profile, organization))
    if wrong is not None:
        raise BadRequest(
            f"No {profile.name} certificate is issued on the request for {wrong.about}",
            expected=wrong.name,
            found=wrong.why,
            cure=" Or: ".join(wrong.cures),
        )


def _checks(
    request: x509.CertificateSigningRequest,
    profile: Profile,
    organization: str,
    without: Container[str] = (),
    verified: bool | None = None,
) -> Iterator[Check]:
    try:
        subject, key, digest = _parts(request)
    except chain.UNREADABLE:
        made = _unreadable(fault(request))
        yield from (check for check in made if check.name not in without)
        return
    about = chain.title(subject)
    yield passed(READABLE, about, "subject, key, extensions and signature are well formed")
    if KEY not in without:
        yield _key(key, about)
    yield (hashed := _hash(digest, about))
    # The library verifies no SHA-1 and no unknown key: its "no" would be untrue of the signature.
    pointless = hashed.failed or isinstance(key, str)
    if pointless:
        yield not_reached(SIGNATURE, about)
    else:
        yield _signature(verifies(request) if verified is None else verified, about)
    yield _rank(request, profile, about)
    if NAME not in without:
        yield _name(subject, about)
    if profile.registers and REGISTRATION not in without:
        yield _registration(chain.name_cn(subject), about)
    if organization:
        yield _organization(subject, organization, about)


def _parts(
    request: x509.CertificateSigningRequest,
) -> tuple[x509.Name, object, hashes.HashAlgorithm | str]:
    """Subject, key and hash. Parts are parsed when they are asked for: all that a signer asks for
    is asked for here.

    What is merely unknown is told in the library's words, for it breaks no standard. The hash is
    empty where the key's kind settles it.
    """
    subject, _ = request.subject, request.extensions
    key: object
    digest: hashes.HashAlgorithm | str
    try:
        key = key_of(request)
    except UnsupportedAlgorithm as error:
        key = str(error)
    try:
        digest = request.signature_hash_algorithm or ""
    except UnsupportedAlgorithm as error:
        digest = str(error)
    return subject, key, digest


_READ: Mapping[str, Callable[[x509.CertificateSigningRequest], object]] = {
    "subject": attrgetter("subject"),
    "extensions": attrgetter("extensions"),
    "public key or its hash": _parts,
}
"""What a request is read for; whatever :func:`_parts` fails at has one of these names."""


def _unreadable(problem: str) -> Iterator[Check]:
    about, cure = "(a request that cannot be read)", "make the request anew"
    yield failed(READABLE, about, problem, cure, source="RFC 2986, section 4")
    for rule in (KEY, HASH, SIGNATURE, RANK, NAME):
        yield not_reached(rule, about)


def _key(key: object, about: str) -> Check:
    strong = isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA
    known = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)
    if strong or known:
        return passed(KEY, about, f"it is {describe_key(key)}")
    found = key if isinstance(key, str) else describe_key(key)
    return failed(
        KEY,
        about,
        f"{found}: a key that this lab does not sign",
        "make a new key pair and a new request: openssl req -new -newkey ec "
        "-pkeyopt ec_paramgen_curve:P-256",
        source="NIST SP 800-57 part 1, section 5.6",
    )


def _hash(digest: hashes.HashAlgorithm | str, about: str) -> Check:
    if not digest:
        return passed(HASH, about, "a key of its kind settles the hash by itself")
    found = digest if isinstance(digest, str) else digest.name.upper()
    if isinstance(digest, _HASHES):
        return passed(HASH, about, f"it is signed over {found}")
    return failed(
        HASH,
        about,
        f"it is signed over {found}, which is broken or unknown here",
        "sign the request anew: openssl req -new -sha256",
        source="RFC 6151; RFC 6194",
    )


def _signature(verified: bool, about: str) -> Check:
    if verified:
        return passed(SIGNATURE, about, "the signature verifies: its asker holds the private key")
    return failed(
        SIGNATURE,
        about,
        "it is not signed by the key that it holds, or was altered since",
        "make the request again on the device that has the key",
        source="RFC 2986, section 3",
    )


def verifies(request: x509.CertificateSigningRequest) -> bool:
    """Whether it is signed by the key that it holds; no for what cannot be verified here."""
    try:
        return request.is_signature_valid
    except chain.UNREADABLE:
        return False


def _rank(request: x509.CertificateSigningRequest, profile: Profile, about: str) -> Check:
    asked = _asked(request)
    if profile.is_ca and asked == "CA:FALSE":
        return failed(
            RANK,
            about,
            "it asks for CA:FALSE in its basic constraints; what is to be issued is a CA's "
            f"certificate ({profile.name})",
            "ask with CA:TRUE, or leave the basic constraints out of the request",
            source="RFC 5280, section 4.2.1.9",
        )
    if profile.is_ca or asked in ("", "CA:FALSE"):
        return passed(RANK, about, f"it asks for {asked}" if asked else "it leaves it to the CA")
    return failed(
        RANK,
        about,
        f"it asks to be a CA, with {asked}; what is to be issued is a {profile.name} certificate",
        "make the request again without that: see req_extensions in openssl's configuration",
        "have a CA signed as one, by the custodian who is to own it",
        source="RFC 5280, section 4.2.1.9",
    )


def _asked(request: x509.CertificateSigningRequest) -> str:
    """What it asks to be: CA:TRUE, keyCertSign (which only a CA may have), CA:FALSE, or nothing."""
    wanted = {type(extension.value): extension.value for extension in request.extensions}
    constraints, usage = wanted.get(x509.BasicConstraints), wanted.get(x509.KeyUsage)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        return "CA:TRUE"
    if isinstance(usage, x509.KeyUsage) and usage.key_cert_sign:
        return "keyCertSign"
    return "CA:FALSE" if constraints else ""


def _name(subject: x509.Name, about: str) -> Check:
    problem = subjects.fault(subject)
    if not problem:
        return passed(NAME, about, f"the subject is {subject.rfc4514_string()}")
    return failed(
        NAME,
        about,
        problem,
        'name it in the request: openssl req -new -subj "/CN=smart-x-widget-001"',
        source="RFC 5280, section 4.1.2.6 and appendix A.1",
    )


def _registration(common_name: str, about: str) -> Check:
    if profiles.is_code(common_name):
        return failed(
            REGISTRATION,
            about,
            "it has the form of a verification code: whoever handed that out would take the "
            "device's certificate for a proof that they hold this CA's key",
            "make a new request whose CN is the device's registration ID",
            "answer a code of your own as one: prove_possession",
        )
    if ids.is_valid(common_name):
        return passed(REGISTRATION, about, f"{common_name!r} can be one")
    return failed(
        REGISTRATION,
        about,
        f"{common_name!r} is no registration ID: that is {ids.RULE}",
        "make a new request whose CN is the device's registration ID",
    )


def _organization(subject: x509.Name, wanted: str, about: str) -> Check:
    found = [str(o.value) for o in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if found == [wanted]:
        return passed(ORGANIZATION, about, f"O={wanted}")
    told = " and ".join(f"O={each}" for each in found) or "no organization"
    return failed(
        ORGANIZATION,
        about,
        f"the subject names {told}; the applicant is {wanted}",
        f"make a new request for /O={wanted}/CN=..., or have {wanted} apply for what it names",
        source="RFC 5280, section 4.1.2.4",
    )


def describe_key(key: object) -> str:
    """A public key's kind and size as people say it: ``P-256``, ``RSA-2048``."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name.replace("secp256r1", "P-256").replace("secp384r1", "P-384")
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
