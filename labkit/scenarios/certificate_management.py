"""Lesson 18: certificates that the cloud issues, and a fleet that renews them by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from cryptography import x509

from labkit.clock import parse_moment
from labkit.cloud.adr.namespaces import Namespace
from labkit.device import Device
from labkit.lab import Lab
from labkit.scenarios.parts import verify
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, TECHNICIAN = "Company-X", "Technician-Z"
FIRST, *_, STOLEN = FLEET = tuple(f"smart-x-widget-{number:03}" for number in range(1, 11))
AT_THE_HUB = FLEET[5:]
"""Those that ask their hub, and not DPS."""
NAMESPACE, POLICY, DAYS = "contoso", "fleet", 45
GROUP, HUB = "all-widgets", "contoso-hub"
DELIVERY = tuple(f"smart-x-widget-02{number}" for number in (1, 2, 3))
WEEKLY, THIRTY = "weekly", timedelta(days=30)


def _fleet(lab: Lab, names: Sequence[str] = FLEET) -> list[Device]:
    return [lab.device(name) for name in names]


def _namespace(lab: Lab) -> Namespace:
    return lab.registry.namespaces.get(NAMESPACE)


def _build(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(TECHNICIAN))
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(GROUP, ca="company-x")
    technician.make_devices(FLEET)


def _make_the_pki(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create(NAMESPACE)
    namespace.create_credential()
    namespace.policies.create(POLICY, validity_days=DAYS)
    namespace.link_dps()
    namespace.link_hub(HUB)


def name_policy(lab: Lab, policy: str) -> None:
    """From now on, the group's devices get certificates below this policy when they ask."""
    groups = lab.dps.enrollment_groups
    groups.update(replace(groups.get(GROUP), credential_policy=policy))


def _register_with_a_request(lab: Lab) -> None:
    name_policy(lab, POLICY)
    lab.device(FIRST).renew_operational("dps")


def _connect_too_early(lab: Lab) -> None:
    lab.device(FIRST).connect()


def _synchronise(lab: Lab) -> None:
    _namespace(lab).synchronize()
    lab.device(FIRST).connect()


def _switch_on(lab: Lab) -> None:
    for device in lab.work.each(_fleet(lab), "widgets get their certificates"):
        at_hub = device.name in AT_THE_HUB
        device.firmware.configure(keep_operational=True, renew_at_hub=at_hub)
        device.firmware.run()


def live_until(lab: Lab, day: int, devices: Sequence[Device]) -> None:
    """Days pass, up to this one of the story; on each of them, each device's firmware looks what
    there is to be done."""
    began = parse_moment(STORY.clock)
    passed = (lab.clock.now() - began).days
    for _ in lab.work.each(range(passed, day), "days pass"):
        lab.clock.advance(days=1)
        for device in devices:
            device.firmware.run()


def _forty_days(lab: Lab) -> None:
    live_until(lab, 40, _fleet(lab))


def _disable(lab: Lab) -> None:
    lab.hub().devices.disable(STOLEN, "stolen")


def _ninety_days(lab: Lab) -> None:
    live_until(lab, 90, _fleet(lab, FLEET[:-1]))


def _ask_again(lab: Lab) -> None:
    lab.device(STOLEN).renew_operational("dps")


def _numbers(lab: Lab) -> str:
    return lab.dashboard().numbers


