"""Lesson 15: a device shall not come any more. Two doors, and each has a lock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud.dps.entries import (
    CLIENT,
    DISABLED,
    ENABLED,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.lab import Lab
from labkit.scenarios.papers import Papers
from labkit.scenarios.parts import only_ca, start, verify
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, TECHNICIAN = "Company-X", "Technician-Z"
ALONE = "smart-x-widget-001"
TO_DELETE, TO_RENEW = IN_A_HURRY = ONE, OTHER = "smart-x-widget-011", "smart-x-widget-012"
GROUP, BELOW, THIEF = "all-widgets", "technician-z", "Mallory"
DELIVERY = LEFT, TAKEN, RIGHT = tuple(f"smart-x-widget-02{number}" for number in (1, 2, 3))


def _block(lab: Lab, device: str) -> None:
    """A disabled entry with the certificate that the factory has put into the device."""
    own = lab.issued_chain(device)[0]
    lab.dps.enrollments.create(device, certificate=own, status=DISABLED)


def _build(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(TECHNICIAN))
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(GROUP, ca="company-x")
    alone = technician.make_device(ALONE)
    lab.dps.enrollments.create(ALONE, certificate=alone.certificate)
    start(alone)
    for name in IN_A_HURRY:
        start(technician.make_device(name, key_in_file=True))


def _disable_the_entry(lab: Lab) -> None:
    lab.dps.enrollments.disable(ALONE)
    lab.device(ALONE).provision()


def _come_back(lab: Lab) -> None:
    widget = lab.device(ALONE)
    widget.send({"temperature": 21.5})
    widget.disconnect()
    widget.connect().send({"temperature": 21.6})


def _disable_at_the_hub(lab: Lab) -> None:
    lab.hub().devices.disable(ALONE, "lost on the way")
    widget = lab.device(ALONE)
    widget.disconnect()
    widget.connect()


def _allow_again(lab: Lab) -> None:
    lab.dps.enrollments.enable(ALONE)
    lab.hub().devices.enable(ALONE)
    start(lab.device(ALONE))


def _block_one_of_many(lab: Lab) -> None:
    _block(lab, ONE)
    lab.device(OTHER).provision()
    lab.device(ONE).provision()


def _tidy_up(lab: Lab) -> None:
    lab.dps.enrollments.delete(ONE)
    lab.device(ONE).provision()


def _block_by_name(lab: Lab) -> None:
    lab.dps.enrollments.create(ONE, keys=SymmetricKeyAttestation(), status=DISABLED)
    lab.device(ONE).provision()


def _block_a_ca(lab: Lab) -> None:
    lab.dps.enrollments.delete(ONE)
    signing = only_ca(lab, TECHNICIAN).certificate
    lab.dps.enrollment_groups.create(BELOW, signing=signing, status=DISABLED)
    lab.device(OTHER).provision()


def _steal(lab: Lab) -> None:
    lab.dps.enrollment_groups.delete(BELOW)
    thief = lab.attacker(THIEF)
    for name in IN_A_HURRY:
        lab.device(name).disconnect()
        thief.steal(lab.device(name))
        _try_both(lab, name)


def _try_both(lab: Lab, name: str) -> None:
    thief = lab.attacker(THIEF)
    thief.try_dps(name)
    thief.try_hub(device=name)


def _revoke(lab: Lab) -> None:
    """Technician-Z's list of what it has signed and does not stand for any more."""
    stolen = [lab.issued_chain(name)[0] for name in IN_A_HURRY]
    signed = only_ca(lab, TECHNICIAN).revoke(*stolen)
    Papers(lab).write("revoked.crl", signed.public_bytes(Encoding.PEM))
    lab.attacker(THIEF).try_dps(TO_DELETE)


def _shut_the_first_door(lab: Lab) -> None:
    for name in IN_A_HURRY:
        _block(lab, name)
        _try_both(lab, name)


def _delete_the_identity(lab: Lab) -> None:
    lab.hub().devices.delete(TO_DELETE)
    _try_both(lab, TO_DELETE)


def _let_in_with_another_key(lab: Lab, name: str) -> None:
    """A new key in the device's token, and an entry that names its certificate and no other."""
    widget = lab.device(name)
    widget.renew(only_ca(lab, TECHNICIAN))
    entry, named = lab.dps.enrollments.get(name), X509Attestation(CLIENT, widget.certificate)
    lab.dps.enrollments.update(replace(entry, attestation=named, provisioning_status=ENABLED))
    start(widget)
    _try_both(lab, name)


