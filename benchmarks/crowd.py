"""Five hundred devices that are switched on at once, in one process, against a lab in another.

Each dials, shakes hands and registers over MQTT/TLS at the same time as all others. Counted are
those that do not get their hub: refused, cut off, or not answered in time. They come again and
again: what the lab remembers of them has to have an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter

from benchmarks import fleet, registration
from benchmarks.registration import Device, Served
from benchmarks.result import Result, median

_CLIENTS, _FEW, _MANY = 500, 2, 20
"""Devices, and how often they come until their lab's memory is looked at, first and last."""
_PATIENCE = 60.0
"""Seconds that a device waits: one of Microsoft's SDKs gives up after less, and dials again."""


def measure() -> Iterator[Result]:
    with registration.served(_CLIENTS) as lab:
        rounds = [asyncio.run(_crowd(lab)) for _ in range(_FEW)]
        before = fleet.resident(lab.process)
        rounds += [asyncio.run(_crowd(lab)) for _ in range(_MANY - _FEW)]
        growth = fleet.resident(lab.process) - before
    refused = sum(refused for refused, _ in rounds)
    yield Result(f"clients_{_CLIENTS}_refused", refused, f"of {_MANY} times {_CLIENTS}", "<= 0")
    seconds = median([seconds for _, seconds in rounds])
    yield Result(f"clients_{_CLIENTS}_seconds", seconds, "s, until the last was assigned")
    unit = f"MB more after {_MANY * _CLIENTS:,} than after {_FEW * _CLIENTS:,}"
    yield Result("registrations_growth_mb", median([growth]), unit, "<= 30")


async def _crowd(lab: Served) -> tuple[int, float]:
    """How many of a crowd got no hub, and after how many seconds the last was answered."""
    start = perf_counter()
    tasks = (_register(lab, device) for device in lab.devices)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return sum(outcome is not None for outcome in found), perf_counter() - start


async def _register(lab: Served, device: Device) -> None:
    """Raises whatever keeps the device from its hub."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", lab.port, ssl=device.tls, ssl_handshake_timeout=_PATIENCE
        )
        for packet, wanted in device.packets:
            writer.write(packet)
            await reader.readuntil(wanted)
        writer.close()
