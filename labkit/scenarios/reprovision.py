"""Lesson 14: a device asks DPS once more. What makes it ask, and what becomes of its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labkit.cloud.dps.entries import (
    CLIENT,
    MIGRATE,
    NEVER,
    RESET,
    STATIC,
    InitialTwin,
    X509Attestation,
)
from labkit.lab import Lab
from labkit.scenarios.parts import only_ca, start, verify
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, TECHNICIAN = "Company-X", "Technician-Z"
EAST, WEST = HUBS = ("contoso-east", "contoso-west")
MIGRATES, RESETS, STAYS = WIDGETS = tuple(f"smart-x-widget-00{number}" for number in (1, 2, 3))
DELIVERY = tuple(f"smart-x-widget-02{number}" for number in (1, 2, 3))
GROUP = "delivery"
POLICIES = dict(zip(WIDGETS, (MIGRATE, RESET, NEVER), strict=True))
BORN, LATER = 60, 5
"""The interval with which a twin begins, and the one that a back end sets afterwards."""
MINUTES = 60


def _host(hub: str) -> str:
    return f"{hub}.azure-devices.net"


def _change(lab: Lab, device: str, **settings: Any) -> None:
    """Puts a changed copy of its entry in the entry's place."""
    entries = lab.dps.enrollments
    entries.update(replace(entries.get(device), **settings))


def _later(lab: Lab, device: str) -> None:
    """An hour later its firmware looks what there is to do."""
    lab.clock.advance(hours=1)
    lab.device(device).firmware.run()


def _restart(lab: Lab, device: str) -> None:
    lab.device(device).disconnect()
    _later(lab, device)


