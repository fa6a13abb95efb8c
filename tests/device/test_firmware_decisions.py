"""What firmware decides, without a device: each policy on and off, and what always holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from complaints import refused
from firmware_world import DONE, FAILED, LIFE, REFUSED, START, World, settled
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.device.firmware.policies import Policies, spread
from labkit.device.firmware.values import Held, Memory, Outcome, Step
from labkit.errors import LabError

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def steps(world: World) -> list[Step]:
    return [step for _, step, _ in world.done]


# ---- one by one


def test_a_new_device_is_provisioned_connects_and_rests() -> None:
    world = World(can_ask=False)
    assert world.settle().step is Step.REST
    assert steps(world) == [Step.PROVISION, Step.CONNECT]


def test_where_it_was_assigned_it_goes_without_asking() -> None:
    world = World(assigned=True)
    world.settle()
    assert steps(world) == [Step.CONNECT]


def test_unauthorized_by_the_hub_it_asks_dps_at_once() -> None:
    world = settled(weather=once(Step.CONNECT, REFUSED))
    world.connected = False
    world.settle()
    assert steps(world) == [Step.CONNECT, Step.PROVISION, Step.CONNECT]


def test_unless_that_is_switched_off() -> None:
    policies = Policies().changed(reprovision_when_unauthorized=False)
    world = settled(policies=policies, weather=once(Step.CONNECT, REFUSED))
    world.connected = False
    assert world.settle().step is Step.WAIT
    assert steps(world) == [Step.CONNECT]
    world.now += MINUTE
    world.settle()
    assert steps(world) == [Step.CONNECT, Step.CONNECT]


def test_a_hub_that_is_not_reached_is_no_reason_to_ask_dps() -> None:
    world = settled(weather=lambda step, now: FAILED)
    world.connected = False
    world.live(world.now + HOUR)
    assert set(steps(world)) == {Step.CONNECT}


def test_told_to_it_is_provisioned_and_connects_again() -> None:
    world = settled()
    world.memory = world.memory.told_to_provision("it was told to")
    world.settle()
    assert steps(world) == [Step.PROVISION, Step.CONNECT]


def test_told_to_renew_it_does_so_long_before_it_is_due() -> None:
    world = settled()
    world.memory = world.memory.told_to_renew("it was told to")
    world.settle()
    assert steps(world)[0] is Step.RENEW
    assert world.use.id == "2"


def test_a_renewal_goes_first_to_dps_then_to_the_hub_and_ends_the_old_key() -> None:
    """In this order nobody refuses it, and what it had is there until the new one has worked."""
    world = settled()
    world.live(START + LIFE)
    assert steps(world) == [Step.RENEW, Step.PROVISION, Step.CONNECT, Step.RETIRE]
    assert world.memory.refusals == 0


def test_without_that_order_the_hub_refuses_it_first() -> None:
    policies = Policies().changed(reprovision_after_renewal=False)
    world = settled(policies=policies)
    world.weather = lambda step, now: (
        REFUSED if step is Step.CONNECT and world.registered != world.use.id else DONE
    )
    world.live(START + LIFE)
    order = [Step.RENEW, Step.CONNECT, Step.PROVISION, Step.CONNECT, Step.RETIRE]
    assert steps(world) == order


@pytest.mark.parametrize("switched_off", ["renew_before_expiry", "retire_old_key"])
def test_what_is_switched_off_is_not_done(switched_off: str) -> None:
    world = settled(policies=Policies().changed(**{switched_off: False}))
    world.live(START + LIFE)
    step = {"renew_before_expiry": Step.RENEW, "retire_old_key": Step.RETIRE}[switched_off]
    assert step not in steps(world)


def test_a_refused_new_certificate_gives_way_to_the_old_one() -> None:
    world = settled(takes=lambda certificate: certificate == "1")
    world.memory = world.memory.told_to_renew("it was told to")
    assert world.settle().step is Step.REST
    assert (world.use.id, world.connected) == ("1", True), "it never left the hub"
    assert steps(world) == [Step.RENEW, Step.PROVISION, Step.SWITCH]


def test_and_is_tried_again_later() -> None:
    world = settled(takes=lambda certificate: certificate == "1")
    world.memory = world.memory.told_to_renew("it was told to")
    world.settle()
    world.takes = lambda certificate: True
    world.live(START + LIFE * 0.6)
    assert (world.use.id, world.reserve) == ("2", None)


def test_unless_falling_back_is_switched_off() -> None:
    world = settled(policies=Policies().changed(fall_back=False), takes=lambda one: one == "1")
    world.memory = world.memory.told_to_renew("it was told to")
    world.live(START + timedelta(days=1))
    assert (world.use.id, Step.SWITCH in steps(world)) == ("2", False)
    most = 2 * world.policies.attempts * 24
    assert len(world.attempts()) <= most, "also then it does not hammer"


def test_when_the_old_one_expires_the_new_one_is_all_it_has() -> None:
    world = settled(takes=lambda certificate: certificate == "1")
    world.memory = world.memory.told_to_renew("it was told to")
    world.live(START + LIFE + HOUR)
    assert world.use.id == "2"


def test_one_that_is_not_valid_yet_waits_in_reserve() -> None:
    """An update may bring it: the old one is used until it is."""
    world = settled()
    later = Held("new", START + timedelta(hours=5), START + LIFE)
    world.use, world.reserve = later, world.use
    world.settle()
    assert world.use.id == "1"


def test_without_any_valid_certificate_it_asks_nobody() -> None:
    world = settled(can_ask=False)
    world.now = START + LIFE + HOUR
    world.connected = False
    decision = world.settle()
    assert (decision.step, world.done) == (Step.REST, [])
    assert "no valid certificate" in decision.why


def test_two_devices_that_end_one_anothers_connections_soon_give_it_a_rest() -> None:
    """Each attempt succeeds, and yet this must not go on: somebody else has its identity."""
    world = settled(can_ask=False)
    end = START + HOUR
    while world.now < end:
        world.connected = False
        decision = world.settle()
        world.now = min(decision.until or end, world.now + 2 * SECOND)
    assert len(world.attempts()) <= 2 * world.policies.attempts


def test_an_identity_that_two_reprovision_to_themselves_is_not_fought_for_without_end() -> None:
    """The hub refuses, DPS helps, the hub takes it, and the other one does the same."""
    world = settled(can_ask=False)
    end, taken = START + HOUR, iter([REFUSED, DONE] * 1000)
    world.weather = lambda step, now: next(taken) if step is Step.CONNECT else DONE
    while world.now < end:
        world.connected = False
        decision = world.settle()
        world.now = min(decision.until or end, world.now + 2 * SECOND)
    assert len(world.attempts()) <= 6 * world.policies.attempts


# ---- whatever the weather


def once(step: Step, outcome: Outcome) -> Callable[[Step, datetime], Outcome]:
    left = [outcome]
    return lambda asked, now: left.pop() if asked is step and left else DONE


WEATHER = st.lists(st.sampled_from([DONE, REFUSED, FAILED]), min_size=1, max_size=40)
POLICIES = st.builds(
    lambda on, attempts, first: Policies().changed(
        **dict(zip(("fall_back", "reprovision_when_unauthorized", "retire_old_key"), on[:3],
                   strict=True)),
        reprovision_after_renewal=on[3], attempts=attempts, first_wait=first,
    ),
    st.tuples(*[st.booleans()] * 4), st.integers(1, 10), st.floats(1, 60),
)  # fmt: skip


def cycled(outcomes: list[Outcome]) -> Callable[[Step, datetime], Outcome]:
    """The same again and again: so that it also rains for ever."""
    at = iter(range(10**9))
    return lambda step, now: outcomes[next(at) % len(outcomes)]


@given(POLICIES, WEATHER, st.booleans())
@settings(max_examples=60, deadline=None)
def test_it_never_hammers_and_always_comes_to_an_end(
    policies: Policies, weather: list[Outcome], can_ask: bool
) -> None:
    """Of failed attempts at DPS and the hub there are never more than ``attempts`` in a window as
    long as the pause; and each moment ends with nothing to do (World.settle)."""
    world = World(policies=policies, weather=cycled(weather), can_ask=can_ask)
    world.live(START + LIFE + 6 * HOUR)
    failed = [
        at for at, _, outcome in world.attempts(Step.PROVISION, Step.CONNECT) if outcome is not DONE
    ]
    connected = [at for at, s, o in world.done if (s, o) == (Step.CONNECT, DONE)]
    window = timedelta(seconds=policies.pause)
    for number, begin in enumerate(failed):
        within = [at for at in failed[number:] if at < begin + window]
        good = sum(begin <= at < begin + window for at in connected)
        assert len(within) <= policies.attempts * (1 + good), "more than it may"


@given(POLICIES, WEATHER)
@settings(max_examples=50, deadline=None)
def test_renewals_are_never_closer_than_the_first_wait(
    policies: Policies, weather: list[Outcome]
) -> None:
    world = World(policies=policies, weather=cycled(weather))
    world.live(START + LIFE + 6 * HOUR)
    tried = world.attempts(Step.RENEW)
    failed = [(at, then) for (at, _, outcome), (then, _, _) in pairwise(tried)
              if outcome is not DONE]  # fmt: skip
    assert all(then - at >= timedelta(seconds=policies.first_wait) for at, then in failed)


@given(POLICIES, st.floats(0, 0.98), WEATHER)
@settings(max_examples=50, deadline=None)
def test_it_is_never_without_a_valid_certificate_where_one_can_be_had_in_time(
    policies: Policies, reached: float, weather: list[Outcome]
) -> None:
    """The CA cannot be reached until so late in the certificate's life, the rest as it comes."""
    opens, others = START + LIFE * reached, cycled(weather)

    def goes(step: Step, now: datetime) -> Outcome:
        if step is Step.RENEW:
            return DONE if now >= opens else FAILED
        return others(step, now)

    world = World(policies=policies, weather=goes)
    end = START + LIFE + HOUR
    while world.now < end:
        world.live(min(world.now + HOUR, end))
        assert world.use.is_valid(world.now)


