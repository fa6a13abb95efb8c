"""Certificates issued with a key in a token, per raw signature of that token.

The raw signature is the limit: no CA that keeps its key there can be faster. "Issued" is
``Authority.issue``: a public key and a subject are given, a certificate comes out. With the
ledger it is committed, too, when it comes out: durable across kill -9, not across a power cut
(see labkit.database). Lots of 64 share a transaction, as on the manufacturing line, whose
requests were checked before (another core can do that; see benchmarks/line.py).
``issuance_single_ratio`` checks each request and has a transaction for each, as when a person
signs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Mechanism

from benchmarks.result import Result, median
from labkit.clock import Clock
from labkit.hsm import Algorithm, TokenKey, TokenStore
from labkit.pki import lots, profiles, request
from labkit.pki.authority import Authority, self_sign
from labkit.supplychain.issuing import Issuing
from labkit.supplychain.ledger import Ledger

_ROUNDS, _CERTIFICATES = 7, 6 * lots.SIZE
_UNIT = "certificates per raw signature"


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        store, ledger = TokenStore(place / "hsm"), Ledger(place / "ledger.db")
        try:
            for bench in (
                _Bench(store, ledger, Algorithm.P256),
                _Bench(store, ledger, Algorithm.P384),
            ):
                yield from bench.figures()
        finally:
            ledger.close()
            store.close()


class _Bench:
    """A CA with a key of one algorithm, and a device's public key for it to sign."""

    def __init__(self, store: TokenStore, ledger: Ledger, algorithm: Algorithm) -> None:
        token, clock = store.token(f"CA {algorithm.value}"), Clock()
        self._algorithm = algorithm
        self._key = token.generate_key("ca", algorithm)
        self._device = token.generate_key("device").public_key()
        root = self_sign(self._key, request.name("Benchmark CA"), clock)
        self._authority = Authority(self._key, [root], clock)
        self._issuing = Issuing(self._authority, token.label, "Benchmark CA", ledger, clock)
        self._subject = request.name("smart-x-widget-001")
        self._request = request.make(token.key("device"), self._subject)

    def figures(self) -> Iterator[Result]:
        if self._algorithm is Algorithm.P384:
            yield Result("issuance_p384_ratio", self._ratio(self._issue), _UNIT, ">= 0.75")
            return
        yield Result("issuance_p256_ratio", self._ratio(self._issue), _UNIT, ">= 0.4")
        yield Result("issuance_ledger_ratio", self._ratio(self._record_lots), _UNIT, ">= 0.25")
        yield Result("issuance_single_ratio", self._ratio(self._record_singly), _UNIT)

    def _ratio(self, work: Callable[[], None]) -> float:
        """How often ``work`` is done in the time of one raw signature: in turns, so that both see
        the same machine."""
        pairs = [(_seconds(self._sign_raw), _seconds(work)) for _ in range(_ROUNDS + 1)]
        return median([raw / done for raw, done in pairs[1:]])

    def _sign_raw(self) -> None:
        key: TokenKey = self._key
        digest = bytes(self._algorithm.bits // 8)
        for _ in range(_CERTIFICATES):
            key._sign_raw(digest, mechanism=Mechanism.ECDSA)

    def _issue(self) -> None:
        for _ in range(_CERTIFICATES):
            self._authority.issue(self._device, self._subject, profiles.DEVICE)

    def _record_lots(self) -> None:
        asked = self._request.public_bytes(Encoding.DER)
        for _ in range(_CERTIFICATES // lots.SIZE):
            self._issuing.on_checked([asked] * lots.SIZE, profiles.DEVICE)

    def _record_singly(self) -> None:
        for _ in range(_CERTIFICATES):
            self._issuing.on_requests([self._request], profiles.DEVICE)


def _seconds(work: Callable[[], None]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
