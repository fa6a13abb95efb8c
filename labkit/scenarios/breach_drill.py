"""Lesson 16: a key was stolen. What is done about it, in which order, and what each idea costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from labkit.cloud.dps.entries import CLIENT, DISABLED, ENABLED, SIGNING, X509Attestation
from labkit.device import Device
from labkit.drill import Incident
from labkit.lab import Lab
from labkit.scenarios.parts import verify
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Decision, Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
CAREFUL = ("smart-x-widget-001", "smart-x-widget-002")
CARELESS = ("smart-x-widget-003", "smart-x-widget-004")
VICTIM = CARELESS[0]
GROUP, HUB = "smart-x-widgets", "contoso-hub"
CLOCK = "2027-03-01T09:00:00Z"
ROUNDS: Final = 4

WAIT = "wait, and watch"
REVOKE = "have Technician-Z sign a revocation list"
BLOCK = "block the widget in DPS, with its certificate"
DISABLE = "disable the widget's identity in the hub"
DELETE = "delete the widget's identity in the hub"
NAME = "renew the widget, and name its new certificate in DPS"
NAME_AND_PROVISION = "renew the widget, name its new certificate in DPS, and let it provision"
NAME_AND_DELETE = "renew the widget, name its new certificate in DPS, and delete its identity"
ROLL = "a new CA in the group: renew every widget below it, and let each provision"


def begin(*robbed: str) -> Lab:
    """The lab of the drill, empty and built anew: a fleet of four at work, of which Mallory has
    robbed these, the third widget unless named. Opens the workspace ``breach-drill``."""
    lab = Lab.open(STORY.name, fresh=True, clock=STORY.clock)
    _build(lab)
    for name in robbed or (VICTIM,):
        lab.attacker().steal(lab.device(name))
    return lab


# ---- before the first round


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    """Its newest: a CA that was renewed is several."""
    return lab.custodian(custodian).authorities()[-1]


def _build(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    factory = company.sign_intermediate(lab.custodian(FACTORY))
    technician = factory.sign_intermediate(lab.custodian(TECHNICIAN))
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(GROUP, signing=technician.certificate)
    for name in lab.work.each(CAREFUL + CARELESS, "making widgets"):
        technician.make_device(name, key_in_file=name in CARELESS)
    lab.incident().fleet.round()


def _steal(lab: Lab) -> None:
    mallory = lab.attacker()
    mallory.steal(lab.device(VICTIM))
    mallory.try_dps()
    mallory.try_hub()


# ---- what can be decided


def _wait(lab: Lab) -> None:
    """What was done meanwhile in a cell, or in the portal, counts."""


def _revoke(lab: Lab) -> None:
    first = lab.custodian(TECHNICIAN).authorities()[0]
    first.revoke(lab.issued_chain(VICTIM)[0])


def _names(lab: Lab, device: Device, status: str) -> None:
    """An entry of the device's own, which names the certificate that it has now."""
    entries, own = lab.dps.enrollments, X509Attestation(CLIENT, device.certificate)
    if (entry := entries.find(device.name)) is None:
        entries.create(device.name, certificate=device.certificate, status=status)
    else:
        entries.update(replace(entry, attestation=own, provisioning_status=status))


def _block(lab: Lab) -> None:
    _names(lab, lab.device(VICTIM), DISABLED)


def _disable(lab: Lab) -> None:
    lab.hub().devices.disable(VICTIM)


def _delete(lab: Lab) -> None:
    lab.hub().devices.delete(VICTIM)


def _renewed(lab: Lab) -> Device:
    """The widget with a key that nobody has stolen; twice is harmless."""
    widget = lab.device(VICTIM)
    if widget.certificate == lab.attacker().as_device(VICTIM).certificate:
        widget.renew(_ca(lab, TECHNICIAN))
    return widget


def _name(lab: Lab) -> None:
    """The new certificate is admitted, and an identity that was switched off is on again."""
    _names(lab, _renewed(lab), ENABLED)
    _switch_on(lab)


def _switch_on(lab: Lab) -> None:
    identity = lab.hub().devices.find(VICTIM)
    if identity is not None and not identity.enabled:
        lab.hub().devices.enable(VICTIM)


def _name_and_provision(lab: Lab) -> None:
    _name(lab)
    lab.device(VICTIM).provision()


def _name_and_delete(lab: Lab) -> None:
    _name(lab)
    if VICTIM in lab.hub().devices:
        _delete(lab)


def _roll(lab: Lab) -> None:
    technician = _ca(lab, TECHNICIAN).renew(new_key=True)
    groups, entries = lab.dps.enrollment_groups, lab.dps.enrollments
    named = X509Attestation(SIGNING, technician.certificate)
    groups.update(replace(groups.get(GROUP), attestation=named))
    if entries.find(VICTIM) is not None:
        entries.delete(VICTIM)
    _switch_on(lab)
    lab.incident().fleet.roll(lambda widget: _move(widget, technician))


