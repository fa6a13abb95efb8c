"""How firmware keeps its operational certificate, without a device: what it does when, and what
always holds."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from firmware_world import DONE, FAILED, LIFE, REFUSED, START, World
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.device.firmware.policies import Policies
from labkit.device.firmware.values import Held, Outcome, Step

HOUR, LONG = timedelta(hours=1), timedelta(days=3650)
ORDER, ASK_HUB, CONNECT, REPORT = Step.ORDER, Step.ASK_HUB, Step.CONNECT, Step.REPORT


def kept(*, at_hub: bool = False, **more: object) -> World:
    """A device whose onboarding certificate lasts, and which is to have an operational one."""
    policies = Policies().changed(keep_operational=True, renew_at_hub=at_hub)
    use = Held("onboarding", START, START + LONG)
    return World(policies=policies, use=use, can_ask=False, **more)  # type: ignore[arg-type]


def steps(world: World) -> list[Step]:
    return [step for _, step, _ in world.done]


def test_it_gets_one_shows_it_and_tells_of_it() -> None:
    world = kept()
    assert world.settle().step is Step.REST
    assert steps(world) == [ORDER, CONNECT, REPORT]


def test_without_the_policy_it_wants_none() -> None:
    world = World(can_ask=False)
    world.settle()
    assert steps(world) == [Step.PROVISION, CONNECT]


@pytest.mark.parametrize(("at_hub", "step"), [(False, ORDER), (True, ASK_HUB)])
def test_it_renews_at_a_share_of_its_life_and_not_before(at_hub: bool, step: Step) -> None:
    world = kept(at_hub=at_hub)
    rest = world.settle()
    assert rest.until is not None
    assert START + LIFE * 0.7 <= rest.until < START + LIFE * 0.8
    world.done.clear()
    world.now = rest.until - HOUR
    world.settle()
    assert steps(world) == []
    world.now = rest.until
    world.settle()
    assert steps(world) == [step, CONNECT, REPORT]
    assert world.memory.renewals == 1


def test_each_device_renews_at_a_moment_of_its_own() -> None:
    """A fleet that was switched on in one minute does not ask in one minute."""
    policies = Policies()
    dues = {policies.renewal_due(START, START + LIFE, f"w-{number}") for number in range(100)}
    assert max(dues) - min(dues) > LIFE * 0.08


def test_the_hub_is_asked_while_there_is_a_valid_one_and_dps_after_that() -> None:
    world = kept(at_hub=True)
    world.settle()
    world.done.clear()
    world.now = START + LIFE + HOUR
    world.settle()
    assert steps(world)[0] is ORDER


def test_a_hub_that_never_has_one_issued_does_not_keep_it_from_asking_dps_in_time() -> None:
    """Another company's CA has issued it, or the hub is linked to no namespace any more."""
    world = kept(at_hub=True, weather=lambda step, now: REFUSED if step is ASK_HUB else DONE)
    world.settle()
    world.done.clear()
    world.live(START + LIFE * 0.85)
    assert [step for step in steps(world) if step in (ASK_HUB, ORDER)] == [ASK_HUB, ORDER]
    assert world.memory.renewals == 1


def test_an_expired_onboarding_certificate_does_not_keep_it_from_renewing_at_the_hub() -> None:
    world = kept(at_hub=True)
    world.settle()
    world.use = Held("onboarding", START, START + HOUR)
    world.done.clear()
    world.now = START + LIFE * 0.85
    world.settle()
    assert steps(world) == [ASK_HUB, CONNECT, REPORT]


def test_a_new_one_that_the_hub_refuses_goes_and_the_old_one_is_used_again() -> None:
    """It never leaves the hub; and it asks for another, later."""
    world = kept()
    world.settle()
    assert world.operational is not None
    old = world.operational.id
    world.takes = lambda certificate: certificate in ("onboarding", old)
    world.done.clear()
    world.now = START + LIFE * 0.85
    rest = world.settle()
    assert steps(world)[:2] == [ORDER, CONNECT]
    assert Step.FALL_BACK in steps(world)
    assert (world.operational.id, world.connected) == (old, True)
    assert world.memory.missed == 1
    assert rest.until is not None
    assert rest.until < world.operational.end
    world.takes = lambda certificate: True
    world.now = rest.until
    world.settle()
    assert world.operational.id != old


def test_what_was_missed_is_told_in_the_twin() -> None:
    world = kept(weather=lambda step, now: FAILED if step is ORDER and now > START else DONE)
    world.settle()
    world.done.clear()
    world.now = START + LIFE * 0.85
    world.settle()
    assert steps(world) == [ORDER, REPORT]
    assert world.memory.missed == 1


def test_attempts_become_rarer_and_never_so_rare_that_it_expires_before_the_next() -> None:
    world = kept(weather=lambda step, now: FAILED if step is ORDER and now > START else DONE)
    world.settle()
    world.done.clear()
    world.live(START + LIFE)
    asked = [at for at, step, _ in world.done if step is ORDER]
    assert 10 < len(asked) < 200
    assert START + LIFE - asked[-1] < HOUR


def test_a_report_that_does_not_arrive_is_made_again_and_not_at_once() -> None:
    world = kept(
        weather=lambda step, now: FAILED if step is REPORT and now < START + HOUR else DONE
    )
    world.settle()
    assert steps(world).count(REPORT) == 1
    world.now = START + 2 * HOUR
    world.settle()
    assert steps(world)[-1] is REPORT
    assert world.situation.reported


def test_switched_off_it_tells_nothing() -> None:
    world = kept()
    world.policies = world.policies.changed(report_certificate=False)
    world.settle()
    assert REPORT not in steps(world)


outages = st.lists(
    st.tuples(st.integers(0, 30 * 24), st.integers(1, 8)),
    max_size=12,
)
"""When DPS and hub are not reached: from an hour on, for so many hours. The last fifth of three
days is 14."""


@settings(deadline=None)
@given(outages, st.booleans(), st.sampled_from([FAILED, REFUSED]))
def test_in_any_weather_that_clears_in_time_it_never_is_without_a_valid_one(
    when: list[tuple[int, int]], at_hub: bool, how: Outcome
) -> None:
    """Outages of up to eight hours, at any time, one behind the other only by a whole day."""
    apart = [
        (begin, length)
        for number, (begin, length) in enumerate(sorted(when))
        if number == 0 or begin - sorted(when)[number - 1][0] > 32
    ]

    def weather(step: Step, now: datetime) -> Outcome:
        hours = (now - START) / HOUR
        hit = any(begin <= hours < begin + length for begin, length in apart)
        return how if hit else DONE

    world = kept(at_hub=at_hub, weather=weather)
    world.live(START + timedelta(days=1))
    first = world.operational
    assert first is not None
    while world.now < START + timedelta(days=30):
        world.live(world.now + HOUR)
        assert world.operational is not None
        assert world.operational.is_valid(world.now)
    assert len(world.attempts()) < 400
