"""`labkit server-root`: the servers' chain is renewed from outside, while the server runs."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from https_clients import back_end, client, sign
from stories import Story
from subprocesses import serving
from tls_oracle import NAME

from labkit import Lab, cli, remote
from labkit.cloud.policies import ENROLLMENT_READ
from labkit.errors import LabError, NotFound
from labkit.pki import chain
from labkit.wire import whereabouts
from labkit.wire.http.server_root import PATH

FIRST, SECOND = "Lab Service Root CA", "Lab Service Root CA G2"


@dataclass
class Running:
    """A server in another process; the command is run in this one, which is quicker."""

    workspace: Path
    said: dict[str, Any]
    printed: pytest.CaptureFixture[str]

    def command(self, *arguments: str) -> str:
        """What the command prints; it has to succeed."""
        code = cli.main(["server-root", *arguments, "--workspace", str(self.workspace)])
        out, err = self.printed.readouterr()
        assert code == 0, err
        return out

    def state(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.command(*arguments, "--json"))
        return found

    def trusts(self, roots: str) -> bool:
        """Whether a client with these roots stays, at the MQTT port."""
        context = ssl.create_default_context(cadata=roots)
        where = ("127.0.0.1", self.said["dps"]["mqttPort"])
        try:
            with (
                socket.create_connection(where) as plain,
                context.wrap_socket(plain, server_hostname=NAME),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False


@pytest.fixture
def running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Running]:
    with serving(tmp_path / "lab") as (line, _):
        yield Running(tmp_path / "lab", line, capsys)


def test_a_root_migration_as_device_teams_try_it(running: Running) -> None:
    """Announced, put into a client by the file that the server named, switched to; the client with
    the old root alone is shut out, and let in again by a cross-signature."""
    old = Path(running.said["serverCa"]).read_text()
    assert "announced" in running.command("new")
    bundle = Path(running.said["serverCa"]).read_text()
    assert running.state("show")["trustBundle"] == bundle != old
    assert [running.trusts(roots) for roots in (old, bundle)] == [True, True]
    switched = running.state("switch")
    assert (switched["inUse"], switched["crossSignedBy"]) == (SECOND, None)
    assert [running.trusts(roots) for roots in (old, bundle)] == [False, True]
    running.command("switch", SECOND, "--cross-signed")
    assert [running.trusts(roots) for roots in (old, bundle)] == [True, True]
    assert f"{SECOND} is cross-signed by {FIRST}" in running.command("show")


def test_leaf_and_issuing_ca_are_rolled(running: Running) -> None:
    before = running.state("show")
    leaf = running.state("roll-leaf")
    issuing = running.state("roll-issuing-ca")
    prints = [
        [found[what]["sha256"] for found in (before, leaf, issuing)]
        for what in ("leaf", "issuingCa")
    ]
    assert [len(set(those)) for those in prints] == [3, 2]
    assert prints[1][0] == prints[1][1]
    assert before["roots"] == issuing["roots"]


def test_what_is_printed_names_every_root_and_the_file_to_trust(running: Running) -> None:
    running.command("new", "Another Root")
    lines = running.command("show").splitlines()
    assert lines[0].startswith(f"in use      {FIRST} ")
    assert lines[1].startswith("announced   Another Root ")
    assert [line.split("  ")[0] for line in lines[2:4]] == ["issuing CA", "leaf"]
    assert running.said["serverCa"] in lines[4]


def test_the_bundle_is_pushed_to_devices_that_take_it_and_the_others_are_named(
    story: Story,
) -> None:
    """The lab is in this process, and is asked as if it were in another."""
    lab, widget = story.lab, story.widget
    away = story.technician.make_device("widget-away")
    for device in (widget, away):
        device.provision()
    widget.take_trust_bundles()
    widget.connect()
    try:
        remote.server_root(lab.path, "new")
        all_of_them = remote.server_root(lab.path, "push")
        one = remote.server_root(lab.path, "push", device=away.name, hub="contoso-hub")
    finally:
        widget.disconnect()
    assert all_of_them["pushed"]["installed"] == [widget.name]
    assert [chain.common_name(root) for root in widget.trusted_roots] == [FIRST, SECOND]
    assert set(one["pushed"]["notReached"]) == {away.name}
    told = remote.lines(all_of_them)
    assert told[-2] == "installed by 1 device"
    assert told[-1].startswith(f"not reached: {away.name}: Timed out waiting")
    with refused(LabError, "DeviceNotFound", "labkit explain "):
        remote.server_root(lab.path, "push", device="nobody")


# ---- what cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("switch",), ("There is no root to switch to", "labkit server-root new")),
        (("switch", "G7"), ("The services have no root 'G7'", "announce it first")),
        (("switch", FIRST, "--cross-signed"), ("cannot be cross-signed", "from an older root")),
        (("new", "x" * 65), ("cannot be",)),
        (("push", "--hub", "nowhere"), ("There is no hub 'nowhere'",)),
    ],
)
def test_what_is_refused_is_told_with_its_cure(
    lab: Lab, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    assert cli.main(["server-root", *arguments, "--workspace", str(lab.path)]) == 1
    told = capsys.readouterr().err
    assert [words for words in said if words not in told] == []
    assert len(lab.server.roots) == 1


def test_where_no_lab_runs_the_command_says_how_to_start_it(empty: Path, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    shutil.copytree(empty, place)
    for found in ("it says nothing of where it listens", "nobody answers at 127.0.0.1:1"):
        with refused(NotFound, "does not run", found, f"labkit serve --workspace {place}"):
            remote.server_root(place)
        whereabouts.tell(place, "127.0.0.1", 1)  # as a kill leaves it


def test_a_lab_that_is_closed_says_so(lab: Lab) -> None:
    assert whereabouts.find(lab.path) == (lab.listener.host, lab.listener.https_port)
    lab.close()
    with refused(NotFound, "does not run"):
        whereabouts.find(lab.path)


def test_who_listens_everywhere_is_found_on_this_machine(tmp_path: Path) -> None:
    with serving(tmp_path / "lab", "--host", "0.0.0.0"):
        assert remote.server_root(tmp_path / "lab")["inUse"] == FIRST


# ---- who may


def test_only_a_policy_that_may_configure_dps_is_told_or_obeyed(lab: Lab) -> None:
    reader = lab.cloud.policies("dps").create("reader", ENROLLMENT_READ)
    hub = lab.cloud.policies("contoso-hub").owner
    tokens = ["", sign("lab-dps.azure-devices-provisioning.net", hub.primary_key, policy=hub.name)]
    tokens += [sign(lab.listener.host, reader.primary_key, policy="reader")]
    with client(lab) as stranger:
        for token in tokens:
            stranger.headers["Authorization"] = token
            for method, path in (("GET", PATH), ("POST", f"{PATH}/new"), ("POST", f"{PATH}/push")):
                answer = stranger.ask(method, path, {} if method == "POST" else None)
                assert (answer.status, b"BEGIN" in answer.body) == (401, False)
    assert len(lab.server.roots) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 7}', b'{"name": "\\ud800"}'])
def test_a_body_that_cannot_be_read_is_400(lab: Lab, body: bytes) -> None:
    with back_end(lab) as owner:
        assert owner.ask("POST", f"{PATH}/new", body).status == 400
    assert len(lab.server.roots) == 1
