"""Lesson 06: the manufacturing line, and the CA beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from labkit.device import Device
from labkit.lab import Lab
from labkit.supplychain import CertificateAuthority, Line, simulate
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

FACTORY: Final = "ca Factory-Y/Factory-Y CA"
NIGHT: Final = "night-"
EVENING: Final = datetime(2032, 2, 27, 22, tzinfo=UTC)
MORNING: Final = datetime(2032, 2, 29, 6, tzinfo=UTC)
"""Before and after the certificate of Factory-Y's CA ends: five years after the story begins."""


def _factory(lab: Lab) -> CertificateAuthority[Device]:
    return lab.custodian("Factory-Y").authorities()[0]


def _set_up(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    company.sign_intermediate(lab.custodian("Factory-Y"), path_length=0)
    ca = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)


def _first_four(lab: Lab) -> None:
    Line(_factory(lab)).run(4)


def _all_ten(lab: Lab) -> None:
    Line(_factory(lab)).run(10)


def _provision(lab: Lab) -> None:
    for device in lab.work.each(lab.devices, "provisioning devices"):
        device.provision()


def _on_trial(lab: Lab) -> None:
    Line(_factory(lab), prefix="trial-").run(300, keys="session")


def _evening(lab: Lab) -> None:
    lab.clock.set(EVENING)
    Line(_factory(lab), prefix=NIGHT).run(4)


def _morning(lab: Lab) -> None:
    lab.clock.set(MORNING)
    Line(_factory(lab), prefix=NIGHT).run(8)


def _renew(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    factory = lab.custodian("Factory-Y")
    renewed = company.sign_intermediate(factory, "Factory-Y CA 2", path_length=0)
    line = Line(renewed, prefix=NIGHT)
    made = line.make(line.names(8)[4:]).devices
    for device in lab.work.each(made, "provisioning devices"):
        lab.device(device.name).provision()


STORY = Scenario(
    name="manufacturing-line",
    title="The line and its CA",
    introduction="Factory-Y has a line that builds widgets, and a CA beside it that signs them. "
    "Press **Next**.",
    steps=(
        Step(
            "A CA for the line",
            "Company-X signs Factory-Y's CA, with **path length** 0: it may sign devices, and no "
            "further CA. DPS is told of Company-X, once.",
            _set_up,
            look_at=(FACTORY,),
        ),
        Step(
            "Four widgets leave the line",
            "Each makes its key in a token of its own and sends a request. The requests are "
            "signed in **lots**. A lot is written into the CA's ledger before any of its widgets "
            "leaves the line.",
            _first_four,
            look_at=("device smart-x-widget-00001",),
        ),
        Step(
            "The order was for ten",
            "The shift ended after four, and the next one starts the **same** order again: ten "
            "widgets. The line asks the ledger which of them are there.",
            _all_ten,
            predict=Prediction(
                "Four of ten widgets were made before the line was stopped. Now it is told again "
                "to make ten. How many does it make?",
                ("none: there is a conflict", "six", "ten, and four are made twice"),
                "six",
                "What is on record is not made again. What is not on record never left the line.",
            ),
            look_at=(FACTORY,),
        ),
        Step(
            "All ten introduce themselves",
            "One enrollment group admits them all, and would admit ten thousand.",
            _provision,
            look_at=("group smart-x-widgets",),
        ),
        Step(
            "Three hundred on trial",
            "To try out its CA, Factory-Y signs 300 requests with **session keys**: each is made "
            "in a token, signs its request, and is gone. The picture stays as it is. The event "
            "log and the ledger know of them.",
            _on_trial,
            predict=Prediction(
                "300 certificates are signed for keys that last as long as their request. How "
                "many of these widgets can ever introduce themselves to DPS?",
                ("all 300", "none"),
                "none",
                "To introduce itself, a widget must sign with its key, and that is gone.",
            ),
            look_at=(FACTORY,),
        ),
        Step(
            "Five years on, in the evening",
            "It is 27 February 2032. The night shift makes four of eight widgets. A widget's "
            "certificate lasts a year, but never longer than its issuer's: these end **tomorrow**. "
            "The first ten have ended long ago, because nobody renewed them.",
            _evening,
            predict=Prediction(
                "The CA's certificate ends tomorrow. It signs widgets, for a year as ever. Until "
                "when are their certificates valid?",
                ("for a year", "until tomorrow"),
                "until tomorrow",
                "A chain is valid while each certificate in it is. So the CA promises no more.",
            ),
            look_at=(f"device {NIGHT}00001",),
        ),
        Step(
            "The CA's certificate has ended",
            "The CA does not sign any more, and says why. The line **stops**. Nothing is lost: "
            "four widgets are on record, and the other four have their keys and wait.",
            _morning,
            predict=Prediction(
                "The CA's certificate has ended; its key is as good as ever. The line goes on "
                "with the other four widgets. What happens?",
                (
                    "they are made, and work",
                    "they are made, and DPS refuses them",
                    "the CA refuses, and the line stops",
                ),
                "the CA refuses, and the line stops",
                "Better a line that stands than widgets on their way that nobody will admit.",
            ),
            look_at=(FACTORY,),
        ),
        Step(
            "The cure: a new CA certificate",
            "Company-X signs a new CA for Factory-Y. The line makes what was **missing**, no more, "
            "and DPS admits it: Company-X, whom DPS knows, is still valid. The four of the "
            "evening need new certificates.",
            _renew,
            look_at=("ca Factory-Y/Factory-Y CA 2", f"device {NIGHT}00008"),
        ),
    ),
)


SHIFT: Final = {
    "minutes": 240,
    "devices_per_minute": 12,
    "signatures_per_minute": 15,
    "outages": [(60, 20), (90, 15)],
}
"""The shift of the exercise, as :func:`simulate` takes it."""


def _stands(places: int) -> bool:
    return any(simulate(**SHIFT, buffer=places).stopped)  # type: ignore[arg-type]


def smallest_buffer(_: Lab, answer: Any) -> Iterator[Case]:
    """How many places a buffer needs, so that two outages stop nothing; and not one more."""
    yield Case(
        "it is a number of places",
        lambda: type(answer) is int and answer >= 1,
        "hand in a whole number: how many devices may wait for the CA",
    )
    yield Case(
        "the line never stands still",
        lambda: not _stands(answer),
        "print simulate(**shift, buffer=places): does the line stop? The second outage begins "
        "before the queue of the first is worked off",
    )
    yield Case(
        "and with one place less it would",
        lambda: answer == 1 or _stands(answer - 1),
        "this is enough, and more than enough: try fewer, or let a loop try them",
    )