STORY = Scenario(
    name="disallow",
    title="Not this one any more",
    introduction="A widget is lost, another is stolen. How do you shut one device out, and nobody "
    "else? Press **Next**.",
    steps=(
        Step(
            "Three widgets at work",
            f"**{ALONE}** has an entry of its own. The other two come through the **group** "
            f"{GROUP}, which names Company-X's CA. All three are connected.",
            _build,
            look_at=(f"enrollment {ALONE}", f"group {GROUP}", "hub contoso-hub"),
        ),
        Step(
            "Its entry says no",
            "The widget with an entry of its own is lost. Its entry is **disabled**. The widget "
            "asks DPS, and is refused. The group would admit it, for Company-X stands behind it, "
            "too. But the nearest entry decides, and this one says no.",
            _disable_the_entry,
            look_at=(f"enrollment {ALONE}", f"device {ALONE}"),
        ),
        Step(
            "It goes on talking",
            "It is still **connected**, and sends. It leaves, **connects again**, and sends. The "
            "hub knows it from before. It does not ask DPS, and DPS tells it nothing.",
            _come_back,
            predict=Prediction(
                "The widget's entry is disabled. The widget disconnects, and connects to its hub "
                "again. What happens?",
                ("the hub refuses it", "the hub takes it", "the hub asks DPS"),
                "the hub takes it",
                "An enrollment is about provisioning. The hub has an identity of its own for it.",
            ),
            look_at=(f"device {ALONE}", f"identity contoso-hub/{ALONE}"),
        ),
        Step(
            "The second door",
            "The widget's **identity in the hub** is disabled. Its connection ends **at once**, "
            "and the next one is refused. There are two doors, and each has a lock of its own.",
            _disable_at_the_hub,
            predict=Prediction(
                "Its identity in the hub is disabled, while the widget is connected. When is it "
                "out?",
                ("at once", "when it connects the next time", "when its certificate expires"),
                "at once",
                "A hub that disables a device ends its connection.",
            ),
            look_at=(f"identity contoso-hub/{ALONE}", f"device {ALONE}"),
        ),
        Step(
            "Allow it again",
            "It is found again. Entry and identity are **enabled**, and it is where it was, with "
            "its twin. Nothing was deleted, so nothing is lost.",
            _allow_again,
            look_at=(f"enrollment {ALONE}", f"identity contoso-hub/{ALONE}"),
        ),
        Step(
            "One of many",
            f"Now **{ONE}**, which comes through the group. It has no entry that you could "
            "disable, so you **make one**: with its certificate, and disabled from the beginning. "
            f"It is refused, though {GROUP} is enabled and would take it. **{OTHER}** is assigned "
            "as before.",
            _block_one_of_many,
            predict=Prediction(
                "The widget's certificate is in a disabled entry. The group is enabled, and "
                "admits all of Company-X's. What does DPS say?",
                ("it is assigned: one entry says yes", "it is refused: one entry says no"),
                "it is refused: one entry says no",
                "What a disabled entry names is shut out, whatever another entry says.",
            ),
            look_at=(f"enrollment {ONE}", f"group {GROUP}", f"device {ONE}"),
        ),
        Step(
            "Break it: somebody tidies up",
            "An entry that is disabled, and for a device that is gone: somebody **deletes** it. "
            "The next that the widget meets on the way up is the group, and it is in again. To "
            "disable is to say no. To delete is to say **nothing**.",
            _tidy_up,
            predict=Prediction(
                "Somebody deletes the disabled entry. The widget asks DPS again.",
                ("it stays out", "it is in again"),
                "it is in again",
                "The entry was what kept it out. Without it, the widget is one of many.",
            ),
            look_at=(f"group {GROUP}", f"device {ONE}"),
        ),
        Step(
            "Without its certificate",
            "You want it out again, and have **no copy of its certificate**. Its registration ID "
            "will do: a disabled entry under that ID, with a **symmetric key** that nobody will "
            "ever use. The ID is in the certificate, and DPS looks for an entry of that ID first.",
            _block_by_name,
            look_at=(f"enrollment {ONE}", f"device {ONE}"),
        ),
        Step(
            "All of one CA",
            f"The entry is deleted. Then a **disabled group** with Technician-Z's CA: now even "
            f"**{OTHER}** is refused, and with it everything that Technician-Z has ever signed. "
            f"{GROUP} is still enabled. That is the lock for a day on which a CA's key is lost.",
            _block_a_ca,
            look_at=(f"group {BELOW}", f"ca {TECHNICIAN}/{TECHNICIAN} CA", f"device {OTHER}"),
        ),
        Step(
            "Two keys are stolen",
            "That group is deleted. But the two widgets of the group were made in a hurry: "
            f"their keys lie in **files**. They are in a workshop, switched off, and {THIEF} has "
            "copied both keys. For DPS and for the hub, "
            f"{THIEF} **is** both widgets.",
            _steal,
            look_at=(f"attacker {THIEF}", *(f"device {name}" for name in IN_A_HURRY)),
        ),
        Step(
            "Break it: a list of the revoked",
            "Technician-Z does what CAs do. It **revokes** both certificates: it signs a list "
            f"(CRL) with their numbers. {THIEF} asks DPS, and **gets in**. The list is right, and "
            "nobody reads it: DPS and IoT Hub consult neither CRL nor OCSP.",
            _revoke,
            predict=Prediction(
                f"Technician-Z has revoked both certificates and published the list. {THIEF} asks "
                "DPS.",
                ("refused", "let in"),
                "let in",
                "Azure does not read revocation lists. A disabled entry takes their place.",
            ),
            look_at=(f"attacker {THIEF}",),
        ),
        Step(
            "The hole",
            "Both certificates go into disabled entries, and DPS refuses them. But the hub? "
            f"{THIEF} **gets in**, as both. There is an identity for each, and it has the "
            "thumbprint of the stolen certificate.",
            _shut_the_first_door,
            predict=Prediction(
                f"Both certificates are in disabled entries. Where does {THIEF} still get in?",
                ("in DPS", "in the hub", "nowhere"),
                "in the hub",
                "It is as with the lost widget: the hub does not hear of enrollments.",
            ),
            look_at=(f"attacker {THIEF}", *(f"identity contoso-hub/{name}" for name in IN_A_HURRY)),
        ),
        Step(
            "The first cure: take the identity away",
            f"The identity of **{TO_DELETE}** is **deleted** in the hub. {THIEF} is out there, and "
            "cannot make a new one: DPS has the disabled entry. It works at once, and the widget "
            "need not be there. To **disable** the identity does the same, and keeps its twin.",
            _delete_the_identity,
            look_at=(f"attacker {THIEF}", f"enrollment {TO_DELETE}"),
        ),
        Step(
            "The second cure: another certificate",
            f"**{TO_RENEW}** is at hand. It makes a new key, in its token this time. Its entry "
            "names the new certificate **and no other**, and is enabled. It provisions to the same "
            f"hub, and DPS replaces the thumbprint there. The widget is in, and {THIEF} is out.",
            lambda lab: _let_in_with_another_key(lab, TO_RENEW),
            look_at=(f"attacker {THIEF}", f"enrollment {TO_RENEW}", f"device {TO_RENEW}"),
        ),
        Step(
            "And the other one comes back",
            f"**{TO_DELETE}** gets a new key, too, and its entry is enabled with the new "
            "certificate in it. The hub has no identity of it any more, so DPS makes a **new** "
            f"one. {THIEF} is out everywhere. Do not delete these entries now: the group would "
            f"admit {THIEF} again.",
            lambda lab: _let_in_with_another_key(lab, TO_DELETE),
            predict=Prediction(
                "The widgets have new keys and are in. Somebody deletes their entries, for the "
                "group is there. What then?",
                ("nothing", f"{THIEF} gets in"),
                f"{THIEF} gets in",
                "The stolen certificates are still Company-X's, and the group admits all of them.",
            ),
            look_at=(f"attacker {THIEF}", f"identity contoso-hub/{TO_DELETE}"),
        ),
    ),
)