def _build(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    technician = company.sign_intermediate(lab.custodian(TECHNICIAN))
    verify(lab, "company-x", company)
    for name in WIDGETS:
        widget = technician.make_device(name)
        lab.dps.enrollments.create(
            name,
            certificate=widget.certificate,
            allocation=STATIC,
            hub=_host(EAST),
            reprovision=POLICIES[name],
            initial_twin=InitialTwin(desired={"interval": BORN}),
        )
        widget.firmware.run()
        widget.report(firmware="1.0")
        lab.hub(EAST).update_twin(name, desired={"interval": LATER})


def _send_them_west(lab: Lab) -> None:
    for name in WIDGETS:
        _change(lab, name, iot_hub_host_name=_host(WEST))
        lab.device(name).send({"temperature": 21.5})


def _move(lab: Lab) -> None:
    start(lab.device(MIGRATES))


def _begin_anew(lab: Lab) -> None:
    start(lab.device(RESETS))


def _stay(lab: Lab) -> None:
    start(lab.device(STAYS))


def _forget(lab: Lab) -> None:
    lab.dps.registrations.delete(STAYS)
    start(lab.device(STAYS))


def _roll(lab: Lab) -> None:
    widget = lab.device(MIGRATES)
    named = X509Attestation(CLIENT, widget.renew(only_ca(lab, TECHNICIAN)))
    _change(lab, MIGRATES, attestation=named)
    start(widget)


def _send_them_back(lab: Lab) -> None:
    for name in WIDGETS:
        _change(lab, name, iot_hub_host_name=_host(EAST), reprovision_policy=MIGRATE)
    _restart(lab, MIGRATES)


def _tell_one(lab: Lab) -> None:
    lab.hub(WEST).invoke(MIGRATES, "reprovision")
    _restart(lab, MIGRATES)


def _tell_all(lab: Lab) -> None:
    lab.hub(WEST).jobs.invoke_method("*", "reprovision")
    for name in lab.work.each((RESETS, STAYS), "reprovisioning"):
        _restart(lab, name)


def _lose_it(lab: Lab) -> None:
    lab.hub(EAST).devices.delete(MIGRATES)
    _restart(lab, MIGRATES)


def _shut_the_door(lab: Lab) -> None:
    lab.hub(EAST).devices.disable(RESETS, "by mistake")
    widget = lab.device(RESETS)
    widget.disconnect()
    for _ in lab.work.each(range(MINUTES), "minutes"):
        lab.clock.advance(minutes=1)
        widget.firmware.run()


def _open_it(lab: Lab) -> None:
    lab.hub(EAST).devices.enable(RESETS)
    _later(lab, RESETS)


STORY = Scenario(
    name="reprovision",
    title="Ask once more",
    introduction="Two hubs, and three widgets that shall move from one to the other. What makes a "
    "device ask again, and what does it take along? Press **Next**.",
    hubs=HUBS,
    steps=(
        Step(
            "Three widgets in the East",
            f"Each has an entry of its own, which says **{EAST}**, and a **reprovision policy**: "
            f"**{MIGRATES}** shall take its data along, **{RESETS}** shall begin anew, and "
            f"**{STAYS}** shall never move. Their twins began with an interval of {BORN}. A back "
            f"end has set it to {LATER}, and each widget has reported its firmware.",
            _build,
            look_at=(f"hub {EAST}", *(f"enrollment {name}" for name in WIDGETS)),
        ),
        Step(
            "The entries say West",
            f"**{WEST}** is nearer to them. All three entries name it now. And the widgets? They "
            f"go on sending to {EAST}. DPS calls nobody. It answers, when it is **asked**.",
            _send_them_west,
            predict=Prediction(
                "The entries name another hub. When do the widgets move?",
                ("at once", "when they connect the next time", "when they ask DPS again"),
                "when they ask DPS again",
                "DPS has no connection to a device. It can only answer.",
            ),
            look_at=(f"hub {EAST}", f"hub {WEST}"),
        ),
        Step(
            "It moves, with all it has",
            f"**{MIGRATES}** asks, and is assigned to {WEST}. Its twin has come along, what was "
            f"set and what was reported (`deviceDataMigrated`). And {EAST} does not know it any "
            "more: a device is in **one** hub.",
            _move,
            predict=Prediction(
                f"{MIGRATES} asks DPS. Its policy is to take its data along. What is the interval "
                "in its new twin?",
                (f"{BORN}, as its entry says", f"{LATER}, as the back end has set it"),
                f"{LATER}, as the back end has set it",
                "The entry's twin is for the beginning. What was there later moves along.",
            ),
            look_at=(f"identity {WEST}/{MIGRATES}", f"enrollment {MIGRATES}"),
        ),
        Step(
            "It moves, and begins anew",
            f"**{RESETS}** asks, and is assigned to {WEST}, too. Its twin is the one of the entry: "
            f"an interval of {BORN}, and nothing reported (`deviceDataReset`). What it had in "
            f"{EAST} is **gone**, with the identity there.",
            _begin_anew,
            look_at=(f"identity {WEST}/{RESETS}", f"enrollment {RESETS}"),
        ),
        Step(
            "It stays",
            f"**{STAYS}** asks, and DPS says **{EAST}**, as before. With this policy the hub is "
            "chosen **once**, whatever the entry says later.",
            _stay,
            predict=Prediction(
                f"The entry of {STAYS} says {WEST}, and its policy is never to move. It asks DPS.",
                (WEST, EAST, "it is refused"),
                EAST,
                "DPS does not choose again. It looks up what it said the first time.",
            ),
            look_at=(f"identity {EAST}/{STAYS}", f"enrollment {STAYS}"),
        ),
        Step(
            "What DPS remembers",
            "How does DPS know what it said the first time? It keeps a **registration record** of "
            f"each device. That of {STAYS} is deleted. Now the widget is a new one to DPS, and "
            f"goes to {WEST}. But look at {EAST}: the old identity is **still there**. Nobody "
            "remembers that it has to go.",
            _forget,
            predict=Prediction(
                f"The registration record of {STAYS} is deleted. The widget asks DPS again.",
                (f"it stays in {EAST}", f"it goes to {WEST}", "it is refused"),
                f"it goes to {WEST}",
                "Without a record there is no first time. The entry decides, as for a new device.",
            ),
            look_at=(f"identity {EAST}/{STAYS}", f"identity {WEST}/{STAYS}"),
        ),
        Step(
            "The same hub, another certificate",
            f"**{MIGRATES}** gets a new certificate, and its entry names it. It asks DPS, and DPS "
            "says the hub that it has. Nothing moves, and yet something has changed: DPS has "
            "**replaced the thumbprint** in the hub. The twin is as it was.",
            _roll,
            look_at=(f"identity {WEST}/{MIGRATES}", f"device {MIGRATES}"),
        ),
        Step(
            "Break it: stuck on its old hub",
            f"{WEST} shall be closed. All entries say {EAST} again, and the policy is to migrate. "
            f"**{MIGRATES}** is switched off and on. Its firmware **keeps its hub** across "
            f"restarts, and goes to {WEST}, and is let in. No error anywhere, and no move.",
            _send_them_back,
            predict=Prediction(
                "The widget is switched off and on. Where does it go?",
                (f"to {EAST}, as its entry says", f"to {WEST}, where it was"),
                f"to {WEST}, where it was",
                "It has kept its hub in flash. Why should it ask, when it is let in?",
            ),
            look_at=(f"identity {WEST}/{MIGRATES}", f"enrollment {MIGRATES}"),
        ),
        Step(
            "The cure: tell it",
            f"Its hub calls the **direct method** `reprovision`. The firmware says yes (`202`), "
            f"asks DPS, and is in {EAST}, with its twin. The old hub is the one that can reach a "
            "device that shall leave it. So tell it **before** you close the hub.",
            _tell_one,
            look_at=(f"identity {EAST}/{MIGRATES}", f"device {MIGRATES}"),
        ),
        Step(
            "Tell them all",
            f"A **job** calls the same method on all that are still in {WEST}. They go, one after "
            f"the other. {WEST} is empty, and may be closed.",
            _tell_all,
            look_at=(f"hub {WEST}", *(f"identity {EAST}/{name}" for name in WIDGETS)),
        ),
        Step(
            "The hub has lost it",
            f"Somebody deletes the identity of **{MIGRATES}** in {EAST}. The widget is refused, "
            "and its firmware knows what to do with **unauthorized**: it asks DPS. DPS makes the "
            "identity anew, and the widget is back. Its twin begins from nothing: there was none "
            "left that could migrate.",
            _lose_it,
            predict=Prediction(
                "The hub has deleted its identity. The entry is enabled. What becomes of the "
                "widget?",
                ("it is out for good", "it comes back by itself"),
                "it comes back by itself",
                "Unauthorized makes it ask DPS, and DPS has no reason to say no.",
            ),
            look_at=(f"identity {EAST}/{MIGRATES}", f"device {MIGRATES}"),
        ),
        Step(
            "Break it: a door that stays shut",
            f"The identity of **{RESETS}** is **disabled** by mistake. The hub refuses it, DPS "
            "assigns it to the same hub, the hub refuses it. It could go on so a thousand times a "
            "minute. It does not: it **waits**, twice as long each time, and after eight failures "
            "it pauses for an hour.",
            _shut_the_door,
            predict=Prediction(
                "The hub refuses it, and asking DPS does not help. An hour passes. How often has "
                "it tried?",
                ("once", "fewer than twenty times", "all the time"),
                "fewer than twenty times",
                "5 seconds, 10, 20 … A fleet that hammers keeps everybody else out.",
            ),
            look_at=(f"identity {EAST}/{RESETS}", f"device {RESETS}"),
        ),
        Step(
            "The cure",
            "The identity is enabled. Nobody goes to the widget, and nobody could tell it "
            "anything. When its pause is over it tries again, **by itself**, and is in.",
            _open_it,
            look_at=(f"identity {EAST}/{RESETS}", f"device {RESETS}"),
        ),
    ),
)


# ---- the exercise


def moved_fleet(lab: Lab, answer: Any) -> Iterator[Case]:
    """Three widgets of a group move to another hub, with their twins."""
    yield Case(
        "these are the three widgets of the delivery",
        lambda: tuple(sorted(device.name for device in answer)) == DELIVERY,
        "the cell above has made them: hand in the list",
    )
    yield Case(
        f"their group sends its devices to {WEST}",
        lambda: lab.dps.enrollment_groups.get(GROUP).iot_hub_host_name == _host(WEST),
        "a group is changed as an entry is: groups.update(replace(..., iot_hub_host_name=...))",
    )
    yield Case(
        "its policy is to move devices, and their data with them",
        lambda: lab.dps.enrollment_groups.get(GROUP).reprovision_policy == MIGRATE,
        "it says never. Section 2 shows the three policies",
    )
    yield Case(
        f"all three are connected to {WEST}",
        lambda: set(DELIVERY) <= {live.device_id for live in lab.hub(WEST).connected()},
        f"DPS calls nobody: have {EAST} tell them (section 4), and let their firmware run",
    )
    yield Case(
        "their twins have come along",
        lambda: all(_has_its_twin(lab, name) for name in DELIVERY),
        "what was in the twins is lost: run the lesson's second cell to begin anew, and change "
        "the policy before the widgets ask",
    )
    yield Case(
        f"{EAST} knows none of them any more",
        lambda: not [name for name in DELIVERY if name in lab.hub(EAST).devices],
        "DPS takes the old identity away where it knows of it: leave its records alone",
    )


def _has_its_twin(lab: Lab, device: str) -> bool:
    twin = lab.hub(WEST).twin(device)
    return (twin.desired["interval"], twin.reported["firmware"]) == (LATER, "1.0")
