"""Random rolls against a small model: who is served with which trust store, always."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import killed
from tls_oracle import NAME, trusts

from labkit.clock import Clock
from labkit.errors import Conflict
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.wire.server_identity import ServerIdentity

ROLLS = st.one_of(
    st.tuples(st.sampled_from(["leaf", "issuing", "restart"])),
    st.tuples(st.just("new"), st.integers(1, 3)),
    st.tuples(st.just("switch"), st.integers(0, 3), st.booleans()),
)


class Model:
    """``names`` of the roots, oldest first; the one in ``use``, and the one that ``signed`` it."""

    def __init__(self) -> None:
        self.names, self.use, self.signed = ["Lab Service Root CA"], 0, -1

    @property
    def served(self) -> set[int]:
        """With one of these, a client is served."""
        return {self.use, self.signed} - {-1}

    @property
    def bundle(self) -> list[int]:
        return [n for n in range(len(self.names)) if n in self.served or n > self.use]

    def new(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)

    def switch(self, to: int, cross: bool) -> bool:
        """False where it is refused."""
        same = to == self.use
        if same and cross == (self.signed >= 0):
            return True
        signer = self.use if not same else to - 1
        if cross and not -1 < signer < to:
            return False
        self.use, self.signed = to, signer if cross else -1
        return True


class Server:
    """A server's identity without sockets, which can be opened again."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.open()

    def open(self) -> None:
        self.tokens = TokenStore(self.place / "hsm")
        self.identity = ServerIdentity(self.tokens, self.place / "server", Events(Clock()))
        self.identity.cover([NAME], ["127.0.0.1"])

    def do(self, roll: tuple[object, ...], model: Model) -> None:
        match roll:
            case ("leaf",):
                self.identity.roll_leaf()
            case ("issuing",):
                self.identity.roll_issuing_ca()
            case ("restart",):
                self.tokens.close()
                self.open()
            case ("new", number):
                model.new(f"Root {number}")
                self.identity.new_root(f"Root {number}")
            case ("switch", int(to), bool(cross)) if to < len(model.names):
                self.switch(to, cross, model)

    def switch(self, to: int, cross: bool, model: Model) -> None:
        try:
            self.identity.switch_root(model.names[to], cross_signed=cross)
        except Conflict:
            assert not model.switch(to, cross)
        else:
            assert model.switch(to, cross)


@settings(max_examples=25, deadline=None)
@given(st.lists(ROLLS, max_size=8))
def test_whoever_trusts_a_root_that_is_in_use_is_served_and_nobody_else(
    rolls: list[tuple[object, ...]],
) -> None:
    """Whatever was rolled, in any order, restarts among it: each possible trust store of up to
    two roots completes a real TLS handshake or does not, as the model has it."""
    with TemporaryDirectory() as folder:
        server, model = Server(Path(folder)), Model()
        for roll in rolls:
            server.do(roll, model)
            agree(server.identity, model)
        server.tokens.close()


def agree(identity: ServerIdentity, model: Model) -> None:
    pems = [root.pem for root in identity.roots]
    assert [root.name for root in identity.roots] == model.names
    assert identity.trust_bundle == "".join(pems[n] for n in model.bundle)
    assert identity.root_file.read_text() == identity.trust_bundle
    every = range(len(pems))
    for store in (*combinations(every, 1), *combinations(every, 2)):
        found = trusts(identity.context, [pems[n] for n in store])
        assert found == bool(model.served & set(store)), store


# ---- killed in the middle

ROLLS_FOR_EVER = """
import itertools, sys
from pathlib import Path
from labkit.clock import Clock
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.wire.server_identity import ServerIdentity

place = Path(sys.argv[1])
server = ServerIdentity(TokenStore(place / "hsm"), place / "server", Events(Clock()))
server.cover(["contoso-hub.azure-devices.net"], ["127.0.0.1"])
print("ready", flush=True)
names = [server.new_root(f"Root {number}").name for number in (1, 2)]
for turn in itertools.count():
    name = names[turn % 2]
    server.roll_issuing_ca()
    server.switch_root(name)
    print(name, server._roots.issued, sep="|", flush=True)
"""


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.3, 0.5])
def test_what_was_rolled_is_there_after_kill_9(tmp_path: Path, seconds: float) -> None:
    """Every roll that was acknowledged, and at most the beginning of the next; the file that
    clients are told to trust fits what is served."""
    said = killed(ROLLS_FOR_EVER, seconds, tmp_path)
    server = Server(tmp_path)
    identity = server.identity
    if said:
        name, issued = said[-1].split("|")
        further = identity._roots.issued - int(issued)
        assert further in (0, 1)
        assert further or identity.root.name == name
    assert identity.root_file.read_text() == identity.trust_bundle
    assert trusts(identity.context, [identity.root_pem])
    server.tokens.close()
