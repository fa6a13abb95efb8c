"""Tokens of a workspace, seen by us and by tools that others wrote."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from foreign_tools import pkcs11_tool, token_labels
from kills import killed

from labkit.doctor import examine
from labkit.errors import Conflict, NotFound, SoftHsmMissing, TokenError
from labkit.hsm import Algorithm, TokenStore, cryptoki, library, transport

ECDSA = ec.ECDSA(hashes.SHA256())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    opened = TokenStore(tmp_path / "hsm")
    yield opened
    opened.close()


def test_a_token_is_made_when_first_named_and_then_the_same(store: TokenStore) -> None:
    assert store.token("Company-X") is store.token("Company-X")
    assert store.labels == ["Company-X"]


def test_softhsms_own_tool_sees_the_tokens(store: TokenStore) -> None:
    for label in ("Company-X", "Factory-Y", "x" * 32):
        store.token(label)
    assert token_labels(store.configuration) == sorted(["Company-X", "Factory-Y", "x" * 32])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_foreign_tool_finds_private_keys_sensitive_and_never_extractable(
    store: TokenStore, algorithm: Algorithm
) -> None:
    token = store.token("Company-X")
    token.generate_key("ca", algorithm)
    shown = pkcs11_tool(
        store.configuration, "Company-X", token.pin, "--list-objects", "--type", "privkey"
    )
    access = next(line for line in shown.splitlines() if "Access:" in line)
    for word in ("sensitive", "always sensitive", "never extractable", "local"):
        assert word in access, shown


def test_a_key_may_sign_and_nothing_else(store: TokenStore) -> None:
    token = store.token("Company-X")
    token.generate_key("ca")
    shown = pkcs11_tool(store.configuration, "Company-X", token.pin, "-O", "--type", "privkey")
    usage = next(line for line in shown.splitlines() if "Usage:" in line)
    assert usage.split("Usage:")[1].strip() == "sign"


def test_each_token_has_a_pin_of_its_own(store: TokenStore) -> None:
    first, second = store.token("Company-X"), store.token("Factory-Y")
    assert first.pin != second.pin
    shown = pkcs11_tool(store.configuration, "Company-X", second.pin, "-O")
    assert "CKR_PIN_INCORRECT" in shown


def test_pins_and_objects_are_for_the_owner_only(store: TokenStore, tmp_path: Path) -> None:
    store.token("Company-X").generate_key("ca")
    for path in [tmp_path / "hsm", *(tmp_path / "hsm").rglob("*")]:
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert others == 0, f"{path} has mode {path.stat().st_mode:o}"


def test_a_repr_never_shows_a_pin(store: TokenStore) -> None:
    token = store.token("Company-X")
    assert token.pin not in repr(token) + repr(token.generate_key("ca"))


@pytest.mark.parametrize("label", ["", "x" * 33, "ä" * 17, " blank", "blank "])
def test_what_pkcs11_cannot_hold_is_no_label(store: TokenStore, label: str) -> None:
    with refused(TokenError, "label of a token"):
        store.token(label)
    assert store.labels == []


def test_a_second_key_of_a_label_is_a_conflict(store: TokenStore) -> None:
    token = store.token("Company-X")
    token.generate_key("ca")
    with pytest.raises(Conflict, match="'ca' already"):
        token.generate_key("ca")
    assert token.key_labels == ["ca"]


def test_ensure_key_makes_a_key_once(store: TokenStore) -> None:
    token = store.token("Company-X")
    first = token.ensure_key("ca").public_key()
    assert token.ensure_key("ca").public_key() == first
    assert token.key_labels == ["ca"]


def test_ensure_key_never_takes_a_key_that_may_be_carried_away(store: TokenStore) -> None:
    """A root CA would have got one whose copy somebody else holds."""
    token = store.token("Company-X")
    transport.generate(token, "device w1")
    with refused(Conflict, "never leaves its token", "choose another name"):
        token.ensure_key("device w1")


def test_an_unknown_key_is_not_found_and_the_known_ones_are_named(store: TokenStore) -> None:
    store.token("Company-X").generate_key("ca")
    with refused(NotFound, "'cb'", "keys: ca"):
        store.token("Company-X").key("cb")


def test_a_passing_key_signs_and_leaves_nothing(store: TokenStore) -> None:
    token = store.token("Company-X")
    with token.passing_key("verification") as key:
        assert key.sign(b"code", ec.ECDSA(hashes.SHA256()))
        assert token.key_labels == ["verification"]
    assert token.key_labels == []


def test_keys_are_found_again_in_a_store_that_was_opened_again(tmp_path: Path) -> None:
    first = TokenStore(tmp_path / "hsm")
    public = first.token("Company-X").generate_key("ca").public_key()
    first.close()
    second = TokenStore(tmp_path / "hsm")
    key = second.token("Company-X").key("ca")
    public.verify(key.sign(b"data", ECDSA), b"data", ECDSA)
    second.close()


def test_keys_of_a_closed_store_refuse_to_sign(store: TokenStore) -> None:
    key = store.token("Company-X").generate_key("ca")
    store.close()
    with refused(TokenError, "closed"):
        key.sign(b"data", ECDSA)
    with refused(TokenError, "closed"):
        store.token("Company-X")
    store.close()  # twice is harmless


def test_a_stale_key_never_signs_with_another_stores_key(tmp_path: Path) -> None:
    """Handles are numbers, and the next store counts from the same one."""
    first = TokenStore(tmp_path / "one")
    stale = first.token("A").generate_key("key")
    first.close()
    second = TokenStore(tmp_path / "two")
    second.token("B").generate_key("key")
    with refused(TokenError, "closed"):
        stale.sign(b"data", ECDSA)
    second.close()


def test_two_stores_at_once_keep_apart(store: TokenStore, tmp_path: Path) -> None:
    """Each has an instance of SoftHSM of its own, with tokens of the same name in both."""
    other = TokenStore(tmp_path / "other")
    keys = [s.token("Company-X").generate_key("ca") for s in (store, other)]
    signatures = [key.sign(b"data", ECDSA) for key in keys]
    for key, signature in zip(keys, signatures, strict=True):
        key.public_key().verify(signature, b"data", ECDSA)
    assert keys[0].public_key() != keys[1].public_key()
    other.close()
    keys[0].sign(b"still open", ECDSA)


def test_threads_may_sign_with_different_tokens_at_once(store: TokenStore) -> None:
    """Without one lock around PKCS#11, this kills the process."""
    failures: list[BaseException] = []

    def work(label: str) -> None:
        try:
            key = store.token(label).ensure_key("key")
            for _ in range(25):
                key.public_key().verify(key.sign(b"data", ECDSA), b"data", ECDSA)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"T{n % 4}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.labels) == 4


