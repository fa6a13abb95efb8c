"""A lab, opened: the front door of everything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from complaints import refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from stories import Story, enrolled, open_lab, supply_chain
from subprocesses import run_python

from labkit import Lab
from labkit.errors import (
    ConnectionFailed,
    LabError,
    NotFound,
    PortTaken,
    ProvisioningFailed,
    TokenError,
    WorkspaceError,
)
from labkit.pki import request
from labkit.wire.ports import Ports

ECDSA = ec.ECDSA(hashes.SHA256())
OPEN = """
import sys
from pathlib import Path
from labkit import Lab
from labkit.errors import WorkspaceError
try:
    Lab.open(Path(sys.argv[1])).close()
except WorkspaceError as error:
    print(error)
else:
    print("opened")
"""


def test_an_open_lab_is_the_same_lab(lab: Lab) -> None:
    assert Lab.open(lab.path) is lab


def test_a_new_lab_starts_at_the_clock_that_it_is_given_and_keeps_it(tmp_path: Path) -> None:
    moment = "2027-03-01T09:00:00Z"
    with open_lab(tmp_path / "lab", clock=moment) as lab:
        assert abs(lab.clock.now() - datetime(2027, 3, 1, 9, tzinfo=UTC)) < timedelta(minutes=1)
        lab.clock.advance(days=31)
    with open_lab(tmp_path / "lab", clock=moment) as lab:
        assert lab.clock.now() > datetime(2027, 4, 1, tzinfo=UTC), "only a new lab takes it"


def test_reopening_continues_and_the_device_provisions_again(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        first = enrolled(lab).widget.provision()
    with open_lab(tmp_path / "lab") as lab:
        widget = lab.device("smart-x-widget-001")
        assert widget.assignment == first
        again = widget.provision()
        assert (again.hub, again.device_id) == (first.hub, first.device_id)
        assert again.substatus == "reprovisionedToInitialAssignment"
        widget.connect().send({"temperature": 21.5})
        assert len(lab.hub().messages()) == 1
        assert [c.name for c in lab.custodians] == ["Company-X", "Factory-Y", "Technician-Z"]


def test_two_labs_at_once_keep_apart_and_both_work(tmp_path: Path) -> None:
    """Each with SoftHSM tokens, ports and a loopback address of its own."""
    with open_lab(tmp_path / "one") as one, open_lab(tmp_path / "two") as two:
        stories = [enrolled(one), enrolled(two)]
        assert one.listener.host != two.listener.host
        for story in stories:
            story.widget.provision()
            story.widget.connect().send({"lab": story.lab.path.name})
        for story in stories:
            texts = [m.text for m in story.lab.hub().messages()]
            assert texts == [f'{{"lab": "{story.lab.path.name}"}}']
        assert stories[0].company.certificate != stories[1].company.certificate


def test_keys_of_a_closed_lab_refuse_to_sign(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        story = supply_chain(lab)
    with refused(TokenError, "closed"):
        story.widget.key.sign(b"data", ECDSA)
    with refused(TokenError, "closed"):
        story.company.prove_possession("A" * 48)


def test_a_closed_lab_makes_nothing_more(tmp_path: Path) -> None:
    """Another process may have the workspace by now."""
    lab = open_lab(tmp_path / "lab")
    certificate = supply_chain(lab).company.certificate
    lab.close()
    with pytest.raises(LabError):
        lab.dps.certificates.upload("company-x", certificate)


ASKED: dict[str, Callable[[Lab], object]] = {
    "custodian": lambda lab: lab.custodian("Company-X"),
    "custodians": lambda lab: lab.custodians,
    "device": lambda lab: lab.device("smart-x-widget-001"),
    "devices": lambda lab: lab.devices,
    "issued_chain": lambda lab: lab.issued_chain("smart-x-widget-001"),
    "dps": lambda lab: lab.dps,
    "hub": lambda lab: lab.hub(),
    "network": lambda lab: lab.network,
    "explain": lambda lab: lab.explain(),
    "graph": lambda lab: lab.graph(),
}


def test_a_closed_lab_says_so_whatever_it_is_asked(tmp_path: Path) -> None:
    lab = open_lab(tmp_path / "lab")
    supply_chain(lab)
    assert repr(lab) == "<Lab 'lab': 1 device>"
    lab.close()
    assert repr(lab) == "<Lab 'lab': closed>"
    for asked in ASKED.values():
        with refused(WorkspaceError, "This lab is closed", "those below it, again"):
            asked(lab)


STALE: dict[str, Callable[[Story], object]] = {
    "custodian": lambda old: old.company.custodian.create_root_ca("Second CA"),
    "ca-signs": lambda old: old.technician.make_device("widget-2"),
    "ca-signs-a-request": lambda old: old.technician.sign_device(
        request.make(old.widget.key, request.name("widget"))
    ),
    "ca-proves": lambda old: old.company.prove_possession("A" * 48),
    "key": lambda old: old.company.custodian.token.generate_key("again"),
    "device": lambda old: old.widget.provision(),
    "device-connects": lambda old: old.widget.connect(),
    "device-installs": lambda old: old.widget.install_chain(old.widget.chain),
}


def test_things_of_a_lab_that_was_started_over_say_what_to_do(tmp_path: Path) -> None:
    """They would meet another lab: its address, its ports and its files are the same."""
    lab = open_lab(tmp_path / "lab")
    old = enrolled(lab)
    uploaded = next(iter(lab.dps.certificates))
    old.widget.provision()
    with open_lab(tmp_path / "lab", fresh=True) as new:
        for used in STALE.values():
            with pytest.raises(LabError, match=r"closed(.|\n)*run( again)? the cell"):
                used(old)
        with pytest.raises(LabError, match=r"This lab is closed(.|\n)*run the cell"):
            lab.dps.certificates.verify(uploaded, old.company.certificate)
        assert new.custodians == []
        assert not (new.path / "devices").exists() or not list((new.path / "devices").iterdir())


def test_closing_a_lab_that_was_started_over_leaves_the_new_one_alone(tmp_path: Path) -> None:
    old = open_lab(tmp_path / "lab")
    with open_lab(tmp_path / "lab", fresh=True) as new:
        old.close()
        assert Lab.open(new.path) is new
        story = enrolled(new)
        story.widget.provision()
        story.widget.connect().send({"temperature": 21.5})
        result = run_python(OPEN, new.path)
        assert "open in another process" in result.stdout, result.stderr


def test_what_fails_while_a_lab_is_closed_keeps_nothing_else_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = open_lab(tmp_path / "lab")
    widget = supply_chain(lab).widget
    host, port = lab.listener.host, lab.listener.mqtt_port
    stop = lab.listener.stop

    def fails() -> None:
        stop()
        raise RuntimeError("broken")

    monkeypatch.setattr(lab.listener, "stop", fails)
    monkeypatch.setattr(widget, "disconnect", fails)
    with pytest.raises(RuntimeError, match="broken"):
        lab.close()
    assert repr(lab) == "<Lab 'lab': closed>"
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect((host, port))
    result = run_python(OPEN, lab.path)
    assert result.stdout == "opened\n", result.stderr
    lab.close()


def test_one_lab_that_cannot_be_closed_at_the_end_keeps_no_other_open(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stories import open_lab
labs = [open_lab(Path(sys.argv[1]) / name) for name in "abc"]
def fails():
    raise RuntimeError("broken")
for lab in (labs[0], labs[2]):
    lab.close = fails
leave = labs[1].close
labs[1].close = lambda: (leave(), print("closed"))
"""
    result = run_python(code, tmp_path, Path(__file__).parent)
    assert result.stdout == "closed\n", result.stderr


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    lab = open_lab(tmp_path / "lab")
    lab.close()
    lab.close()


