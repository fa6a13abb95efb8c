"""The operational certificates of a fleet, by days to expiry, as its devices report them."""

from labkit.ui.dashboard.board import CertificateBoard

__all__ = ["CertificateBoard"]
