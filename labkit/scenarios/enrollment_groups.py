"""Lesson 09: one entry for many devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cryptography import x509

from labkit.cloud.dps.entries import SIGNING, EnrollmentGroup, X509Attestation
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.scenarios.webhook import Webhook
from labkit.supplychain import CertificateAuthority, Line
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
ASIA, EUROPE, US = HUBS = ("contoso-asia", "contoso-europe", "contoso-us")
DOMAIN = "azure-devices.net"
FLEET, OF_FACTORY = 100, 75
LAST = "smart-x-widget-00100"
WORKSHOP_SIZE = 6


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    (found,) = lab.custodian(custodian).authorities()
    return found


def _host(hub: str) -> str:
    return f"{hub}.{DOMAIN}"


def _register(lab: Lab, devices: Sequence[Device]) -> None:
    for device in lab.work.each(devices, "registering"):
        device.provision()


def _change(lab: Lab, group: str, **settings: Any) -> EnrollmentGroup:
    groups = lab.dps.enrollment_groups
    return groups.update(replace(groups.get(group), **settings))


def _number(device: str) -> int:
    return int(device.rpartition("-")[2])


def _build(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    factory = company.sign_intermediate(lab.custodian(FACTORY))
    factory.sign_intermediate(lab.custodian(TECHNICIAN))
    entry = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))


def _enroll(lab: Lab) -> None:
    lab.dps.enrollment_groups.create("all-widgets", ca="company-x")


def _manufacture(lab: Lab) -> None:
    names = Line(_ca(lab, FACTORY)).names(FLEET)
    _ca(lab, FACTORY).make_devices(names[:OF_FACTORY])
    _ca(lab, TECHNICIAN).make_devices(names[OF_FACTORY:])


def _register_all(lab: Lab) -> None:
    _register(lab, lab.devices)


def _take_a_hub_away(lab: Lab) -> None:
    lab.dps.linked_hubs.unlink(EUROPE)
    _register_all(lab)


def _nearest(device: str) -> str:
    """Where a widget was sold."""
    number = _number(device)
    return US if number <= 35 else EUROPE if number <= 70 else ASIA


def _by_latency(lab: Lab) -> None:
    lab.dps.linked_hubs.link(EUROPE)
    for device in lab.devices:
        lab.dps.linked_hubs.declare_latency(device.name, _nearest(device.name), 8.0)
    _change(lab, "all-widgets", allocation_policy="geoLatency")
    _register_all(lab)


def _deeper(lab: Lab) -> None:
    lab.dps.enrollment_groups.create(
        "technician-z",
        signing=_ca(lab, TECHNICIAN).certificate,
        allocation="static",
        hub=_host(EUROPE),
    )
    _register_all(lab)


def _ask_the_order_book(lab: Lab) -> None:
    def choose(request: dict[str, Any]) -> str:
        device = request["deviceRuntimeContext"]["registrationId"]
        return _host(ASIA if _number(device) % 5 == 0 else US)

    with Webhook(choose) as webhook:
        settings = {"allocation_policy": "custom", "custom_allocation": webhook.definition}
        _change(lab, "all-widgets", **settings)
        _register_all(lab)


def _disable(lab: Lab) -> None:
    widget = lab.device(LAST).connect()
    widget.send({"temperature": 21.5})
    lab.dps.enrollment_groups.disable("technician-z")
    widget.disconnect()
    widget.connect().send({"temperature": 21.6})
    widget.provision()


def _issued_again(lab: Lab) -> x509.Certificate:
    """Technician-Z's second certificate: the same request, signed by Factory-Y once more."""
    name = _ca(lab, TECHNICIAN).name
    request = lab.custodian(TECHNICIAN).request_ca(name)
    return _ca(lab, FACTORY).sign_ca(request)[0]


def _issue_again(lab: Lab) -> None:
    lab.dps.enrollment_groups.enable("technician-z")
    _change(lab, "all-widgets", allocation_policy="geoLatency")
    widget = lab.device(LAST)
    leaf, _, *above = widget.chain
    widget.install_chain([leaf, _issued_again(lab), *above])
    widget.provision()


def _delete_the_wide_group(lab: Lab) -> None:
    lab.dps.enrollment_groups.delete("all-widgets")
    lab.device(LAST).provision()


def _take_both(lab: Lab) -> None:
    widget, groups = lab.device(LAST), lab.dps.enrollment_groups
    both = X509Attestation(SIGNING, groups.get("technician-z").certificate, widget.chain[1])
    _change(lab, "technician-z", attestation=both)
    widget.provision()