def test_a_lab_whose_server_is_gone_is_a_clear_error_for_the_device(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        widget = enrolled(lab).widget
        widget.provision()
        lab.listener.stop()
        with refused(ProvisioningFailed, "DPS did not provision", "Connection"):
            widget.provision()
        with refused(ConnectionFailed, "did not take"):
            widget.connect()


# ---- names


def test_unknown_things_are_not_found_and_the_known_ones_named(story: Story) -> None:
    with refused(NotFound, "'smart-y'", "smart-x-widget-001"):
        story.lab.device("smart-y")
    with refused(NotFound, "'fabrikam-hub'", "contoso-hub"):
        story.lab.hub("fabrikam-hub")
    with refused(NotFound, "'nobody'"):
        story.lab.hub().devices.get("nobody")


def test_a_hub_is_found_with_and_without_its_domain(lab: Lab) -> None:
    assert lab.hub("contoso-hub.azure-devices.net").name == lab.hub("CONTOSO-hub").name


@pytest.mark.parametrize("hub", ["abc", "a" * 50])
def test_a_hub_may_have_a_name_of_3_to_50_characters(tmp_path: Path, hub: str) -> None:
    """Its host name may be longer than a CN: 64 characters."""
    with open_lab(tmp_path / "lab", hubs=(hub,)) as lab:
        assert lab.hub(hub).host_name == f"{hub}.azure-devices.net"


@pytest.mark.parametrize("hub", ["ab", "a" * 51, "-abc", "abc-", "a_c", ""])
def test_any_other_name_of_a_hub_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, hub: str
) -> None:
    with pytest.raises(LabError, match="name of a hub"):
        open_lab(tmp_path / "lab", hubs=(hub,))
    open_lab(tmp_path / "lab").close()


def test_a_lab_that_is_opened_again_has_the_hubs_that_it_had(tmp_path: Path) -> None:
    """Going on with a workspace adds no hub that nobody asked for: devices would move to it."""
    open_lab(tmp_path / "lab", hubs=("fabrikam-hub",)).close()
    with open_lab(tmp_path / "lab") as lab:
        assert [hub.name for hub in lab.cloud.hubs] == ["fabrikam-hub"]


