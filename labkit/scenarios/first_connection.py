"""Lesson 07: the first connection, and who says no in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography import x509

from labkit.cloud.presentations import Presentation
from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
STRANGER, EAVESDROPPER, NEWCOMER = "Stranger-S", "Eavesdropper-E", "Technician-W"
FIRST, SECOND, THIRD = (f"smart-x-widget-00{number}" for number in (1, 2, 3))
GADGET, WRONG_SCOPE = "gadget-001", "0ne00000000"


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    (found,) = lab.custodian(custodian).authorities()
    return found


def _trust(lab: Lab, ca: CertificateAuthority[Device], name: str, group: str) -> None:
    entry = lab.dps.certificates.upload(name, ca.certificate)
    lab.dps.certificates.verify(entry, ca.prove_possession(entry.verification_code))
    lab.dps.enrollment_groups.create(group, signing=ca.certificate)


def _get_ready(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    factory = company.sign_intermediate(lab.custodian(FACTORY))
    factory.sign_intermediate(lab.custodian(TECHNICIAN)).make_device(FIRST)
    _trust(lab, company, "company-x", "smart-x-widgets")


def _connect(lab: Lab) -> None:
    lab.device(FIRST).provision()


def _a_stranger(lab: Lab) -> None:
    unknown = lab.custodian(STRANGER).create_root_ca()
    gadget = unknown.make_device(GADGET)
    gadget.install_chain([gadget.certificate, unknown.certificate])
    gadget.provision()


def _a_thief(lab: Lab) -> None:
    thief = lab.custodian(EAVESDROPPER)
    lab.impersonate(FIRST, by=thief, key=thief.make_key("forgery")).provision()


def _only_its_own(lab: Lab) -> None:
    _ca(lab, TECHNICIAN).make_device(SECOND, inject="none").provision()


def _send_the_chain(lab: Lab) -> None:
    _ca(lab, TECHNICIAN).inject(SECOND, "all").provision()


def _verify_the_intermediate(lab: Lab) -> None:
    technician = _ca(lab, TECHNICIAN)
    _trust(lab, technician, "technician-z-ca", "technician-z-ca")
    technician.make_device(THIRD, inject="none").provision()


def _wrong_roots(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.install_roots([_ca(lab, COMPANY).certificate])
    widget.provision()


def _right_roots(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.install_roots(lab.network.server_roots)
    widget.provision()


def _wrong_scope(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.configure(id_scope=WRONG_SCOPE)
    widget.provision()


def _right_scope(lab: Lab) -> None:
    widget = lab.device(FIRST)
    widget.configure(id_scope=lab.dps.id_scope)
    widget.provision()


_IN_TLS, _IN_MQTT = "in the TLS handshake", "after it, in MQTT"

STORY = Scenario(
    name="first-connection",
    title="The first connection",
    introduction="A widget that has never spoken to anybody, and a cloud that has never heard of "
    "it. Press **Next**.",
    steps=(
        Step(
            "All is ready",
            "Company-X's root is **verified** in the Device Provisioning Service (DPS), and an "
            "enrollment group names it. The widget holds its own certificate and the two "
            "intermediates. It also holds a **trust store**: whom it believes to be the cloud.",
            _get_ready,
            look_at=(f"device {FIRST}", "group smart-x-widgets"),
        ),
        Step(
            "The first connection",
            "Every connection begins with the **TLS handshake**. The server shows its "
            "certificates, and the widget checks them. The server **asks** for the widget's: it "
            "sends three, and **signs** the handshake with its key. So chain and possession "
            "arrive in one step. Then it speaks MQTT, and DPS judges the chain.",
            _connect,
            predict=Prediction(
                "Widget and server meet for the first time. Who has to show a certificate first?",
                ("the widget", "the server"),
                "the server",
                "The widget says nothing of itself before it knows whom it talks to.",
            ),
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "A stranger",
            "**Stranger-S** has a CA that DPS has never heard of. Its gadget sends its whole "
            "chain, the root too. Look at the event log: **the handshake succeeds**. TLS asked "
            "only whether the gadget holds its key. DPS asked for a CA that it trusts, and says "
            "`401`, in MQTT.",
            _a_stranger,
            predict=Prediction(
                "A device with certificates of a CA that nobody knows connects. Where does that "
                "end?",
                (_IN_TLS, _IN_MQTT),
                _IN_MQTT,
                "The service takes any chain in TLS. Who may come in is decided above.",
            ),
            look_at=(f"ca {STRANGER}/{STRANGER} Root CA", f"device {GADGET}"),
        ),
        Step(
            "A thief with true certificates",
            "**Eavesdropper-E** listened to the widget and has its three certificates. They are "
            "public, and as good as ever. But the handshake has to be **signed with the "
            "widget's key**, and that never left its token. The server ends the handshake; DPS "
            "never hears of it.",
            _a_thief,
            predict=Prediction(
                "Somebody sends the widget's own certificates, and has another key. Where does "
                "that end?",
                (_IN_TLS, _IN_MQTT, "nowhere: they get in"),
                _IN_TLS,
                "Possession of the key is the one thing that TLS itself checks.",
            ),
            look_at=(f"token {EAVESDROPPER}", f"device {FIRST}"),
        ),
        Step(
            "Break it: only its own certificate",
            "A second widget leaves the line, and nobody has put the intermediates in. It holds "
            "its key, and sends **one** certificate. `401` again: DPS was not shown who signed "
            "it. There are two cures, and both are right.",
            _only_its_own,
            look_at=(f"device {SECOND}", f"ca {TECHNICIAN}/{TECHNICIAN} CA"),
        ),
        Step(
            "The first cure: send the chain",
            "Technician-Z puts its own certificate and Factory-Y's into the widget. It sends "
            "three, and DPS follows them up to Company-X. **Nothing** was changed in the cloud.",
            _send_the_chain,
            look_at=(f"device {SECOND}",),
        ),
        Step(
            "The second cure: verify the intermediate",
            "Technician-Z proves possession of its **own** CA, and a group names that. A third "
            "widget sends one certificate: its issuer is known, so the chain may end there. "
            "**Nothing** was changed in the device.",
            _verify_the_intermediate,
            predict=Prediction(
                "A third widget has no room for more than its own certificate. Can it be admitted?",
                (
                    "no: a device must send its chain",
                    "yes: DPS may trust Technician-Z's CA itself",
                    "yes: DPS looks up what is missing",
                ),
                "yes: DPS may trust Technician-Z's CA itself",
                "What DPS has, the device need not send. And nobody looks up what is missing.",
            ),
            look_at=("entry technician-z-ca", f"device {THIRD}"),
        ),
        Step(
            "Break it: the wrong trust store",
            "An update puts Company-X's root where the root of the **service** was. The server "
            "is the true one, but the widget cannot know that: it leaves in the handshake, with "
            "an **alert**, as TLS calls its complaints. There is no `401`, because nobody was "
            "asked anything.",
            _wrong_roots,
            predict=Prediction(
                "The first widget now trusts only servers below Company-X's root. What does DPS "
                "answer?",
                ("401", "nothing: it is never asked", "it assigns the widget"),
                "nothing: it is never asked",
                "The widget leaves before it has said who it is.",
            ),
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "The cure",
            "The root that vouches for the service is back in the trust store. The widget's own "
            "chain was never at fault: whom **I** trust, and who trusts **me**, are two things.",
            _right_roots,
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "Break it: the wrong ID scope",
            "All customers' devices dial the same host. The **ID scope** says which provisioning "
            "service is meant, and here it is that of another one. Both sides trust each other, "
            "and DPS says `401`: bare, just as for a broken chain. The check that failed says "
            "what it was.",
            _wrong_scope,
            look_at=(f"device {FIRST}",),
        ),
        Step(
            "The cure",
            "The right ID scope, and the widget is assigned. No certificate was touched.",
            _right_scope,
            look_at=(f"device {FIRST}",),
        ),
    ),
)


def both_ways(lab: Lab, answer: Any) -> Iterator[Case]:
    """Two leaf-only devices of a new technician: one learns to send, for the other DPS learns."""
    yield Case(
        "these are two devices",
        lambda: len(answer) == 2 and len({lab.device(d.name).name for d in answer}) == 2,
        "hand in a list of the two: [first, second]",
    )
    yield Case(
        f"{NEWCOMER} signed both",
        lambda: all(_issuer(lab, device) is not None for device in answer),
        "take the two that the cell above has made",
    )
    yield Case(
        "the first came to DPS with its whole chain",
        lambda: _sent(lab, answer[0]) == _path(lab, answer[0]),
        f"it was made with its own certificate alone. Who has {NEWCOMER}'s, and {FACTORY}'s?",
    )
    yield Case(
        "and DPS assigned it",
        lambda: _visit(lab, answer[0]).accepted,
        "ask lab.explain(first) what is still missing",
    )
    yield Case(
        "the second came with nothing but its own certificate",
        lambda: _sent(lab, answer[1]) == [answer[1].certificate],
        "leave its chain as it was made, and let it ask DPS",
    )
    yield Case(
        f"{NEWCOMER}'s own CA is verified in DPS",
        lambda: _issuer(lab, answer[1]) in lab.dps.certificates.verified(),
        "an upload is not a proof: who has to sign the code? Lesson 04 knows",
    )
    yield Case(
        "and DPS assigned the second, too",
        lambda: _visit(lab, answer[1]).accepted,
        "a CA that is trusted admits nobody yet: which entry names it?",
    )


def _visit(lab: Lab, device: Device) -> Presentation:
    return next(visit for visit in lab.cloud.visits("dps") if visit.device == device.name)


def _sent(lab: Lab, device: Device) -> list[x509.Certificate]:
    return list(_visit(lab, device).chain)


def _issuer(lab: Lab, device: Device) -> x509.Certificate | None:
    """The newcomer's CA, where it signed the device."""
    named = (custodian for custodian in lab.custodians if custodian.name == NEWCOMER)
    cas = (ca.certificate for custodian in named for ca in custodian.authorities())
    return next((ca for ca in cas if chain.signed_by(device.certificate, ca)), None)


def _path(lab: Lab, device: Device) -> list[x509.Certificate]:
    """What it has to send: itself and its issuers, without the root."""
    return [c for c in lab.ledger().chain_of(device) if not chain.is_self_signed(c)]
