"""Lesson 10: what a device and its hub say to each other, and by what the hub knows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography import x509

from labkit.cloud.hub.credentials import AUTHORITY
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain, request
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN, PARTNER = "Company-X", "Factory-Y", "Technician-Z", "Company-W"
FIRST, SECOND, THIRD = FLEET = tuple(f"smart-x-widget-00{number}" for number in (1, 2, 3))
SENSORS = ("sensor-w-001", "sensor-w-002")
HUB = "contoso-hub"
IDENTITIES = tuple(f"identity {HUB}/{name}" for name in FLEET)


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    (found,) = lab.custodian(custodian).authorities()
    return found


def _again(device: Device) -> Device:
    """Leaves the hub and comes back: what it shows counts from its next connection on."""
    device.disconnect()
    return device.connect()


def _get_ready(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(FACTORY)).sign_intermediate(
        lab.custodian(TECHNICIAN)
    )
    entry = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)
    for name in reversed(FLEET):  # the first comes last: the picture shows what it sent
        technician.make_device(name).provision()


def _connect_and_send(lab: Lab) -> None:
    lab.device(FIRST).connect().send({"temperature": 21.5}, level="normal")


def _set_while_it_is_away(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.disconnect()
    lab.hub().update_twin(FIRST, desired={"interval": 30})
    wanted = widget.connect().twin()["desired"]["interval"]
    widget.report(interval=wanted)


def _call_while_it_is_away(lab: Lab) -> None:
    lab.hub().invoke(SECOND, "blink", {"times": 3})


def _blink(asked: Any) -> dict[str, int]:
    return {"blinked": asked["times"]}


def _leave_a_message_and_call(lab: Lab) -> None:
    widget, hub = lab.device(SECOND), lab.hub()
    hub.send(SECOND, {"notice": "maintenance at noon"})
    widget.connect().receive()
    widget.on_method("blink", _blink)
    hub.invoke(SECOND, "blink", {"times": 3})


def _a_job_for_all(lab: Lab) -> None:
    lab.device(FIRST).on_method("blink", _blink)
    lab.hub().jobs.invoke_method("*", "blink", {"times": 1})


def _send_its_own_alone(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.install_chain([widget.certificate])
    _again(widget).send({"temperature": 21.6})


def _renew(lab: Lab, name: str) -> Device:
    """The same name and the same key, and another certificate, with its issuers."""
    widget = lab.device(name)
    asked = request.make(widget.key, request.name(name))
    widget.install_chain(_ca(lab, TECHNICIAN).sign_device(asked))
    return widget


def _renew_the_first(lab: Lab) -> None:
    lab.clock.advance(days=335)
    _again(_renew(lab, FIRST))


def _provision_again(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.provision()
    widget.connect().send({"temperature": 21.7})


def _let_the_hub_trust_the_company(lab: Lab) -> None:
    hub, company = lab.hub(), _ca(lab, COMPANY)
    entry = hub.certificates.upload("company-x", company.certificate)
    hub.certificates.verify(entry, company.prove_possession(entry.verification_code))
    for name in FLEET:
        hub.devices.update(name, ca=True)


def _renew_all(lab: Lab) -> None:
    for name in lab.work.each(FLEET, "renewing certificates"):
        _again(_renew(lab, name)).send({"temperature": 21.8})


def _cut_the_chain(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.install_chain([widget.certificate])
    _again(widget)


def _mend_the_chain(lab: Lab) -> None:
    widget = lab.device(FIRST)
    _ca(lab, TECHNICIAN).inject(widget, "all")
    widget.connect().send({"temperature": 21.9})


STORY = Scenario(
    name="talking-to-the-hub",
    title="Talking to the hub",
    introduction="Three widgets that DPS has assigned to a hub. What do they say to each other, "
    "and how does the hub know whom it talks to? Press **Next**.",
    steps=(
        Step(
            "Three widgets have a hub",
            "DPS has assigned all three to **contoso-hub**, and its work is done. Look at an "
            "identity in the hub: it has the **device ID**, and beside it **one credential**, the "
            "thumbprint of that widget's certificate. DPS put it there. Nobody is connected yet.",
            _get_ready,
            look_at=(IDENTITIES[0], f"device {FIRST}"),
        ),
        Step(
            "A connection, and telemetry",
            "The hub computes the thumbprint of what the widget sends, and finds it in the "
            "identity. Then the widget sends **telemetry**: a body, and beside it a **property**, "
            "`level=normal`, by which messages can be sorted without opening them.",
            _connect_and_send,
            predict=Prediction(
                "The first widget connects to its hub. Whom does the hub ask about it?",
                ("DPS", "Company-X", "nobody"),
                "nobody",
                "It holds a thumbprint and compares. DPS has no part in it any more.",
            ),
            look_at=(IDENTITIES[0],),
        ),
        Step(
            "A setting, while nobody is there",
            "The **twin** is a document that the hub keeps for each device. A back end writes "
            "**desired** properties, and the device writes **reported** ones. The widget comes "
            "back, reads that 30 is desired, and reports that 30 it is. Neither had to wait for "
            "the other.",
            _set_while_it_is_away,
            predict=Prediction(
                "The widget is switched off, and you set its interval to 30 seconds. What becomes "
                "of that?",
                ("it is lost", "it waits in the twin", "you get an error"),
                "it waits in the twin",
                "A twin belongs to the hub. It is there whether the device is or not.",
            ),
            look_at=(IDENTITIES[0],),
        ),
        Step(
            "A command, while nobody is there",
            "A **direct method** is a call: it wants an answer, and now. The second widget is "
            "switched off, and so the hub says `404103`. Nothing was kept: when the widget comes, "
            "it will not blink.",
            _call_while_it_is_away,
            predict=Prediction(
                "The second widget is switched off, and you call its method `blink`. What happens?",
                ("the call waits for it", "the call fails at once", "the hub answers for it"),
                "the call fails at once",
                "A method is for a device that is there. What may wait goes into the twin.",
            ),
            look_at=(IDENTITIES[1],),
        ),
        Step(
            "A message that waits, and a call that is answered",
            "A **cloud-to-device message** is kept until the device has taken it. The widget "
            "connects, and there it is. Now that it is there, the method is answered, too: "
            "`blinked: 3`. So you have three ways down: what shall **be** (the twin), what shall "
            "be **done now** (a method), and what shall be **told** (a message).",
            _leave_a_message_and_call,
            look_at=(IDENTITIES[1],),
        ),
        Step(
            "A job for all",
            "A **job** does one thing at many devices, all those for which a condition is true. "
            "Two are connected and have blinked, the third has failed with `404103`. The job is "
            "**completed**, and keeps for each device what came of it.",
            _a_job_for_all,
            predict=Prediction(
                "A job calls `blink` on all three, and the third is switched off. What becomes of "
                "the job?",
                (
                    "it fails",
                    "it waits for the third",
                    "it is completed, and says who failed",
                ),
                "it is completed, and says who failed",
                "In a large fleet somebody is always away. A job that minded would never end.",
            ),
            look_at=IDENTITIES,
        ),
        Step(
            "What the hub does not look at",
            "The first widget has lost the intermediates of its chain, and is let in. Known by "
            "its **thumbprint**, it is asked for two things: is this the certificate, and is it "
            "in its validity? **Who signed it** is not asked, nor what for.",
            _send_its_own_alone,
            predict=Prediction(
                "The first widget has nothing but its own certificate left. To DPS it would be a "
                "stranger. And to its hub?",
                ("to the hub, too", "the hub lets it in"),
                "the hub lets it in",
                "The hub compares one thumbprint, and that is of the widget's own certificate.",
            ),
            look_at=(f"device {FIRST}", IDENTITIES[0]),
        ),
        Step(
            "Break it: a renewed certificate",
            "Eleven months have passed, and Technician-Z has signed the widget's request once "
            "more. Name and key are the same, and the chain is faultless, but the **thumbprint** "
            "is that of another certificate. "
            "MQTT has one number for it, **return code 5**, and no room for a reason.",
            _renew_the_first,
            predict=Prediction(
                "The widget gets a new certificate in good time: the same name, the same key, the "
                "same CA. It connects to its hub. What happens?",
                ("it is let in", "it is refused"),
                "it is refused",
                "One changed date is another certificate, and so another thumbprint.",
            ),
            look_at=(f"device {FIRST}", IDENTITIES[0]),
        ),
        Step(
            "The cure, for one widget",
            "It registers again. DPS looks at the **chain**, finds Company-X at its end as ever, "
            "and gives the hub the new thumbprint. That is one visit and one change for one "
            "widget, and for a million a million, each time that certificates are renewed.",
            _provision_again,
            look_at=(IDENTITIES[0],),
        ),
        Step(
            "A CA in place of thumbprints",
            "Company-X's root is uploaded to the **hub**, and Company-X proves possession of it: "
            "once, for all widgets. Then each identity says **CA chain**, and holds no thumbprint "
            "any more. The identities themselves remain: each device needs an ID, a switch and a "
            "twin of its own.",
            _let_the_hub_trust_the_company,
            predict=Prediction(
                "Company-X's root is verified in DPS already. Does the hub trust it, then?",
                ("yes", "no: a hub has a list of its own"),
                "no: a hub has a list of its own",
                "Possession is proven to each service that shall rely on it.",
            ),
            look_at=(f"hub ca {HUB}/company-x", *IDENTITIES),
        ),
        Step(
            "All three are renewed",
            "Three new certificates, and all three widgets are in. The hub follows each chain up "
            "to Company-X, and asks that the **CN be the device ID**. It never held anything of "
            "the old certificates, and so it misses nothing.",
            _renew_all,
            predict=Prediction(
                "All three widgets get new certificates. How much has to be changed in the hub?",
                ("nothing", "one thing", "three things"),
                "nothing",
                "It holds the CA, and that one has not changed.",
            ),
            look_at=(f"hub ca {HUB}/company-x", *IDENTITIES),
        ),
        Step(
            "Break it: now the chain is asked for",
            "The first widget has lost its intermediates once more, and this time it is refused. "
            "Return code 5 again, the very same as for the renewed certificate. **What the hub "
            "looks at has changed**, and with it what can be wrong.",
            _cut_the_chain,
            predict=Prediction(
                "The first widget sends its own certificate alone. Before, the hub has let it in "
                "so. And now?",
                ("it is let in again", "it is refused"),
                "it is refused",
                "By its own certificate alone no CA can be found.",
            ),
            look_at=(f"device {FIRST}", f"hub ca {HUB}/company-x"),
        ),
        Step(
            "The cure",
            "Technician-Z puts the issuers back in. The hub was not touched. A device that sends "
            "its **whole chain** is well in either way, and in DPS.",
            _mend_the_chain,
            look_at=(f"device {FIRST}",),
        ),
    ),
)


# ---- the exercise


def by_its_ca(lab: Lab, answer: Any) -> Iterator[Case]:
    """Two sensors of a partner: known by its CA, and renewed without a word to the cloud."""
    yield Case(
        f"these are the two sensors of {PARTNER}",
        lambda: sorted(lab.device(sensor.name).name for sensor in answer) == sorted(SENSORS),
        "hand in the two that the cell above has made: [first, second]",
    )
    yield Case(
        f"the hub has {PARTNER}'s CA, and possession of it is proven",
        lambda: _partner(lab) in lab.hub().certificates.verified(),
        "DPS has it, and that is another list: see section 6",
    )
    yield Case(
        "the hub knows both sensors by a CA",
        lambda: all(
            lab.hub().devices.get(sensor.name).authentication == AUTHORITY for sensor in answer
        ),
        "an identity holds a thumbprint until you change how it proves itself; and a device that "
        "provisions again gets a thumbprint again",
    )
    yield Case(
        "both have a renewed certificate",
        lambda: all(_is_renewed(lab, sensor) for sensor in answer),
        f"see renew in the first break-it: this time it is {PARTNER} that signs",
    )
    yield Case(
        "the hub has let both in with it",
        lambda: all(_let_in(lab, sensor) for sensor in answer),
        "what a device shows counts from its next connection on: disconnect, and connect",
    )
    yield Case(
        "and each has sent something",
        lambda: all(lab.hub().messages(sensor.name) for sensor in answer),
        "a connected device says what it measures with send(...)",
    )


def _is_renewed(lab: Lab, sensor: Device) -> bool:
    """Signed by the partner, and not what the factory put in."""
    now = sensor.certificate
    return now != lab.issued_chain(sensor.name)[0] and chain.signed_by(now, _partner(lab))


def _partner(lab: Lab) -> x509.Certificate:
    """Its CA; looked up, for a check makes nothing."""
    (partner,) = (custodian for custodian in lab.custodians if custodian.name == PARTNER)
    return partner.authorities()[0].certificate


def _let_in(lab: Lab, sensor: Device) -> bool:
    """Its last visit to the hub."""
    visit = next(visit for visit in lab.cloud.visits(HUB) if visit.device == sensor.name)
    return visit.accepted and visit.chain[0] == sensor.certificate
