"""The pictures in docs/img are what the lab draws today."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit import Lab

IMAGES = Path(__file__).parents[1] / "docs" / "img"


def test_the_picture_of_the_readme_is_fresh(tmp_path: Path) -> None:
    """Two ways out when it is not: a mistake in the drawing, or this line:
    cp the file that the failure names to docs/img/."""
    with Lab.open(tmp_path / "lab", clock="2027-03-01T09:00:00Z") as lab:
        company = lab.custodian("Company-X").create_root_ca()
        factory = company.sign_intermediate(lab.custodian("Factory-Y"))
        technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
        widget = technician.make_device("smart-x-widget-001")
        ca = lab.dps.certificates.upload("company-x", company.certificate)
        lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
        lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)
        widget.provision()
        drawn = lab.graph().save(tmp_path / "first-device.svg")
    if drawn.read_text() != (IMAGES / "first-device.svg").read_text():
        pytest.fail(f"docs/img/first-device.svg is stale; the fresh one is {drawn}")
