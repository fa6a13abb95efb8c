"""Lesson 05: the supply chain, from hand to hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cryptography import x509

from labkit.device import Device
from labkit.lab import Lab
from labkit.supplychain import CertificateAuthority
from labkit.supplychain.terms import path_length
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

WHOLE, IN_PARTS, BY_FACTORY = (f"smart-x-widget-00{number}" for number in (1, 2, 3))
DEEP, FORGOTTEN, CARRIED = "smart-x-widget-004", "smart-x-widget-005", "smart-x-widget-101"
LEVELS = ("Region-Europe", "Product-Widgets", "Plant-North", "Line-7")


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    return lab.custodian(custodian).authorities()[0]


def _sign_the_chain(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    factory.sign_intermediate(lab.custodian("Technician-Z"))


def _tell_the_cloud(lab: Lab) -> None:
    company = _ca(lab, "Company-X")
    ca = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)


def _last_ca_injects_all(lab: Lab) -> None:
    _ca(lab, "Technician-Z").make_device(WHOLE).provision()


def _factory_makes_one(lab: Lab) -> None:
    _ca(lab, "Factory-Y").make_device(BY_FACTORY).provision()


def _each_injects_its_part(lab: Lab) -> None:
    technician, factory = _ca(lab, "Technician-Z"), _ca(lab, "Factory-Y")
    widget = technician.make_device(IN_PARTS, inject="none")
    technician.inject(widget)
    factory.inject(widget).provision()


def _factory_forgets(lab: Lab) -> None:
    _ca(lab, "Technician-Z").make_device(FORGOTTEN, inject="own").provision()


def _factory_injects(lab: Lab) -> None:
    _ca(lab, "Factory-Y").inject(FORGOTTEN).provision()


def _carry_a_key(lab: Lab) -> None:
    consignment = _ca(lab, "Company-X").pregenerate([CARRIED])
    for partner in ("Factory-Y", "Technician-Z"):
        consignment.carry(lab.custodian(partner))
    consignment.install()


def _impersonate(lab: Lab) -> None:
    lab.impersonate(CARRIED, by="Factory-Y").provision()


def _six_levels(lab: Lab) -> None:
    ca = _ca(lab, "Company-X")
    for level in LEVELS:
        ca = ca.sign_intermediate(lab.custodian(level))
    ca.make_device(DEEP).provision()


STORY = Scenario(
    name="supply-chain",
    title="From hand to hand",
    introduction="Company-X designs the widget, Factory-Y builds it, Technician-Z installs it. "
    "Who signs what, and who puts what into the device? Press **Next**.",
    steps=(
        Step(
            "Requests go up, certificates come down",
            "Factory-Y made a key in its token and sent Company-X a **request**. A **certificate** "
            "came back. Technician-Z did the same with Factory-Y. The event log shows each "
            "hand-off: in none of them is a private key.",
            _sign_the_chain,
            look_at=("ca Factory-Y/Factory-Y CA", "ca Technician-Z/Technician-Z CA"),
        ),
        Step(
            "The cloud is told once",
            "Company-X uploads its root CA, proves possession, and makes one enrollment group. "
            "This is all that DPS hears of the supply chain before a device comes.",
            _tell_the_cloud,
            look_at=("entry company-x", "group smart-x-widgets"),
        ),
        Step(
            "The last CA injects the whole chain",
            "Technician-Z signs a widget and puts in everything behind its certificate: its own "
            "CA certificate **and** Factory-Y's, which it got when it was signed itself. The "
            "widget sends all three, and DPS admits it.",
            _last_ca_injects_all,
            look_at=(f"device {WHOLE}",),
        ),
        Step(
            "Factory-Y signs a widget itself",
            "A CA that signs another CA may sign devices, too. This widget never meets "
            "Technician-Z: its chain is shorter, and the same enrollment group admits it.",
            _factory_makes_one,
            predict=Prediction(
                "Factory-Y signs a widget without Technician-Z. How many certificates will that "
                "widget send?",
                ("one", "two", "three"),
                "two",
                "Its own and Factory-Y's. DPS has the next one, Company-X's.",
            ),
            look_at=(f"device {BY_FACTORY}",),
        ),
        Step(
            "Each CA injects its part",
            "Technician-Z signs a widget and puts in its own CA certificate, no more. Then the "
            "widget passes through Factory-Y's hands, and Factory-Y puts in the other. Whoever "
            "came first: in the device they stand in the order of the chain.",
            _each_injects_its_part,
            look_at=(f"device {IN_PARTS}",),
        ),
        Step(
            "One CA forgot its part",
            "Technician-Z put its certificate in. Factory-Y did not. The widget has a good "
            "certificate and **half a chain**, and all it learns is `401`.",
            _factory_forgets,
            predict=Prediction(
                "A widget has its own certificate and Technician-Z's; Factory-Y's was forgotten. "
                "DPS trusts Company-X. What will DPS say?",
                ("assigned: most of the chain is there", "refused: a link is missing"),
                "refused: a link is missing",
                "Nothing leads from Technician-Z's certificate to Company-X's.",
            ),
            look_at=(f"device {FORGOTTEN}", "ca Factory-Y/Factory-Y CA"),
        ),
        Step(
            "The cure: inject what was forgotten",
            "Factory-Y puts its certificate in, and DPS can follow the chain. No key was touched "
            "and nothing was signed again: what was missing is **public**.",
            _factory_injects,
            look_at=(f"device {FORGOTTEN}",),
        ),
        Step(
            "The other way: keys that are carried",
            "Company-X makes the key of a widget in its **own** token. Factory-Y gets a copy, "
            "Technician-Z gets one, and the last copy goes into the widget. Four tokens have that "
            "key now, and nobody can prove that they gave theirs away.",
            _carry_a_key,
            predict=Prediction(
                "Company-X makes a widget's key, Factory-Y carries it to Technician-Z, who puts "
                "it into the widget. Who can pretend to be that widget afterwards?",
                (
                    "nobody",
                    "Technician-Z, who had it last",
                    "all three of them",
                ),
                "all three of them",
                "To hand on a key is to copy it. Each of the three still has one.",
            ),
            look_at=(f"device {CARRIED}",),
        ),
        Step(
            "Factory-Y speaks as the widget",
            "The widget is still in its box. Factory-Y uses its copy of the key, says that it is "
            f"`{CARRIED}`, and DPS **assigns** it. The event log here names Factory-Y, because "
            "the lab sees both sides. In DPS there is no trace of it.",
            _impersonate,
            predict=Prediction(
                "Factory-Y asks DPS for a hub in that widget's name, with its copy of the key. "
                "Will DPS notice?",
                ("yes: the copy differs", "yes: it is not the first copy", "no"),
                "no",
                "A copy of a key makes the same signatures. That is why a key must not be copied.",
            ),
            look_at=(f"identity contoso-hub/{CARRIED}",),
        ),
        Step(
            "Six levels",
            "Company-X signs a region, the region a product, the product a plant, the plant a "
            "line, and the line a widget. Six levels, and the widget sends five certificates. DPS "
            "was told **nothing** new.",
            _six_levels,
            predict=Prediction(
                "Company-X, region, product, plant and line: which of these five CAs must DPS "
                "know?",
                ("all five", "the line's, which signed the widget", "Company-X's alone"),
                "Company-X's alone",
                "One end of the chain must be known. The widget sends the rest.",
            ),
            look_at=(f"device {DEEP}", "ca Line-7/Line-7 CA"),
        ),
    ),
)


def _path(lab: Lab, device: Device) -> Sequence[x509.Certificate]:
    """The CAs above a device, from the root down."""
    return lab.ledger().chain_of(device)[:0:-1]


def _lengths(lab: Lab, device: Device) -> list[int | None]:
    return [path_length(ca) for ca in _path(lab, device)[1:]]


def _signer(lab: Lab, device: Device) -> str:
    injected = lab.ledger().injections(device)
    return injected[0].custodian


def own_line(lab: Lab, answer: Any) -> Iterator[Case]:
    """A line of one's own: its CAs may go as deep as they need to, and no deeper."""
    yield Case(
        "these are two devices",
        lambda: (
            len({device.name for device in answer}) == 2
            and all(device.provision for device in answer)
        ),
        "hand in a list of two: [first, second]",
    )
    yield Case(
        "the first stands below a region, a product and a line",
        lambda: len(_path(lab, answer[0])) == 4,
        "Company-X signs the region, the region the product, the product the line; and the line?",
    )
    yield Case(
        "they all begin at the root that DPS knows",
        lambda: all(_path(lab, device)[0] == _registered(lab) for device in answer),
        "begin with company: its root is the CA certificate that DPS has verified",
    )
    yield Case(
        "below the line there is room for devices only",
        lambda: _lengths(lab, answer[0])[-1] == 0,
        "a path length counts the CAs that may follow: how many may follow below the line? "
        "(It cannot be changed: take new names)",
    )
    yield Case(
        "each CA above has room for just the CAs that follow",
        lambda: _lengths(lab, answer[0]) == [2, 1, 0],
        "count from the line upwards: below the product there is one CA, below the region ...",
    )
    yield Case(
        "the second was signed by other hands",
        lambda: _signer(lab, answer[1]) != _signer(lab, answer[0]),
        "any of your CAs may sign a device, not only the one at the end",
    )
    yield Case(
        "each has a key that was born in a token of its own",
        lambda: all(device.key.attributes["NEVER_EXTRACTABLE"] for device in answer),
        "make_device sees to that; pregenerate does not",
    )
    yield Case(
        "DPS assigned both",
        lambda: all(
            lab.dps.registrations.get(device.name).status == "assigned" for device in answer
        ),
        "let both ask DPS for their hub",
    )
    yield Case(
        "and DPS knows no more CAs than before",
        lambda: len(list(lab.dps.certificates)) == 1,
        "the root that is there suffices: upload none of the new CAs",
    )


def _registered(lab: Lab) -> x509.Certificate:
    return lab.dps.certificates.get("company-x").certificate
