"""From hand to hand: who signs whom, who puts what into a device, and what the device then has."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused
from foreign_tools import openssl_verify
from stories import CA, Story, enroll, open_lab, said, supply_chain

from labkit import Lab
from labkit.device import Device
from labkit.errors import BadRequest, Conflict, LabError, ProvisioningFailed, TokenError
from labkit.pki import chain, verdict
from labkit.pki.request import describe_key
from labkit.supplychain import terms


def holds(device: Device) -> list[str]:
    """What is in the flash, without its file's first name, the device's own."""
    return [chain.common_name(certificate) for certificate in device.chain][1:]


def put_in(lab: Lab, device: Device) -> list[str]:
    return [str(injection) for injection in lab.ledger().injections(device)]


# ---- requests and certificates


def test_every_exchange_is_an_event_in_its_order(lab: Lab) -> None:
    supply_chain(lab, "w")
    told = [(e.kind, e.text) for e in lab.events.about(source="supply chain")]
    assert told[1:7] == [
        ("request", "Factory-Y sends Company-X a request for Factory-Y CA"),
        (
            "certificate",
            "Company-X sends Factory-Y the certificate of Factory-Y CA, and its issuers",
        ),
        ("ca", "Factory-Y CA was signed by CN=Company-X Root CA"),
        ("request", "Technician-Z sends Factory-Y a request for Technician-Z CA"),
        (
            "certificate",
            "Factory-Y sends Technician-Z the certificate of Technician-Z CA, and its issuers",
        ),
        ("ca", "Technician-Z CA was signed by CN=Factory-Y CA"),
    ]
    assert ("request", "w sends Technician-Z a request") in told


def test_the_way_on_foot_is_the_way_of_one_call(lab: Lab, tmp_path: Path) -> None:
    """Two companies that exchange files get what sign_intermediate gives."""
    company, factory = lab.custodian("Company-X").create_root_ca(), lab.custodian("Factory-Y")
    csr = factory.request_ca("Factory-Y CA", algorithm="P-384")
    (tmp_path / "back.pem").write_text(chain.to_pem(company.sign_ca(csr)))
    ca = factory.accept_ca(csr, tmp_path / "back.pem")
    again = company.sign_intermediate(factory, algorithm="P-384")
    assert again.certificate == ca.certificate
    assert (
        openssl_verify(tmp_path, ca.make_device("w").chain, [company.certificate], lab.clock.now())
        == ""
    )


def test_an_intermediate_has_the_algorithm_and_path_length_that_were_asked_for(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(
        lab.custodian("Factory-Y"), algorithm="RSA-2048", path_length=1
    )
    assert describe_key(factory.certificate.public_key()) == "RSA-2048"
    assert terms.path_length(factory.certificate) == 1
    below = factory.sign_intermediate(lab.custodian("Technician-Z"), path_length=7)
    assert terms.path_length(below.certificate) == 0, "never more than the issuer has room for"


def test_an_intermediate_that_is_not_just_so_is_a_conflict(lab: Lab) -> None:
    company, factory = lab.custodian("Company-X").create_root_ca(), lab.custodian("Factory-Y")
    made = company.sign_intermediate(factory, path_length=1)
    assert company.sign_intermediate(factory, path_length=1).certificate == made.certificate
    with refused(Conflict, "path_length 2", "path_length 1"):
        company.sign_intermediate(factory, path_length=2)
    with refused(Conflict, "algorithm P-384", "algorithm P-256"):
        company.sign_intermediate(factory, algorithm="P-384", path_length=1)
    with refused(BadRequest, "path length -1"):
        company.sign_intermediate(lab.custodian("Other"), path_length=-1)
    assert lab.custodian("Other").token.key_labels == []


# ---- the variants


@pytest.fixture
def hands(lab: Lab) -> Story:
    """A supply chain whose root DPS knows; its first widget is not of interest."""
    story = supply_chain(lab)
    enroll(lab, story.company)
    return story


def test_the_last_ca_injects_the_whole_chain(hands: Story) -> None:
    """Variant one, and the record of who did it."""
    widget = hands.technician.make_device("w")
    assert holds(widget) == ["Technician-Z CA", "Factory-Y CA"]
    assert put_in(hands.lab, widget) == [
        "Technician-Z put in CN=w",
        "Technician-Z put in CN=Technician-Z CA",
        "Technician-Z put in CN=Factory-Y CA",
    ]
    assert widget.provision().device_id == "w"


@pytest.mark.parametrize("first", ["technician", "factory"])
def test_every_ca_that_touches_the_device_injects_its_part(
    hands: Story, tmp_path: Path, first: str
) -> None:
    """Variant two: in whichever order they do, the flash is in the order of the path."""
    lab, widget = hands.lab, hands.technician.make_device("w", inject="none")
    assert holds(widget) == []
    cas: list[CA] = [hands.technician, hands.factory]
    for ca in cas if first == "technician" else cas[::-1]:
        ca.inject(widget)
    assert holds(widget) == ["Technician-Z CA", "Factory-Y CA"]
    assert sorted(put_in(lab, widget)[1:]) == [
        "Factory-Y put in CN=Factory-Y CA",
        "Technician-Z put in CN=Technician-Z CA",
    ]
    assert lab.issued_chain("w") == widget.chain
    root = hands.company.certificate
    assert openssl_verify(tmp_path, widget.chain, [root], lab.clock.now()) == ""
    assert widget.provision().device_id == "w"


def test_in_a_hybrid_one_ca_injects_for_those_that_never_touch_the_device(lab: Lab) -> None:
    """Variant three: the region signs factories, and sees no device. Until the factory has put
    both certificates in, DPS finds no way from the device to the root."""
    company = lab.custodian("Company-X").create_root_ca()
    region = company.sign_intermediate(lab.custodian("Region"))
    factory = region.sign_intermediate(lab.custodian("Factory-Y"))
    technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
    enroll(lab, company)
    widget = technician.make_device("w", inject="own")
    assert holds(widget) == ["Technician-Z CA"]
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    failure = lab.explain(widget).failure
    assert failure is not None
    assert failure.name == verdict.ISSUER
    factory.inject(widget, "all")
    assert put_in(lab, widget)[2:] == [
        "Factory-Y put in CN=Factory-Y CA",
        "Factory-Y put in CN=Region CA",
    ]
    assert widget.provision().device_id == "w"


def test_the_factory_signs_devices_itself_too(hands: Story) -> None:
    by_factory, by_technician = (
        hands.factory.make_device("f"),
        hands.technician.make_device("t", algorithm="P-384"),
    )
    assert holds(by_factory) == ["Factory-Y CA"]
    assert describe_key(by_technician.key.public_key()) == "P-384"
    assert {d.provision().status for d in (by_factory, by_technician)} == {"assigned"}


def test_each_key_was_born_in_its_owners_token(hands: Story) -> None:
    """The token itself says so, after every variant."""
    made = [hands.technician.make_device(f"w-{how}", inject=how) for how in ("all", "own", "none")]  # type: ignore[arg-type]
    for device in (*made, hands.factory.make_device("f")):
        assert device.key.token.key_labels == ["identity"]
        assert device.key.attributes["LOCAL"]
        assert device.key.attributes["NEVER_EXTRACTABLE"]


def test_a_six_level_hierarchy_is_signed_and_provisioned(lab: Lab, tmp_path: Path) -> None:
    """Company, region, product, plant, line, station: the document's deep hierarchy."""
    ca = company = lab.custodian("Company-X").create_root_ca()
    for level in ("Region", "Product", "Plant", "Line", "Station"):
        ca = ca.sign_intermediate(lab.custodian(level))
    widget = ca.make_device("deep")
    assert len(ca.chain) == 6
    assert holds(widget) == ["Station CA", "Line CA", "Plant CA", "Product CA", "Region CA"]
    assert openssl_verify(tmp_path, widget.chain, [company.certificate], lab.clock.now()) == ""
    enroll(lab, company)
    assert widget.provision().device_id == "deep"


