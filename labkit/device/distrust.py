"""A device that leaves in TLS because it does not trust the server. No service said no to it.

There are two directions of trust, and their failures are often taken for one another:

    the device judges the server's chain, by its own trust store ──> it leaves, with an alert in TLS
    the cloud judges the device's chain, by what was uploaded    ──> 401, in the protocol above
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from labkit.errors import Distrust, ServerNotTrusted

_WHY: Final[Mapping[int, Distrust]] = {
    **dict.fromkeys((2, 18, 19, 20, 21), "root"),  # no issuer, or a root that is not in the store
    **dict.fromkeys((62, 64), "name"),  # of the host, of its IP address
    **dict.fromkeys((9, 10), "time"),
}
"""OpenSSL's verify codes (X509_V_ERR_..., openssl/x509_vfy.h)."""

_CURES: Final[Mapping[Distrust, str]] = {
    "root": "put the root that vouches for the server into its trust store: "
    "widget.install_roots(lab.network.server_roots)",
    "name": "dial a name or an address that the server's certificate covers; another root would "
    "not help",
    "time": "set the clock of the device's machine, or renew the server's certificate: "
    "lab.server.roll_leaf()",
    "other": "compare what the server sends with the trust store: lab.server.chain, "
    "widget.trusted_roots",
}


def found_in(error: BaseException) -> ServerNotTrusted | None:
    """The distrust that an error of the SDK came from, in the lab's words; None where it came from
    something else."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _told(cause)
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


def _told(error: ssl.SSLCertVerificationError) -> ServerNotTrusted:
    why = _WHY.get(error.verify_code, "other")
    return ServerNotTrusted(
        "The device did not trust the server, and left in the TLS handshake",
        why,
        expected="a certificate for the name that it dialled, below a root in its own trust store",
        found=error.verify_message,
        cure=_CURES[why],
    )
