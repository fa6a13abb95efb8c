"""Firmware: what a device does by itself. Policies say what, decisions when, the runner does it."""

from labkit.device.firmware.policies import Policies
from labkit.device.firmware.runner import Firmware
from labkit.device.firmware.values import Decision, Memory, Outcome, Situation, Step

__all__ = ["Decision", "Firmware", "Memory", "Outcome", "Policies", "Situation", "Step"]
