"""Breach drills: an attacker, a fleet at work, and what happened to both, step by step."""

from labkit.drill.attacker import Attacker
from labkit.drill.attempts import Attempt, Attempts
from labkit.drill.fleet import Fleet, Visit
from labkit.drill.grounds import Grounds
from labkit.drill.history import History
from labkit.drill.incident import Incident
from labkit.drill.loot import Loot
from labkit.drill.score import Act, Cost, Deed, Round, Score
from labkit.drill.siege import Siege
from labkit.drill.timeline import Timeline

__all__ = [
    "Act",
    "Attacker",
    "Attempt",
    "Attempts",
    "Cost",
    "Deed",
    "Fleet",
    "Grounds",
    "History",
    "Incident",
    "Loot",
    "Round",
    "Score",
    "Siege",
    "Timeline",
    "Visit",
]