STORY = Scenario(
    name="certificate-management",
    title="Certificates that renew themselves",
    introduction="The cloud has a PKI of its own now. It signs what your widgets ask for, for a "
    "few weeks each time. Who remembers to renew? Press **Next**.",
    steps=(
        Step(
            "Ten widgets, made as always",
            "Each has a key in its token and a certificate of Technician-Z's, good for a year. "
            f"The group **{GROUP}** would let them in. This is their **onboarding credential**: "
            "what they show to DPS.",
            _build,
            look_at=(f"device {FIRST}", f"group {GROUP}"),
        ),
        Step(
            "A PKI of two tiers",
            f"In the Device Registry you make the namespace **{NAMESPACE}**. Its **credential** is "
            f"a root CA. Its policy **{POLICY}** is an issuing CA, which signs for {DAYS} days. "
            "Both keys are in a token that you never hold. DPS and the hub are **linked** to the "
            "namespace. Neither CA has signed a widget yet.",
            _make_the_pki,
            look_at=(f"credential {NAMESPACE}", f"policy {NAMESPACE}/{POLICY}"),
        ),
        Step(
            "A request goes along",
            f"The enrollment group names the policy. **{FIRST}** makes a **new key** in its token, "
            "registers, and sends a request (CSR) along. Back come the hub's name and a chain: its "
            "own certificate, the issuing CA, the root. That is its **operational certificate**.",
            _register_with_a_request,
            look_at=(f"operational {FIRST}", f"policy {NAMESPACE}/{POLICY}", f"device {FIRST}"),
        ),
        Step(
            "The hub has never heard of it",
            "The widget shows the new chain to its hub, and is **refused**. The hub has an "
            "identity for it, known by a CA. But **which** CAs the hub believes is a list of its "
            "own, and that is empty.",
            _connect_too_early,
            predict=Prediction(
                "DPS has assigned the widget to the hub and had a certificate issued to it. Now it "
                "connects.",
                ("the hub takes it", "the hub refuses it"),
                "the hub refuses it",
                "Nobody has told the hub of the new CA.",
            ),
            look_at=(f"identity {HUB}/{FIRST}", f"operational {FIRST}"),
        ),
        Step(
            "Synchronise",
            "You **synchronise** the namespace: the issuing CA is put among the hub's "
            "certificates. You prove nothing, for it is Azure's own. The widget connects.",
            _synchronise,
            look_at=(f"hub ca {HUB}/adr-{POLICY}-2", f"identity {HUB}/{FIRST}"),
        ),
        Step(
            "They do it themselves",
            "Now the firmware of all ten. It gets an operational certificate, connects with it, "
            "and **reports** in its twin from when to when that is valid. Nobody else needs to "
            "know: what you see below is read from the twins alone.",
            _switch_on,
            look_at=(f"policy {NAMESPACE}/{POLICY}", f"hub {HUB}"),
            tells=_numbers,
        ),
        Step(
            "Forty days",
            f"The clock goes on, day by day. Each widget watches **its own dates**, and renews "
            f"when 70 to 80 percent of the {DAYS} days are over: each at another moment, so that "
            "they do not all ask at once. Half of them register with DPS again. The other half "
            "ask their **hub**. Each time with a new key.",
            _forty_days,
            predict=Prediction(
                f"Each certificate is good for {DAYS} days. Forty days pass. How many widgets "
                "still have that of the first day?",
                ("all ten", "about half", "none"),
                "none",
                "Whoever waits for the last day is out when the network is down on that day.",
            ),
            look_at=(f"operational {FIRST}", f"hub {HUB}"),
            tells=_numbers,
        ),
        Step(
            "One is stolen",
            f"**{STOLEN}** is stolen, and its certificate is good for weeks. There is **no list of "
            "revoked certificates**. You disable its identity in the hub. Its connection ends at "
            "once, and what it holds opens nothing.",
            _disable,
            predict=Prediction(
                "A widget is stolen. Its certificate is valid for another month, and this PKI "
                "revokes nothing. What ends it?",
                (
                    "its certificate's last day",
                    "to delete the policy",
                    "to disable its identity in the hub",
                ),
                "to disable its identity in the hub",
                "What a deleted policy has signed stays valid. The hub's own identity decides.",
            ),
            look_at=(f"identity {HUB}/{STOLEN}", f"operational {STOLEN}"),
        ),
        Step(
            "Ninety days",
            "Seven weeks more. The nine others have renewed **twice** by now, and nobody came "
            "near the last day. Their chains end in the root of the first day, so the hub has had "
            "nothing to learn. The stolen one lies in a drawer: its certificate is over.",
            _ninety_days,
            look_at=(f"operational {STOLEN}", f"policy {NAMESPACE}/{POLICY}"),
            tells=_numbers,
        ),
        Step(
            "It asks once more",
            f"Somebody switches **{STOLEN}** on. Its onboarding credential is still good, so it "
            "asks DPS for another certificate, and gets **none**: its identity is disabled. Read "
            "why below.",
            _ask_again,
            look_at=(f"identity {HUB}/{STOLEN}", f"device {STOLEN}"),
        ),
    ),
)


# ---- the exercise


def kept_valid(lab: Lab, answer: Any) -> Iterator[Case]:
    """Three widgets keep the certificates of a week by themselves, for thirty days."""
    yield Case(
        "the three widgets of the delivery are handed in",
        lambda: [device.name for device in answer] == list(DELIVERY),
        "kept = delivery, once all is done",
    )
    yield Case(
        f"each has a certificate below the policy {WEEKLY}",
        lambda: all(_issuer_of(device) == _weekly(lab) for device in answer),
        f"the enrollment group has to name {WEEKLY}, and firmware has to ask: section 3",
    )
    yield Case(
        "its hub has taken each of them",
        lambda: all(device.operational.is_taken for device in answer),
        "a hub refuses what comes from a CA that it has not heard of: the policy is newer than "
        "your last synchronize(). And firmware that was refused waits before it tries again: let "
        "time pass, and run it",
    )
    yield Case(
        "thirty days have passed since the first was issued",
        lambda: all(_kept_for(lab, device) >= THIRTY for device in answer),
        "let days pass, and let firmware run on each of them: section 4",
    )
    yield Case(
        "nobody was without a valid certificate meanwhile",
        lambda: all(_without_a_gap(lab, device) for device in answer),
        "a certificate of a week that nobody looked after for a week is over: do not pass over "
        "days. Run the lesson's second cell to begin anew",
    )
    yield Case(
        "and their twins tell of the last ones",
        lambda: _reported(lab, answer),
        "firmware reports by itself once the hub has taken a certificate; run it once more",
    )


def _weekly(lab: Lab) -> x509.Certificate:
    return _namespace(lab).policies.get(WEEKLY).certificate


def _issuer_of(device: Device) -> x509.Certificate | None:
    return next(iter(device.operational.chain[1:]), None)


def _issued(lab: Lab, device: Device) -> list[x509.Certificate]:
    found = _namespace(lab).certificates(device.registration_id)
    return [entry.certificate for entry in found if entry.policy == WEEKLY]


def _kept_for(lab: Lab, device: Device) -> timedelta:
    began: datetime = _issued(lab, device)[0].not_valid_before_utc
    return lab.clock.now() - began


def _without_a_gap(lab: Lab, device: Device) -> bool:
    issued = _issued(lab, device)
    ends = all(a.not_valid_after_utc > b.not_valid_before_utc for a, b in pairwise(issued))
    return ends and issued[-1].not_valid_after_utc > lab.clock.now()


def _reported(lab: Lab, devices: Sequence[Device]) -> bool:
    said = {report.device: report.expires for report in lab.dashboard().devices}
    held = {device.name: device.operational.chain[0].not_valid_after_utc for device in devices}
    return all(said[name] == end for name, end in held.items())