# ---- ports


def test_a_taken_port_is_named_with_its_likely_holder(lab: Lab, tmp_path: Path) -> None:
    ports = Ports(host=lab.listener.host, mqtt=8883, https=0)
    with refused(PortTaken, f"Port 8883 on {lab.listener.host}", "another lab", "ss -ltnp"):
        Lab.open(tmp_path / "other", ports=ports)
    open_lab(tmp_path / "other").close()  # nothing of the failed start is left


@pytest.mark.parametrize(
    ("host", "address"), [("localhost", "127.0.0.1"), ("127.0.0.77", "127.0.0.77"), ("::1", "::1")]
)
def test_a_lab_may_be_told_where_to_listen(tmp_path: Path, host: str, address: str) -> None:
    with Lab.open(tmp_path / "lab", ports=Ports(host, 0, 0)) as lab:
        assert lab.listener.host == address


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 99_999)])
def test_an_address_that_is_not_this_machines_is_refused_in_words(
    tmp_path: Path, host: str, port: int
) -> None:
    with pytest.raises(LabError):
        Lab.open(tmp_path / "lab", ports=Ports(host, port, 0))


def test_labs_that_begin_at_another_address_keep_apart_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As do those of each lane of ./lab test, whose devices call for labs that are gone."""
    monkeypatch.setenv("LABKIT_LOOPBACK", "127.0.77.250")
    with open_lab(tmp_path / "one") as one, open_lab(tmp_path / "two") as two:
        assert [lab.listener.host for lab in (one, two)] == ["127.0.77.250", "127.0.77.251"]
        supply_chain(one)
        enrolled(two).widget.provision()


@pytest.mark.parametrize("named", ["192.0.2.1", "::1", "nonsense"])
def test_an_address_that_labs_cannot_begin_at_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("LABKIT_LOOPBACK", named)
    with refused(LabError, named, "such as 127.0."):
        open_lab(tmp_path / "lab")


# ---- the clock


def test_the_clock_takes_the_spans_of_the_command(lab: Lab) -> None:
    before = lab.clock.now()
    assert timedelta(days=31) <= lab.clock.advance("31d") - before < timedelta(days=31, minutes=1)
    lab.clock.advance("1w 2d", hours=1)
    assert lab.clock.now() - before >= timedelta(days=40, hours=1)
    for wrong in ("a month", 31):
        with pytest.raises(LabError, match="is not a span of time"):
            lab.clock.advance(wrong)  # type: ignore[arg-type]


# ---- explaining


def test_explain_takes_a_devices_name_and_says_who_was_not_refused(story: Story) -> None:
    lab, widget = story.lab, story.widget
    with refused(NotFound, "Nobody was refused yet", "0 refusals"):
        lab.explain()
    widget.install_chain([widget.certificate])
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    last = lab.explain()
    for what in ("smart-x-widget-001", widget, last.tracking_id, last.tracking_id.upper()):
        assert lab.explain(what).tracking_id == last.tracking_id
    other = story.technician.make_device("widget-2")
    for what in (other, "widget-2"):
        with refused(NotFound, "widget-2 was not refused", "1 refusal in this workspace"):
            lab.explain(what)
    with refused(NotFound, "tracking ID 'nonsense'", "no device of that name"):
        lab.explain("nonsense")


# ---- saying what was there


def test_only_the_one_who_waits_is_told(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The listener's thread would print below whatever cell ran last."""
    capsys.readouterr()
    other = threading.Thread(target=story.company.custodian.create_root_ca)
    other.start()
    other.join()
    assert capsys.readouterr().out == ""
    assert story.lab.events.about(kind="again")


@pytest.mark.parametrize("heard", [True, False])
def test_a_lab_may_be_told_whom_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heard: bool
) -> None:
    told: list[str] = []
    with open_lab(tmp_path / "lab", say=told.append if heard else None) as lab:
        lab.custodian("Company-X").create_root_ca()
        lab.custodian("Company-X").create_root_ca()
    assert told == (["Company-X Root CA was there already"] if heard else [])
    assert capsys.readouterr().out == ""


def test_what_was_there_already_is_said(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    enrolled(story.lab)
    assert capsys.readouterr().out.splitlines() == [
        "Company-X Root CA was there already",
        "Factory-Y CA was there already",
        "Technician-Z CA was there already",
        "smart-x-widget-001 was there already",
        "CA certificate 'company-x' was there already",
        "CA certificate 'company-x' was verified already",
        "Enrollment group 'smart-x-widgets' was there already",
    ]


def test_importing_the_lab_does_not_load_the_devices_sdk() -> None:
    """It takes long, and a lab opens without it."""
    code = "import sys; from labkit import Lab; print('azure.iot.device' in sys.modules)"
    assert run_python(code).stdout == "False\n"
