"""The service renews its leaf, its issuing CA and its root; foreign clients say who is served."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from complaints import refused
from foreign_tools import openssl
from linter import beside, by_itself
from stories import Story, open_lab
from tls_oracle import NAME, openssl_says
from wire_clients import MqttClient, dial, dps_user, tls

from labkit import Lab
from labkit.errors import BadRequest, Conflict, NotFound, TokenError, WorkspaceError
from labkit.pki import chain, profiles
from labkit.wire import server_identity

NEW = "Lab Service Root CA G2"
OK = "0 (ok)"
UNKNOWN = "num=20:unable to get local issuer certificate"
Asked = Callable[[str], str]


@pytest.fixture
def ask(lab: Lab, tmp_path: Path) -> Asked:
    """What openssl says with these roots."""
    return lambda pem: openssl_says(lab, tmp_path / "store.pem", pem)


# ---- the three rolls


def test_a_new_leaf_is_shown_at_once_and_asks_nothing_of_clients(lab: Lab, ask: Asked) -> None:
    before, issuing = lab.server.chain
    made = lab.server.roll_leaf()
    assert lab.server.chain == (made, issuing)
    assert made.public_key() != before.public_key()
    assert ask(lab.server.root_pem) == OK
    assert shown(lab) == made.serial_number


def test_a_new_issuing_ca_asks_nothing_of_clients_that_trust_the_root(lab: Lab, ask: Asked) -> None:
    root, old = lab.server.root_pem, lab.server.chain[1]
    made = lab.server.roll_issuing_ca()
    assert (made.subject != old.subject, lab.server.chain[1]) == (True, made)
    assert ask(root) == OK
    assert ask(chain.to_pem([old])) == UNKNOWN, "whoever pinned the issuing CA is cut off"


def test_a_root_that_is_announced_changes_nothing_that_is_served(lab: Lab) -> None:
    """Not even the leaf: somebody's test may have pinned it, and nobody was told of a change."""
    before = lab.server.chain
    lab.server.new_root()
    assert lab.server.chain == before


def test_a_new_root_with_an_overlap_cuts_nobody_off_who_took_the_bundle(
    lab: Lab, ask: Asked
) -> None:
    old = lab.server.root_pem
    new = lab.server.new_root()
    bundle = lab.server.trust_bundle
    assert (new.name, new.state, bundle) == (NEW, "announced", old + new.pem)
    assert [ask(pem) for pem in (old, bundle, new.pem)] == [OK, OK, UNKNOWN]
    lab.server.switch_root(new)
    assert [ask(pem) for pem in (old, bundle, new.pem)] == [UNKNOWN, OK, OK]
    assert [root.state for root in lab.server.roots] == ["retired", "in use"]
    assert lab.server.trust_bundle == new.pem


def test_a_cross_signed_root_serves_clients_with_either(lab: Lab, ask: Asked) -> None:
    old, new = lab.server.root_pem, lab.server.new_root()
    lab.server.switch_root(new, cross_signed=True)
    assert [ask(pem) for pem in (old, new.pem)] == [OK, OK]
    assert len(lab.server.chain) == 3
    assert lab.server.trust_bundle == old + new.pem
    lab.server.roll_issuing_ca()
    assert [ask(pem) for pem in (old, new.pem)] == [OK, OK]
    lab.server.switch_root(new)
    assert [ask(pem) for pem in (old, new.pem)] == [UNKNOWN, OK]


def test_a_cross_signature_can_come_later(lab: Lab, ask: Asked) -> None:
    """Some were shut out by the change: they are let in again, and need not be touched."""
    old, new = lab.server.root_pem, lab.server.new_root()
    lab.server.switch_root(new)
    assert ask(old) == UNKNOWN
    lab.server.switch_root(new, cross_signed=True)
    assert [ask(pem) for pem in (old, new.pem)] == [OK, OK]


