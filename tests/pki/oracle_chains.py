"""Chains for the oracle: valid ones, and each with exactly one thing wrong.

A chain begins as a :class:`Draft`: levels from the leaf (number 0) to the root, which of them is
trusted, and the moment. A mutation changes one thing, in the draft or in what was built of it,
and says which check has to name it (none: the chain is still good). The drafts come from a seed,
so that every run judges the same chains; their keys are test vectors, and few.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from forge import CA_USAGE, CLIENT, NOW, SERVER, cn, key_id, sequence, tampered

from labkit.pki import profiles, verdict

ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KEYS = [ec.derive_private_key(0xC0FFEE + i, ec.SECP256R1()) for i in range(12)]
"""One for each level, and the last for whoever is not who they say they are."""
IMPOSTOR = KEYS[-1]
P384 = ec.derive_private_key(0xC0FFEE, ec.SECP384R1())
RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_1024 = rsa.generate_private_key(65537, 1024)

VARIATIONS = 8
"""Chains of each kind; with seventy kinds that is plenty."""


@dataclass(frozen=True)
class Level:
    """One certificate to be. ``days`` from NOW; ``issuer`` and ``signer`` where they are not the
    level above; ``key_id_above`` the authority key identifier where it is not the right one."""

    name: str
    key: Key
    ca: bool | None = True
    path_length: int | None = None
    usage: tuple[str, ...] | None = CA_USAGE
    purposes: tuple[x509.ObjectIdentifier, ...] = ()
    days: tuple[float, float] = (-10, 3650)
    issuer: str = ""
    signer: Key | None = None
    key_id_above: bytes | None = b""
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)


@dataclass
class Draft:
    """``anchor`` is the number of the level that is trusted; ``sends_above`` whether what is
    above it is presented too."""

    levels: list[Level]
    anchor: int
    sends_above: bool
    random: random.Random
    at: datetime = NOW

    def change(self, number: int, **changes: object) -> str:
        """Changes one level, and returns its name as checks tell it."""
        self.levels[number] = replace(self.levels[number], **changes)  # type: ignore[arg-type]
        return f"CN={self.levels[number].name}"

    def a_ca(self, lowest: int = 1) -> int:
        """One of the CAs on the path, the anchor included."""
        return self.random.randint(lowest, self.anchor)

    def below_anchor(self) -> int:
        """One of the certificates on the path whose signature counts."""
        return self.random.randint(0, self.anchor - 1)


@dataclass
class Built:
    """What the judges are shown."""

    certificates: list[x509.Certificate]
    presented: list[x509.Certificate]
    anchors: list[x509.Certificate]
    at: datetime


@dataclass(frozen=True)
class Vector:
    """One chain of a kind. ``check`` is the one that must fail, about ``about``; both are empty
    where the chain is good."""

    kind: str
    presented: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    at: datetime
    check: str = ""
    about: str = ""


Change = Callable[[Draft], str | None]
Touch = Callable[[Built, random.Random], str | None]


@dataclass(frozen=True)
class Kind:
    """``change`` works on the draft, ``touch`` on what was built; either returns whom the check
    is about, if it is to fail."""

    name: str
    check: str
    change: Change | None = None
    touch: Touch | None = None


KINDS: list[Kind] = []


def in_draft(name: str, check: str = "") -> Callable[[Change], Change]:
    """Registers a mutation of the draft."""

    def register(change: Change) -> Change:
        KINDS.append(Kind(name, check, change=change))
        return change

    return register


def in_built(name: str, check: str = "") -> Callable[[Touch], Touch]:
    """Registers a mutation of what was built."""

    def register(touch: Touch) -> Touch:
        KINDS.append(Kind(name, check, touch=touch))
        return touch

    return register


def draft(source: random.Random, cas: int = 0) -> Draft:
    """A good chain of two to five CAs, drawn at random: path lengths just enough or none,
    purposes named or not, the anchor at any level."""
    cas = cas or source.randint(2, 5)
    leaf = Level("widget", KEYS[0], ca=False, usage=("digital_signature",), days=(-1, 365))
    levels = [replace(leaf, purposes=source.choice([(CLIENT,), (), (CLIENT, SERVER)]))]
    for number in range(1, cas + 1):
        exact = number - 1 if source.random() < 0.4 else None
        purposes = (CLIENT,) if source.random() < 0.3 else ()
        name = "Root" if number == cas else f"CA {number}"
        levels.append(Level(name, KEYS[number], path_length=exact, purposes=purposes))
    anchor = cas if source.random() < 0.6 else source.randint(2, cas)
    return Draft(levels, anchor, source.random() < 0.5, source)


def build(plan: Draft) -> Built:
    """The certificates of a draft, and what is presented of them."""
    made = [certificate(plan, number) for number in range(len(plan.levels))]
    presented = made if plan.sends_above else made[: plan.anchor]
    return Built(made, list(presented), [made[plan.anchor]], plan.at)


def certificate(plan: Draft, number: int) -> x509.Certificate:
    """One level, signed by the one above; the topmost by itself."""
    level = plan.levels[number]
    above = plan.levels[min(number + 1, len(plan.levels) - 1)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(cn(level.name))
        .issuer_name(cn(level.issuer or above.name))
        .public_key(level.key.public_key())
        .serial_number(plan.random.getrandbits(150) + 1)
        .not_valid_before(NOW + timedelta(days=level.days[0]))
        .not_valid_after(NOW + timedelta(days=level.days[1]))
    )
    for extension, critical in extensions(level, above):
        builder = builder.add_extension(extension, critical)
    return builder.sign(level.signer or above.key, level.digest)


def extensions(level: Level, above: Level) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [(key_id(level.key), False)]  # type: ignore[arg-type]
    if level.key_id_above is not None and above is not level:
        right = key_id(above.key).digest  # type: ignore[arg-type]
        identifier = level.key_id_above or right
        found.append((x509.AuthorityKeyIdentifier(identifier, None, None), False))
    if level.ca is not None:
        room = level.path_length if level.ca else None
        found.append((x509.BasicConstraints(level.ca, room), True))
    if level.usage is not None:
        found.append((profiles.key_usage(*level.usage), True))
    if level.purposes:
        found.append((x509.ExtendedKeyUsage(level.purposes), False))
    return [*found, *level.extra]


def vectors() -> list[Vector]:
    """Every kind, in every variation; the same at every run."""
    return [vector(kind, number) for kind in KINDS for number in range(VARIATIONS)]


def vector(kind: Kind, number: int) -> Vector:
    source = random.Random(f"{kind.name} {number}")
    plan = draft(source)
    about = kind.change(plan) if kind.change else None
    built = build(plan)
    if kind.touch:
        about = kind.touch(built, source)
    return Vector(
        kind.name,
        tuple(built.presented),
        tuple(built.anchors),
        built.at,
        kind.check,
        about or "",
    )


def twin(plan_of: Built, number: int, **changes: object) -> x509.Certificate:
    """Another certificate of the same name as one that was built, signed by the same issuer."""
    old = plan_of.certificates[number]
    level = Level(str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), IMPOSTOR)
    level = replace(level, **changes)  # type: ignore[arg-type]
    above = replace(level, name="above", key=KEYS[number + 1])
    issuer = old.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    plan = Draft([replace(level, issuer=str(issuer)), above], 1, False, random.Random(number))
    return certificate(plan, 0)


def name_of(found: x509.Certificate) -> str:
    return f"CN={found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value}"


def version_1(built: Built) -> x509.Certificate:
    """The leaf without any extension and without a version: no builder makes that."""
    level = Level("widget", KEYS[0], ca=None, usage=None, key_id_above=None, days=(-1, 365))
    bare = x509.CertificateBuilder(
        issuer_name=built.certificates[0].issuer,
        subject_name=cn(level.name),
        public_key=KEYS[0].public_key(),
        serial_number=1,
        not_valid_before=(NOW + timedelta(days=-1)).replace(tzinfo=None),
        not_valid_after=(NOW + timedelta(days=365)).replace(tzinfo=None),
    ).sign(KEYS[1], hashes.SHA256())
    version = bytes.fromhex("a003020102")
    body = bare.tbs_certificate_bytes
    inside = sequence(body[body.index(version) + len(version) :])
    signature = KEYS[1].sign(inside, ec.ECDSA(hashes.SHA256()))
    bits = b"\x00" + signature
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    der = sequence(inside, algorithm, b"\x03" + bytes([len(bits)]) + bits)
    return x509.load_der_x509_certificate(der)


# ---- nothing wrong


@in_draft("valid")
def _(plan: Draft) -> None:
    """Whatever the random draft is."""


@in_draft("valid: path lengths are just enough")
def _(plan: Draft) -> None:
    for number in range(1, len(plan.levels)):
        plan.change(number, path_length=number - 1)


@in_draft("valid: no key usage anywhere")
def _(plan: Draft) -> None:
    for number in range(len(plan.levels)):
        plan.change(number, usage=None)


@in_draft("valid: no key identifiers of issuers")
def _(plan: Draft) -> None:
    for number in range(len(plan.levels)):
        plan.change(number, key_id_above=None)


@in_draft("valid: a CA with a P-384 key")
def _(plan: Draft) -> None:
    plan.change(plan.a_ca(), key=P384)


@in_draft("valid: a CA with an RSA-2048 key")
def _(plan: Draft) -> None:
    plan.change(plan.a_ca(), key=RSA_2048)


@in_draft("valid: signed over SHA-384")
def _(plan: Draft) -> None:
    plan.change(plan.below_anchor(), digest=hashes.SHA384())


@in_draft("valid: the leaf has no basic constraints")
def _(plan: Draft) -> None:
    plan.change(0, ca=None)


@in_draft("valid: what is above an anchor has expired")
def _(plan: Draft) -> None:
    plan.anchor = len(plan.levels) - 2
    plan.change(len(plan.levels) - 1, days=(-20, -1))


@in_draft("valid: the leaf is not valid longer than its issuer")
def _(plan: Draft) -> None:
    plan.change(0, days=(-1, 4000))


@in_draft("valid: revocation lists are named")
def _(plan: Draft) -> None:
    """Neither judge asks there: openssl only with -crl_check."""
    address = x509.UniformResourceIdentifier("http://crl.example/list.crl")
    point = x509.DistributionPoint([address], None, None, None)
    plan.change(plan.below_anchor(), extra=((x509.CRLDistributionPoints([point]), False),))


# ---- signature and names


@in_built("signature altered", verdict.SIGNATURE)
def _(built: Built, source: random.Random) -> str:
    number = source.randrange(len([c for c in built.presented if c not in built.anchors][:2]))
    built.presented[number] = tampered(built.presented[number])
    return name_of(built.presented[number])


@in_draft("signed by an impostor", verdict.SIGNATURE)
def _(plan: Draft) -> str:
    """The key identifier says that the right one signed it."""
    return plan.change(plan.below_anchor(), signer=IMPOSTOR)


@in_built("valid: the anchor's own signature is altered")
def _(built: Built, _: random.Random) -> None:
    """It is trusted as it is; nobody checks what it says of itself."""
    changed = tampered(built.anchors[0])
    built.presented = [c for c in built.presented if c != built.anchors[0]]
    built.anchors = [changed]


@in_draft("issuer's name is another", verdict.ISSUER)
def _(plan: Draft) -> str:
    return plan.change(plan.below_anchor(), issuer="Somebody Else")


@in_draft("issuer was renamed", verdict.ISSUER)
def _(plan: Draft) -> str:
    below = plan.below_anchor()
    about = plan.change(below, issuer=plan.levels[below + 1].name)
    plan.change(below + 1, name=f"{plan.levels[below + 1].name} (renamed)")
    return about


@in_draft("key identifier of another issuer")
def _(plan: Draft) -> None:
    plan.change(plan.below_anchor(), key_id_above=b"another key")


# ---- time


@in_draft("leaf expired", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(0, days=(-30, -1))


@in_draft("leaf not valid yet", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(0, days=(1, 30))


@in_draft("intermediate expired", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(plan.random.randint(1, plan.anchor - 1), days=(-30, -1))


@in_draft("intermediate not valid yet", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(plan.random.randint(1, plan.anchor - 1), days=(1, 30))


@in_draft("anchor expired", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(plan.anchor, days=(-30, -1))


@in_draft("anchor not valid yet", verdict.VALIDITY)
def _(plan: Draft) -> str:
    return plan.change(plan.anchor, days=(1, 30))


@in_draft("simulated time: a year later", verdict.VALIDITY)
def _(plan: Draft) -> str:
    plan.at = NOW + timedelta(days=366)
    return "CN=widget"


@in_draft("simulated time: before there was a leaf", verdict.VALIDITY)
def _(plan: Draft) -> str:
    plan.at = NOW - timedelta(days=2)
    return "CN=widget"


@in_draft("valid: simulated time at the first second")
def _(plan: Draft) -> None:
    plan.at = NOW - timedelta(days=1)


@in_draft("valid: simulated time a second before the end")
def _(plan: Draft) -> None:
    plan.at = NOW + timedelta(days=365, seconds=-1)


@in_draft("simulated time a second after the end", verdict.VALIDITY)
def _(plan: Draft) -> str:
    plan.at = NOW + timedelta(days=365, seconds=1)
    return "CN=widget"


@in_draft("simulated time in the very last second")
def _(plan: Draft) -> None:
    plan.at = NOW + timedelta(days=365)


# ---- basic constraints and path length


@in_draft("a CA says CA:FALSE", verdict.IS_CA)
def _(plan: Draft) -> str:
    return plan.change(plan.a_ca(), ca=False)


@in_draft("an intermediate without basic constraints", verdict.IS_CA)
def _(plan: Draft) -> str:
    """Its key usage names keyCertSign all the same."""
    return plan.change(plan.random.randint(1, plan.anchor - 1), ca=None)


@in_draft("an anchor without basic constraints", verdict.IS_CA)
def _(plan: Draft) -> str:
    """Here openssl is content with keyCertSign."""
    return plan.change(plan.anchor, ca=None)


@in_draft("a CA with neither basic constraints nor key usage", verdict.IS_CA)
def _(plan: Draft) -> str:
    return plan.change(plan.a_ca(), ca=None, usage=None)


@in_draft("the leaf says CA:TRUE", verdict.LEAF)
def _(plan: Draft) -> str:
    return plan.change(0, ca=True)


@in_draft("path length exceeded", verdict.PATH_LENGTH)
def _(plan: Draft) -> str:
    number = plan.a_ca(lowest=2)
    return plan.change(number, path_length=plan.random.randint(0, number - 2))


@in_draft("valid: path length exceeded above the anchor")
def _(plan: Draft) -> None:
    plan.anchor = len(plan.levels) - 2
    plan.change(len(plan.levels) - 1, path_length=0)


@in_draft("valid: a device's path length of 0 above it")
def _(plan: Draft) -> None:
    plan.change(1, path_length=0)


# ---- key usage and purposes


@in_draft("a CA without keyCertSign", verdict.IS_CA)
def _(plan: Draft) -> str:
    return plan.change(plan.a_ca(), usage=("digital_signature", "crl_sign"))


@in_draft("valid: a CA with keyCertSign alone")
def _(plan: Draft) -> None:
    plan.change(plan.a_ca(), usage=("key_cert_sign",))


@in_draft("leaf for key encipherment only", verdict.USAGE)
def _(plan: Draft) -> str:
    return plan.change(0, usage=("key_encipherment",))


@in_draft("leaf for key agreement only", verdict.USAGE)
def _(plan: Draft) -> str:
    return plan.change(0, usage=("key_agreement",))


@in_draft("valid: leaf without extended key usage")
def _(plan: Draft) -> None:
    plan.change(0, purposes=())


@in_draft("leaf for servers only", verdict.PURPOSE)
def _(plan: Draft) -> str:
    return plan.change(0, purposes=(SERVER,))


@in_draft("leaf for any purpose", verdict.PURPOSE)
def _(plan: Draft) -> str:
    """anyExtendedKeyUsage alone; a verifier may demand the particular one (RFC 5280, 4.2.1.12)."""
    return plan.change(0, purposes=(ANY,))


@in_draft("valid: leaf for any purpose and clients")
def _(plan: Draft) -> None:
    plan.change(0, purposes=(ANY, CLIENT))


@in_draft("a CA for servers only", verdict.PURPOSE)
def _(plan: Draft) -> str:
    return plan.change(plan.a_ca(), purposes=(SERVER,))


@in_draft("a CA for any purpose", verdict.PURPOSE)
def _(plan: Draft) -> str:
    return plan.change(plan.a_ca(), purposes=(ANY,))


@in_draft("valid: a CA for clients")
def _(plan: Draft) -> None:
    plan.change(plan.a_ca(), purposes=(CLIENT,))


# ---- what is sent


@in_built("leaf only", verdict.ISSUER)
def _(built: Built, _: random.Random) -> str:
    built.presented = built.presented[:1]
    return "CN=widget"


@in_built("an intermediate is missing", verdict.ISSUER)
def _(built: Built, source: random.Random) -> str:
    gap = source.randint(1, built.certificates.index(built.anchors[0]) - 1)
    built.presented.remove(built.certificates[gap])
    return name_of(built.certificates[gap - 1])


@in_built("valid: intermediates shuffled")
def _(built: Built, source: random.Random) -> None:
    rest = built.presented[1:]
    source.shuffle(rest)
    built.presented[1:] = rest


@in_built("valid: intermediates twice")
def _(built: Built, source: random.Random) -> None:
    rest = built.presented[1:] * 2
    source.shuffle(rest)
    built.presented[1:] = rest


@in_built("valid: strangers among them")
def _(built: Built, source: random.Random) -> None:
    strangers = [certificate(draft(source), number) for number in (0, 1)]
    other = certificate(Draft([Level("Stranger", IMPOSTOR)], 0, False, source), 0)
    built.presented[1:] = [other, *built.presented[1:], strangers[0]]


@in_built("valid: the root is sent too")
def _(built: Built, _: random.Random) -> None:
    built.presented = list(built.certificates)


@in_built("valid: an impostor of the same name beside the right CA")
def _(built: Built, source: random.Random) -> None:
    built.presented.insert(1, twin(built, 1))


@in_built("an impostor of the same name in the place of a CA", verdict.SIGNATURE)
def _(built: Built, source: random.Random) -> str:
    """Its key identifier is that of the right one: else openssl would not take it for the
    issuer at all, and both would refuse for that."""
    built.presented[1] = twin(built, 1)
    return "CN=widget"


@in_built("valid: an expired twin with the same key beside the renewed CA")
def _(built: Built, _: random.Random) -> None:
    built.presented.insert(1, twin(built, 1, key=KEYS[1], days=(-100, -1)))


@in_built("more certificates than anybody sends", verdict.LENGTH)
def _(built: Built, _: random.Random) -> str:
    built.presented += built.presented[1:] * verdict.LONGEST
    return "CN=widget"


# ---- whom we trust


@in_built("valid: anchor at the root")
def _(built: Built, _: random.Random) -> None:
    built.presented, built.anchors = built.certificates[:-1], built.certificates[-1:]


@in_built("valid: anchor at an intermediate")
def _(built: Built, source: random.Random) -> None:
    number = source.randint(1, len(built.certificates) - 2)
    built.presented = built.certificates[:number]
    built.anchors = [built.certificates[number]]


@in_built("valid: several anchors, one of them right")
def _(built: Built, source: random.Random) -> None:
    other = certificate(Draft([Level("Other", IMPOSTOR)], 0, False, source), 0)
    built.anchors = [other, *built.anchors]


@in_built("valid: anchors at two levels")
def _(built: Built, _: random.Random) -> None:
    built.presented, built.anchors = built.certificates[:2], built.certificates[1:3]


@in_built("another root is trusted", verdict.ANCHOR)
def _(built: Built, source: random.Random) -> str:
    built.presented = list(built.certificates)
    built.anchors = [certificate(Draft([Level("Other", IMPOSTOR)], 0, False, source), 0)]
    return "CN=Root"


@in_built("the root was made again with another key", verdict.SIGNATURE)
def _(built: Built, source: random.Random) -> str:
    built.presented = built.certificates[:-1]
    built.anchors = [certificate(Draft([Level("Root", IMPOSTOR)], 0, False, source), 0)]
    return name_of(built.certificates[-2])


@in_built("nobody is trusted", verdict.ANCHOR)
def _(built: Built, _: random.Random) -> str:
    built.presented, built.anchors = list(built.certificates), []
    return "CN=Root"


@in_built("self-signed device", verdict.ANCHOR)
def _(built: Built, source: random.Random) -> str:
    level = Level("widget", IMPOSTOR, ca=False, usage=("digital_signature",), purposes=(CLIENT,))
    built.presented = [certificate(Draft([level], 0, False, source), 0)]
    return "CN=widget"


# ---- where the two judges differ, each for a reason that docs/conformance.md names


@in_built("version 1", verdict.VERSION)
def _(built: Built, _: random.Random) -> str:
    built.presented[0] = version_1(built)
    return "CN=widget"


@in_draft("nine CAs below the anchor", verdict.DEPTH)
def _(plan: Draft) -> str:
    plan.levels[1:] = [Level(f"Level {number}", KEYS[number]) for number in range(1, 11)]
    plan.anchor = 10
    return "CN=widget"


@in_draft("a CA with an RSA-1024 key", verdict.STRENGTH)
def _(plan: Draft) -> str:
    number = plan.a_ca()
    plan.change(number, key=RSA_1024)
    return f"CN={plan.levels[number - 1].name}"


@in_draft("signed over SHA-224", verdict.STRENGTH)
def _(plan: Draft) -> str:
    return plan.change(plan.below_anchor(), digest=hashes.SHA224())


@in_draft("a critical extension that nobody knows", verdict.CRITICAL)
def _(plan: Draft) -> str:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
    return plan.change(plan.random.randint(0, plan.anchor), extra=((strange, True),))


@in_draft("certificate policies marked critical", verdict.CRITICAL)
def _(plan: Draft) -> str:
    policy = x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)
    marked = ((x509.CertificatePolicies([policy]), True),)
    return plan.change(plan.random.randint(0, plan.anchor), extra=marked)


@in_draft("name constraints that the leaf's CN breaks")
def _(plan: Draft) -> None:
    """There is no SAN, and RFC 5280 constrains SANs; openssl takes a CN for a host's name."""
    constraints = x509.NameConstraints([x509.DNSName("company-x.example")], None)
    plan.change(0, name="widget.somewhere.example")
    plan.change(plan.a_ca(), extra=((constraints, True),))


@in_draft("name constraints of the kind directoryName", verdict.VERIFIER)
def _(plan: Draft) -> str:
    """They permit every name that the chain has."""
    constraints = x509.NameConstraints([x509.DirectoryName(x509.Name([]))], None)
    plan.change(plan.a_ca(), extra=((constraints, True),))
    return "CN=widget"


@in_built("the first way up is a dead end")
def _(built: Built, _: random.Random) -> None:
    """CA 1 is cross-signed by somebody unknown, and that one is sent first."""
    unknown = Level("Unknown", IMPOSTOR)
    cross = Draft([Level("CA 1", KEYS[1]), unknown], 1, False, random.Random(1))
    dead_end = [certificate(cross, number) for number in (0, 1)]
    built.presented[1:] = [*dead_end, *built.presented[1:]]
