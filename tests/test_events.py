"""What happened, in order."""

from __future__ import annotations

import threading

from labkit.clock import Clock
from labkit.events import KEPT, Event, Events


def test_events_are_numbered_from_one_in_their_order() -> None:
    events = Events(Clock())
    for text in "abc":
        events.record("lab", "test", text)
    assert [(e.number, e.text) for e in events] == [(1, "a"), (2, "b"), (3, "c")]


def test_an_event_carries_the_labs_time_and_not_the_machines() -> None:
    clock = Clock()
    before = clock.advance(days=1000)
    assert Events(clock).record("lab", "test", "moved").at >= before


def test_events_are_found_by_source_and_by_kind() -> None:
    events = Events(Clock())
    events.record("dps", "refused", "1")
    events.record("hub", "refused", "2")
    events.record("dps", "assigned", "3")
    assert [e.text for e in events.about(source="dps")] == ["1", "3"]
    assert [e.text for e in events.about(kind="refused")] == ["1", "2"]
    assert [e.text for e in events.about(source="dps", kind="refused")] == ["1"]


def test_a_listener_hears_each_event_until_it_ends() -> None:
    events, heard = Events(Clock()), list[Event]()
    stop = events.listen(heard.append)
    events.record("lab", "test", "heard")
    stop()
    events.record("lab", "test", "unheard")
    assert [e.text for e in heard] == ["heard"]


def test_a_listener_that_fails_does_not_take_the_recorder_with_it() -> None:
    """Nobody reads events to decide anything: a notebook's broken callback refuses no device."""
    events, heard = Events(Clock()), list[Event]()
    events.listen(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    events.listen(heard.append)
    events.record("lab", "test", "still recorded")
    assert [e.text for e in heard] == ["still recorded"]


def test_the_oldest_fall_off_and_numbers_go_on() -> None:
    events = Events(Clock())
    for number in range(KEPT + 10):
        events.record("lab", "test", str(number))
    kept = list(events)
    assert (len(events), kept[0].number, kept[-1].number) == (KEPT, 11, KEPT + 10)


def test_threads_never_share_a_number() -> None:
    events = Events(Clock())

    def record() -> None:
        for _ in range(200):
            events.record("lab", "test", "x")

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.number for e in events] == list(range(1, 801))
