"""The manufacturing line: on paper (:func:`simulate`), and in earnest (:class:`Line`)."""

from labkit.supplychain.line.line import Line, Where
from labkit.supplychain.line.production import Production, SimulatedDevice
from labkit.supplychain.line.simulation import LineRun, Outage, simulate

__all__ = ["Line", "LineRun", "Outage", "Production", "SimulatedDevice", "Where", "simulate"]