STORY = Scenario(
    name="enrollment-groups",
    title="One entry for many",
    introduction="A hundred widgets, three hubs, and nobody who wants to write a hundred entries. "
    "Press **Next**.",
    hubs=HUBS,
    steps=(
        Step(
            "One company, three hubs",
            "**Company-X** has signed **Factory-Y**, and Factory-Y **Technician-Z**. Company-X's "
            "CA is in DPS and **verified**. New here: **three** hubs are **linked** to DPS, and it "
            "may assign devices to each of them. Every hub has a **sign**. You will meet it again.",
            _build,
            look_at=tuple(f"hub {hub}" for hub in HUBS),
        ),
        Step(
            "One entry",
            "An **enrollment group** says: admit whoever has this CA in the chain. This one refers "
            "to the CA by the **name** under which it was uploaded, `company-x`. It names no "
            "device, and says nothing of hubs: any linked one will do.",
            _enroll,
            look_at=("group all-widgets", "entry company-x"),
        ),
        Step(
            "A hundred widgets",
            "Factory-Y makes 75 and Technician-Z makes 25, each with a key in a token of its own. "
            "Each tile is a widget. DPS has heard of none of them.",
            _manufacture,
            predict=Prediction(
                "A hundred widgets are made, by two CAs. How many entries does DPS need for them?",
                ("one", "two, one for each CA that makes widgets", "a hundred"),
                "one",
                "Every chain ends in Company-X's CA, and all-widgets names that one.",
            ),
            look_at=(f"ca {FACTORY}/{FACTORY} CA", f"ca {TECHNICIAN}/{TECHNICIAN} CA"),
        ),
        Step(
            "They register: evenly weighted",
            "Which hub? The group does not say, so the **allocation policy** of the service "
            "counts: **evenly weighted** (`hashed`). The hub is computed from the registration "
            "ID. Nobody keeps a tally, and still each hub gets about a third. See the signs on "
            "the tiles.",
            _register_all,
            predict=Prediction(
                "All of them register, one after the other. To which hubs?",
                (
                    "all to the first, until it is full",
                    "in turns: Asia, Europe, US, Asia …",
                    "about a third to each, in no visible order",
                ),
                "about a third to each, in no visible order",
                "The registration ID decides. Like dice, but the same device gets the same number.",
            ),
            look_at=("group all-widgets", *(f"hub {hub}" for hub in HUBS)),
        ),
        Step(
            "A hub is taken away",
            "Europe is **unlinked**. That alone moves nobody: DPS decides when a device registers. "
            "So all register again. Who was in Europe is spread over the other two, and takes its "
            "data along; the others stay.",
            _take_a_hub_away,
            predict=Prediction(
                "Europe is unlinked, and all hundred register again. Who moves?",
                ("nobody", "those who were in Europe", "nearly all: they are shuffled anew"),
                "those who were in Europe",
                "A device that has a linked hub keeps it. Whoever moves has data to move.",
            ),
            look_at=(f"hub {EUROPE}", "group all-widgets"),
        ),
        Step(
            "The nearest hub",
            "Europe is linked again, and the group's policy is **lowest latency** (`geoLatency`). "
            "Here everything is on one machine, so the lab **declares** who is near to what: the "
            "first 35 widgets live in the US, the next 35 in Europe, the rest in Asia.",
            _by_latency,
            look_at=("group all-widgets",),
        ),
        Step(
            "A second group, deeper down",
            "Technician-Z's own CA gets a group, with the policy **static**: Europe, always. DPS "
            "walks up the chain from the widget, and **the first certificate that an entry names "
            "decides**. Technician-Z's certificate was never uploaded as a CA: it need not be, as "
            "long as the chain ends in one that is verified.",
            _deeper,
            predict=Prediction(
                "Technician-Z's widgets have both in their chain: Technician-Z's CA and "
                "Company-X's. Each has a group now. Which one decides?",
                ("all-widgets: it was there first", "technician-z", "neither: that is a conflict"),
                "technician-z",
                "The nearest to the widget decides; what is above is not asked.",
            ),
            look_at=("group technician-z", f"ca {TECHNICIAN}/{TECHNICIAN} CA"),
        ),
        Step(
            "Ask somebody who knows",
            "The policy **custom** names a **webhook**: a URL to which DPS posts the device and "
            "the linked hubs, and which answers with one of them. Here it is a small function of "
            "Company-X's, on this machine: every fifth widget was sold to Asia, the others to "
            "the US.",
            _ask_the_order_book,
            predict=Prediction(
                "all-widgets asks a webhook from now on, and all hundred register again. How "
                "often is the webhook asked?",
                ("once", "75 times", "100 times"),
                "75 times",
                "Of Technician-Z's 25, their own group decides, and that one is static.",
            ),
            look_at=("group all-widgets",),
        ),
        Step(
            "Break it: a group is disabled",
            "Technician-Z's widget 100 is connected to its hub when **technician-z** is "
            "**disabled**. It goes on sending. It disconnects, and **connects again**: the hub "
            "knows it and never asks DPS. Only when it registers, it is refused. And all-widgets "
            "does not step in: the nearest entry decides, also when it says no.",
            _disable,
            predict=Prediction(
                "Widget 100 is connected and sending. Now its group is disabled. What happens?",
                (
                    "the hub cuts it off",
                    "it may stay, but not connect again",
                    "it may stay, and connect again",
                ),
                "it may stay, and connect again",
                "DPS tells a device its hub, and has no part in what comes after.",
            ),
            look_at=("group technician-z", f"hub {EUROPE}", f"device {LAST}"),
        ),
        Step(
            "Break it: the CA is issued again",
            "The group is enabled again. Factory-Y signs **Technician-Z's request once more**: the "
            "same name, the same key, a new certificate. Widget 100 gets the new one into its "
            "chain, and registers. Look at its hub: it has moved, and nobody was told.",
            _issue_again,
            predict=Prediction(
                "Name and key of Technician-Z's CA are as before, only the certificate is new. "
                "Which group decides for the widget that sends it?",
                ("technician-z, as before", "all-widgets", "none: it is refused"),
                "all-widgets",
                "technician-z names one certificate, by its thumbprint. The walk goes on upwards.",
            ),
            look_at=(f"ca again 1/{TECHNICIAN} CA", "group all-widgets"),
        ),
        Step(
            "Refused",
            "Somebody tidies up and deletes **all-widgets**. What was assigned stays assigned. But "
            "nothing catches widget 100 any more: its chain is sound, and no entry names anything "
            "in it. Azure's text does not say which **info** did not match. The lab's does.",
            _delete_the_wide_group,
            look_at=("group technician-z", f"ca again 1/{TECHNICIAN} CA"),
        ),
        Step(
            "The cure",
            "The new certificate goes into the group beside the old one, as **secondary**. Either "
            "of the two suffices now, so that the rest of the fleet can follow one by one. When "
            "the last has changed, the old one is taken out.",
            _take_both,
            look_at=("group technician-z", f"device {LAST}"),
        ),
    ),
)


