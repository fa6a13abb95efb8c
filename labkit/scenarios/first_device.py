"""Lesson 01: the first device."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from labkit import ids
from labkit.cloud.dps.enrollment_groups import EnrollmentGroup
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki.authority import SKEW
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

FIRST, SECOND = "smart-x-widget-001", "smart-x-widget-002"


def _sign_the_chain(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    factory.sign_intermediate(lab.custodian("Technician-Z"))


def _make_the_widget(lab: Lab) -> None:
    (technician,) = lab.custodian("Technician-Z").authorities()
    technician.make_device(FIRST)


def _upload(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    lab.dps.certificates.upload("company-x", company.certificate)


def _prove(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    ca = lab.dps.certificates.get("company-x")
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))


def _enroll(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)


def _provision(lab: Lab) -> None:
    lab.device(FIRST).provision()


def _send(lab: Lab) -> None:
    lab.device(FIRST).connect().send({"temperature": 21.5})


def _cut_the_chain(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.disconnect()
    widget.install_chain([widget.certificate])


def _mend_the_chain(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.install_chain(lab.issued_chain(FIRST))
    widget.provision()


STORY = Scenario(
    name="first-device",
    title="The first device",
    introduction="Three parties, one device and a cloud that knows nobody yet. Press **Next**.",
    steps=(
        Step(
            "Three parties sign one another",
            "**Company-X** makes a root CA (a certificate authority) and signs **Factory-Y**'s "
            "certificate. Factory-Y signs **Technician-Z**'s. Each private key was born in its "
            "owner's token and stays there: only requests and certificates travel.",
            _sign_the_chain,
            look_at=("ca Company-X/Company-X Root CA",),
        ),
        Step(
            "A device is made",
            "The widget makes its key in a token of its own. Technician-Z signs its request. "
            "The name becomes the **common name** (CN), and later the **registration ID**.",
            _make_the_widget,
            predict=Prediction(
                "Technician-Z will sign the widget. How many private keys exist then?",
                ("one, which they share", "three", "four"),
                "four",
                "Each of the three has one, and the widget makes its own.",
            ),
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "Company-X uploads its certificate",
            "DPS has the certificate now, and does **not** trust it. A certificate is public: "
            "anybody could have uploaded it.",
            _upload,
            look_at=("entry company-x",),
        ),
        Step(
            "Company-X proves that it is its own",
            "DPS hands out a random **verification code**. Company-X signs a certificate with that "
            "code as its CN. Only the holder of the private key can: this is **proof of "
            "possession**. From now on chains may end here.",
            _prove,
            predict=Prediction(
                "What must Company-X show to make DPS trust the certificate?",
                ("its private key", "something signed with its private key", "its password"),
                "something signed with its private key",
                "The key itself never leaves the token; a signature over a fresh code is proof.",
            ),
            look_at=("entry company-x", "ca Company-X/Company-X Root CA"),
        ),
        Step(
            "One entry for all devices",
            "An **enrollment group** says: admit every device whose chain holds this CA "
            "certificate. One entry, any number of devices.",
            _enroll,
            look_at=("group smart-x-widgets",),
        ),
        Step(
            "The widget introduces itself",
            "With Microsoft's own SDK it opens an encrypted connection (**TLS**) to DPS and speaks "
            "**MQTT** in it. It **sends** its certificate and the two intermediates, and signs "
            "with its key that they are its own. DPS follows the chain to Company-X and assigns a "
            "hub.",
            _provision,
            predict=Prediction(
                "Which certificates does the widget have to send?",
                ("only its own", "its own and the intermediates", "all, the root too"),
                "its own and the intermediates",
                "DPS has the root already. What it does not have, the device has to send.",
            ),
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "Its first message",
            "The hub knows the widget by the **thumbprint** of its certificate: a number that is "
            "computed from all of it. The widget connects and sends telemetry.",
            _send,
            look_at=(f"identity contoso-hub/{FIRST}",),
        ),
        Step(
            "Break it: an update cuts the chain",
            "A firmware update replaces the certificate file. Whoever made it put only the "
            "device's **own** certificate in. Certificate and key are as good as before.",
            _cut_the_chain,
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "Refused",
            "The SDK hands on `401` and no more. DPS was shown the widget's certificate and has "
            "Company-X's. What is in between was not sent, and DPS keeps nothing of an earlier "
            "visit: it cannot follow the chain. Nobody looks up missing certificates.",
            _provision,
            predict=Prediction(
                "The widget asks DPS again, sending its own certificate alone. What happens?",
                ("it is assigned as before", "it is refused"),
                "it is refused",
                "The link between its certificate and the root is missing.",
            ),
            look_at=("ca Technician-Z/Technician-Z CA",),
        ),
        Step(
            "The cure",
            "The device holds the **whole chain** again: its own certificate first, then its "
            "issuers. DPS can follow it up to a CA that is verified, and assigns the widget.",
            _mend_the_chain,
            look_at=(f"device {FIRST}",),
        ),
    ),
)


def _group(lab: Lab, device: Device) -> EnrollmentGroup:
    return lab.dps.enrollment_groups.get(lab.dps.registrations.get(device.name).group_id)


def _made(device: Device) -> datetime:
    """When it was made, to the second: certificates are backdated a little."""
    return device.certificate.not_valid_before_utc + SKEW + timedelta(seconds=1)


def second_widget(lab: Lab, answer: Any) -> Iterator[Case]:
    """A second device from the same line: nothing new has to be registered for it."""
    yield Case(
        "it is a device",
        lambda: answer.key.token.label and answer.provision,
        "assign what Technician-Z makes, as section 2 did with the first widget",
    )
    yield Case(
        f"it is named {SECOND}",
        lambda: ids.same(answer.name, SECOND),
        "the name is what you give to make_device",
    )
    yield Case(
        "its key was born in a token of its own and cannot leave it",
        lambda: (
            ids.same(answer.key.token.label, SECOND) and answer.key.attributes["NEVER_EXTRACTABLE"]
        ),
        "make_device sees to that: do not build the device by hand",
    )
    yield Case(
        "DPS assigned it to a hub",
        lambda: lab.dps.registrations.get(answer.name).status == "assigned",
        "let it ask DPS, as section 5 did",
    )
    yield Case(
        "the hub has a message from it",
        lambda: lab.hub().messages(answer.name),
        "let it connect and send something",
    )
    yield Case(
        "no enrollment group was made for it",
        lambda: _group(lab, answer).created <= _made(answer),
        "one verified CA and one group serve every device below it: add none",
    )