def test_a_root_can_be_gone_back_to(lab: Lab, ask: Asked) -> None:
    """As a cloud does when too many devices stay away."""
    old, new = lab.server.root, lab.server.new_root()
    lab.server.switch_root(new)
    lab.server.switch_root(old.name)
    assert [ask(pem) for pem in (old.pem, new.pem)] == [OK, UNKNOWN]
    assert lab.server.trust_bundle == old.pem + new.pem


def test_each_roll_reaches_every_port(lab: Lab, tmp_path: Path) -> None:
    new = lab.server.new_root()
    lab.server.switch_root(new)
    for port in (lab.listener.https_port, *lab.listener.hub_ports.values()):
        with tls(lab).wrap_socket(dial(lab, port), server_hostname=NAME) as client:
            assert client.version()


def test_a_name_that_the_server_does_not_have_is_told_apart(lab: Lab, tmp_path: Path) -> None:
    """The right root does not help: openssl says so with another error."""
    pem = lab.server.root_pem
    assert openssl_says(lab, tmp_path / "s.pem", pem, "fabrikam.example") == (
        "num=62:hostname mismatch"
    )


def shown(lab: Lab) -> int:
    """The serial number of the certificate that a client is shown."""
    with tls(lab).wrap_socket(dial(lab), server_hostname=NAME) as client:
        found = client.getpeercert()
        assert found
        return int(str(found["serialNumber"]), 16)


# ---- the leaf grows old


def roll_leaf_lasting(lab: Lab, monkeypatch: pytest.MonkeyPatch, minutes: int) -> int:
    """A leaf that has so long to live, and has lived for five minutes: certificates are backdated.
    Its serial number."""
    with monkeypatch.context() as patched:
        short = profiles.SERVER.lasting(timedelta(minutes=minutes))
        patched.setattr(profiles, "SERVER", short)
        return lab.server.roll_leaf().serial_number


def test_a_leaf_with_less_than_a_third_of_its_life_left_is_renewed_for_who_comes_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = roll_leaf_lasting(lab, monkeypatch, minutes=2)
    young = shown(lab)
    assert young != old
    assert shown(lab) == young == lab.server.chain[0].serial_number, "once"
    (event,) = [e for e in lab.events.about(source="server") if "grew old" in e.text]
    assert event.kind == "rolled"


def test_a_leaf_with_more_than_a_third_left_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = roll_leaf_lasting(lab, monkeypatch, minutes=10)
    assert shown(lab) == old


