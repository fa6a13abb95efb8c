"""Firmware: what a device does by itself. Policies say what, decisions when, the runner does it."""

from labkit.device.firmware.decisions import Decision, Memory, Outcome, Situation, Step
from labkit.device.firmware.policies import Policies
from labkit.device.firmware.runner import Firmware

__all__ = ["Decision", "Firmware", "Memory", "Outcome", "Policies", "Situation", "Step"]
