"""Breach drills: an attacker, a fleet at work, and what happened to both, step by step."""

from labkit.drill.attacker import Attacker
from labkit.drill.attempts import Attempt, Attempts
from labkit.drill.grounds import Grounds
from labkit.drill.loot import Loot
from labkit.drill.siege import Siege

__all__ = ["Attacker", "Attempt", "Attempts", "Grounds", "Loot", "Siege"]
