"""A first boot that ends by kill -9 at each place where something has just been committed: between
another company's CA, DPS, the hub and the device."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from first_boot_stories import VERSION, linked
from stories import enrolled, open_lab

from labkit import Lab
from labkit.device import Device
from labkit.errors import ConnectionFailed
from labkit.pki.chain import thumbprint

PLACES = {
    "signed, and on no books": ("thirdparty.service", "CertificateService._keep", "before", 0),
    "on the company's books": ("thirdparty.service", "CertificateService._keep", "after", 1),
    "DPS has the answer": ("cloud.dps.ca_client", "sign", "after", 1),
    "DPS and the hub have it on record": (
        "cloud.dps.service",
        "ProvisioningService._say_assigned",
        "before",
        0,
    ),
    "the device has the answer": ("device.operational", "Operational.install", "before", 0),
    "it is installed": ("device.operational", "Operational.install", "after", 0),
}
"""Where the process ends, and how many certificates were signed that nobody will ever get."""

BOOT = """
import importlib, os, signal, sys
place, module, name, when, version, tests = sys.argv[1:]
sys.path.insert(0, tests)
from stories import open_lab

def end():
    os.kill(os.getpid(), signal.SIGKILL)

*owner, function = name.split(".")
holder = importlib.import_module(f"labkit.{module}")
for part in owner:
    holder = getattr(holder, part)
original = getattr(holder, function)

def deadly(*arguments, **options):
    if when == "after":
        original(*arguments, **options)
    end()

with open_lab(place) as lab:
    setattr(holder, function, deadly)
    widget = lab.device("smart-x-widget-001")
    widget.provision(csr=widget.operational.request(), api_version=version)
"""


def dies_at(path: Path, place: str) -> None:
    """A process of its own opens the lab, boots the device, and is killed there."""
    module, name, when, _ = PLACES[place]
    tests = Path(__file__).parent.parent
    command = [sys.executable, "-c", BOOT, str(path), module, name, when, VERSION, str(tests)]
    ended = subprocess.run(command, cwd=tests.parent, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with open_lab(tmp_path / "lab") as lab:
        found = linked(enrolled(lab))
        found.account.change_profile("first-boot", common_names="*")
    return tmp_path / "lab"


def boots(lab: Lab) -> Device:
    widget = lab.device("smart-x-widget-001")
    widget.provision(csr=widget.operational.request(), api_version=VERSION)
    return widget


@pytest.mark.parametrize("place", PLACES)
def test_a_device_ends_with_one_certificate_that_opens_its_hub_and_all_are_on_the_companys_books(
    path: Path, place: str
) -> None:
    dies_at(path, place)
    with open_lab(path) as lab:
        widget = boots(lab)
        widget.connect().send({"temperature": 21.5})
        used = widget.operational.certificate
        signed = lab.third_party_ca().account("Company-X").certificates
        known = lab.hub().devices.get(widget.name).credentials.thumbprint
        assert [each for each in signed if thumbprint(each) == known] == [used]
        assert widget.operational.reserve == []
        keys = [label for label in widget.key.token.key_labels if label != "identity"]
        assert len(keys) == 1, "no key of a request that was lost stays behind"


@pytest.mark.parametrize(
    ("place", "lost"),
    [(place, lost) for place, (*_, lost) in PLACES.items() if "install" not in place],
)
def test_a_lost_answer_is_given_again_once_dps_has_it_on_record(
    path: Path, place: str, lost: int
) -> None:
    """Before that the company signs once more, for the same key, and has both on its books."""
    dies_at(path, place)
    with open_lab(path) as lab:
        used = boots(lab).operational.certificate
        signed = lab.third_party_ca().account("Company-X").certificates
        assert len(signed) == 1 + lost
        assert signed[-1] == used


def test_a_renewal_that_is_cut_off_behind_the_hub_is_healed_by_asking_again(
    path: Path,
) -> None:
    """The hub has been told of a certificate that nobody has: neither that one nor the one in use
    opens it. The next registration with the request gets the lost answer once more."""
    with open_lab(path) as lab:
        boots(lab).connect().disconnect()
        before = lab.device("smart-x-widget-001").operational.certificate
    dies_at(path, "DPS and the hub have it on record")
    with open_lab(path) as lab:
        widget = lab.device("smart-x-widget-001")
        assert widget.operational.certificate == before
        with pytest.raises(ConnectionFailed):
            widget.connect()
        widget.renew_operational()
        widget.connect()
        assert widget.operational.certificate != before
        assert widget.operational.is_taken
        assert len(lab.third_party_ca().account("Company-X").certificates) == 2


def test_what_was_installed_last_is_renewed_where_it_was_issued(path: Path) -> None:
    """Also by a device that was cut off right behind the installation: it knows no other way."""
    dies_at(path, "it is installed")
    with open_lab(path) as lab:
        widget = lab.device("smart-x-widget-001")
        before = widget.operational.certificate
        assert widget.renew_operational() != before
