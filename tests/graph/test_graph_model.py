"""The picture says what the lab is: each moment of a story, as states and marks of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit import Lab
from labkit.errors import LabError
from labkit.graph.model import of_lab

WIDGET, TECHNICIAN = "device widget-1", "ca Technician-Z/Technician-Z CA"
ROOT, FACTORY = "ca Company-X/Company-X Root CA", "ca Factory-Y/Factory-Y CA"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.open(tmp_path / "lab", clock="2027-03-01T09:00:00Z") as lab:
        company = lab.custodian("Company-X").create_root_ca()
        factory = company.sign_intermediate(lab.custodian("Factory-Y"))
        technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
        technician.make_device("widget-1")
        yield lab


def trust(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    ca = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
    lab.dps.enrollment_groups.create("widgets", signing=company.certificate)


def provision(lab: Lab) -> None:
    try:
        lab.device("widget-1").provision()
    except LabError:
        assert lab.explain().failure


def states(lab: Lab) -> dict[str, str]:
    return {str(name): data["state"] for name, data in of_lab(lab).nodes(data=True)}


def sent(lab: Lab) -> dict[str, bool | None]:
    graph = of_lab(lab)
    return {str(name): data["presented"] for name, data in graph.nodes(data=True)}


def edges(lab: Lab, kind: str) -> list[tuple[Any, Any, bool]]:
    graph = of_lab(lab)
    return [(a, b, d["broken"]) for a, b, d in graph.edges(data=True) if d["kind"] == kind]


def test_before_dps_knows_anything_nothing_is_trusted(lab: Lab) -> None:
    found = states(lab)
    assert {found[node] for node in (ROOT, FACTORY, TECHNICIAN, WIDGET)} == {"unknown"}
    assert set(sent(lab).values()) == {None}


def test_an_upload_without_proof_is_unverified(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    lab.dps.certificates.upload("company-x", company.certificate)
    found = states(lab)
    assert found["entry company-x"] == "unverified"
    assert found[ROOT] == "unknown"


def test_a_provisioned_device_has_sent_all_but_the_root(lab: Lab) -> None:
    trust(lab)
    provision(lab)
    found = sent(lab)
    assert [found[node] for node in (WIDGET, TECHNICIAN, FACTORY, ROOT)] == [True] * 3 + [False]
    assert set(states(lab).values()) == {"trusted", "verified", "enabled"}
    assert not any(broken for *_, broken in edges(lab, "signed"))
    assert edges(lab, "provisioned") == [(WIDGET, "identity contoso-hub/widget-1", False)]


def test_a_leaf_alone_leaves_the_link_to_its_issuer_broken(lab: Lab) -> None:
    trust(lab)
    widget = lab.device("widget-1")
    widget.install_chain(widget.chain[:1])
    provision(lab)
    found = states(lab)
    assert [found[node] for node in (TECHNICIAN, FACTORY, ROOT)] == ["not sent"] * 2 + ["trusted"]
    assert [link for link in edges(lab, "signed") if link[2]] == [(TECHNICIAN, WIDGET, True)]
    assert edges(lab, "provisioned") == []


def test_what_a_device_holds_and_what_the_hub_has_heard_is_said(lab: Lab) -> None:
    """A cut chain is seen before the device is refused, a message after it was sent."""
    trust(lab)
    provision(lab)
    widget = lab.device("widget-1")
    detail = of_lab(lab).nodes[WIDGET]["detail"]
    assert "valid to 2028" in detail
    widget.connect().send({"temperature": 21.5})
    widget.disconnect()
    assert of_lab(lab).nodes["identity contoso-hub/widget-1"]["detail"].endswith("1 message")
    widget.install_chain(widget.chain[:1])
    assert of_lab(lab).nodes[WIDGET]["detail"] == "P-256 · holds 1 of 3 certificates"


def test_a_chain_that_ends_in_an_unverified_root_has_an_untrusted_issuer(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    lab.dps.certificates.upload("company-x", company.certificate)
    widget = lab.device("widget-1")
    widget.install_chain([*widget.chain, company.certificate])
    provision(lab)
    assert states(lab)[ROOT] == "untrusted issuer"


def test_a_certificate_that_was_altered_is_tampered(lab: Lab) -> None:
    trust(lab)
    widget = lab.device("widget-1")
    der = bytearray(widget.certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1  # the last byte of the signature
    widget.install_chain([x509.load_der_x509_certificate(bytes(der)), *widget.chain[1:]])
    provision(lab)
    assert states(lab)[WIDGET] == "tampered"


def test_time_makes_certificates_expire_and_not_yet_valid(lab: Lab) -> None:
    lab.clock.advance(days=400)
    assert states(lab)[WIDGET] == "expired"
    assert states(lab)[ROOT] == "unknown"
    lab.clock.advance(days=-500)
    assert {states(lab)[node] for node in (WIDGET, ROOT)} == {"not yet valid"}


def test_an_empty_lab_has_only_its_hub(tmp_path: Path) -> None:
    with Lab.open(tmp_path / "empty") as lab:
        assert states(lab) == {"hub contoso-hub": "enabled"}


def test_what_is_deleted_is_seen_as_removed_until_it_is_made_again(lab: Lab) -> None:
    trust(lab)
    lab.dps.enrollment_groups.delete("widgets")
    lab.dps.certificates.delete("company-x")
    found = states(lab)
    assert found["group widgets"] == found["entry company-x"] == "removed"
    assert edges(lab, "names") == edges(lab, "uploaded") == []
    trust(lab)
    found = states(lab)
    assert (found["group widgets"], found["entry company-x"]) == ("enabled", "verified")


def test_of_many_deletions_only_the_last_are_drawn(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    for number in range(9):
        lab.dps.certificates.upload(f"ca-{number}", company.certificate)
        lab.dps.certificates.delete(f"ca-{number}")
    gone = [name for name, state in states(lab).items() if state == "removed"]
    assert gone == [f"entry ca-{number}" for number in range(3, 9)]
    lab.dps.certificates.upload("ca-0", company.certificate)
    lab.dps.certificates.delete("ca-0")
    assert states(lab)["entry ca-0"] == "removed", "made again, and deleted last"


def test_a_token_is_drawn_until_its_owner_has_a_certificate(lab: Lab) -> None:
    """With its keys told; nothing of it is left beside the CA that it becomes."""
    node, told = "token Newcomer", []
    newcomer = lab.custodian("Newcomer")
    told.append(of_lab(lab).nodes[node]["detail"])
    newcomer.make_key("Newcomer Root CA")
    told.append(of_lab(lab).nodes[node]["detail"])
    newcomer.make_key("another")
    told.append(of_lab(lab).nodes[node]["detail"])
    assert told == ["token · no keys", "token · key Newcomer Root CA", "token · 2 keys"]
    assert states(lab)[node] == "locked"
    newcomer.create_root_ca()
    assert node not in states(lab)


def test_a_lab_of_tokens_is_not_called_empty(tmp_path: Path) -> None:
    with Lab.open(tmp_path / "tokens") as lab:
        lab.custodian("Company-X")
        assert of_lab(lab).graph["title"] == "No certificate yet"


def test_an_individual_enrollment_admits_its_device(lab: Lab) -> None:
    widget = lab.device("widget-1")
    lab.dps.enrollments.create("widget-1", certificate=widget.certificate)
    found = states(lab)
    assert found["enrollment widget-1"] == "enabled"
    assert edges(lab, "names") == [("enrollment widget-1", WIDGET, False)]
    lab.dps.enrollments.disable("widget-1")
    assert states(lab)["enrollment widget-1"] == "disabled"
    lab.dps.enrollments.delete("widget-1")
    assert states(lab)["enrollment widget-1"] == "removed"


def test_a_group_may_name_a_ca_by_its_name_in_dps(lab: Lab) -> None:
    trust(lab)
    lab.dps.enrollment_groups.delete("widgets")
    lab.dps.enrollment_groups.create("by-name", ca="company-x")
    assert edges(lab, "names") == [("group by-name", "entry company-x", False)]


@pytest.mark.parametrize("name", ["Company-X", "never-uploaded"])
def test_a_group_may_name_what_dps_does_not_have(lab: Lab, name: str) -> None:
    """Whoever deletes a CA certificate, or mistypes its name, still gets a picture. Case does not
    count."""
    trust(lab)
    lab.dps.enrollment_groups.delete("widgets")
    lab.dps.enrollment_groups.create("by-name", ca=name)
    named = [("group by-name", "entry company-x", False)] if name == "Company-X" else []
    assert edges(lab, "names") == named
    lab.dps.certificates.delete("company-x")
    assert edges(lab, "names") == []
    assert states(lab)["group by-name"] == "enabled"
