"""A lab, opened: the front door of everything."""

from __future__ import annotations

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
)
from labkit.wire.ports import Ports

ECDSA = ec.ECDSA(hashes.SHA256())


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
        assert widget.provision() == first
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
        story.lab.hub().device("nobody")


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


# ---- saying what was there


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
