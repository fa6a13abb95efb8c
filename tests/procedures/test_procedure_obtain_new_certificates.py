"""Obtain new certificates: two ways to a signing certificate, up to the first connection."""

from __future__ import annotations

from procedure_steps import assert_provisions, assert_refused, verify
from stories import Story

from labkit.pki import chain, verdict


def test_obtain_new_certificates__a_signing_certificate_from_a_root_ca(shared: Story) -> None:
    """A company buys its signing certificate. Before it has proven possession of that, nobody
    vouches for its devices; afterwards whoever trusts the vendor can follow the chain to its root.
    """
    lab, vendor = shared.lab, shared.lab.public_ca()
    company = lab.custodian("Company-A")
    csr = company.request_ca("Company-A Signing CA")
    ca = company.accept_ca(csr, vendor.issue(vendor.vet(vendor.order(csr, company))))
    device = ca.make_device("obtained-a")
    assert_refused(lab, device, verdict.ISSUER)
    verify(lab, "company-a", ca)
    lab.dps.enrollment_groups.create("company-a", signing=ca.certificate)
    assert_provisions(device)
    assert ca.chain[-1] == vendor.root.certificate, "down to a trusted source"


def test_obtain_new_certificates__a_ca_of_ones_own(shared: Story) -> None:
    """A root that signs itself, for testing: nobody knows it until it is uploaded and verified."""
    lab = shared.lab
    root = lab.custodian("Company-B").create_root_ca()
    device = root.sign_intermediate(lab.custodian("Factory-B")).make_device("obtained-b")
    assert_refused(lab, device, verdict.ISSUER)
    verify(lab, "company-b", root)
    lab.dps.enrollment_groups.create("company-b", signing=root.certificate)
    assert_provisions(device)
    assert chain.is_self_signed(root.certificate)
