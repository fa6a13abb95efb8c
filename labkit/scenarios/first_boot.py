"""Lesson 17: a certificate at first boot, from a CA that DPS asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography import x509

from labkit.device import Device
from labkit.device.dialects import AUTHORITY as VERSION
from labkit.lab import Lab
from labkit.pki import chain
from labkit.scenarios.parts import only_ca, verify
from labkit.thirdparty import Account
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, VENDOR = "Company-X", "Factory-Y", "Digital-Trust"
FIRST, SECOND, THIRD, OWN = (f"smart-x-widget-0{number}" for number in ("01", "02", "03", "11"))
GADGET = "gadget-001"
GROUP, AUTHORITY, PROFILE, BUNDLE = "all-widgets", "digital-trust", "first-boot", "smart-x-roots"
DAYS, SHORT = 30, 7


def boot(device: Device) -> Device:
    """What the firmware does when it is switched on for the first time, and whenever it needs
    another certificate: a key, a request, a registration with both credentials in it."""
    device.provision(csr=device.operational.request(), api_version=VERSION)
    return device


def start(device: Device) -> None:
    """Boots, connects with what it has got, and says something."""
    boot(device)
    device.disconnect()
    device.connect().send({"temperature": 21.5})


def _account(lab: Lab) -> Account:
    return lab.third_party_ca(VENDOR).account(COMPANY)


def _link(lab: Lab) -> None:
    """A new API key, known to DPS."""
    key = _account(lab).new_api_key()
    lab.dps.certificate_authorities.create(AUTHORITY, profile=PROFILE, api_key=key)


def _made(lab: Lab, name: str) -> Device:
    return only_ca(lab, FACTORY).make_device(name)


def _leave_the_line(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    company.sign_intermediate(lab.custodian(FACTORY))
    verify(lab, "company-x", company)
    lab.dps.enrollment_groups.create(GROUP, ca="company-x")
    _made(lab, FIRST)


def _open_an_account(lab: Lab) -> None:
    _account(lab).profile(PROFILE, common_names="smart-x-*", days=DAYS)


def _announce(lab: Lab) -> None:
    lab.server.new_root()
    lab.dps.trust_bundles.create(BUNDLE, lab.server.trust_bundle)


def _tell_the_group(lab: Lab) -> None:
    groups = lab.dps.enrollment_groups
    entry = groups.get(GROUP)
    groups.update(replace(entry, certificate_authority=AUTHORITY, trust_bundle=BUNDLE))


def _boot_the_first(lab: Lab) -> None:
    boot(lab.device(FIRST))


def _connect(lab: Lab) -> None:
    lab.device(FIRST).connect().send({"temperature": 21.5})


def _revoke(lab: Lab) -> None:
    _account(lab).revoke_api_keys()
    boot(_made(lab, SECOND))


def _new_key(lab: Lab) -> None:
    _link(lab)
    start(lab.device(SECOND))


def _stop(lab: Lab) -> None:
    lab.third_party_ca(VENDOR).stop()
    widget = lab.device(FIRST)
    widget.disconnect()
    widget.connect().send({"temperature": 21.6})
    boot(_made(lab, THIRD))


def _try_again(lab: Lab) -> None:
    lab.third_party_ca(VENDOR).start()
    start(lab.device(THIRD))


def _another_name(lab: Lab) -> None:
    boot(_made(lab, GADGET))


def _widen(lab: Lab) -> None:
    _account(lab).change_profile(PROFILE, common_names="*")
    start(lab.device(GADGET))


_IN_TOKEN, _AT_VENDOR, _IN_DPS = "in the widget's token", f"at {VENDOR}", "in DPS"
_GOES_ON, _IS_CUT_OFF = "it works as before", "the hub refuses it"

STORY = Scenario(
    name="first-boot",
    title="A certificate at first boot",
    introduction="A widget leaves the line with nothing but a reason to be let in. All that it "
    "works with later it gets when it is switched on. Press **Next**.",
    steps=(
        Step(
            "The widget leaves the line",
            "It has a key and a certificate of the factory's, as in the lessons before. From now "
            "on these are its **onboarding credential**: good for one thing only, to be let in by "
            "DPS. So the factory may issue it early, for long, and from a CA of its own.",
            _leave_the_line,
            look_at=(f"device {FIRST}", f"group {GROUP}"),
        ),
        Step(
            "An account at another company",
            f"Company-X opens an account at **{VENDOR}**, which issues certificates as a web "
            "service. In it is a **client certificate profile**: names that begin with `smart-x-`, "
            f"{DAYS} days, client authentication. The company has a tree of CAs of its own.",
            _open_an_account,
            look_at=(f"company {VENDOR}/root", f"company {VENDOR}/issuing"),
        ),
        Step(
            "DPS is linked to it",
            "An object of its own in DPS names the profile, and holds an **API key** of the "
            f"account. DPS tries both at once: look at the event log. Whoever has that key has "
            f"{VENDOR} sign in the name of Company-X, so DPS never shows it again.",
            _link,
            predict=Prediction(
                f"Requests will go from DPS to {VENDOR}. How does {VENDOR} know that it may sign "
                "them?",
                (
                    "it trusts Company-X's root",
                    "DPS sends an API key of Company-X's account",
                    "it asks Company-X each time",
                ),
                "DPS sends an API key of Company-X's account",
                f"{VENDOR} has never heard of the factory, and of its certificates neither.",
            ),
            look_at=(f"authority {AUTHORITY}", f"company {VENDOR}/issuing"),
        ),
        Step(
            "What a device is to trust",
            "The services have announced their next root. A **trust bundle** in DPS holds both, "
            "for whoever is provisioned from now on. The widget was made before: it knows the old "
            "root alone.",
            _announce,
            look_at=("service root Lab Service Root CA G2", f"device {FIRST}"),
        ),
        Step(
            "The enrollment names both",
            "The group says which authority signs for its devices, and which bundle they get. "
            "Whom it **admits** has not changed: the onboarding credential decides that, now as "
            "before.",
            _tell_the_group,
            look_at=(f"group {GROUP}",),
        ),
        Step(
            "First boot",
            "One registration does it all. The widget makes a **key** and a **request** (CSR), "
            f"and shows its onboarding credential. DPS admits it, chooses a hub, has {VENDOR} "
            "sign, and gives the hub the new certificate's thumbprint. The answer brings "
            "certificate, hub and trust bundle.",
            _boot_the_first,
            predict=Prediction(
                "The widget is to get another certificate. Where is the private key for it made?",
                (_IN_TOKEN, _AT_VENDOR, _IN_DPS),
                _IN_TOKEN,
                "Only the request travels. The other two see a public key.",
            ),
            look_at=(f"client {FIRST}", f"device {FIRST}", "service root Lab Service Root CA G2"),
        ),
        Step(
            "It connects with what it has got",
            "In the handshake with the hub it shows the **new** certificate. The hub compares the "
            f"thumbprint. {VENDOR}'s root is as unknown to it as it was, and that does no harm.",
            _connect,
            predict=Prediction(
                f"What has to be uploaded to the hub, so that it takes {VENDOR}'s certificate?",
                (f"{VENDOR}'s root", f"{VENDOR}'s issuing CA", "nothing"),
                "nothing",
                "DPS has told the hub which certificate this device has. No chain is followed.",
            ),
            look_at=(f"identity contoso-hub/{FIRST}", f"client {FIRST}"),
        ),
        Step(
            "Break it: the API key is good no more",
            "Somebody has revoked the account's API keys, and DPS still has one of them. A second "
            "widget boots: DPS admits it, but nobody signs. The registration ends as **failed**. "
            "The widget learns a number. The lab tells who said no to whom.",
            _revoke,
            look_at=(f"authority {AUTHORITY}", f"device {SECOND}"),
        ),
        Step(
            "The cure: another key",
            "The account gets a new API key, and DPS gets that. The widget simply asks **again**, "
            "with the same request: nothing had happened, so nothing has to be undone.",
            _new_key,
            look_at=(f"client {SECOND}",),
        ),
        Step(
            f"Break it: {VENDOR} is down",
            "Its web service does not answer. The **first** widget leaves its hub and comes back, "
            "and is let in. A third one boots, and gets nothing.",
            _stop,
            predict=Prediction(
                f"{VENDOR} does not answer. What becomes of a widget that has its certificate?",
                (_GOES_ON, _IS_CUT_OFF, "DPS moves it to another hub"),
                _GOES_ON,
                "A CA is needed to issue. Who shows a certificate needs no CA for that.",
            ),
            look_at=(f"company {VENDOR}/issuing", f"identity contoso-hub/{FIRST}"),
        ),
        Step(
            "The cure: once more, later",
            "The service is back, and the third widget tries again. Firmware has to be ready for "
            "that: it waits, a little longer each time, and never at the same moment as all the "
            "others.",
            _try_again,
            look_at=(f"client {THIRD}",),
        ),
        Step(
            "Break it: the profile refuses",
            f"A **gadget** of the same factory boots. DPS admits it by the same group, and sends "
            f"its request on. {VENDOR} looks at the profile: no such name is to be signed.",
            _another_name,
            look_at=(f"device {GADGET}", f"authority {AUTHORITY}"),
        ),
        Step(
            "The cure: a profile that fits",
            "The account's owner widens the profile. Two places decide here, and each about its "
            "own: DPS **who may come in**, the profile **what is signed**.",
            _widen,
            look_at=(f"client {GADGET}",),
        ),
    ),
)


def own_profile(lab: Lab, answer: Any) -> Iterator[Case]:
    """One widget gets certificates of its own kind: profile, authority, enrollment, first boot."""
    yield Case(
        f"this is {OWN}",
        lambda: lab.device(answer.name).name == OWN,
        f"hand in the device itself: lab.device({OWN!r})",
    )
    yield Case(
        f"the account has a profile that lasts {SHORT} days",
        lambda: _short(lab) != "",
        f"account.profile(...) takes a name of your own, and days={SHORT}",
    )
    yield Case(
        "DPS is linked to an authority with that profile",
        lambda: _authority(lab) != "",
        "lab.dps.certificate_authorities.create(...): what does DPS need to have it signed?",
    )
    yield Case(
        "an enrollment of its own names that authority",
        lambda: lab.dps.enrollments.get(OWN).certificate_authority == _authority(lab),
        "the group is for all; who overrules it? Lesson 08 knows. Do not forget "
        "certificate_authority=...",
    )
    yield Case(
        f"the widget has a client certificate for {SHORT} days",
        lambda: _lasts(answer) == SHORT,
        "let it boot: a request of its operational credential, in a registration",
    )
    yield Case(
        "the hub knows it by that certificate",
        lambda: lab.hub().devices.get(OWN).thumbprint == chain.thumbprint(_client(answer)),
        "what it has got, it got in an earlier registration than the last one: boot it again",
    )
    yield Case(
        "and it has sent something with it",
        lambda: any(message.device_id == OWN for message in lab.hub().messages()),
        "connect it, and send a message",
    )


def _short(lab: Lab) -> str:
    """The profile of the exercise, by its name; empty where there is none."""
    found = (profile.name for profile in _account(lab).profiles if profile.days == SHORT)
    return next(found, "")


def _authority(lab: Lab) -> str:
    """The authority of that profile, by its ID in DPS."""
    wanted = _short(lab).lower()
    found = (a.id for a in lab.dps.certificate_authorities if a.profile.lower() == wanted)
    return next(found, "") if wanted else ""


def _client(device: Device) -> x509.Certificate:
    found = device.operational.certificate
    assert found is not None, "a case before asks for it"
    return found


def _lasts(device: Device) -> int:
    """Days, to the nearest: a certificate begins some minutes before it is issued."""
    held = _client(device)
    life = held.not_valid_after_utc - held.not_valid_before_utc
    return round(life.total_seconds() / 86_400)
