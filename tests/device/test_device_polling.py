"""What stands in for ``select`` says what ``select`` says, and also of high file numbers."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import Story

from labkit.device.polling import wait

MANY = 1_100
"""More files than ``select`` can count."""


@given(
    said=st.lists(st.booleans(), min_size=1, max_size=4),
    gone=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_it_agrees_with_select(said: list[bool], gone: list[bool]) -> None:
    """Of sockets that were written to, of silent ones, and of those whose other end is closed."""
    pairs = [socket.socketpair() for _ in said]
    try:
        for (_, other), has_said, has_gone in zip(pairs, said, gone, strict=False):
            if has_said:
                other.send(b"x")
            if has_gone:
                other.close()
        ours = [pair[0] for pair in pairs]
        assert wait(ours, ours, [], 0) == select.select(ours, ours, [], 0)
        assert wait(ours, [], [], 0) == select.select(ours, [], [], 0)
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


def test_what_is_closed_is_no_file() -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(ValueError, match="negative"):
        wait([closed], [], [], 0)


@pytest.fixture
def crowded() -> Iterator[None]:
    """A process in which every new file has a number that ``select`` cannot watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        pytest.skip(f"NOT TESTED: a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(MANY)]
    yield
    for number in held:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("crowded")
def test_a_device_lives_in_a_process_with_more_files_than_select_can_count(story: Story) -> None:
    story.widget.provision()
    story.widget.connect().send({"temperature": 21.5})
    assert len(story.lab.hub().messages()) == 1
    story.widget.disconnect()