def test_a_token_whose_making_was_cut_off_before_its_pin_is_finished(
    store: TokenStore, tmp_path: Path
) -> None:
    """The PIN book is written, the token is initialised, and then the power goes."""
    pins = tmp_path / "hsm" / "pins.json"
    store.token("first")
    store.close()
    book = json.loads(pins.read_text())
    book["cut off"] = {"so": "1234567890abcdef", "user": "fedcba0987654321"}
    pins.write_text(json.dumps(book))
    half = TokenStore(tmp_path / "hsm")
    cryptoki.init_token(half._using().so, half._blank, "cut off", "1234567890abcdef")
    half.close()
    again = TokenStore(tmp_path / "hsm")
    assert again.token("cut off").generate_key("key").label == "key"
    assert again.labels == ["cut off", "first"]
    again.close()


def test_a_token_whose_making_was_cut_off_anywhere_is_made_anew(
    store: TokenStore, tmp_path: Path
) -> None:
    """Emptied and written again for each attribute: a stump kept the whole store from opening."""
    token = store.token("cut off")
    store.close()
    (file,) = (tmp_path / "hsm" / "tokens").glob("*/token.object")
    whole = file.read_bytes()
    officers_pin, users_pin = (whole.index((0x8000534C + n).to_bytes(8, "big")) for n in (0, 1))
    for size in (0, 8, 40, officers_pin, *range(users_pin, users_pin + 9)):
        place = tmp_path / f"cut-{size}"
        shutil.copytree(tmp_path / "hsm", place)
        shutil.rmtree(place / "token-copies")
        (place / file.relative_to(tmp_path / "hsm")).write_bytes(whole[:size])
        again = TokenStore(place)
        assert again.labels == []
        assert again.token("cut off").pin == token.pin
        again.close()


@pytest.mark.parametrize("size", [0, 8, 200])
def test_a_token_whose_log_in_was_cut_off_keeps_its_keys(
    store: TokenStore, tmp_path: Path, size: int
) -> None:
    """SoftHSM empties a token's file and writes it again, for no more than a log-in."""
    public = store.token("Company-X").generate_key("ca").public_key()
    store.close()
    (file,) = (tmp_path / "hsm" / "tokens").glob("*/token.object")
    file.write_bytes(file.read_bytes()[:size])
    again = TokenStore(tmp_path / "hsm")
    key = again.token("Company-X").key("ca")
    public.verify(key.sign(b"data", ECDSA), b"data", ECDSA)
    again.close()


@pytest.mark.parametrize("size", [0, 8, 100])
def test_a_token_that_is_damaged_for_good_is_named(
    store: TokenStore, tmp_path: Path, size: int
) -> None:
    """Made by another tool, so without a copy: SoftHSM fails on it without a word."""
    store.token("Company-X").generate_key("ca")
    store.close()
    shutil.rmtree(tmp_path / "hsm" / "token-copies")
    (file,) = (tmp_path / "hsm" / "tokens").glob("*/token.object")
    file.write_bytes(file.read_bytes()[:size])
    with refused(TokenError, str(file), f"{size} bytes", "move its folder away"):
        TokenStore(tmp_path / "hsm")


