"""Certificates issued with a key in a token, per raw signature of that token.

The raw signature is the limit: no CA that keeps its key there can be faster.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from pkcs11 import Mechanism

from benchmarks.result import Result, median
from labkit.clock import Clock
from labkit.hsm import TokenStore
from labkit.pki import profiles, request
from labkit.pki.authority import Authority, self_sign

_ROUNDS, _CALLS = 7, 400
_DIGEST = bytes(32)


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as directory:
        store = TokenStore(Path(directory) / "hsm")
        try:
            yield _p256(store)
        finally:
            store.close()


def _p256(store: TokenStore) -> Result:
    token, clock = store.token("CA"), Clock()
    key, device = token.generate_key("ca"), token.generate_key("device").public_key()
    authority = Authority(key, [self_sign(key, request.name("Benchmark CA"), clock)], clock)
    subject = request.name("smart-x-widget-001")
    ratio = _ratio(
        lambda: authority.issue(device, subject, profiles.DEVICE),
        lambda: key._sign_raw(_DIGEST, mechanism=Mechanism.ECDSA),
    )
    return Result("issuance_p256_ratio", ratio, "certificates per raw signature", ">= 0.35")


def _ratio(work: Callable[[], object], limit: Callable[[], object]) -> float:
    """How often ``work`` is done in the time of one ``limit``: in turns, so that both see the
    same machine."""
    pairs = [(_seconds(limit), _seconds(work)) for _ in range(_ROUNDS + 1)]
    return median([raw / done for raw, done in pairs[1:]])


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    for _ in range(_CALLS):
        call()
    return perf_counter() - start
