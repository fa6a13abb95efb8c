"""``./lab bench``: every figure with its target, as a table or, with ``--json``, for programs.

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import (
    browser,
    crowd,
    dps_issuance,
    hub,
    issuance,
    line,
    picture,
    registration,
    startup,
    verdict,
)
from benchmarks.result import Result

_MODULES = (
    startup,
    issuance,
    line,
    verdict,
    registration,
    dps_issuance,
    crowd,
    hub,
    picture,
    browser,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./lab bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of objects, for programs")
    options = parser.parse_args()
    results = []
    for module in _MODULES:
        print(f"measuring {module.__name__.split('.')[-1]} …", file=sys.stderr)
        results += list(module.measure())
    print(json.dumps([r.to_json() for r in results], indent=2) if options.json else table(results))
    return 0 if all(result.holds for result in results) else 1


def table(results: list[Result]) -> str:
    lines = [
        f"{'✓' if r.holds else '✗'} {r.name:<22} {r.value:>8g} {r.unit:<32} {r.target}"
        for r in results
    ]
    return "\n".join(lines)


sys.exit(main())