def _move(widget: Device, ca: CertificateAuthority[Device]) -> None:
    widget.renew(ca)
    widget.provision()


_DECISION = Decision(
    "Mallory has the key of smart-x-widget-003, and tries again soon. What do you do?",
    {
        WAIT: _wait,
        REVOKE: _revoke,
        BLOCK: _block,
        DISABLE: _disable,
        DELETE: _delete,
        NAME: _name,
        NAME_AND_PROVISION: _name_and_provision,
        NAME_AND_DELETE: _name_and_delete,
        ROLL: _roll,
    },
)

# ---- the rounds


def _round(lab: Lab) -> None:
    lab.incident().round()


def _result(lab: Lab) -> str:
    """What came of the round; after the last, the score with its reasons."""
    rounds, score = lab.incident().rounds, lab.incident().score
    told = f"Round {len(rounds)}: {rounds[-1]}."
    return f"{told}\n\n{score}" if len(rounds) >= ROUNDS else told


_MORE = (
    "First Mallory tries, as the widget: DPS, then the hub. Then every widget is switched on anew, "
    "registers, connects and sends. Two things count: who got in, and **who of your own did not**."
)
_NARRATIONS = (
    ("Round one", f"{_MORE} What you do now, in a cell or in the portal, counts as well."),
    ("Round two", f"Read the result below, and look at the identity in the hub. {_MORE}"),
    (
        "Round three",
        "DPS decides who may **register**, the hub who may **connect**. Are both doors closed to "
        "the stolen certificate, and open to your widget?",
    ),
    (
        "The last round, and the score",
        "A hundred points are what nobody has lost. Each cost below has its round and its reason, "
        "and at the end stands what would have been better. **Reset** lets you try it.",
    ),
)
_LOOK_AT = (f"identity {HUB}/{VICTIM}", f"device {VICTIM}", f"group {GROUP}")


def _steps() -> Iterator[Step]:
    yield Step(
        "A fleet at work",
        "Four widgets below Technician-Z, one enrollment group, one hub. The first two have their "
        "keys in **tokens**. The other two have theirs in a **file**: it was quicker so.",
        _build,
        look_at=(f"device {VICTIM}", f"group {GROUP}"),
    )
    yield Step(
        "The alarm",
        "Mallory had the third widget in hands for a minute, and has copied its flash: "
        "certificate and key. DPS took Mallory for the widget, and so did the hub, which ended the "
        "widget's own connection: that is how you noticed. From now on each round counts.",
        _steal,
        predict=Prediction(
            "Mallory has a copy of the third widget's certificate and key. By what can DPS tell "
            "the two apart?",
            ("by the address", "by the thumbprint", "by nothing"),
            "by nothing",
            "The same certificate and a proof of the same key: to DPS it is the widget.",
        ),
        look_at=("attacker Mallory", *_LOOK_AT[:2]),
    )
    for title, narration in _NARRATIONS:
        yield Step(
            title, narration, _round, look_at=("attacker Mallory",), decide=_DECISION, tells=_result
        )


STORY = Scenario(
    name="breach-drill",
    title="Breach drill",
    introduction="A fleet, a thief and four rounds: you decide, and the lab keeps the score of "
    "containment time, devices lost and attacker connections. Press **Next**.",
    steps=tuple(_steps()),
    clock=CLOCK,
)


# ---- the exercise


def contained(lab: Lab, answer: Any) -> Iterator[Case]:
    """Two widgets were robbed: both are rescued before Mallory gets in again."""
    yield Case(
        "this is the incident of this lab",
        lambda: isinstance(answer, Incident) and answer is lab.incident(),
        "hand in lab.incident(), after you have played its rounds",
    )
    yield Case(
        "both careless widgets were robbed in it",
        lambda: answer.attacker.victims == list(CARELESS),
        "run the cell above once more: the drill begins anew with two victims",
    )
    yield Case(
        "two rounds were played",
        lambda: len(answer.rounds) >= 2,
        "incident.round() plays one; the second shows that it lasts",
    )
    yield Case(
        "in the last round Mallory got in nowhere",
        lambda: answer.score.contained,
        "DPS and the hub are two doors: print(incident.score) says which one was open",
    )
    yield Case(
        "no widget was lost in any round",
        lambda: _nobody(round_.lost for round_ in answer.rounds),
        "who is locked out with the thief needs a certificate that the thief does not have",
    )
    yield Case(
        "and Mallory got in nowhere in the first round either",
        lambda: answer.score.containment == 0,
        "begin again, and do all of it for both widgets before the first round",
    )


def _nobody(lost: Iterator[Sequence[str]]) -> bool:
    return not any(lost)
