"""The manufacturing line: what a second process brings, and what 10,000 simulated devices cost.

Each fleet is made in a process of its own, in a fresh workspace: the ratio is of the same
fleet made by one process and by two, in turns. The start of the second process is in its time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.result import Result, median

_ROUNDS, _DEVICES = 3, 10_000
_PROGRAM = """\
import resource, sys
from time import perf_counter
from labkit import Lab
from labkit.supplychain import Line
from labkit.wire.ports import Ports
place, devices, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Lab.open(f"{place}/lab", ports=Ports(https=0)) as lab:
    ca = lab.custodian("Company-X").create_root_ca().sign_intermediate(lab.custodian("Factory-Y"))
    start = perf_counter()
    made = Line(ca).run(devices, keys="memory", processes=processes).made
    seconds = perf_counter() - start
    assert made == devices
both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
peak = sum(resource.getrusage(each).ru_maxrss for each in both)
print(seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))
"""


def measure() -> Iterator[Result]:
    pairs = [(_fleet(1), _fleet(2)) for _ in range(_ROUNDS)]
    if (os.cpu_count() or 1) > 1:
        ratio = median([alone[0] / together[0] for alone, together in pairs])
        yield Result("line_two_process_ratio", ratio, "one process ÷ two", ">= 1.6")
    else:
        print("  line_two_process_ratio was not measured: there is one core", file=sys.stderr)
    seconds, megabytes = zip(*(together for _, together in pairs), strict=True)
    yield Result("fleet_10k_seconds", median(seconds), "s, by two processes")
    yield Result("fleet_10k_peak_mb", median(megabytes), "MB, of both together")


def _fleet(processes: int) -> tuple[float, float]:
    """Seconds, and the peak of memory in MB."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", _PROGRAM, directory, str(_DEVICES), str(processes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)
