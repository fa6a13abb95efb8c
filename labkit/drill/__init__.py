"""Breach drills: an attacker, a fleet at work, and what happened to both, step by step."""

from labkit.drill.attacker import Attacker
from labkit.drill.attempts import Attempt, Attempts
from labkit.drill.fleet import Fleet
from labkit.drill.grounds import Grounds
from labkit.drill.history import History
from labkit.drill.loot import Loot
from labkit.drill.siege import Siege
from labkit.drill.timeline import Timeline

__all__ = [
    "Attacker",
    "Attempt",
    "Attempts",
    "Fleet",
    "Grounds",
    "History",
    "Loot",
    "Siege",
    "Timeline",
]
