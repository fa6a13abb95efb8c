"""Lesson 12: a device's certificate gets old, or gets lost: the next one, without a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography import x509

from labkit.cloud.dps.entries import CLIENT, X509Attestation
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.scenarios.parts import came_with, named, only_ca, start, verify
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
FIRST, CARELESS, NEXT = (f"smart-x-widget-00{number}" for number in (1, 2, 3))
FLEET = tuple(f"smart-x-widget-01{number}" for number in (1, 2, 3))
TO_UPDATE, TO_MISNAME = FLEET[2], FLEET[1]
WRONG_NAME = f"{TO_MISNAME}-2028"
GROUP, THIEF = "technician-z", "Mallory"


def _name_in_entry(lab: Lab, device: str, *certificates: x509.Certificate) -> None:
    """Puts these into the device's enrollment: the primary one, and the secondary."""
    entry, by = lab.dps.enrollments.get(device), X509Attestation(CLIENT, *certificates)
    lab.dps.enrollments.update(replace(entry, attestation=by))


def _get_ready(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    factory = company.sign_intermediate(lab.custodian(FACTORY))
    technician = factory.sign_intermediate(lab.custodian(TECHNICIAN))
    lab.custodian(COMPANY).update_signer()  # before there are devices: they know it from birth
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(GROUP, signing=technician.certificate)
    for name in FLEET:
        start(technician.make_device(name))
    first = factory.make_device(FIRST)
    lab.dps.enrollments.create(FIRST, certificate=first.certificate)
    start(first)
    first.send({"temperature": 21.5})


def _renew(lab: Lab) -> None:
    lab.clock.advance(days=335)
    lab.device(FIRST).renew(only_ca(lab, FACTORY))


def _come_back(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.disconnect()
    widget.connect()


def _ask_dps(lab: Lab) -> None:
    lab.device(FIRST).provision()


def _put_it_beside(lab: Lab) -> None:
    widget = lab.device(FIRST)
    _name_in_entry(lab, FIRST, lab.issued_chain(FIRST)[0], widget.certificate)
    start(widget)
    widget.send({"temperature": 21.6})


def _renew_the_fleet(lab: Lab) -> None:
    fleet = [lab.device(name) for name in FLEET]
    for device in fleet:
        device.firmware.issuer = only_ca(lab, TECHNICIAN)
    lab.hub().jobs.invoke_method("STARTSWITH(deviceId, 'smart-x-widget-01')", "renew")
    for device in lab.work.each(fleet, "renewing certificates"):
        device.firmware.run()


def _send_an_update(lab: Lab) -> None:
    signer, device = lab.custodian(COMPANY).update_signer(), lab.device(TO_UPDATE)
    package = signer.renew(only_ca(lab, TECHNICIAN), device)
    lab.hub().invoke(TO_UPDATE, "installUpdate", package.to_json())
    device.firmware.run()


def _send_it_to_another(lab: Lab) -> None:
    (package,) = lab.custodian(COMPANY).update_signer().packages(TO_UPDATE)
    lab.device(TO_MISNAME).install_update(package)


def _renew_under_another_name(lab: Lab) -> None:
    device = lab.device(TO_MISNAME)
    device.renew(only_ca(lab, TECHNICIAN), common_name=WRONG_NAME)
    start(device)


def _renew_under_its_own_name(lab: Lab) -> None:
    device = lab.device(TO_MISNAME)
    device.renew(only_ca(lab, TECHNICIAN), common_name=TO_MISNAME)
    start(device)
    lab.dps.registrations.delete(WRONG_NAME)
    lab.hub().devices.delete(WRONG_NAME)


def _let_it_expire(lab: Lab) -> None:
    lab.clock.advance(days=65)
    _come_back(lab)


def _rotate(lab: Lab) -> None:
    lab.clock.advance(days=270)
    widget = lab.device(FIRST)
    made = only_ca(lab, FACTORY).issue(widget.request_certificate())
    _name_in_entry(lab, FIRST, made[0], widget.certificate)
    widget.accept_certificate(made)
    start(widget)
    widget.send({"temperature": 21.7})


def _steal(lab: Lab) -> None:
    widget = only_ca(lab, FACTORY).make_device(CARELESS, key_in_file=True)
    lab.dps.enrollments.create(CARELESS, certificate=widget.certificate)
    widget.provision()
    thief = lab.attacker(THIEF)
    thief.steal(widget)
    thief.try_dps()
    thief.try_hub()


def _take_it_out_at_once(lab: Lab) -> None:
    widget, thief = lab.device(CARELESS), lab.attacker(THIEF)
    widget.renew(only_ca(lab, FACTORY))
    _name_in_entry(lab, CARELESS, widget.certificate)
    thief.try_dps()
    thief.try_hub()


def _let_the_hub_learn(lab: Lab) -> None:
    start(lab.device(CARELESS))
    lab.attacker(THIEF).try_hub()


STORY = Scenario(
    name="device-roll",
    title="Roll a device certificate",
    introduction="Widgets in the field, and certificates that get old. How does a device come to "
    "its next one, and who has to learn of it? Press **Next**.",
    steps=(
        Step(
            "Four widgets in the field",
            f"**{FIRST}** has an entry of its own, with its own certificate in it. The other three "
            "come through a **group**, which names Technician-Z's CA. All four are connected. "
            "Their certificates are good for a year.",
            _get_ready,
            look_at=(f"enrollment {FIRST}", f"group {GROUP}", f"device {FIRST}"),
        ),
        Step(
            "A new key, and a new certificate",
            "Eleven months later. The widget makes a **new key pair** in its token and sends a "
            "request (CSR). It signs that request with its **old** key as well, so that Factory-Y "
            "knows who asks. The certificate that comes back has the **same name**, and another "
            "year to live. The open connection stays as it is.",
            _renew,
            predict=Prediction(
                "The widget makes a new key pair. What does Factory-Y get to see of it?",
                ("both keys", "the private key", "the public key"),
                "the public key",
                "It is in the request. The private key stays in the token in which it was born.",
            ),
            look_at=(f"device {FIRST}", f"ca {FACTORY}/{FACTORY} CA"),
        ),
        Step(
            "Its hub knows another one",
            "The widget leaves, comes back with its new certificate, and is refused: **return code "
            "5**, not authorized. The hub holds the thumbprint of the **old** certificate. Nobody "
            "has told it of a new one.",
            _come_back,
            predict=Prediction(
                "Same name, same CA, and valid for a year. The widget connects anew. What happens?",
                ("it is let in", "it is refused"),
                "it is refused",
                "A hub compares thumbprints, and a new certificate has a new one.",
            ),
            look_at=(f"device {FIRST}", f"identity contoso-hub/{FIRST}"),
        ),
        Step(
            "So does DPS",
            "A widget that is refused by its hub asks DPS again. But its **entry** names the old "
            "certificate, too: `401`. For an individual enrollment it is not enough that a trusted "
            "CA has signed.",
            _ask_dps,
            predict=Prediction(
                "It asks DPS again. Its chain leads to Company-X, which is verified. What does DPS "
                "say?",
                ("it is assigned", "401"),
                "401",
                "The entry names one certificate, and that is not the one that was sent.",
            ),
            look_at=(f"device {FIRST}", f"enrollment {FIRST}"),
        ),
        Step(
            "Beside the old one",
            "The new certificate goes into the entry as the **secondary** one, and the old one "
            "stays. Now the widget is assigned, and **DPS tells the hub**: it has both "
            "thumbprints. The widget is in again.",
            _put_it_beside,
            look_at=(f"enrollment {FIRST}", f"identity contoso-hub/{FIRST}"),
        ),
        Step(
            "A fleet, and nobody is refused",
            "A **job** calls the method `renew` on the three others, and their **firmware** does "
            "the rest: a new key, a request, then DPS, then the hub, and only then is the old key "
            "destroyed. No entry was touched. The group names their **CA**, and that one has not "
            "changed.",
            _renew_the_fleet,
            predict=Prediction(
                "Three widgets of the group get new certificates. How much has to be changed in "
                "DPS?",
                ("nothing", "one entry", "three entries"),
                "nothing",
                "A group looks at who has signed. Only the hub has to learn, by way of DPS.",
            ),
            look_at=(f"group {GROUP}", *(f"device {name}" for name in FLEET)),
        ),
        Step(
            "The other way: over the air",
            f"Nobody asks **{TO_UPDATE}** this time. Technician-Z has **kept its last request**, "
            "and signs that once more: the same key, another certificate. Company-X packs it, and "
            "signs the **package** with a key that its widgets have known since manufacture. The "
            "hub carries it, and need not be trusted with it.",
            _send_an_update,
            predict=Prediction(
                "A certificate is made of a request that was kept. Which key is it for?",
                ("a new one", "the one that the widget has"),
                "the one that the widget has",
                "A request carries a public key. The same request is the same key again.",
            ),
            look_at=(f"device {TO_UPDATE}", f"identity contoso-hub/{TO_UPDATE}"),
        ),
        Step(
            "Break it: the neighbour's package",
            f"The same package is sent to **{TO_MISNAME}**. Its signature is good: Company-X has "
            "made it. But it says for **whom** it was made, and that is somebody else. The widget "
            "keeps what it has.",
            _send_it_to_another,
            predict=Prediction(
                "The package is sound and signed. Does the neighbour install it?",
                ("yes", "no"),
                "no",
                "A good signature says who has made it. It does not say that it is for you.",
            ),
            look_at=(f"device {TO_MISNAME}", f"device {TO_UPDATE}"),
        ),
        Step(
            "Break it: another name",
            "Somebody finds that a new certificate deserves a new name, with the year in it. "
            "**Nobody says no.** But the common name (CN) is the registration ID, and so DPS makes "
            "a **second record** and the hub a second identity. The first one stays behind, with "
            "the twin and all that was ever sent.",
            _renew_under_another_name,
            predict=Prediction(
                f"{TO_MISNAME} renews its certificate as {WRONG_NAME}. What does the hub see?",
                ("the widget, renamed", "the widget, as before", "a second device"),
                "a second device",
                "The CN is the registration ID. Another ID is another device.",
            ),
            look_at=(
                f"identity contoso-hub/{TO_MISNAME}",
                f"identity contoso-hub/{WRONG_NAME}",
                f"device {TO_MISNAME}",
            ),
        ),
        Step(
            "The cure",
            "The widget renews once more, under its **own** name, and is where it was: its "
            "identity has waited. What the other name has left is deleted, in DPS **and** in the "
            "hub.",
            _renew_under_its_own_name,
            look_at=(f"identity contoso-hub/{TO_MISNAME}", f"device {TO_MISNAME}"),
        ),
        Step(
            "The first one expires",
            f"It is April. The certificate that **{FIRST}** was made with has expired, and it is "
            "still the primary one in the entry. Nobody minds: the widget has long been using the "
            "secondary one.",
            _let_it_expire,
            predict=Prediction(
                "The primary certificate in the entry expires. What becomes of the widget?",
                ("it is cut off", "nothing"),
                "nothing",
                "Either of the two suffices, and the other one is valid.",
            ),
            look_at=(f"enrollment {FIRST}", f"device {FIRST}"),
        ),
        Step(
            "Back to primary, in the right order",
            "Before the secondary one gets old, the next is made, and takes the place of the "
            "**expired** one: primary, secondary, primary, for as long as the widget lives. This "
            "time the entry is changed **before** the widget shows anything. Nobody is refused.",
            _rotate,
            predict=Prediction(
                "This time the entry is told first, and then the widget changes. How often is it "
                "refused?",
                ("never", "once, by the hub", "twice"),
                "never",
                "It goes to DPS first. DPS takes it, and tells the hub before the widget comes.",
            ),
            look_at=(f"enrollment {FIRST}", f"identity contoso-hub/{FIRST}"),
        ),
        Step(
            "Not old, but stolen",
            f"**{CARELESS}** has its key in a **file**. {THIEF} has read its flash, and is the "
            "widget now, in DPS and in the hub. Of a key in a token there is nothing to copy.",
            _steal,
            look_at=(f"attacker {THIEF}", f"device {CARELESS}"),
        ),
        Step(
            "Out of the entry, at once",
            "No overlap now: the stolen certificate is **replaced**, and not kept beside the new "
            f"one, whose key was born in the token. DPS refuses {THIEF}. But look at the hub: they "
            "**get in**, as before.",
            _take_it_out_at_once,
            predict=Prediction(
                "The stolen certificate is out of the entry. Where does the thief still get in?",
                ("in DPS", "in the hub", "nowhere"),
                "in the hub",
                "The hub does not ask DPS. It has a thumbprint of its own.",
            ),
            look_at=(f"attacker {THIEF}", f"identity contoso-hub/{CARELESS}"),
        ),
        Step(
            "And out of the hub",
            "The widget provisions with its new certificate, to the same hub: DPS **replaces** the "
            "thumbprint there, and the thief is out. Where the widget cannot come yet, delete its "
            "identity in the hub. It is made anew when the widget provisions.",
            _let_the_hub_learn,
            look_at=(f"attacker {THIEF}", f"identity contoso-hub/{CARELESS}"),
        ),
    ),
)


# ---- the exercise


def without_a_gap(lab: Lab, answer: Any) -> Iterator[Case]:
    """A roll with an overlap, of a device with an entry of its own, that nobody ever refuses."""
    yield Case(
        f"it is {NEXT}",
        lambda: lab.device(answer.name).name == NEXT,
        f"assign the widget that the cell above has made: lab.device({NEXT!r})",
    )
    yield Case(
        "it has a new certificate in use, of the same name, by Factory-Y",
        lambda: _is_renewed(lab, answer),
        "section 1 rolls a certificate, and section 5 does it in two halves",
    )
    yield Case(
        "and a new key, which cannot leave its token",
        lambda: (
            answer.key.public_key() != lab.issued_chain(NEXT)[0].public_key()
            and answer.key.attributes["NEVER_EXTRACTABLE"]
        ),
        "a request that the widget makes is for a new key: widget.request_certificate()",
    )
    yield Case(
        "its entry names both: the old one as primary, the new one as secondary",
        lambda: (
            named(lab.dps.enrollments.get(NEXT)) == (lab.issued_chain(NEXT)[0], answer.certificate)
        ),
        "name_in_entry(...) of section 2 takes the primary one first",
    )
    yield Case(
        "DPS has seen the new one",
        lambda: came_with(lab, "dps", NEXT, answer.certificate),
        "the hub learns of it by DPS: let the widget provision before it connects anew",
    )
    yield Case(
        "the hub has seen it, and has a message from it",
        lambda: (
            came_with(lab, lab.hub().name, NEXT, answer.certificate) and lab.hub().messages(NEXT)
        ),
        "an open connection is still that of the old certificate: disconnect, connect, send",
    )
    yield Case(
        "and nobody has ever refused the widget",
        lambda: lab.cloud.refusals.last(NEXT) is None,
        "it was refused at least once, and the check remembers: run the lesson's second cell to "
        "begin anew, and think of the order",
    )


def _is_renewed(lab: Lab, device: Device) -> bool:
    now = device.certificate
    return (
        device.registration_id == NEXT
        and now != lab.issued_chain(NEXT)[0]
        and chain.signed_by(now, only_ca(lab, FACTORY).certificate)
    )
