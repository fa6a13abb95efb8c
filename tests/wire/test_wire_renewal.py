"""A device's next certificate, asked for at its hub over MQTT, by a client that shares no code with
the lab (paho), over real TLS. Azure's own account of the operation is walked row by row: what is
refused at once, what behind the 202, and what becomes of an answer whose device is away.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_csr
from foreign_tools import openssl_verify
from issuance_stories import (
    DAYS,
    POLICY,
    certificates,
    csr,
    csr_der,
    managed,
    new_key,
    rsa_key,
    tampered,
)
from renewal_client import ASK, Asking, Heard
from stories import PATIENCE, PemDevice, Story, eventually, failed_check, pem_device, write_device

from labkit.device.provisioning_client import ProvisioningClient
from labkit.errors import TokenError
from labkit.pki.authority import Authority

NAME = "widget-renewing"
Key = ec.EllipticCurvePrivateKey


@pytest.fixture
def story_managed(story: Story) -> Story:
    managed(story)
    return story


@pytest.fixture
def device(story_managed: Story, tmp_path: Path) -> PemDevice:
    """A device with an operational certificate, by which it is known to its hub."""
    return onboarded(story_managed, tmp_path, NAME)


def onboarded(story: Story, directory: Path, name: str) -> PemDevice:
    first = pem_device(story, directory / name, name)
    proof = _Proof(first)
    key = new_key()
    client = ProvisioningClient(story.lab.network, name, proof, "mqtt", csr(name, key))
    return write_device(directory / name, key, client.register().chain)


class _Proof:
    """A chain and a key in files."""

    def __init__(self, device: PemDevice) -> None:
        self._device = device

    def load_into(self, context: Any) -> None:
        context.load_cert_chain(self._device.chain_file, self._device.key_file)


@pytest.fixture
def asking(story_managed: Story, device: PemDevice) -> Iterator[Asking]:
    with Asking(story_managed.lab, device) as found:
        yield found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The token signs nothing until this is set: a request stays under way."""
    go_on, issue = threading.Event(), Authority.issue

    def slow(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(PATIENCE * 2)
        return issue(*arguments, **options)

    monkeypatch.setattr(Authority, "issue", slow)
    yield go_on
    go_on.set()


def renewed(asking: Asking, key: Key, rid: str = "rid-0001", **more: Any) -> list[Any]:
    """Both answers, and the chain in the second."""
    asking.ask(csr(asking.name, key), rid, **more)
    first, second = asking.next(), asking.next()
    assert (first.status, first.rid) == (202, rid)
    assert (second.status, second.rid) == (200, rid), second.body
    assert second.body["correlationId"] == first.body["correlationId"]
    return certificates(second.body["certificates"])


def ledger(story: Story) -> list[Any]:
    found = story.lab.registry.namespaces.get("contoso").certificates(NAME)
    return [entry.certificate for entry in found]


# ---- what is issued


@pytest.mark.parametrize("qos", [0, 1])
def test_it_is_told_202_and_then_gets_a_chain_that_opens_its_hub(
    story_managed: Story, device: PemDevice, tmp_path: Path, qos: int
) -> None:
    """Leaf, issuing CA, root; by the policy that signed the one before, for just its days, and on
    record."""
    story, key = story_managed, new_key()
    story.lab.clock.advance(days=5)
    with Asking(story.lab, device, qos=qos) as asking:
        chain = renewed(asking, key)
    now = story.lab.clock.now()
    namespace = story.lab.registry.namespaces.get("contoso")
    policy = namespace.policies.get(POLICY)
    assert chain[0].public_key() == key.public_key()
    assert chain[1:] == [policy.certificate, namespace.credential.certificate]
    left = chain[0].not_valid_after_utc - now
    assert timedelta(days=DAYS, minutes=-1) < left <= timedelta(days=DAYS)
    assert openssl_verify(tmp_path, chain[:2], chain[2:], now) == ""
    assert ledger(story) == [device.chain[0], chain[0]]
    story.lab.clock.advance(days=4)
    with Asking(story.lab, device) as old:
        assert old.code == 5, "what it had before is over"
    with Asking(story.lab, write_device(tmp_path / "next", key, tuple(chain))) as new:
        assert new.code == 0


def test_the_answer_says_until_when_it_is_kept(story_managed: Story, asking: Asking) -> None:
    """Twelve hours, by the lab's clock."""
    asking.ask(csr(NAME))
    expires = datetime.fromisoformat(asking.next().body["operationExpires"])
    left = expires - story_managed.lab.clock.now()
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12)
