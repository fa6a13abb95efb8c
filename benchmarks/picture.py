"""How long a step of a story waits for its picture when two hundred devices are in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from time import perf_counter

from benchmarks.result import Result, median
from labkit import Lab
from labkit.graph import Picture
from labkit.graph.model import of_lab

_DEVICES, _ROUNDS = 200, 15


def measure() -> Iterator[Result]:
    """Model, layout and SVG together; the lab itself is made before the clock runs."""
    with tempfile.TemporaryDirectory() as directory, Lab.open(f"{directory}/lab") as lab:
        company = lab.custodian("Company-X").create_root_ca()
        factory = company.sign_intermediate(lab.custodian("Factory-Y"))
        for number in range(_DEVICES):
            factory.make_device(f"smart-x-widget-{number:03}")
        seconds = [_step(lab) for _ in range(_ROUNDS + 1)][1:]
        yield Result("step_200_ms", median([1000 * s for s in seconds]), "ms", "<= 60")


def _step(lab: Lab) -> float:
    start = perf_counter()
    Picture.of(of_lab(lab))
    return perf_counter() - start
