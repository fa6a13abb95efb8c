"""What strangers can write into the lab's books, and what they cannot."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import impostor
import pytest
import sslcontext
import wire_clients as wire
from cryptography.hazmat.primitives.serialization import Encoding
from stories import PemDevice, Story, eventually, pem_device, write_device
from wire_clients import MqttClient, at_dps, dial, dps_user, hub_user, register, secure, tls

from labkit.cloud import handshakes, presentations
from labkit.cloud.dps import attestation
from labkit.cloud.hub import limits
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusal

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
MakeDevice = Callable[..., PemDevice]


@pytest.fixture
def make(shared: Story, tmp_path: Path) -> MakeDevice:
    return lambda name, sends=3: pem_device(shared, tmp_path / "pem", name, sends=sends)


def client_of(story: Story, device: PemDevice | None = None) -> MqttClient:
    files = (device.chain_file, device.key_file) if device else (None, None)
    return MqttClient(story.lab, tls(story.lab, *files))


def refusals(story: Story) -> int:
    """The number of the last one: it grows by one with each, also where old ones make room."""
    last = story.lab.cloud.refusals.last()
    return last.number if last else 0


def next_refusal(story: Story, before: int) -> Refusal:
    eventually(lambda: refusals(story) > before)
    assert refusals(story) == before + 1
    found = story.lab.cloud.refusals.last()
    assert found is not None
    return found


# ---- handshakes


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_does_not_trust_the_server_can_be_explained(
    shared: Story, version: ssl.TLSVersion
) -> None:
    before, context = refusals(shared), ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(shared.lab, context)
    row = next_refusal(shared, before)
    assert (row.service, row.device, row.status, row.code) == ("tls", "", 0, "TLS")
    assert row.message == handshakes.BY_CLIENT
    found = shared.lab.explain()
    assert found.failure is not None
    assert found.failure.name == handshakes.TRUST
    assert found.failure.about == "127.0.0.1"
    assert any("serverCa" in cure and "lab.server.root_file" in cure for cure in found.cures)


def test_a_client_that_dials_a_name_which_is_not_the_servers_can_be_explained(
    shared: Story,
) -> None:
    before = refusals(shared)
    with pytest.raises(ssl.SSLCertVerificationError):
        tls(shared.lab).wrap_socket(dial(shared.lab), server_hostname="fabrikam.example")
    check = next_refusal(shared, before).checks[-1]
    assert check.name == handshakes.NAME, "no root is blamed"
    assert "asked for 'fabrikam.example', not contoso-hub.azure-devices.net" in check.why
    assert "covers" in str(check.cures)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stolen_certificate_can_be_explained_and_is_held_against_no_device(
    shared: Story, version: ssl.TLSVersion
) -> None:
    before, context = refusals(shared), tls(shared.lab)
    context.minimum_version = context.maximum_version = version
    leaf, *rest = (c.public_bytes(Encoding.DER) for c in shared.widget.chain)
    sslcontext.load_identity(context, sslcontext.Identity(leaf, impostor.Signer(), tuple(rest)))  # type: ignore[arg-type]
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
        MqttClient(shared.lab, context).enter("thief", dps_user(shared.lab, "thief"))
    row = next_refusal(shared, before)
    assert (row.service, row.device, row.code) == ("tls", "", "TLS")
    assert row.checks[-1].name == attestation.POSSESSION
    assert row.chain[0] == shared.widget.certificate


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", wire.connect("x", "y"), b"\0" * 100, b"SSH-2.0-x\r\n", b""],
    ids=["plain HTTP", "plain MQTT", "zeros", "SSH", "a port scan"],
)
def test_noise_does_not_fill_the_book(shared: Story, data: bytes) -> None:
    before = refusals(shared)
    with dial(shared.lab) as client:
        client.sendall(data)
        if data:
            wire.until_end(client)
    assert refusals(shared) == before


# ---- names of any length

LONG = "x" * 60_000


@pytest.mark.parametrize(
    ("client_id", "user"),
    [
        (LONG, "{scope}/registrations/" + LONG + "/api-version=1"),
        ("x", "{hub}/" + LONG + "/?api-version=1"),
        ("x", LONG + "/x/?api-version=1"),
        (LONG, LONG),
    ],
    ids=["DPS", "device at the hub", "hub", "nowhere"],
)
def test_a_name_of_60_000_characters_is_refused_and_not_kept(
    shared: Story, make: MakeDevice, client_id: str, user: str
) -> None:
    lab, before = shared.lab, refusals(shared)
    visits = len(presentations.all_of(lab.cloud.database))
    user = user.format(scope=lab.dps.id_scope, hub=lab.hub().host_name)
    with client_of(shared, make("long-names")) as client:
        assert client.enter(client_id, user[:65_535]) == 5
    row = next_refusal(shared, before)
    assert len(row.device) <= 128
    assert len(str(row.trace)) < 5_000
    assert len(presentations.all_of(lab.cloud.database)) == visits
    assert all(len(e.text) + len(str(e.details)) < 5_000 for e in lab.events)


@pytest.mark.parametrize("device_id", ["", "a b", "a#b", "ä", "a\tb", "x" * 129])
def test_a_device_id_that_azure_would_not_take_is_refused_first(
    shared: Story, make: MakeDevice, device_id: str
) -> None:
    before = refusals(shared)
    with client_of(shared, make("odd-ids")) as client:
        assert client.enter(device_id or "x", hub_user(shared.lab, device_id, "no-such-hub")) == 5
    assert next_refusal(shared, before).checks[-1].name == limits.DEVICE_ID


# ---- under a known device's name


def last_visit(story: Story, service: str, device: str) -> presentations.Presentation:
    (found,) = [v for v in story.lab.cloud.visits(service) if v.device == device]
    return found


def try_dps(story: Story, device: PemDevice, name: str) -> bool:
    with client_of(story, device) as client:
        at_dps(client, story.lab, name)
        return "/res/200/" in register(client).topic


def test_a_thief_at_dps_does_not_overwrite_what_is_known_of_the_device(
    shared: Story, make: MakeDevice
) -> None:
    owner, thief = make("owner"), make("thief")
    assert try_dps(shared, owner, "owner")
    assert not try_dps(shared, thief, "owner")
    visit = last_visit(shared, "dps", "owner")
    assert visit.accepted
    assert visit.chain == owner.chain
    (attempt,) = [v for v in shared.lab.cloud.attempts("dps") if v.device == "owner"]
    assert attempt.chain == thief.chain
    assert not attempt.accepted


def test_a_thief_at_the_hub_does_not_overwrite_what_is_known_of_the_device(
    shared: Story, make: MakeDevice
) -> None:
    owner, thief = make("hub-owner"), make("hub-thief")
    assert try_dps(shared, owner, owner.name)
    for device, code in ((owner, 0), (thief, 5)):
        with client_of(shared, device) as client:
            assert client.enter(owner.name, hub_user(shared.lab, owner.name)) == code
    assert last_visit(shared, "contoso-hub", owner.name).accepted


def test_a_refusal_of_the_device_itself_is_its_last_visit(
    shared: Story, make: MakeDevice, tmp_path: Path
) -> None:
    """It has the key that was accepted before: now it left its chain out."""
    device = make("forgetful")
    assert try_dps(shared, device, device.name)
    leaf_only = write_device(tmp_path / "pem", device.key, device.chain[:1])
    assert not try_dps(shared, leaf_only, device.name)
    visit = last_visit(shared, "dps", device.name)
    assert not visit.accepted
    assert visit.chain == device.chain[:1]
    assert try_dps(shared, device, device.name)
    assert last_visit(shared, "dps", device.name).accepted


def test_a_device_that_was_never_accepted_shows_its_refusal(
    shared: Story, make: MakeDevice
) -> None:
    device = make("newcomer", 1)
    assert not try_dps(shared, device, device.name)
    assert last_visit(shared, "dps", device.name).chain == device.chain
    assert shared.lab.cloud.visits("dps")[0].device == device.name, "the newest comes first"


def test_strangers_make_room_for_strangers_only(shared: Story, make: MakeDevice) -> None:
    kept = presentations.ATTEMPTS_KEPT
    device = make("here-to-stay")
    assert try_dps(shared, device, device.name)
    now, database = shared.lab.clock.now(), shared.lab.cloud.database
    for number in range(kept + 5):
        with database.quick_write() as connection:
            at, shown = now + timedelta(seconds=number), Presented(device.chain[1:])
            presentations.keep(connection, "dps", f"stranger-{number}", at, shown, False)
    found = [v.device for v in shared.lab.cloud.visits("dps") if v.device.startswith("stranger")]
    assert found == [f"stranger-{number}" for number in range(kept + 4, 4, -1)]
    assert last_visit(shared, "dps", device.name).accepted
