"""Time that can be moved."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from complaints import refused
from hypothesis import given
from hypothesis import strategies as st

from labkit.clock import Clock, parse_moment, parse_span
from labkit.errors import LabError

NEARLY = timedelta(seconds=2)
UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def test_a_clock_that_was_never_moved_shows_the_machines_time() -> None:
    assert abs(Clock().now() - datetime.now(UTC)) < NEARLY


@pytest.mark.parametrize("days", [31, -31, 0.5])
def test_advance_moves_by_the_span_and_keeps_running(days: float) -> None:
    clock = Clock()
    moved = clock.advance(days=days)
    assert abs(moved - datetime.now(UTC) - timedelta(days=days)) < NEARLY
    assert clock.now() >= moved


def test_spans_add_up() -> None:
    clock = Clock()
    clock.advance(days=1, hours=2, minutes=3, seconds=4)
    expected = timedelta(days=1, hours=2, minutes=3, seconds=4)
    assert abs(clock.offset - expected) < NEARLY


def test_reset_goes_back_to_the_machines_time() -> None:
    clock = Clock()
    clock.advance(days=400)
    clock.reset()
    assert clock.offset == timedelta()


def test_set_takes_a_moment_of_any_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    now = Clock().set(datetime(2030, 6, 1, 9, tzinfo=tokyo))
    assert abs(now - datetime(2030, 6, 1, 0, tzinfo=UTC)) < NEARLY


def test_set_refuses_a_moment_without_a_zone() -> None:
    with refused(LabError, "time zone"):
        Clock().set(datetime(2030, 6, 1))


@pytest.mark.parametrize("year", [1949, 9999])
def test_set_refuses_years_that_certificates_cannot_hold(year: int) -> None:
    with pytest.raises(LabError, match="cannot go to"):
        Clock().set(datetime(year, 6, 1, tzinfo=UTC))


@pytest.mark.parametrize("days", [1e7, 1e12, -1e12])
def test_advance_refuses_to_leave_those_years_however_far(days: float) -> None:
    """A trainee's typing error is answered in words, not with an OverflowError."""
    with pytest.raises(LabError):
        Clock().advance(days=days)


def test_a_refused_move_changes_nothing() -> None:
    clock = Clock()
    with pytest.raises(LabError):
        clock.advance(days=1e7)
    assert clock.offset == timedelta()


# ---- across processes


def test_another_process_sees_the_move(tmp_path: Path) -> None:
    """A server and a notebook share the clock through its file."""
    path = tmp_path / "clock.json"
    ours = Clock(path)
    ours.advance(days=10)
    move = "import sys, pathlib; from labkit.clock import Clock; "
    move += "Clock(pathlib.Path(sys.argv[1])).advance(days=31)"
    subprocess.run([sys.executable, "-c", move, str(path)], check=True, timeout=60)
    assert abs(ours.offset - timedelta(days=41)) < timedelta(minutes=1)


def test_two_moves_within_one_tick_of_the_file_system_are_both_seen(tmp_path: Path) -> None:
    """A file's time is coarse: two writes may carry the same one, and the second still counts."""
    path = tmp_path / "clock.json"
    ours, other = Clock(path), Clock(path)
    other.advance(days=1)
    tick = path.stat().st_mtime_ns
    assert ours.offset > timedelta(hours=23)
    other.advance(days=1)
    os.utime(path, ns=(tick, tick))
    assert ours.offset > timedelta(days=1, hours=23)


def test_no_day_is_lost_to_those_who_look_at_the_clock_meanwhile(tmp_path: Path) -> None:
    """The threads of a hub ask it all the time. Who had read the file before a move, and was held
    up, once put the time of before in place again: a lesson then ended a day too early."""
    clock = Clock(tmp_path / "clock.json")
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            clock.now()

    with ThreadPoolExecutor(4) as threads:
        looking = [threads.submit(look) for _ in range(2)]
        moving = [threads.submit(_pass, clock, 200) for _ in range(2)]
        for each in moving:
            each.result()
        over.set()
        for each in looking:
            each.result()
    assert abs(clock.offset - timedelta(days=400)) < NEARLY


def _pass(clock: Clock, days: int) -> None:
    for _ in range(days):
        clock.advance(days=1)


def test_a_clock_opened_again_goes_on_where_it_was(tmp_path: Path) -> None:
    Clock(tmp_path / "clock.json").advance(days=99)
    assert abs(Clock(tmp_path / "clock.json").offset - timedelta(days=99)) < NEARLY


# ---- spans and moments as people write them


def understood(parse: Callable[[str], object], text: str) -> bool:
    """Parsed, or refused with a word on what was expected. Any other exception comes through."""
    try:
        return parse(text) is not None
    except LabError as error:
        return bool(error.expected)


parts = st.tuples(st.integers(0, 9_999), st.sampled_from(sorted(UNITS)))


@given(st.lists(parts, min_size=1, max_size=6), st.sampled_from(["", " ", "  "]))
def test_a_span_is_the_sum_of_its_parts(found: list[tuple[int, str]], between: str) -> None:
    text = between.join(f"{number}{unit}" for number, unit in found)
    expected = sum((timedelta(**{UNITS[unit]: n}) for n, unit in found), timedelta())
    assert parse_span(text) == expected


@given(st.text(max_size=20))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    assert understood(parse_span, text)


@pytest.mark.parametrize("text", ["", "31", "d", "31 days", "-3d", "3d!", "1e3d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(LabError, match="span of time"):
        parse_span(text)


def test_a_span_too_long_for_any_calendar_is_refused_in_words() -> None:
    with pytest.raises(LabError):
        parse_span("99999999999999w")


@pytest.mark.parametrize(
    "text", ["2027-01-31T12:00:00Z", "2027-01-31T12:00:00+00:00", "2027-01-31 12:00"]
)
def test_a_moment_is_utc_where_it_names_no_zone(text: str) -> None:
    assert parse_moment(text) == datetime(2027, 1, 31, 12, tzinfo=UTC)


@given(st.text(max_size=30))
def test_any_other_moment_is_refused_in_words(text: str) -> None:
    assert understood(parse_moment, text)
