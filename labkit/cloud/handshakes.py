"""Handshakes that failed: those that a trainee would ask about are kept beside the refusals.

No service said no here, so there is no answer of Azure's; the client saw no more than that TLS
ended. Noise (plain HTTP, port scans, bytes of anything) is not kept: it would only push out
what is worth knowing.

A client that leaves because it does not trust the server has not said who it is. So the service's
side knows an address and an alert (:func:`explained`). Of a device of its own the lab knows the
other side as well (:func:`both_sides`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from labkit.cloud.dps.attestation import POSSESSION
from labkit.cloud.presented import Presented
from labkit.errors import ServerNotTrusted
from labkit.pki import chain
from labkit.trace import Check, failed, not_reached

TRUST = "the client trusts the server's certificate"
NAME = "the server's certificate is for the name that the client dialled"
OWN = "the device's own chain leads to a CA that the service trusts"
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
_DIAL = "dial a name or an address that the server's certificate covers: `labkit hosts` names them"
_MIGRATION = "Azure documentation, IoT Hub: Migrate IoT Hub resources to a new TLS certificate root"


@dataclass(frozen=True, slots=True)
class Served:
    """What a client was served with: the name that it ``asked`` for in TLS (SNI; empty where it
    dialled an address), and the ``chain`` that it was sent, the endpoint's certificate first."""

    asked: str = ""
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def names(self) -> list[str]:
        """The host names that the endpoint's certificate covers."""
        return _host_names(self.chain[0]) if self.chain else []


@dataclass(frozen=True, slots=True)
class Failure:
    """Who ended a handshake, and the check that says why."""

    message: str
    check: Check


def explained(reason: str, presented: Presented, served: Served) -> Failure | None:
    """What OpenSSL's ``reason`` means for the client; None where it means nothing to anybody."""
    about = presented.peer or "a client"
    _, is_alert, alert = reason.partition("alert ")
    if is_alert and alert in _DISTRUST:
        return Failure(BY_CLIENT, _distrust(about, alert, served))
    if reason not in _NO_POSSESSION:
        return None
    if presented.leaf is not None:  # says more than an address; that device is not accused
        about = f"the client that sent {chain.subject(presented.leaf)}"
    return Failure(BY_SERVER, _no_possession(about))


def both_sides(
    device: str,
    error: ServerNotTrusted,
    *,
    holds: Sequence[x509.Certificate],
    sent: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> tuple[Check, ...]:
    """Why a device of the lab left, from both sides: what its trust store ``holds``, the chain
    that it was ``sent``, and the ``roots`` that the services have or had. Its own certificate was
    never looked at, and that is said, too."""
    if error.why == "root":
        check = _no_root(device, holds, sent, roots)
    elif error.why == "name":
        covered = ", ".join(_host_names(sent[0]))
        why = f"{error.found.rstrip('.')}; it covers {covered}"
        check = failed(NAME, f"the server that {device} dialled", why, _DIAL)
    else:
        check = failed(TRUST, f"the server that {device} dialled", error.found, error.cure)
    return check, not_reached(OWN, device)


def _no_root(
    device: str,
    holds: Sequence[x509.Certificate],
    sent: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> Check:
    ends = dict.fromkeys(chain.title(issued.issuer) for issued in sent[1:])
    twins = any(chain.subject(held) in ends for held in holds)
    another = " (one of that name, with another key)" if twins else ""
    cures = [
        "put the roots that are in use, and those that are announced, into its trust store: "
        f"lab.device({device!r}).install_roots(lab.server.trust_bundle). In the field that is a "
        "firmware update, and has to come before the change",
    ]
    if set(holds) & set(roots):
        cures.append(
            "until it has them, let the service lead to a root that the device holds: "
            "lab.server.switch_root(...). In Azure that is not yours to decide"
        )
    return failed(
        TRUST,
        f"the trust store of {device}",
        f"it holds {chain.names(holds)}{another}; the server sent {chain.names(sent)}, which "
        f"leads to {' or '.join(ends)}",
        *cures,
        source=_MIGRATION,
    )


def _distrust(about: str, alert: str, served: Served) -> Check:
    why = f"it left with the TLS alert {alert!r}"
    if alert != "unknown ca" and served.asked and served.asked not in served.names:
        covered = ", ".join(served.names)
        return failed(NAME, about, f"{why}: it asked for {served.asked!r}, not {covered}", _DIAL)
    return failed(
        TRUST,
        about,
        why,
        "put the root that vouches for the server into the client's trust store: `labkit serve` "
        "names the file as serverCa (in Python: lab.server.root_file)",
        _DIAL,
    )


def _no_possession(about: str) -> Check:
    return failed(
        POSSESSION,
        about,
        "its signature is by another key than that of the certificate",
        "if it is the device: give it the private key that belongs to its certificate",
        "if it is somebody else: nothing has to be mended, for a certificate is public, and "
        "without its key it opens nothing",
    )


def _host_names(certificate: x509.Certificate) -> list[str]:
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)
