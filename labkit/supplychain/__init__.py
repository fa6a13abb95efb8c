"""Custodians who sign one another into a chain of trust, and the devices they make."""

from labkit.supplychain.chain import SupplyChain
from labkit.supplychain.custodian import CertificateAuthority, Custodian

__all__ = ["CertificateAuthority", "Custodian", "SupplyChain"]
