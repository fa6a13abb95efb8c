"""Answers leave at once: nobody waits for Nagle's algorithm and delayed acknowledgements."""

from __future__ import annotations

import socket
import time

import wire_clients as wire
from stories import PATIENCE, Story


def test_small_answers_are_not_held_back(shared: Story) -> None:
    """asyncio switches Nagle off only where the socket names TCP; without that each registration
    took 40 ms longer, twice."""
    lab = shared.lab
    with wire.secure(lab, wire.tls(lab)):
        deadline = time.monotonic() + PATIENCE
        while not (links := list(lab.listener._links)) and time.monotonic() < deadline:
            time.sleep(0.01)
        accepted = links[0]._socket.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