def test_a_pin_that_its_owner_changed_is_not_taken_back(store: TokenStore, tmp_path: Path) -> None:
    """The copy of a token's file is made anew when the file is another."""
    token = store.token("Company-X")
    token.generate_key("ca")
    token.session.set_pin(token.pin, "24682468")
    store.close()
    pins = tmp_path / "hsm" / "pins.json"
    book = json.loads(pins.read_text())
    book["Company-X"]["user"] = "24682468"
    pins.write_text(json.dumps(book))
    opened = TokenStore(tmp_path / "hsm")
    opened.token("Company-X")
    opened.close()
    (file,) = (tmp_path / "hsm" / "tokens").glob("*/token.object")
    file.write_bytes(b"")
    again = TokenStore(tmp_path / "hsm")
    assert again.token("Company-X").key_labels == ["ca"]
    again.close()


MAKE_TOKENS = """
import sys
from pathlib import Path
from labkit.hsm import TokenStore
store = TokenStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10_000):
    store.token(f"{sys.argv[2]}-{number}").ensure_key("key")
    print(number, flush=True)
"""


def test_tokens_after_kill_9_are_there_with_their_keys(tmp_path: Path) -> None:
    """Those that were acknowledged; the one that was cut off can be made."""
    chance = random.Random()
    for round_ in range(6):
        made = len(killed(MAKE_TOKENS, chance.uniform(0.01, 0.2), tmp_path / "hsm", round_))
        store = TokenStore(tmp_path / "hsm")
        try:
            for number in range(made):
                assert store.token(f"{round_}-{number}").key_labels == ["key"]
            assert store.token(f"{round_}-{made}").ensure_key("key")
        finally:
            store.close()


def test_a_lost_pin_is_an_error_that_says_where_it_should_be(
    store: TokenStore, tmp_path: Path
) -> None:
    store.token("Company-X")
    store.close()
    pins = tmp_path / "hsm" / "pins.json"
    pins.write_text(json.dumps({"Company-X": {"so": "0" * 16, "user": "0" * 16}}))
    again = TokenStore(tmp_path / "hsm")
    with refused(TokenError, "pins.json", "PinIncorrect"):
        again.token("Company-X")
    again.close()


@pytest.mark.parametrize("name", ["with blank", "ümlaut", "with#hash", "a=b"])
def test_a_workspace_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    """SoftHSM reads the path from its configuration file, with that file's syntax."""
    placed = TokenStore(tmp_path / name)
    try:
        assert placed.token("Company-X").generate_key("ca").label == "ca"
    finally:
        placed.close()


def test_a_token_costs_no_more_because_there_are_many(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask SoftHSM about every token for every look-up made the 200th device take 100 ms."""
    made = [f"widget-{number}" for number in range(12)]
    for label in made:
        store.token(label)
    asked: list[int] = []
    monkeypatch.setattr(store, "_survey", lambda known: asked.append(len(known)))
    for label in made:
        assert store.token(label).label == label
    assert store.labels == sorted(made)
    assert asked == []


# ---- SOFTHSM2_CONF, as it was


@pytest.mark.parametrize("before", [None, "/etc/softhsm/softhsm2.conf"])
def test_a_closed_store_leaves_softhsm2_conf_as_it_found_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("SOFTHSM2_CONF", raising=False)
    else:
        monkeypatch.setenv("SOFTHSM2_CONF", before)
    one, two = TokenStore(tmp_path / "one"), TokenStore(tmp_path / "two")
    assert os.environ["SOFTHSM2_CONF"] == str(two.configuration)
    two.close()
    assert os.environ["SOFTHSM2_CONF"] == str(one.configuration)
    two = TokenStore(tmp_path / "two")
    one.close()
    assert os.environ["SOFTHSM2_CONF"] == str(two.configuration)
    two.close()
    one.close()
    assert os.environ.get("SOFTHSM2_CONF") == before


def test_the_doctor_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "/etc/softhsm/softhsm2.conf")
    assert {f.name: f.ok for f in examine().findings}[
        "A key can be made in a token and signs there"
    ]
    assert os.environ["SOFTHSM2_CONF"] == "/etc/softhsm/softhsm2.conf"


# ---- SoftHSM missing


def test_a_missing_library_names_the_place_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PKCS11_MODULE", str(tmp_path / "absent.so"))
    with refused(SoftHsmMissing, "absent.so", "apt-get install softhsm2"):
        library.find_module()


def test_a_library_that_is_none_is_reported_by_its_path(tmp_path: Path) -> None:
    """In a process of its own: nothing half loaded is left behind here."""
    fake = tmp_path / "fake.so"
    fake.write_text("not a library")
    code = (
        "import pathlib, sys\nfrom labkit.hsm import TokenStore\n"
        "from labkit.errors import SoftHsmMissing\n"
        "try:\n    TokenStore(pathlib.Path(sys.argv[1]))\n"
        "except SoftHsmMissing as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "hsm")],
        env={"PKCS11_MODULE": str(fake), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert "fake.so could not be loaded" in result.stdout, result.stderr
    assert "Cure:" in result.stdout
