"""Lesson 13: a CA's certificate gets old, or its key gets lost: the fleet below it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labkit.cloud.dps.entries import DISABLED, REFERENCES, SIGNING, Named, X509Attestation
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.scenarios.parts import came_with, named, start, verify
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN, WORKSHOP = "Company-X", "Factory-Y", "Technician-Z", "Workshop-W"
FIRST, SECOND, SENSOR = "smart-x-widget-001", "smart-x-widget-002", "smart-x-sensor-001"
OLD, NEW, LAST = (f"{TECHNICIAN} CA{number}" for number in ("", " 2", " 3"))
OLD_ROOT, NEW_ROOT = "Company-X Root CA", "Company-X Root CA G2"
WIDGETS, SENSORS = "smart-x-widgets", "smart-x-sensors"
REPAIRED = ("repaired-1", "repaired-2")

CA = CertificateAuthority[Device]


def _ca(lab: Lab, custodian: str, name: str = "") -> CA:
    """The newest certificate of a CA: of this name, where a custodian has several."""
    made = lab.custodian(custodian).authorities()
    return [ca for ca in made if name in ("", ca.name)][-1]


def _both(lab: Lab) -> list[CA]:
    """The two certificates of Technician-Z's second CA: before it was renewed, and after."""
    return [ca for ca in lab.custodian(TECHNICIAN).authorities() if ca.name == NEW]


def _widgets_trust(lab: Lab, primary: Named, secondary: Named = None) -> None:
    _change(lab, WIDGETS, X509Attestation(SIGNING, primary, secondary))


def _change(lab: Lab, group: str, attestation: X509Attestation) -> None:
    groups = lab.dps.enrollment_groups
    groups.update(replace(groups.get(group), attestation=attestation))


def _send_below(device: Device, *above: CA) -> None:
    """Changes what the device sends behind its own certificate."""
    device.install_chain([device.certificate, *(ca.certificate for ca in above)])


def _get_ready(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(FACTORY)).sign_intermediate(
        lab.custodian(TECHNICIAN)
    )
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(WIDGETS, signing=technician.certificate)
    lab.clock.advance(days=1650)
    for name in (SECOND, FIRST):
        start(technician.make_device(name))


def _put_the_next_beside(lab: Lab) -> None:
    factory = _ca(lab, FACTORY).renew()
    new = factory.sign_intermediate(lab.custodian(TECHNICIAN), NEW)
    _widgets_trust(lab, _ca(lab, TECHNICIAN, OLD).certificate, new.certificate)


def _send_it_with_the_old_leaf(lab: Lab) -> None:
    widget = lab.device(FIRST)
    _send_below(widget, _ca(lab, TECHNICIAN, NEW), _ca(lab, FACTORY))
    widget.provision()