@given(st.text(max_size=20), st.datetimes(min_value=datetime(2000, 1, 1)))
def test_a_renewal_is_due_between_its_two_fractions_and_always_at_the_same_moment(
    name: str, naive: datetime
) -> None:
    policies, begin = Policies(), START
    end = begin + LIFE
    due = policies.renewal_due(begin, end, name)
    assert begin + LIFE * policies.renew_at <= due
    assert due <= begin + LIFE * (policies.renew_at + policies.renew_spread)
    assert due == policies.renewal_due(begin, end, name)


def test_a_fleet_does_not_ask_at_once() -> None:
    policies = Policies()
    due = sorted(
        policies.renewal_due(START, START + LIFE, f"widget-{number}") for number in range(100)
    )
    thirds = LIFE * policies.renew_spread / 3
    first, last = due[0] + thirds, due[-1] - thirds
    assert 20 <= sum(at < first for at in due) <= 50
    assert 20 <= sum(at > last for at in due) <= 50


def test_chance_that_can_be_repeated_is_spread_evenly() -> None:
    found = [spread("x", number) for number in range(1000)]
    assert 0 <= min(found) < 0.01
    assert 0.99 < max(found) < 1
    assert 0.45 < sum(found) / len(found) < 0.55


# ---- what is kept


@given(POLICIES)
def test_policies_are_kept_as_they_are(policies: Policies) -> None:
    assert Policies.from_json(policies.to_json()) == policies


def test_what_an_older_or_newer_firmware_kept_can_be_read() -> None:
    assert Policies.from_json({"fall_back": False, "unheard of": 1}).fall_back is False
    assert Memory.from_json({"failures": 2, "unheard of": 1}).failures == 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"fly": True}, "no policy 'fly'"),
        ({"fall_back": 1}, "fall_back cannot be 1"),
        ({"attempts": True}, "attempts cannot be True"),
        ({"attempts": 0}, "do not go together"),
        ({"renew_at": 0.95}, "renew_at + renew_spread < 1"),
        ({"first_wait": 0.0}, "0 < first_wait"),
        ({"longest_wait": 7200.0}, "longest_wait <= pause"),
        ({"jitter": float("nan")}, "0 <= jitter"),
    ],
)
def test_policies_that_cannot_be_are_refused(changes: dict[str, object], word: str) -> None:
    with refused(LabError, word):
        Policies().changed(**changes)
