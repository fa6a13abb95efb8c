"""The line on paper: what goes in comes out, and a buffer is worth what an outage costs."""

from __future__ import annotations

import pytest
from complaints import refused
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import LabError
from labkit.supplychain.line import LineRun, Outage, simulate

paces = st.integers(1, 60)
outages = st.lists(st.tuples(st.integers(0, 70), st.integers(0, 30)), max_size=4)


@given(paces, paces, st.integers(1, 300), outages)
def test_nothing_is_lost_and_nobody_exceeds_their_pace(
    devices: int, signatures: int, buffer: int, off: list[tuple[int, int]]
) -> None:
    """The queue never outgrows its buffer; built is signed or waits; time adds up."""
    run = simulate(
        minutes=60,
        devices_per_minute=devices,
        signatures_per_minute=signatures,
        buffer=buffer,
        outages=off,
    )
    waiting = 0
    for built, signed, queue, stopped in zip(
        run.built, run.signed, run.queue, run.stopped, strict=True
    ):
        waiting += built - signed
        assert queue == waiting
        assert 0 <= queue <= buffer
        assert built <= devices + 1
        assert signed <= signatures + 1
        assert 0 <= stopped <= 60
    assert len(run.queue) == 60


@given(paces, paces, st.integers(1, 100), st.integers(0, 100), outages)
def test_a_bigger_buffer_never_costs_output(
    devices: int, signatures: int, buffer: int, more: int, off: list[tuple[int, int]]
) -> None:
    def run(places: int) -> LineRun:
        return simulate(
            devices_per_minute=devices,
            signatures_per_minute=signatures,
            buffer=places,
            outages=off,
        )

    assert run(buffer + more).output >= run(buffer).output
    assert run(buffer + more).minutes_stopped <= run(buffer).minutes_stopped


@given(outages)
def test_outages_that_overlap_count_once(off: list[tuple[int, int]]) -> None:
    """The same minutes, said in another way."""
    minutes = sorted({m for begin, length in off for m in range(begin, begin + length)})
    assert simulate(outages=off) == simulate(outages=[Outage(m, 1) for m in minutes])


def test_a_ca_that_is_fast_enough_keeps_the_queue_empty() -> None:
    run = simulate(devices_per_minute=30, signatures_per_minute=40)
    assert run.longest_queue <= 1
    assert run.minutes_stopped == 0
    assert run.built[1:] == (30,) * 59


def test_an_outage_fills_the_buffer_and_then_stops_the_line() -> None:
    """15 minutes at 30 a minute are 450 devices: 200 places hold out for 6 minutes and 40 s."""
    run = simulate(buffer=200, outages=[(20, 15)])
    assert run.signed[20:35] == (0,) * 15
    assert run.queue[19] <= 1
    assert run.queue[27:35] == (200,) * 8
    assert run.minutes_stopped == pytest.approx(15 - 200 / 30, abs=0.1)
    assert run.stopped[28:34] == (60,) * 6
    assert max(run.signed[35:]) == 40, "afterwards the CA works off the queue at its own pace"
    assert run.queue[-1] <= 1


def test_a_buffer_for_the_whole_outage_keeps_the_line_running() -> None:
    run = simulate(buffer=460, outages=[(20, 15)])
    assert run.minutes_stopped == 0
    assert run.longest_queue == 450


def test_a_line_that_is_too_fast_is_held_to_the_pace_of_its_ca() -> None:
    run = simulate(devices_per_minute=50, signatures_per_minute=20, buffer=100)
    assert set(run.signed[1:]) == {20}
    assert set(run.built[10:]) == {20}
    assert run.queue[10:] == (100,) * 50


def test_it_tells_itself_in_one_line() -> None:
    assert str(simulate(minutes=2, devices_per_minute=2, signatures_per_minute=60)) == (
        "3 devices in 2 minutes; longest queue 0, line stopped for 0 minutes"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"minutes": 0}, "minutes=0"),
        ({"devices_per_minute": 1.5}, "devices_per_minute=1.5"),
        ({"buffer": -1}, "buffer=-1"),
        ({"outages": [(-1, 5)]}, "no outage"),
        ({"minutes": 100_000, "devices_per_minute": 1000}, "too many"),
    ],
)
def test_what_cannot_be_simulated_is_said(wrong: dict[str, object], words: str) -> None:
    with refused(LabError, words):
        simulate(**wrong)  # type: ignore[arg-type]