def _renew_the_first(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.renew(_ca(lab, TECHNICIAN, NEW))
    start(widget)


def _let_the_old_one_expire(lab: Lab) -> None:
    lab.clock.advance(days=180)
    widget = lab.device(SECOND)
    widget.disconnect()
    widget.connect()


def _bring_it_by_hand(lab: Lab) -> None:
    widget, new = lab.device(SECOND), _ca(lab, TECHNICIAN, NEW)
    widget.accept_certificate(new.reissue(widget))
    start(widget)
    _widgets_trust(lab, new.certificate)


def _send_the_renewed(lab: Lab) -> None:
    widget, renewed = lab.device(FIRST), _ca(lab, TECHNICIAN, NEW).renew()
    _send_below(widget, renewed, _ca(lab, FACTORY))
    widget.provision()


def _take_the_renewed(lab: Lab) -> None:
    before, renewed = _both(lab)
    _widgets_trust(lab, before.certificate, renewed.certificate)
    start(lab.device(FIRST))


def _sign_below_a_new_root(lab: Lab) -> None:
    root = lab.custodian(COMPANY).create_root_ca(NEW_ROOT)
    lab.dps.enrollment_groups.create(SENSORS, ca="company-x")
    _ca(lab, FACTORY).renew(root).make_device(SENSOR).provision()


def _verify_the_new_root(lab: Lab) -> None:
    verify(lab, "company-x-g2", _ca(lab, COMPANY, NEW_ROOT))
    _change(lab, SENSORS, X509Attestation(REFERENCES, "company-x", "company-x-g2"))
    start(lab.device(SENSOR))


def _take_the_old_root_away(lab: Lab) -> None:
    _change(lab, SENSORS, X509Attestation(REFERENCES, "company-x-g2"))
    lab.dps.certificates.delete("company-x")
    lab.device(FIRST).provision()


def _lead_to_the_new_root(lab: Lab) -> None:
    factory = _ca(lab, FACTORY).certificate
    for name in (SECOND, FIRST):
        widget = lab.device(name)
        widget.install_chain([*widget.chain[:2], factory])
        start(widget)


def _remove_at_once(lab: Lab) -> None:
    fresh = _ca(lab, FACTORY).sign_intermediate(lab.custodian(TECHNICIAN), LAST)
    _widgets_trust(lab, fresh.certificate)
    lab.device(FIRST).provision()


def _shut_out_by_name(lab: Lab) -> None:
    before, renewed = _both(lab)
    lab.dps.enrollment_groups.create(
        "leaked", signing=before.certificate, secondary=renewed.certificate, status=DISABLED
    )
    widget = lab.device(FIRST)
    widget.disconnect()
    widget.connect().send({"temperature": 21.5})
    widget.provision()


def _let_the_hub_forget(lab: Lab) -> None:
    first, second, fresh = lab.device(FIRST), lab.device(SECOND), _ca(lab, TECHNICIAN, LAST)
    second.disconnect()
    lab.hub().devices.delete(SECOND)
    for widget in (second, first):
        widget.renew(fresh)
        start(widget)


STORY = Scenario(
    name="ca-roll",
    title="Roll a CA",
    introduction="Not a device's certificate gets old this time, but that of the CA above it. What "
    "has to move with it? Press **Next**.",
    steps=(
        Step(
            "A CA in its last winter",
            "It is September 2031. Technician-Z's CA is four and a half years old, and ends in "
            "February. Look at the widgets: they were made **today**, and end in February as well. "
            "No certificate outlives the CA that has signed it. The group names Technician-Z's CA.",
            _get_ready,
            look_at=(f"ca {TECHNICIAN}/{OLD}", f"device {FIRST}", f"group {WIDGETS}"),
        ),
        Step(
            "From the top down, and beside the old one",
            "Factory-Y's CA ends on the same day, so Company-X **renews** that one first: the same "
            f"key, and a new end. Then Factory-Y signs **{NEW}**, with a new key. It goes into the "
            "group as the **secondary** certificate. Nothing had to be verified: the new CA leads "
            "to the same root.",
            _put_the_next_beside,
            predict=Prediction(
                "Factory-Y's CA ends in February. What if it signed Technician-Z's next CA without "
                "being renewed first?",
                ("that would end in February, too", "that would be good for five years"),
                "that would end in February, too",
                "No certificate outlives its issuer. So one begins at the top.",
            ),
            look_at=(f"ca {TECHNICIAN}/{NEW}", f"group {WIDGETS}"),
        ),
        Step(
            "Break it: does a new CA mean new leaves?",
            "The first widget keeps its certificate, and sends the **new** CA's behind it. "
            "Refused: its certificate was signed with the **old** CA's key, and says so. The new "
            "one has not signed it.",
            _send_it_with_the_old_leaf,
            predict=Prediction(
                "The widget's own certificate stays. Behind it, it sends the new CA's in place of "
                "the old one's. What does DPS say?",
                ("it is assigned", "401"),
                "401",
                "Another CA with another key has signed nothing of this widget.",
            ),
            look_at=(f"device {FIRST}", f"ca {TECHNICIAN}/{NEW}"),
        ),
        Step(
            "The cure: the widget moves",
            "It asks the new CA for a certificate, as in lesson 12. Now it hangs below the new CA, "
            "and DPS has told its hub. The second widget is still below the old one. The group "
            "takes **both**.",
            _renew_the_first,
            look_at=(f"device {FIRST}", f"device {SECOND}", f"group {WIDGETS}"),
        ),
        Step(
            "Who did not move in time",
            "March. The second widget was switched off, all winter. Its certificate has expired "
            "together with its CA, and so even its **hub** refuses it. It cannot ask for another "
            "one either: with what would it prove who it is?",
            _let_the_old_one_expire,
            predict=Prediction(
                "The hub knows the second widget by its thumbprint, and that has not changed. Its "
                "certificate has expired. What does the hub say?",
                ("it is let in", "it is refused"),
                "it is refused",
                "The thumbprint has to match, and the certificate has to be valid.",
            ),
            look_at=(f"device {SECOND}", f"ca {TECHNICIAN}/{OLD}"),
        ),
        Step(
            "By hand, and then the old one goes",
            "The new CA signs the request of it that was **kept**, and somebody drives there with "
            "a cable. That is what it costs. Now nobody is below the old CA any more, and the "
            "group names the new one alone: it is the **primary** now. The other place is free for "
            "the next one.",
            _bring_it_by_hand,
            look_at=(f"device {SECOND}", f"group {WIDGETS}"),
        ),
        Step(
            "Break it: renewed, with the same key",
            f"**{NEW}** is renewed as Factory-Y's was: the same name and the **same key**. The "
            "first widget sends the renewed certificate. Its chain is faultless, and DPS refuses "
            "it: `Signing certificate info did not match chain elements.`",
            _send_the_renewed,
            predict=Prediction(
                "The CA's name and key are the same, and it has a new certificate. The widget "
                "sends that. What does the group say?",
                ("it is the CA that is meant", "it is another certificate"),
                "it is another certificate",
                "A group names one certificate, and not a name or a key.",
            ),
            look_at=(f"group {WIDGETS}", f"device {FIRST}"),
        ),
        Step(
            "The cure, without a new leaf",
            "The renewed certificate goes into the group as **secondary**. The widget's own "
            "certificate is the one from before: **the same key** has signed it, and that is what "
            "a signature is about. A new key means new leaves. The same key does not.",
            _take_the_renewed,
            look_at=(f"group {WIDGETS}", f"device {FIRST}"),
        ),
        Step(
            "Break it: a root that nobody has verified",
            f"Company-X makes **{NEW_ROOT}**, which signs Factory-Y's key. A sensor is made below "
            "it, for a group that names the **root** in DPS. Refused: to DPS the new root is a "
            "stranger. The sensor is faultless, and too early.",
            _sign_below_a_new_root,
            predict=Prediction(
                "Company-X is verified in DPS, and Company-X has made the new root. Does DPS trust "
                "what is below it?",
                ("yes: it knows Company-X", "no"),
                "no",
                "It knows one certificate, and not a company.",
            ),
            look_at=(f"ca {COMPANY}/{NEW_ROOT}", f"device {SENSOR}"),
        ),
        Step(
            "First verified, then used",
            "The new root is uploaded, and Company-X proves possession of it. The sensors' group "
            "takes it as **secondary**, beside the old one. The sensor is in, and whoever is "
            "below the old root is in as well.",
            _verify_the_new_root,
            look_at=("entry company-x-g2", f"group {SENSORS}", f"device {SENSOR}"),
        ),
        Step(
            "Break it: the old root is deleted",
            "All sensors have moved, so the old root is taken out of their group, and then out of "
            "DPS. But the **widgets** lead there! Their group names an intermediate, and it was "
            "not touched. Yet what a group names must lead to a **verified root**.",
            _take_the_old_root_away,
            predict=Prediction(
                "The widgets' group names Technician-Z's CA, and not the root. The old root is "
                "deleted. What happens to the widgets?",
                ("nothing", "they are refused"),
                "they are refused",
                "The chain has to reach a CA that is verified, wherever the group is.",
            ),
            look_at=(f"device {FIRST}", f"group {WIDGETS}", f"ca {COMPANY}/{OLD_ROOT}"),
        ),
        Step(
            "The cure: another way up",
            "Factory-Y's key was signed by **both** roots. So the widgets need no new certificate: "
            "they send Factory-Y's other one, and their chain ends in the new root. All else is "
            "as it was. (Uploading the old root again would be the quick cure.)",
            _lead_to_the_new_root,
            look_at=(f"device {FIRST}", f"ca {COMPANY}/{NEW_ROOT}"),
        ),
        Step(
            "Break it: stolen, removed, and still in",
            f"The key of **{NEW}** is in other hands. There is no time for an overlap: both its "
            "certificates are taken out of the group, at once. A widget below it asks DPS, and is "
            "**assigned**. The sensors' group names the root, and so it takes the widget, too.",
            _remove_at_once,
            predict=Prediction(
                "No group names the stolen CA any more. A widget below it asks DPS. What happens?",
                ("it is refused", "it is assigned"),
                "it is assigned",
                "The first entry on the way up decides, and the next one is the root's.",
            ),
            look_at=(f"device {FIRST}", f"group {SENSORS}"),
        ),
        Step(
            "Named, to be shut out",
            "So the stolen CA gets a group again, and a **disabled** one: it is the nearest entry, "
            "it decides, and it says no. DPS refuses all that is below. But before that the widget "
            "has connected to its **hub**: that has a thumbprint, and knows nothing of CAs.",
            _shut_out_by_name,
            predict=Prediction(
                "A disabled group names the stolen CA. Where does what it has signed still get in?",
                ("in DPS", "in the hub", "nowhere"),
                "in the hub",
                "The hub does not ask DPS, and does not look at who has signed.",
            ),
            look_at=("group leaked", f"identity contoso-hub/{FIRST}"),
        ),
        Step(
            "And the hub forgets",
            "Both widgets get certificates of a third CA. The first **reprovisions** to the same "
            "hub, and its thumbprint is replaced. The second one's identity was **deleted** "
            "before, at once, and is made anew. These are the two cures, and for a fleet you will "
            "need both.",
            _let_the_hub_forget,
            look_at=(f"ca {TECHNICIAN}/{LAST}", *(f"device {name}" for name in (FIRST, SECOND))),
        ),
    ),
)


# ---- the exercise


def nobody_left_behind(lab: Lab, answer: Any) -> Iterator[Case]:
    """An intermediate that makes room for the next one, and two devices that never notice."""
    yield Case(
        "these are the two devices of Workshop-W",
        lambda: sorted(lab.device(device.name).name for device in answer) == sorted(REPAIRED),
        "hand in the two that the cell above has made: [first, second]",
    )
    yield Case(
        "Workshop-W has a second CA, with another key, signed by Factory-Y",
        lambda: _has_two_keys(lab),
        "section 1 made one beside the old: a name of its own is a key of its own",
    )
    yield Case(
        "both devices have certificates of the new CA",
        lambda: all(_is_below(device, _ca(lab, WORKSHOP)) for device in answer),
        "a new key means new leaves: device.renew(new_ca)",
    )
    yield Case(
        "the hub has seen both with these, and has a message from each",
        lambda: all(
            came_with(lab, lab.hub().name, device.name, device.certificate)
            and lab.hub().messages(device.name)
            for device in answer
        ),
        "DPS tells the hub: provision, then disconnect, connect and send",
    )
    yield Case(
        "DPS has let both in through the workshop's own group",
        lambda: all(
            lab.dps.registrations.get(device.name).group_id == "workshop-w" for device in answer
        ),
        "the group has to take the new CA before the first device asks: see section 2",
    )
    yield Case(
        "the group names the new CA alone",
        lambda: (
            named(lab.dps.enrollment_groups.get("workshop-w")) == (_ca(lab, WORKSHOP).certificate,)
        ),
        "once nobody is below the old CA any more, it goes: trust(group, new_ca)",
    )
    yield Case(
        "and neither device was ever refused",
        lambda: not any(lab.cloud.refusals.last(device.name) for device in answer),
        "one was, and the check remembers: run the lesson's second cell to begin anew, and "
        "let DPS tell the hub before a device comes there",
    )


def _has_two_keys(lab: Lab) -> bool:
    old, new = lab.custodian(WORKSHOP).authorities()
    same_key = old.key.public_key() == new.key.public_key()
    return not same_key and chain.signed_by(new.certificate, _ca(lab, FACTORY).certificate)


def _is_below(device: Device, ca: CA) -> bool:
    return chain.signed_by(device.certificate, ca.certificate)
