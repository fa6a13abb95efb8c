"""Every way through the supply chain, in one lab: run in this process, or as one of its own.

``python supply_stories.py WORKSPACE`` tells it with every log turned on, and prints whatever a
trainee could have displayed.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from stories import CA, enroll, open_lab

from labkit import Lab
from labkit.errors import LabError
from labkit.supplychain.carried import Consignment

PARTNERS = ("Factory-Y", "Technician-Z")
CARRIED = ("carried-1", "carried-2")


def bought(lab: Lab) -> CA:
    """Company-X's CA, bought in four steps."""
    company, vendor = lab.custodian("Company-X"), lab.public_ca()
    csr = company.request_ca("Company-X CA")
    order = vendor.order(csr, organization="Company-X")
    vendor.vet(order)
    return company.accept_ca(csr, vendor.issue(order))


def carried(company: CA, lab: Lab) -> Consignment:  # type: ignore[type-arg]
    """Keys that are made in Company-X's token, and go through every hand into two devices."""
    consignment = company.pregenerate(list(CARRIED))
    for name in PARTNERS:
        consignment.carry(lab.custodian(name))
    consignment.install()
    return consignment


def everything(lab: Lab) -> None:
    """Bought and self-signed CAs, three ways to inject, three algorithms, and carried keys."""
    company = bought(lab)
    root = lab.custodian("Company-X").create_root_ca(algorithm="RSA-2048")
    factory = company.sign_intermediate(lab.custodian("Factory-Y"), algorithm="P-384")
    technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
    technician.make_device("widget-all")
    factory.inject(technician.make_device("widget-none", inject="none", algorithm="RSA-2048"))
    root.make_device("widget-of-the-root")
    carried(company, lab)
    enroll(lab, company)


def _shown(lab: Lab) -> None:
    for thing in (lab, lab.ledger(), *lab.custodians, *lab.devices, lab.public_ca().orders):
        print(repr(thing))
    for custodian in lab.custodians:
        print(custodian.authorities(), custodian.token, custodian.token.key_labels)
    for device in lab.devices:
        print(repr(device.key), vars(device.key.token).keys(), device.key.attributes)
    print(lab.ledger()._repr_mimebundle_(), *lab.events, sep="\n")


def _main(workspace: Path) -> None:
    logging.basicConfig(level=logging.DEBUG)
    with open_lab(workspace) as lab:
        everything(lab)
        lab.device("widget-all").provision()
        lab.device("carried-1").provision()
        with contextlib.suppress(LabError):
            lab.device("widget-of-the-root").provision()
        _shown(lab)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
