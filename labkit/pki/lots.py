"""The device side of a manufacturing line, in lots: a key and a request for each device.

Each request is looked at here, as a registration authority does for its CA: to check a
signature takes longer than to make one. So this side can run in a process of its own, on
another core than the CA's:

    names ──> another process: keys, requests, checks ──> this one: the CA signs and records

What it hands over are bytes of its own parent's asking, over the pipe between the two. The
private number of an ``in_memory`` key is among them; that of a key in a token is not.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.errors import LabError
from labkit.hsm import Token, TokenKey, TokenStore
from labkit.pki import profiles, request
from labkit.processes import python

SIZE = 64
"""Devices in a lot: enough that a transaction costs each of them little."""

PrivateKey: TypeAlias = TokenKey | ec.EllipticCurvePrivateKey
Keys: TypeAlias = Callable[[str], AbstractContextManager[PrivateKey]]
"""The private key of the device of this name, for as long as the block lasts."""

Fleet: TypeAlias = Literal["memory", "session"]
"""Where a simulated device has its key: in this process's memory, or in a token's session."""

_SECRET_BYTES = 32
_PATIENCE = 5.0


class Asked(NamedTuple):
    """A device that asks for its certificate. ``request`` is DER; ``secret`` the private number
    of an in_memory key, and empty for a key that stays in its token."""

    name: str
    request: bytes
    secret: bytes


def split(names: Sequence[str], size: int = SIZE) -> list[Sequence[str]]:
    """The names in lots of ``size``; the last may be smaller."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def ask(names: Sequence[str], keys: Keys) -> list[Asked]:
    """One lot: each device makes its request, and each request is checked. Raises BadRequest."""
    return [_ask(name, keys) for name in names]


def _ask(name: str, keys: Keys) -> Asked:
    with keys(name) as key:
        csr = request.make(key, request.name(name))
        secret = b"" if isinstance(key, TokenKey) else _secret(key)
    request.check(csr, profiles.DEVICE)
    return Asked(name, csr.public_bytes(Encoding.DER), secret)


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(_SECRET_BYTES, "big")


def key_of(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The in_memory key of this private number."""
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


def in_memory(_name: str) -> AbstractContextManager[PrivateKey]:
    """A key outside of any token: for simulated fleets, where nothing is at stake."""
    return nullcontext(ec.generate_private_key(ec.SECP256R1()))


def in_session(token: Token) -> Keys:
    """Keys that are born in ``token`` and gone when their request is signed."""
    return token.passing_key


@contextmanager
def elsewhere(fleet: Fleet, lots: Sequence[Sequence[str]]) -> Iterator[Iterator[list[Asked]]]:
    """The lots of a simulated fleet, asked for by another process while this one signs.

    The other process ends with the block, or when this one dies. Raises LabError where it
    fails.
    """
    command = python(__name__, serve.__name__, fleet)
    with (
        tempfile.TemporaryFile() as complaints,  # a pipe that nobody reads would fill up
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        try:
            try:
                with process.stdin as stream:
                    pickle.dump(lots, stream)
            except BrokenPipeError as error:  # it has ended before it knew what to do
                raise _ended(process, complaints) from error
            yield _received(process, process.stdout, complaints, len(lots))
        finally:
            process.stdout.close()  # at its next lot, if it has one, it ends and tidies up
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _received(
    process: subprocess.Popen[bytes], stream: IO[bytes], complaints: IO[bytes], number: int
) -> Iterator[list[Asked]]:
    for _ in range(number):
        try:
            lot = pickle.load(stream)  # of our own child, over a pipe that nobody else has
        except (EOFError, pickle.UnpicklingError) as error:  # between two lots, or within one
            raise _ended(process, complaints) from error
        yield lot


def _ended(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> LabError:
    _end(process)
    complaints.seek(0)
    said = complaints.read().decode(errors="replace").strip()
    return LabError(
        "The process that makes keys and requests has ended too early",
        found=said.splitlines()[-1] if said else "it said nothing",
        cure="run it again: what was made is not made twice; or with processes=1",
    )


@contextmanager
def _own_token() -> Iterator[Keys]:
    """SoftHSM shows a process no token that another makes: this one brings its own."""
    with tempfile.TemporaryDirectory(prefix="labkit-line-") as directory:
        store = TokenStore(Path(directory) / "hsm")
        try:
            yield in_session(store.token("device maker"))
        finally:
            store.close()


def serve() -> None:
    """The other process: lots of names come in, lots of requests go out."""
    (fleet,) = sys.argv[1:]
    named = pickle.load(sys.stdin.buffer)
    try:
        with _own_token() if fleet == "session" else nullcontext(in_memory) as keys:
            for names in named:
                pickle.dump(ask(names, keys), sys.stdout.buffer)
                sys.stdout.buffer.flush()
    except BrokenPipeError:  # the CA's process is gone, and with it whoever would want the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