# ---- the exercise


def one_stolen(lab: Lab, answer: Any) -> Iterator[Case]:
    """One stolen device of three is stopped, at both doors, and its neighbours notice nothing."""
    yield Case(
        "it is the one whose key was stolen",
        lambda: lab.attacker(THIEF).has_key_of(answer.name) and answer.name == TAKEN,
        f"hand in the widget. Which one is it? {THIEF.lower()}.victims has the names",
    )
    yield Case(
        "an entry of its own keeps it out of DPS",
        lambda: not lab.dps.enrollments.get(TAKEN).enabled,
        "an individual enrollment under its registration ID, disabled: sections 2 and 3",
    )
    yield Case(
        "the hub has no identity of it that works",
        lambda: not getattr(lab.hub().devices.find(TAKEN), "enabled", False),
        "DPS and hub are two doors: section 1",
    )
    yield Case(
        "nobody is connected under its name",
        lambda: TAKEN not in {live.device_id for live in lab.hub().connected()},
        "disable its identity in the hub, or delete it: either ends the connection",
    )
    yield Case(
        f"{THIEF} has tried both doors since, in vain",
        lambda: all(_was_kept_out(lab, service) for service in ("dps", lab.hub().name)),
        f"let {THIEF} try: try_dps(...) and try_hub(device=...), when all is done",
    )
    yield Case(
        "the other two are connected, and have come through the group",
        lambda: all(_is_at_work(lab, name) for name in (LEFT, RIGHT)),
        "what you disable must be about one device. Let the others provision and connect again",
    )
    yield Case(
        "and nobody has ever refused them",
        lambda: not any(lab.cloud.refusals.last(name) for name in (LEFT, RIGHT)),
        "they were refused at least once, and the check remembers: run the lesson's second cell "
        "to begin anew, and leave the group as it is",
    )


def _was_kept_out(lab: Lab, service: str) -> bool:
    tried = lab.attempts.last(service, TAKEN)
    return tried is not None and not tried.got_in


def _is_at_work(lab: Lab, device: str) -> bool:
    live = {presence.device_id for presence in lab.hub().connected()}
    return device in live and lab.dps.registrations.get(device).group_id == GROUP