# ---- twice, and where it ends


def test_to_inject_twice_is_harmless_and_said(hands: Story) -> None:
    lab, widget = hands.lab, hands.technician.make_device("w", inject="own")
    hands.factory.inject(widget)
    hands.factory.inject("w")
    hands.technician.inject(widget)
    assert holds(widget) == ["Technician-Z CA", "Factory-Y CA"]
    assert len(put_in(lab, widget)) == 3
    assert said(lab, "supply chain", "CN=Factory-Y CA was in w already")


def test_the_root_need_not_be_in_the_device(hands: Story) -> None:
    """Who judges the chain has the root, or does not trust it: to send it proves nothing."""
    before = holds(hands.widget)
    hands.company.inject(hands.widget)
    assert holds(hands.widget) == before
    root_made = hands.company.make_device("r", inject="own")
    assert holds(root_made) == []


def test_a_ca_that_is_not_on_the_devices_path_is_refused(hands: Story) -> None:
    """Neither a stranger nor a sister may put something in; nothing is recorded of it."""
    lab = hands.lab
    widget = hands.factory.make_device("w")
    stranger = lab.custodian("Mallory").create_root_ca()
    for ca in (stranger, hands.technician):
        with refused(LabError, "did not sign w", "CN=w, CN=Factory-Y CA, CN=Company-X Root CA"):
            ca.inject(widget)
    assert holds(widget) == ["Factory-Y CA"]
    assert put_in(lab, widget) == ["Factory-Y put in CN=w", "Factory-Y put in CN=Factory-Y CA"]


