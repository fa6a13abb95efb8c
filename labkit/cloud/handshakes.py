"""Handshakes that failed: those that a trainee would ask about are kept beside the refusals.

No service said no here, so there is no answer of Azure's; the client saw no more than that TLS
ended. Noise (plain HTTP, port scans, bytes of anything) is not kept: it would only push out
what is worth knowing.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.cloud.dps.attestation import POSSESSION
from labkit.cloud.presented import Presented
from labkit.pki import chain
from labkit.trace import Check, failed

TRUST = "the client trusts the server's certificate"
BY_CLIENT = "the client ended the handshake"
BY_SERVER = "the server ended the handshake"

_DISTRUST = (
    "unknown ca",
    "bad certificate",
    "certificate unknown",
    "certificate expired",
    "unsupported certificate",
)
"""The alerts (RFC 8446, 6.2) with which clients leave a server whose certificate they dislike.
OpenSSL puts ``tlsv1 alert``, ``sslv3 alert`` or ``ssl/tls alert`` in front, by its version."""

_NO_POSSESSION = ("bad signature", "provider signature failure")


@dataclass(frozen=True, slots=True)
class Failure:
    """Who ended a handshake, and the check that says why."""

    message: str
    check: Check


def explained(reason: str, presented: Presented) -> Failure | None:
    """What OpenSSL's ``reason`` means for the client; None where it means nothing to anybody."""
    about = presented.peer or "a client"
    _, is_alert, alert = reason.partition("alert ")
    if is_alert and alert in _DISTRUST:
        return Failure(BY_CLIENT, _distrust(about, alert))
    if reason not in _NO_POSSESSION:
        return None
    leaf = presented.leaf  # whose it is says more than the address of who shows it
    return Failure(BY_SERVER, _no_possession(chain.subject(leaf) if leaf else about))


def _distrust(about: str, alert: str) -> Check:
    return failed(
        TRUST,
        about,
        f"it left with the TLS alert {alert!r}",
        "put the root that vouches for the server into the client's trust store: `labkit serve` "
        "names the file as serverCa (in Python: lab.server.root_file)",
        "dial a name or an address that the server's certificate covers: `labkit hosts` names them",
    )


def _no_possession(about: str) -> Check:
    return failed(
        POSSESSION,
        about,
        "the handshake was signed with another key than that of this certificate",
        "if it is the device: give it the private key that belongs to its certificate",
        "if it is somebody else: nothing has to be mended, for a certificate is public, and "
        "without its key it opens nothing",
    )
