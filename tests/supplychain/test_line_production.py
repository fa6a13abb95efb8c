"""The line in earnest: with tokens for tens, with session and in_memory keys for thousands."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from foreign_tools import openssl_verify
from stories import CA, Story

from labkit import Lab, ids
from labkit.errors import BadRequest, Conflict, LabError, TokenError
from labkit.pki import lots
from labkit.supplychain import Line
from labkit.supplychain.ledger import DeviceRow
from labkit.supplychain.line import SimulatedDevice, Where
from labkit.work import Stage

SIMULATED: list[Where] = ["memory", "session"]
EVERY_WAY: list[tuple[Where, int]] = [
    ("token", 1),
    ("memory", 1),
    ("memory", 2),
    ("session", 1),
    ("session", 2),
]
every_way = pytest.mark.parametrize(("keys", "processes"), EVERY_WAY)


def signatures(lab: Lab) -> int:
    return lab._supply_chain.ledger.count()


def keys_in_tokens(lab: Lab) -> int:
    tokens = lab._supply_chain.tokens
    return sum(len(tokens.token(label).key_labels) for label in tokens.labels)


# ---- what leaves the line


@every_way
def test_every_device_leaves_with_a_chain_that_openssl_verifies(
    story: Story, tmp_path: Path, keys: Where, processes: int
) -> None:
    done = Line(story.technician, "w-").run(3, keys=keys, processes=processes)
    assert (done.made, done.again, len(done.devices)) == (3, 0, 3)
    assert [device.name for device in done.devices] == ["w-00001", "w-00002", "w-00003"]
    root, now = story.company.certificate, story.lab.clock.now()
    for device in done.devices:
        assert openssl_verify(tmp_path, list(device.chain), [root], now) == ""


@every_way
def test_every_certificate_is_in_the_ledger_with_the_request_of_its_own_key(
    story: Story, keys: Where, processes: int
) -> None:
    before = signatures(story.lab)
    count = 3 if keys == "token" else lots.SIZE + 3
    done = Line(story.technician, "w-").run(count, keys=keys, processes=processes)
    assert signatures(story.lab) == before + done.made
    for device in done.devices:
        entry = story.lab._supply_chain.ledger.find(device.chain[0].serial_number)
        assert entry is not None
        assert entry.certificate == device.chain[0]
        assert entry.request is not None
        assert entry.request.is_signature_valid
        assert entry.request.public_key() == device.chain[0].public_key()


def test_devices_with_a_token_are_devices_like_any_other(story: Story) -> None:
    done = story.technician.make_devices(["one", "two"])
    assert list(done.devices) == [story.lab.device("one"), story.lab.device("two")]
    for name in ("one", "two"):
        widget = story.lab.device(name)
        assert widget.key.token.label == name
        assert widget.key.public_key() == widget.certificate.public_key()
    assert story.lab.device("one").provision().device_id == "one"


def test_an_in_memory_key_fits_its_certificate_and_lies_nowhere_on_disk(story: Story) -> None:
    done = Line(story.technician).run(5, keys="memory", processes=2)
    before = keys_in_tokens(story.lab)
    secrets = []
    for device in done.devices:
        assert isinstance(device, SimulatedDevice)
        algorithm = ec.ECDSA(hashes.SHA256())
        public = device.certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(device.key.sign(b"data", algorithm), b"data", algorithm)
        number = device.key.private_numbers().private_value
        secrets += [number.to_bytes(32, "big"), f"{number:064x}".encode(), str(number).encode()]
        assert f"{number:x}" not in repr(device) + repr(vars(device)["name"])
    assert keys_in_tokens(story.lab) == before
    for path in story.lab.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [secret for secret in secrets if secret in data], path


@pytest.mark.parametrize("processes", [1, 2])
def test_a_session_key_is_gone_and_leaves_nothing_in_any_token(
    story: Story, processes: int
) -> None:
    before, tokens = keys_in_tokens(story.lab), story.lab._supply_chain.tokens.labels
    done = Line(story.technician).run(3, keys="session", processes=processes)
    assert (keys_in_tokens(story.lab), story.lab._supply_chain.tokens.labels) == (before, tokens)
    assert isinstance(done.devices[0], SimulatedDevice)
    with refused(TokenError, "is gone", "a session key"):
        _ = done.devices[0].key


# ---- twice is harmless, and a line goes on where it was


@every_way
def test_a_second_run_makes_only_what_is_missing(story: Story, keys: Where, processes: int) -> None:
    line = Line(story.technician, "w-")
    first = line.run(3, keys=keys, processes=processes)
    before = signatures(story.lab)
    second = line.run(5, keys=keys, processes=processes)
    assert (second.made, second.again) == (2, 3)
    assert signatures(story.lab) == before + 2
    assert repr(second) == "<Production: 2 devices made, 3 were there already>"
    told = [event.text for event in story.lab.events.about(kind="again")]
    assert told[-1] == "3 of 5 devices were there already"
    if keys == "token":
        assert second.devices[:3] == first.devices


@pytest.mark.parametrize("keys", ["memory", "session"])
def test_a_run_that_was_left_in_the_middle_goes_on(story: Story, keys: Where) -> None:
    line = Line(story.technician, "w-")
    names = line.names(lots.SIZE + 1)
    first = next(leaving := line.each_lot(names, keys=keys))
    leaving.close()
    assert len(first) == lots.SIZE
    done = line.run(len(names), keys=keys)
    assert (done.made, done.again) == (1, lots.SIZE)


def test_a_device_whose_key_was_born_before_the_crash_keeps_it(story: Story) -> None:
    born = story.lab._supply_chain.device_key("one").public_key()
    done = story.technician.make_devices(["one"])
    assert done.devices[0].chain[0].public_key() == born


def test_a_lot_that_cannot_be_recorded_never_leaves(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    line, before = Line(story.technician), signatures(story.lab)
    with monkeypatch.context() as patched:
        patched.setattr(story.lab._supply_chain.ledger._database, "insert", full)
        with pytest.raises(sqlite3.OperationalError):
            line.run(3, keys="memory")
    assert signatures(story.lab) == before
    assert line.run(3, keys="memory").made == 3


# ---- what is refused, before anything is made


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["my widget"], "cannot be a registration ID"),
        (["w" * 65], "cannot be a common name"),
        ([7], "cannot be a common name"),
        ("widget", "Devices cannot be made"),
        (["same", "Same"], "twice"),
        (["Factory-Y"], "is a custodian"),
    ],
)
@pytest.mark.parametrize("keys", ["token", "memory"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_made(
    story: Story, names: Any, words: str, keys: Where
) -> None:
    before = signatures(story.lab)
    wanted = names if isinstance(names, str) else ["sound", *names]
    with refused(LabError, words):
        story.technician.make_devices(wanted, keys=keys)
    assert signatures(story.lab) == before
    assert story.lab._supply_chain.device_names() == ["smart-x-widget-001"]


@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_a_number_of_devices_that_is_none(story: Story, count: Any) -> None:
    with pytest.raises(LabError, match="devices cannot be made"):
        Line(story.technician).run(count)


@pytest.mark.parametrize("keys", SIMULATED)
def test_one_name_is_one_device_wherever_its_key_is(story: Story, keys: Where) -> None:
    """A registration ID names one device: with a token, of a fleet, below this CA or another."""
    make = story.technician.make_devices
    make(["fleet-1"], keys=keys)
    with refused(Conflict, "'fleet-1' already", "of a simulated fleet"):
        make(["fleet-1"])
    with refused(Conflict, "'fleet-1' already", "of a simulated fleet"):
        story.technician.make_device("fleet-1")
    with refused(Conflict, "'fleet-1' already", "Technician-Z CA"):
        story.factory.make_devices(["fleet-1"], keys=keys)
    with refused(Conflict, "'fleet-1' already"):
        make(["FLEET-1"], keys=keys)
    with refused(Conflict, "'smart-x-widget-001' already", "with a token of its own"):
        make(["smart-x-widget-001"], keys=keys)
    with refused(Conflict, "'smart-x-widget-001' already"):
        make(["Smart-X-Widget-001"])


def test_a_device_made_singly_is_the_same_as_one_off_the_line(story: Story) -> None:
    done = story.technician.make_devices(["smart-x-widget-001", "other"])
    assert (done.made, done.again) == (1, 1)
    assert story.technician.make_device("other") is done.devices[1]


@pytest.mark.parametrize(("keys", "processes"), [("token", 2), ("memory", 3), ("memory", 0)])
def test_processes_that_cannot_help_are_refused(story: Story, keys: Where, processes: int) -> None:
    with refused(LabError, f"{processes} processes", "leave processes out"):
        Line(story.technician).run(1, keys=keys, processes=processes)


def test_an_unknown_place_for_keys_is_told_the_known_ones(story: Story) -> None:
    with refused(LabError, "token, session, memory"):
        Line(story.technician).run(1, keys="file")  # type: ignore[arg-type]


def test_a_ca_that_has_expired_stops_the_line_and_says_why(story: Story) -> None:
    story.lab.clock.advance(days=4000)
    with refused(BadRequest, "cannot sign"):
        Line(story.technician).run(1, keys="memory")


# ---- the other process


def test_a_helper_that_dies_is_an_error_in_words(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\ncat >/dev/null\necho out of memory >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with refused(LabError, "ended too early", "out of memory", "not made twice"):
        Line(story.technician).run(3, keys="memory", processes=2)


def test_the_other_process_leaves_nothing_behind(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has a token of its own for session keys; also where nobody wants the rest of its lots."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    line = Line(story.technician)
    line.run(2, keys="session", processes=2)
    leaving = line.each_lot(line.names(9 * lots.SIZE)[2:], keys="session", processes=2)
    next(leaving)
    leaving.close()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_two_processes_make_what_one_makes(story: Story) -> None:
    """The same names in the same order, over more than one lot, and no key twice."""
    count = 2 * lots.SIZE + 5
    done = Line(story.technician, "w-").run(count, keys="memory", processes=2)
    assert [device.name for device in done.devices] == Line(story.technician, "w-").names(count)
    publics = {device.chain[0].public_key().public_numbers() for device in done.devices}  # type: ignore[union-attr]
    assert len(publics) == count


# ---- whoever looks on


def test_long_work_tells_how_far_it_is(lab: Lab) -> None:
    ca: CA = lab.custodian("Company-X").create_root_ca()
    stages: list[Stage] = []
    with lab.work.heard(stages.append):
        Line(ca).run(2 * lots.SIZE, keys="memory")
    assert [stage.done for stage in stages] == [0, lots.SIZE, 2 * lots.SIZE]
    assert {(stage.doing, stage.whole) for stage in stages} == {("making devices", 2 * lots.SIZE)}


def test_a_fleet_is_one_event_and_not_thousands(story: Story) -> None:
    before = len(story.lab.events)
    Line(story.technician).run(10, keys="memory")
    told = list(story.lab.events)[before:]
    assert [event.text for event in told] == ["10 devices were signed by Technician-Z CA"]


def test_the_leaf_is_what_the_device_profile_says(story: Story) -> None:
    made = Line(story.technician).run(1, keys="memory").devices[0].chain[0]
    wanted = story.widget.certificate
    assert {e.oid for e in made.extensions} == {e.oid for e in wanted.extensions}
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage == wanted.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


# ---- names that are taken, by whatever it is


def test_a_name_that_is_carried_is_taken_in_any_spelling(story: Story) -> None:
    """DPS takes w1 and W1 for one registration ID."""
    story.technician.pregenerate(["w1"])
    for keys in EVERY_WAY:
        with refused(Conflict, "There is a device 'w1' already", "made beforehand"):
            Line(story.technician).make(["W1"], keys=keys[0], processes=keys[1])


def test_a_carried_key_is_not_put_into_a_device_whose_id_is_taken(story: Story) -> None:
    """Whoever made the other one, and however: here it is on record and nothing more."""
    consignment = story.technician.pregenerate(["w1"])
    story.lab._supply_chain.ledger.add(DeviceRow("W1", "somebody/CA", ""))
    with refused(Conflict, "There is a device 'W1' already", "same registration ID"):
        consignment.install()
    assert story.lab._supply_chain.ledger.device("w1") is None


def test_a_device_of_other_algorithm_or_chain_is_not_just_so(story: Story) -> None:
    """As make_device says of it."""
    story.technician.make_device("rsa", algorithm="RSA-2048")
    story.technician.make_device("bare", inject="none")
    for name in ("rsa", "bare"):
        with refused(Conflict, f"There is a device {name!r} already", f"lab.device({name!r})"):
            story.technician.make_devices([name])


def test_a_carried_device_is_not_called_simulated(story: Story) -> None:
    story.technician.pregenerate(["w1"]).install()
    with refused(Conflict, "made beforehand, in the token of Technician-Z, and carried"):
        story.technician.make_devices(["w1"])


def test_no_two_devices_share_a_token(story: Story) -> None:
    """Also where one is called as the token of another: its label would be a name."""
    device = story.technician.make_device("a" * 40)
    label = device.key.token.label
    assert not ids.is_valid(label)
    with refused(LabError, "cannot be a registration ID"):
        story.technician.make_device(label)
    other = story.technician.make_device(label.replace("~", "-"))
    assert other.key.public_key() != device.key.public_key()


# ---- the other process, when it fails


def pretending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Another process than ours, which does what ``script`` says in sh."""
    path = tmp_path / "impostor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


CUT_OFF = r"printf '\200\004\225\020\000\000\000\000\000\000\000]'"
"""A pickle of which 16 bytes are announced and one comes."""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec 0<&-; echo it is late >&2; exit 1", "it is late"),
        (f"cat > /dev/null; {CUT_OFF}", "it said nothing"),
        ("cat > /dev/null", "it said nothing"),
        ("cat > /dev/null; yes complaints | head -c 1100000 >&2", "complaint"),
    ],
    ids=["at its start", "within a lot", "before the first lot", "after many words"],
)
def test_another_process_that_ends_too_early_is_an_error_that_says_so(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """Whenever it ends: the names that it is given are more than a pipe holds."""
    pretending(tmp_path, monkeypatch, script)
    with refused(LabError, "has ended too early", said, "processes=1"):
        Line(story.technician).run(9000, keys="memory", processes=2)