def test_a_device_that_was_made_otherwise_is_a_conflict(hands: Story) -> None:
    hands.technician.make_device("w", inject="own")
    hands.technician.make_device("w", inject="own")
    with refused(Conflict, "CN=Technician-Z CA, CN=Factory-Y CA", "lab.device('w')"):
        hands.technician.make_device("w")
    with refused(Conflict, "a P-384 key", "a P-256 key"):
        hands.technician.make_device("w", inject="own", algorithm="P-384")


def test_what_cannot_be_injected_is_told_before_a_key_is_made(hands: Story) -> None:
    with refused(LabError, "'half'", "'all' or 'own' or 'none'"):
        hands.technician.make_device("w", inject="half")  # type: ignore[arg-type]
    with refused(TokenError, "'Ed25519'"):
        hands.technician.make_device("w", algorithm="Ed25519")
    assert "w" not in hands.lab._supply_chain.tokens.labels


def test_what_was_injected_is_there_after_reopening(tmp_path: Path) -> None:
    """On record and in flash; also where a crash came between the two."""
    with open_lab(tmp_path / "lab") as lab:
        story = supply_chain(lab)
        widget = story.technician.make_device("w", inject="own")
        story.factory.inject(widget)
        made = widget.chain
        widget.install_chain(made[:2])  # as if it had been cut off before the flash was written
    with open_lab(tmp_path / "lab") as lab:
        assert lab.issued_chain("w") == made
        lab.custodian("Factory-Y").authorities()[0].inject("w")
        assert lab.device("w").chain == made
        assert len(lab.ledger().injections("w")) == 3


def test_a_certificate_of_the_trainees_own_stays_behind_the_path(hands: Story) -> None:
    """Injection puts one certificate in; it takes none out that somebody else had put there."""
    widget = hands.technician.make_device("w", inject="none")
    stranger = hands.lab.custodian("Mallory").create_root_ca().certificate
    widget.install_chain([widget.certificate, stranger])
    hands.technician.inject(widget)
    assert holds(widget) == ["Technician-Z CA", "Mallory Root CA"]