def test_where_the_renewal_fails_clients_are_served_with_what_there_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next who comes does not try it again."""
    old, tries = roll_leaf_lasting(lab, monkeypatch, minutes=2), []

    def fails() -> None:
        tries.append(1)
        raise TokenError("the token is gone")

    monkeypatch.setattr(lab.server, "_new_leaf", fails)
    assert [shown(lab), shown(lab)] == [old, old]
    assert len(tries) == 1


def test_who_connects_does_not_wait_for_a_roll_that_is_under_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = roll_leaf_lasting(lab, monkeypatch, minutes=2)
    with lab.server._lock:  # held by whoever rolls; the listener's thread is another
        assert shown(lab) == old
    assert shown(lab) != old


# ---- connections that are open


def test_an_open_connection_outlives_every_roll(shared: Story) -> None:
    lab = shared.lab
    with MqttClient(lab, tls(lab)) as client:
        lab.server.roll_leaf()
        lab.server.roll_issuing_ca()
        lab.server.switch_root(lab.server.new_root())
        assert client.enter("anybody", dps_user(lab, "anybody")) == 5, "it is answered still"


# ---- what is kept


def test_roots_and_issuing_cas_are_kept_and_only_the_leaf_is_new(lab: Lab, tmp_path: Path) -> None:
    lab.server.switch_root(lab.server.new_root(), cross_signed=True)
    lab.server.roll_issuing_ca()
    lab.server.new_root("Another Root")
    roots, kept, bundle = lab.server.roots, lab.server.chain, lab.server.trust_bundle
    lab.close()
    with open_lab(lab.path) as again:
        assert again.server.roots == roots
        assert again.server.chain[1:] == kept[1:]
        assert again.server.chain[0] != kept[0]
        assert again.server.trust_bundle == again.server.root_file.read_text() == bundle
        assert openssl_says(again, tmp_path / "s.pem", roots[0].pem) == OK


def test_the_file_that_serve_names_is_the_bundle_of_now(lab: Lab) -> None:
    file = lab.server.root_file
    new = lab.server.new_root()
    assert file.read_text() == lab.server.trust_bundle
    lab.server.switch_root(new)
    assert file.read_text() == new.pem


def test_no_private_key_is_in_the_server_s_folder(lab: Lab) -> None:
    lab.server.switch_root(lab.server.new_root(), cross_signed=True)
    for path in (lab.path / "server").iterdir():
        assert "PRIVATE" not in path.read_text(), path
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["no JSON", "{}", '{"kept": [], "serving": 0}', '{"kept": [{"name": "x"}]}']
)
def test_a_damaged_file_is_an_error_that_says_what_to_do(
    empty: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(empty, tmp_path / "lab")
    file = tmp_path / "lab" / "server" / "service-roots.json"
    file.write_text(text)
    with refused(WorkspaceError, "service-roots.json", "remove the file", "fresh=True"):
        open_lab(tmp_path / "lab")
    file.unlink()
    open_lab(tmp_path / "lab").close()


# ---- twice, and what cannot be


def test_twice_is_harmless_and_is_said(lab: Lab) -> None:
    new = lab.server.new_root()
    again = lab.server.new_root(), lab.server.new_root(NEW)
    assert again == (new, new)
    used = lab.server.switch_root(NEW)
    before = lab.server.chain
    assert lab.server.switch_root(NEW) == used == lab.server.new_root(NEW)
    assert lab.server.chain == before, "not even the leaf is another"
    said = [event.text for event in lab.events.about(source="server", kind="again")]
    assert len(said) == 4
    assert all(NEW in text for text in said)


def test_what_cannot_be_is_refused_and_nothing_is_made(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.server.roots
    with refused(NotFound, "no root 'G7'", "new_root"):
        lab.server.switch_root("G7")
    with refused(Conflict, "cannot be cross-signed", "from an older root"):
        lab.server.switch_root(lab.server.root, cross_signed=True)
    for name in ("x" * 65, "\0", "a\nb"):
        with refused(BadRequest, "cannot be"):
            lab.server.new_root(name)
    monkeypatch.setattr(server_identity, "MOST_ROOTS", 1)
    with refused(Conflict, "1 roots already"):
        lab.server.new_root()
    assert lab.server.roots == before


def test_an_older_root_cannot_be_signed_by_a_newer_one(lab: Lab) -> None:
    old = lab.server.root
    lab.server.switch_root(lab.server.new_root())
    with refused(Conflict, "cannot be cross-signed"):
        lab.server.switch_root(old, cross_signed=True)
    assert lab.server.root.name == NEW


# ---- what others say of the certificates


def test_openssl_verify_and_pkilint_find_nothing_wrong(lab: Lab, tmp_path: Path) -> None:
    old, new = lab.server.root, lab.server.new_root()
    lab.server.switch_root(new, cross_signed=True)
    leaf, issuing, cross = lab.server.chain
    files = {"leaf": leaf, "issuing": issuing, "cross": cross}
    for name, found in {**files, "old": old.certificate, "new": new.certificate}.items():
        (tmp_path / name).write_text(chain.to_pem([found]))
        complaints = [said for said in by_itself(found) if '"localhost"' not in said]
        assert complaints == [], "localhost has no dot, and clients do dial it"
    for issuer, made in ((issuing, leaf), (new.certificate, issuing), (old.certificate, cross)):
        assert beside(issuer, made) == []
    for root in ("old", "new"):
        command = ["verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath"]
        command += ["-no-CAstore", "-verify_hostname", NAME, "-CAfile", str(tmp_path / root)]
        command += ["-untrusted", str(tmp_path / "issuing"), "-untrusted", str(tmp_path / "cross")]
        assert openssl(*command, str(tmp_path / "leaf")).strip().endswith("OK")
