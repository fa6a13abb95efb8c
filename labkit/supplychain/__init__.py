"""Custodians who sign one another into a chain of trust, and the devices they make."""

from labkit.supplychain.authority import CertificateAuthority
from labkit.supplychain.chain import SupplyChain
from labkit.supplychain.custodian import Custodian
from labkit.supplychain.line import Line, simulate

__all__ = ["CertificateAuthority", "Custodian", "Line", "SupplyChain", "simulate"]
