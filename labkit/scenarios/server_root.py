"""Lesson 11: the service changes its root, and whom that shuts out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
FIRST, SECOND, STORED = (f"smart-x-widget-00{number}" for number in (1, 2, 3))
OLD, NEW, NEXT = (f"Lab Service Root CA{number}" for number in ("", " G2", " G3"))
PREPARED = "smart-x-widget-011"


def _technician(lab: Lab) -> CertificateAuthority[Device]:
    (found,) = lab.custodian(TECHNICIAN).authorities()
    return found


def _get_ready(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(FACTORY)).sign_intermediate(
        lab.custodian(TECHNICIAN)
    )
    entry = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)
    for name in (FIRST, SECOND, STORED):
        technician.make_device(name)
    for name in (FIRST, SECOND):
        lab.device(name).provision()


def _renew_below_the_root(lab: Lab) -> None:
    lab.server.roll_leaf()
    lab.server.roll_issuing_ca()
    lab.device(FIRST).provision()


def _announce(lab: Lab) -> None:
    lab.server.new_root(NEW)


def _send_the_bundle(lab: Lab) -> None:
    for name in (FIRST, SECOND):
        lab.device(name).install_roots(lab.server.trust_bundle)


def _switch(lab: Lab) -> None:
    widget = lab.device(FIRST).connect()
    lab.server.switch_root(NEW)
    widget.send({"temperature": 21.5})


def _reconnect(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.disconnect()
    widget.connect().send({"temperature": 21.5})
    lab.device(SECOND).provision()


def _unpack(lab: Lab) -> None:
    lab.device(STORED).provision()


def _cut_the_chain(lab: Lab) -> None:
    widget = lab.device(SECOND)
    widget.install_chain([widget.certificate])
    widget.provision()


def _mend_the_chain(lab: Lab) -> None:
    widget = lab.device(SECOND)
    widget.install_chain(lab.issued_chain(SECOND))
    widget.provision()


def _cross_sign(lab: Lab) -> None:
    _mend_the_chain(lab)
    lab.server.switch_root(NEW, cross_signed=True)
    lab.device(STORED).provision()


def _finish(lab: Lab) -> None:
    lab.device(STORED).install_roots(lab.server.root.certificate)
    lab.server.switch_root(NEW)
    lab.device(STORED).provision()


_IN_TLS, _IN_MQTT = "in TLS, by the widget", "after it, with 401, by DPS"

STORY = Scenario(
    name="server-root",
    title="A new root for the service",
    introduction="Widgets that are in the field, and a cloud whose root is getting old. Press "
    "**Next**.",
    servers=True,
    steps=(
        Step(
            "Two chains",
            "On the left is the chain that you know: it says who a **device** is, and the cloud "
            "judges it. Below is another one. It says who the **server** is, and each device "
            "judges it, by the roots in its own **trust store**. Two widgets are in the field. "
            "The third lies in a box, in a warehouse.",
            _get_ready,
            look_at=(f"service root {OLD}", f"device {STORED}"),
        ),
        Step(
            "What changes all the time",
            "The server's own certificate, the **leaf**, is renewed every few months, with a new "
            "key. The **issuing CA** above it is renewed every few years. Both have just "
            "happened. A widget connects, and nobody has touched it: it trusts the **root**, and "
            "the new chain leads there, too.",
            _renew_below_the_root,
            predict=Prediction(
                "Leaf and issuing CA of the service are new. What do the widgets need?",
                ("the new leaf", "the new issuing CA", "nothing"),
                "nothing",
                "The server sends both. What a client has to have is the root.",
            ),
            look_at=("issuing CA", "endpoint"),
        ),
        Step(
            "A new root is announced",
            "The root's days are numbered, so the service makes another one and **announces** it: "
            "it joins the **trust bundle**, the roots that clients shall trust. The chain that is "
            "served is the old one still.",
            _announce,
            predict=Prediction(
                "A second root is announced. Which chain will a widget be shown that connects now?",
                ("the one below the old root", "the one below the new root", "both"),
                "the one below the old root",
                "This is the overlap: time to get ready, in which nothing breaks.",
            ),
            look_at=(f"service root {NEW}",),
        ),
        Step(
            "The bundle goes into the field",
            "The two widgets in the field get **both** roots with a firmware update. They keep "
            "the old one: it is needed until the change. The box in the warehouse is not opened "
            "for that. Who would think of it?",
            _send_the_bundle,
            look_at=(f"device {FIRST}", f"device {STORED}"),
        ),
        Step(
            "The change",
            "The first widget is connected. Now the service **switches**: whoever connects from "
            "here on is shown the chain below the new root. The widget goes on sending, and "
            "notices nothing.",
            _switch,
            predict=Prediction(
                "A widget is connected at the very moment of the change. What becomes of its "
                "connection?",
                ("it ends", "it stays", "it is moved to the new chain"),
                "it stays",
                "A chain is shown in the handshake. Who has that behind them is not asked again.",
            ),
            look_at=(f"service root {NEW}", f"service root {OLD}"),
        ),
        Step(
            "The next connection",
            "Sooner or later each device connects anew: a router is switched off, a battery is "
            "changed. Both widgets are shown the new chain, find its root in their stores, and "
            "come in. Had they lacked it, the trouble would begin **here**, and not on the day of "
            "the change.",
            _reconnect,
            look_at=(f"device {FIRST}", f"device {SECOND}"),
        ),
        Step(
            "Break it: out of the warehouse",
            "The box is opened. The widget is as good as on the day it was made: its key, its "
            "certificate, its chain. But its trust store is of that day, too. It looks at the "
            "server's chain, finds no root for it, and **leaves**, with the alert `unknown_ca`.",
            _unpack,
            predict=Prediction(
                "The third widget connects for the first time. Its own chain is faultless. What "
                "does DPS answer?",
                ("it assigns the widget", "401", "nothing: it is never asked"),
                "nothing: it is never asked",
                "The widget judges the server before it shows anything of itself.",
            ),
            look_at=(f"device {STORED}", f"service root {NEW}"),
        ),
        Step(
            "The other direction, for comparison",
            "The second widget loses the intermediates of its **own** chain, as in lesson 01. It "
            "trusts the server, so TLS ends well. Then DPS judges, and says `401`. Two faults, "
            "two directions: an **alert** is the device's no, a **401** is the cloud's.",
            _cut_the_chain,
            predict=Prediction(
                "The second widget trusts the new root, and sends only its own certificate. Where "
                "does that end?",
                (_IN_TLS, _IN_MQTT),
                _IN_MQTT,
                "The server is trusted. It is the device's chain that does not suffice.",
            ),
            look_at=(f"device {SECOND}", f"ca {TECHNICIAN}/{TECHNICIAN} CA"),
        ),
        Step(
            "A cure that touches no device",
            "The second widget has its chain again. For the third, the service lets the **old** "
            "root sign the new one's key, and sends that certificate, too. It is called a "
            "**cross-signature**. Now the chain leads to either root, and the old store is "
            "enough. (In Azure that is not yours to decide.)",
            _cross_sign,
            predict=Prediction(
                "The old root signs the new root's key, and the server sends that as well. Who "
                "can connect?",
                ("those with the old root", "those with the new root", "those with either"),
                "those with either",
                "There are two ways up now, and one that ends in the store suffices.",
            ),
            look_at=(f"service root {OLD}", f"service root {NEW}"),
        ),
        Step(
            "The end of the old root",
            "The third widget can be reached again, so it gets the new root like the others. "
            "Then the service drops the cross-signature: the old root is **retired**, and nobody "
            "is shut out.",
            _finish,
            look_at=(f"device {STORED}", f"service root {OLD}"),
        ),
    ),
)


def next_root(lab: Lab, answer: Any) -> Iterator[Case]:
    """One more change of the root, with an overlap: a widget that is never shut out."""
    yield Case(
        f"it is {PREPARED}",
        lambda: lab.device(answer.name).name == PREPARED,
        f"assign the widget that the cell above has made: lab.device({PREPARED!r})",
    )
    yield Case(
        f"the service has a root {NEXT}",
        lambda: any(root.name == NEXT for root in lab.server.roots),
        "see section 4: which line announced a root?",
    )
    yield Case(
        "the widget trusts it",
        lambda: NEXT in _trusted(answer),
        "what was announced has to come into the widget: see section 5",
    )
    yield Case(
        "and it trusts the root before it, which was in use until the change",
        lambda: set(_trusted(answer)) & {OLD, NEW} != set(),
        "a bundle holds more than one root: install what is to be trusted before the change and "
        "after it",
    )
    yield Case(
        f"the service's chain leads to {NEXT}",
        lambda: lab.server.root.name == NEXT and lab.server.cross_signer is None,
        "see section 6: the change itself, without a cross-signature",
    )
    yield Case(
        "the widget was assigned before the change, and once more after it",
        lambda: _substatus(lab, answer) == "reprovisionedToInitialAssignment",
        "let it provision twice: a widget in the field connects before, and after",
    )
    yield Case(
        "and it was never shut out",
        lambda: lab.cloud.refusals.last(answer.name) is None,
        "it failed at least once: begin again with fresh=True, and think of the order",
    )


def _trusted(device: Device) -> list[str]:
    return [chain.common_name(root) for root in device.trusted_roots]


def _substatus(lab: Lab, device: Device) -> str:
    return lab.dps.registrations.get(device.name).substatus