# ---- the exercise


def _last_of(lab: Lab) -> Device:
    """The last widget, however many there are: it is one of Technician-Z's."""
    widgets = (device for device in lab.devices if device.name.startswith("smart-x-widget-"))
    return max(widgets, key=lambda device: device.name)


def _record(lab: Lab, device: Device) -> Any:
    return lab.dps.registrations.get(device.name)


def _makers(lab: Lab, devices: Sequence[Device]) -> set[str]:
    return {chain.title(device.certificate.issuer) for device in devices}


def _groups_of(lab: Lab, devices: Sequence[Device]) -> set[str]:
    return {_record(lab, device).group_id for device in devices}


def _hubs_of(lab: Lab, devices: Sequence[Device]) -> set[str]:
    return {_record(lab, device).assigned_hub for device in devices}


def workshop(lab: Lab, answer: Any) -> Iterator[Case]:
    """Six devices of a CA of their own, kept out of one hub by a group of their own."""
    yield Case(
        f"these are {WORKSHOP_SIZE} devices",
        lambda: (
            len({device.name for device in answer}) == WORKSHOP_SIZE
            and all(device.provision for device in answer)
        ),
        "hand in the devices: make_devices([...]) has them as .devices",
    )
    yield Case(
        "Workshop-W made them, and Factory-Y signed Workshop-W",
        lambda: (
            _makers(lab, answer) == {"CN=Workshop-W CA"}
            and _ca(lab, "Workshop-W").chain[1] == _ca(lab, FACTORY).certificate
        ),
        "section 1 shows how a CA signs another custodian's",
    )
    yield Case(
        "they came through one group, and it names Workshop-W's own CA",
        lambda: (
            [lab.dps.enrollment_groups.get(group).certificate for group in _groups_of(lab, answer)]
            == [_ca(lab, "Workshop-W").certificate]
        ),
        "the nearest entry decides: which certificate of their chain is nearest? And did they "
        "register since the group is there?",
    )
    yield Case(
        "none of them is in the US",
        lambda: _hubs_of(lab, answer) <= {_host(ASIA), _host(EUROPE)},
        "a group can name the hubs among which it may choose: see help(groups.create)",
    )
    yield Case(
        "and the group leaves the choice between Asia and Europe to its policy",
        lambda: all(
            set(lab.dps.enrollment_groups.get(group).iot_hubs) == {_host(ASIA), _host(EUROPE)}
            for group in _groups_of(lab, answer)
        ),
        "a static group has one hub; leave the policy alone, and name both hubs, domain and all",
    )
    yield Case(
        "Technician-Z's widgets are where they were",
        lambda: (
            _record(lab, _last_of(lab)).assigned_hub == _host(EUROPE)
            and _record(lab, _last_of(lab)).group_id == "technician-z"
        ),
        "the workshop needs a group of its own: leave the other groups as they are",
    )
