"""Lesson 08: one entry for one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography import x509

from labkit import ids
from labkit.cloud.dps.entries import CLIENT, InitialTwin, X509Attestation
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.scenarios.parts import came_with, only_ca, verify
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

PROTOTYPE, WIDGET, SECOND = "smart-x-prototype-001", "smart-x-widget-001", "smart-x-widget-002"
DESK, NINTH = "desk-3", "smart-x-prototype-009"
GROUP = "smart-x-widgets"


def _by(*certificates: x509.Certificate) -> X509Attestation:
    return X509Attestation(CLIENT, *certificates)


def _make_the_prototype(lab: Lab) -> None:
    lab.self_signed_device(PROTOTYPE)


def _ask_without_an_entry(lab: Lab) -> None:
    lab.device(PROTOTYPE).provision()


def _enroll_the_prototype(lab: Lab) -> None:
    certificate = lab.device(PROTOTYPE).certificate
    twin = InitialTwin(tags={"room": "workshop"}, desired={"interval": 60})
    lab.dps.enrollments.create(
        PROTOTYPE, certificate=certificate, device_id=DESK, initial_twin=twin
    )


def _provision_the_prototype(lab: Lab) -> None:
    lab.device(PROTOTYPE).provision()


def _put_the_spare_beside(lab: Lab) -> None:
    entry, spare = lab.dps.enrollments.get(PROTOTYPE), lab.spare_certificate(PROTOTYPE)
    both = _by(lab.device(PROTOTYPE).certificate, spare)
    lab.dps.enrollments.update(replace(entry, attestation=both))


def _change_to_the_spare(lab: Lab) -> None:
    prototype = lab.device(PROTOTYPE)
    prototype.install_chain([lab.spare_certificate(PROTOTYPE)])
    prototype.provision()


def _enroll_a_widget_of_the_line(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    widget = factory.make_device(WIDGET)
    lab.dps.enrollments.create(WIDGET, certificate=widget.certificate)
    widget.provision()


def _verify_the_company(lab: Lab) -> None:
    verify(lab, "company-x", only_ca(lab, "Company-X"))
    lab.device(WIDGET).provision()


def _disable_beside_a_group(lab: Lab) -> None:
    lab.dps.enrollment_groups.create(GROUP, signing=only_ca(lab, "Factory-Y").certificate)
    lab.dps.enrollments.disable(WIDGET)
    lab.device(WIDGET).provision()


def _delete_the_entry(lab: Lab) -> None:
    lab.dps.enrollments.delete(WIDGET)
    lab.device(WIDGET).provision()


def _put_the_root_in(lab: Lab) -> None:
    second = only_ca(lab, "Factory-Y").make_device(SECOND)
    lab.dps.enrollments.create(SECOND, certificate=only_ca(lab, "Company-X").certificate)
    second.provision()


def _put_its_own_in(lab: Lab) -> None:
    entry, second = lab.dps.enrollments.get(SECOND), lab.device(SECOND)
    lab.dps.enrollments.update(replace(entry, attestation=_by(second.certificate)))
    second.provision()


def _ask_under_another_name(lab: Lab) -> None:
    lab.device(PROTOTYPE).provision(registration_id=DESK)


def _ask_under_its_own_name(lab: Lab) -> None:
    lab.device(PROTOTYPE).provision(registration_id=PROTOTYPE.upper())


STORY = Scenario(
    name="individual-enrollment",
    title="One entry for one device",
    introduction="A prototype on a desk, and no CA far and wide. How can the cloud know it? Press "
    "**Next**.",
    steps=(
        Step(
            "A prototype signs for itself",
            "No company has signed it, and no CA. It makes a key in its token, and signs its own "
            "certificate with it: the certificate is **self-signed**.",
            _make_the_prototype,
            look_at=(f"device {PROTOTYPE}",),
        ),
        Step(
            "Nobody knows it",
            "It proves that the key is its own. But anybody can sign a certificate for "
            "themselves, with any name in it. Nobody vouches for this one.",
            _ask_without_an_entry,
            predict=Prediction(
                "Its certificate is valid, and it has the key. Does DPS admit it?",
                ("yes", "no"),
                "no",
                "It has shown that it holds a key. Nobody has told DPS whose key that is.",
            ),
            look_at=(f"device {PROTOTYPE}",),
        ),
        Step(
            "One entry for one device",
            "An **individual enrollment** holds the device's **own** certificate. It also says "
            f"what the device shall be called in the hub (**{DESK}**), and what its **twin**, the "
            "hub's notes on the device, begins with.",
            _enroll_the_prototype,
            predict=Prediction(
                "The entry holds the prototype's certificate. What has to be proven before DPS "
                "uses it?",
                ("possession of a CA", "nothing"),
                "nothing",
                "You say: this very certificate. The device proves its key at each connection.",
            ),
            look_at=(f"enrollment {PROTOTYPE}",),
        ),
        Step(
            "It is assigned",
            "The certificate that it sent is the one in the entry: that is all the trust that is "
            f"needed. The hub knows it as **{DESK}**, its **device ID**. To DPS it stays "
            f"**{PROTOTYPE}**, its registration ID.",
            _provision_the_prototype,
            look_at=(f"enrollment {PROTOTYPE}", f"identity contoso-hub/{DESK}"),
        ),
        Step(
            "A second certificate, in time",
            "Each certificate ends one day. So the prototype has signed a second one, and the "
            "entry has room for two: the **primary** and the **secondary**. The device still "
            "sends the first.",
            _put_the_spare_beside,
            look_at=(f"enrollment {PROTOTYPE}",),
        ),
        Step(
            "Either one will do",
            "The prototype sends its second certificate now, and is assigned as before. One of "
            "the two can be replaced while the other works: nobody is shut out.",
            _change_to_the_spare,
            predict=Prediction(
                "The prototype changes to its second certificate. Somebody has to tell DPS...",
                ("at that very moment", "nothing more", "the day after"),
                "nothing more",
                "Both are in the entry: primary and secondary have the same rights.",
            ),
            look_at=(f"device {PROTOTYPE}", f"enrollment {PROTOTYPE}"),
        ),
        Step(
            "A widget with a CA behind it",
            "**Factory-Y** has signed this widget, and its own certificate is in an entry, too. "
            "Refused: what a CA has signed must lead to a CA that DPS trusts, entry or not. "
            "Nobody has uploaded one.",
            _enroll_a_widget_of_the_line,
            predict=Prediction(
                "A widget that Factory-Y has signed. Its own certificate is in its entry. Is "
                "that enough?",
                ("yes, as for the prototype", "no"),
                "no",
                "Only a self-signed certificate needs no CA. This one names an issuer.",
            ),
            look_at=(f"device {WIDGET}", f"enrollment {WIDGET}"),
        ),
        Step(
            "The chain ends in a verified CA",
            "Company-X uploads its root and proves possession of it. Now the chain leads to "
            "something that DPS trusts, **and** the entry names the device: it is assigned.",
            _verify_the_company,
            look_at=("entry company-x", f"device {WIDGET}"),
        ),
        Step(
            "Disabled, beside a group",
            "A **group** admits all that Factory-Y has signed, this widget as well. Then its own "
            "entry is **disabled**. DPS looks for an entry from the device's certificate upwards, "
            "and the first one decides. It says no.",
            _disable_beside_a_group,
            predict=Prediction(
                "The widget's own entry is disabled. A group admits all of Factory-Y's devices. "
                "What happens?",
                ("the group admits it", "it is refused"),
                "it is refused",
                "The nearest entry decides, and a disabled one decides, too.",
            ),
            look_at=(f"enrollment {WIDGET}", f"group {GROUP}"),
        ),
        Step(
            "Deleted is not disabled",
            "Without an entry of its own, the widget is one of many. The group is the first entry "
            "on the way up, and admits it. To keep a device **out**, disable its entry. Do not "
            "delete it.",
            _delete_the_entry,
            predict=Prediction(
                "Somebody tidies up and deletes the disabled entry. What happens?",
                ("it stays shut out", "the group admits it"),
                "the group admits it",
                "The entry that said no is gone; the next one on the way up says yes.",
            ),
            look_at=(f"group {GROUP}", f"device {WIDGET}"),
        ),
        Step(
            "Break it: the root in the entry",
            "Somebody makes an entry for a second widget, and puts **Company-X's root** in: it is "
            "verified, after all. DPS takes the entry. The widget is refused: the entry has to "
            "name the device's **own** certificate. The root belongs into a group.",
            _put_the_root_in,
            predict=Prediction(
                "An individual enrollment with Company-X's root in it. When does anybody notice?",
                ("when it is made", "when the device comes"),
                "when the device comes",
                "DPS takes any certificate here: a device may call itself a CA, for all it knows.",
            ),
            look_at=(f"enrollment {SECOND}", f"device {SECOND}"),
        ),
        Step(
            "The cure",
            "The entry is changed, and not made anew: the device's own certificate in place of "
            "the root. The chain still leads to Company-X, which is verified.",
            _put_its_own_in,
            look_at=(f"enrollment {SECOND}",),
        ),
        Step(
            "Break it: another name",
            f"The prototype's firmware says **{DESK}**, as the hub does, in place of its "
            "registration ID. Its certificate says something else, and the certificate counts: "
            "the **registration ID** has to be its CN.",
            _ask_under_another_name,
            predict=Prediction(
                f"The hub calls it {DESK}. The firmware asks DPS under that name. What happens?",
                ("it is assigned as before", "it is refused"),
                "it is refused",
                "DPS knows it by its registration ID, and that is the CN of its certificate.",
            ),
            look_at=(f"device {PROTOTYPE}", f"enrollment {PROTOTYPE}"),
        ),
        Step(
            "The cure",
            f"It asks as **{PROTOTYPE.upper()}**. To DPS upper and lower case are one: that **is** "
            "its CN. The hub is stricter: there the device ID is taken letter by letter.",
            _ask_under_its_own_name,
            look_at=(f"device {PROTOTYPE}", f"identity contoso-hub/{DESK}"),
        ),
    ),
)


def _named(lab: Lab) -> tuple[x509.Certificate, ...]:
    """The certificates in the exercise's entry."""
    attestation = lab.dps.enrollments.get(NINTH).attestation
    return attestation.certificates if isinstance(attestation, X509Attestation) else ()


