"""A chain judged as a service judges it, per bare path validation of the same chain.

The bare one is cryptography's verifier with the very same policy, built once: no judge that asks
it can be faster. Every chain is of another device, and is parsed anew each time, as it comes out
of a TLS handshake; the CAs in it are always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.result import Result, median
from labkit.pki import policy, profiles, request, verdict

_ROUNDS, _DEVICES = 9, 1_500  # more devices than any cache of the lab holds
_NOW = datetime(2027, 3, 1, tzinfo=UTC)

Chain: TypeAlias = list[x509.Certificate]


def measure() -> Iterator[Result]:
    """A device below Technician-Z, Factory-Y and Company-X, P-256 throughout."""
    sent, root = _chains()
    ratio = _ratio(sent, lambda chain: _judge(chain, root), _bare(root))
    yield Result("verdict_ratio", ratio, "verdicts per bare path validation", ">= 0.8")


def _judge(chain: Chain, root: x509.Certificate) -> bool:
    return verdict.judge(chain, [root], _NOW).accepted


def _bare(root: x509.Certificate) -> Callable[[Chain], object]:
    rules = policy.verifying((root,)).time(_NOW.replace(tzinfo=None))
    verifier = rules.build_client_verifier()
    return lambda chain: verifier.verify(chain[0], chain[1:])


def _ratio(
    sent: Sequence[Sequence[bytes]],
    work: Callable[[Chain], object],
    limit: Callable[[Chain], object],
) -> float:
    """How often ``work`` is done in the time of one ``limit``: chain by chain in turns, so that
    both see the same machine."""
    return median([_round(sent, work, limit) for _ in range(_ROUNDS + 1)][1:])


def _round(
    sent: Sequence[Sequence[bytes]],
    work: Callable[[Chain], object],
    limit: Callable[[Chain], object],
) -> float:
    worked = limited = 0.0
    for number, ders in enumerate(sent):
        pair = [(work, _parsed(ders)), (limit, _parsed(ders))]
        for call, chain in pair if number % 2 else reversed(pair):
            seconds = _seconds(call, chain)
            if call is work:
                worked += seconds
            else:
                limited += seconds
    return limited / worked


def _seconds(call: Callable[[Chain], object], chain: Chain) -> float:
    start = perf_counter()
    done = call(chain)
    seconds = perf_counter() - start
    assert done, "a chain of the benchmark was refused"
    return seconds


def _parsed(ders: Sequence[bytes]) -> Chain:
    return [x509.load_der_x509_certificate(der) for der in ders]


def _chains() -> tuple[list[list[bytes]], x509.Certificate]:
    """What each device sends; and the root, which the judge has already."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]
    names = [request.name(name) for name in ("Company-X", "Factory-Y", "Technician-Z")]
    issuers = [0, 0, 1]
    cas = [
        _signed(keys[n], names[n], keys[i], names[i], profiles.INTERMEDIATE_CA)
        for n, i in enumerate(issuers)
    ]
    above = [ca.public_bytes(Encoding.DER) for ca in (cas[2], cas[1])]
    leaves = (
        _signed(keys[3], request.name(f"w-{n}"), keys[2], names[2], profiles.DEVICE)
        for n in range(_DEVICES)
    )
    return [[leaf.public_bytes(Encoding.DER), *above] for leaf in leaves], cas[0]


def _signed(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    profile: profiles.Profile,
) -> x509.Certificate:
    """As the lab's own CAs issue, with keys in memory: the token is no part of this figure."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(days=1))
        .not_valid_after(_NOW + timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    for extension, critical in profile.extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())