def _names_both(lab: Lab, device: Device) -> bool:
    primary, secondary = _named(lab)
    own = device.key.public_key()
    return (
        primary == lab.issued_chain(NINTH)[0] != secondary
        and chain.is_self_signed(secondary)
        and secondary.public_key() == own
    )


def two_certificates(lab: Lab, answer: Any) -> Iterator[Case]:
    """A device that changes from its primary certificate to its secondary one, in operation."""
    yield Case(
        f"it is a device, named {NINTH}",
        lambda: answer.provision and ids.same(answer.name, NINTH),
        "assign what lab.self_signed_device(...) returns",
    )
    yield Case(
        "it has signed its own certificate, with a key that cannot leave its token",
        lambda: (
            chain.is_self_signed(answer.certificate) and answer.key.attributes["NEVER_EXTRACTABLE"]
        ),
        "section 1 made such a device: no CA is needed",
    )
    yield Case(
        "its enrollment names both of its certificates, the first one as primary",
        lambda: _names_both(lab, answer),
        "section 4 made an entry with two; lab.issued_chain(name)[0] is a device's first one",
    )
    yield Case(
        "it is called desk-9 in the hub",
        lambda: lab.dps.registrations.get(NINTH).device_id == "desk-9",
        "the entry says so, before the device asks for the first time: see section 2",
    )
    yield Case(
        "its twin began with the room attic, and an interval of 30",
        lambda: (
            lab.hub().twin("desk-9").tags == {"room": "attic"}
            and lab.hub().twin("desk-9").desired == {"interval": 30}
        ),
        "room is a tag, interval a desired property; both are in the entry when the device asks",
    )
    yield Case(
        "DPS has seen its primary certificate",
        lambda: came_with(lab, "dps", NINTH, _named(lab)[0]),
        "it asks DPS before it changes, and need not ask again afterwards",
    )
    yield Case(
        "the hub has seen its secondary one, and has a message from it",
        lambda: (
            came_with(lab, lab.hub().name, "desk-9", _named(lab)[1])
            and lab.hub().messages("desk-9")
        ),
        "install the spare, as section 4 did, then connect anew and send something",
    )
