"""A trust store that comes over the air: firmware that offers the direct method
``installTrustBundle``.

A cloud that changes its root has to reach its devices before. IoT Hub has nothing for that, so the
firmware and its back end agree on a method of their own:

    {"roots": "-----BEGIN CERTIFICATE-----…"}      in place of the whole trust store
    ──> 200 {"trusts": ["Root", "Root G2"]}        installed, or was there already
        400 {"error": …, "expected": …, "found": …, "cure": …}    that is no trust store
        409 the same                               with it, the device would be cut off
        503 the same                               it could not be tried

A store that does not vouch for the server would shut the device out for good: nobody could call it
any more to mend that. So the device tries it first, in a handshake of its own with the server that
it talks to. ``"untried": true`` leaves that out, for who takes the old root away right before the
change.

Who may call methods may replace the store: what speaks for them is the connection, whose server the
store of now trusts. In production a bundle is signed as well, as a firmware update is, with a key
that no hub has.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit.device.distrust import found_in
from labkit.device.handlers import Answer
from labkit.device.network import MQTT_PORT, Network
from labkit.errors import BadCertificate, ConnectionFailed, LabError, ServerNotTrusted
from labkit.pki import chain, reading

if TYPE_CHECKING:
    from labkit.device.device import Device

METHOD = "installTrustBundle"
MOST_ROOTS = 32
TRIAL_SECONDS = 10.0
"""For each step of the trial: to connect, and to read what the server says next."""

NO_STORE, CUT_OFF, NOT_TRIED = 400, 409, 503


def take(device: Device, payload: Any) -> Answer:
    """Installs the roots in a method's payload, or says why not. Whatever it is, the store is one
    that was checked."""
    try:
        roots, untried = _read(payload)
        if not untried:
            try_out(device.network, roots)
    except BadCertificate as error:
        return _no(NO_STORE, error)
    except ServerNotTrusted as error:
        return _no(CUT_OFF, _would_be_cut_off(error, roots))
    except ConnectionFailed as error:
        return _no(NOT_TRIED, error)
    if set(roots) != set(device.trusted_roots):
        device.install_roots(roots)
    return Answer(200, {"trusts": [chain.common_name(root) for root in roots]})


def install_delivered(device: Device, bundle: Sequence[x509.Certificate]) -> str:
    """Installs the bundle that DPS has sent with an assignment, in place of the whole trust store.
    Returns why not, where it does not; empty where it does: a bundle with which the device would be
    cut off is tried, and left.

    Nobody is told: DPS asks for no answer. Without a bundle nothing is done.
    """
    if not bundle:
        return ""
    roots = list(dict.fromkeys(bundle))
    try:
        _check(roots)
        try_out(device.network, roots)
    except (BadCertificate, ServerNotTrusted, ConnectionFailed) as error:
        return error.found
    if set(roots) != set(device.trusted_roots):
        device.install_roots(roots)
    return ""


def try_out(network: Network, roots: Sequence[x509.Certificate]) -> None:
    """A handshake with the server, in which these roots alone are trusted; nothing is said in it.

    Raises ServerNotTrusted where the device would leave, ConnectionFailed where there is no server
    to try it on.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=chain.to_pem(roots))
    where = (network.address, MQTT_PORT)
    try:
        with (
            socket.create_connection(where, TRIAL_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=network.address),
        ):
            pass
    except OSError as error:  # of which ssl's own is a kind
        raise found_in(error) or ConnectionFailed(
            "The trust bundle could not be tried out",
            expected=f"a TLS server at {network.address}:{MQTT_PORT}",
            found=str(error),
            cure='push it again later; or, to install it all the same, say "untried": true',
        ) from error


def _read(payload: Any) -> tuple[list[x509.Certificate], bool]:
    """The roots, and whether they are not to be tried. Raises BadCertificate."""
    said = payload if isinstance(payload, dict) else {}
    pem, untried = said.get("roots"), said.get("untried", False)
    if not isinstance(pem, str) or not isinstance(untried, bool):
        raise _unfit('a JSON object with PEM in "roots"', "another payload")
    roots = list(dict.fromkeys(reading.read_certificates(pem)))
    _check(roots)
    return roots, untried


def _check(roots: Sequence[x509.Certificate]) -> None:
    """Raises BadCertificate for what is no trust store."""
    if len(roots) > MOST_ROOTS:
        raise _unfit(f"at most {MOST_ROOTS} roots", f"{len(roots)}")
    for root in roots:
        if why := _fault(root):
            raise _unfit("roots: CA certificates that sign themselves, and are still valid", why)


def _fault(root: x509.Certificate) -> str:
    """By the machine's clock, as its TLS judges servers."""
    name = chain.subject(root)
    if not chain.is_ca(root):
        return f"{name}, which is no CA's certificate"
    if not chain.is_self_signed(root):
        return f"{name}, which {chain.title(root.issuer)} has signed"
    if root.not_valid_after_utc <= datetime.now(UTC):
        return f"{name}, which has expired"
    return ""


def _unfit(expected: str, found: str) -> BadCertificate:
    cure = "send the trust bundle of the services as it is: lab.server.trust_bundle"
    return BadCertificate("This is no trust bundle", expected=expected, found=found, cure=cure)


def _would_be_cut_off(error: ServerNotTrusted, roots: Sequence[x509.Certificate]) -> LabError:
    return ConnectionFailed(
        "With this trust bundle the device would be cut off: it keeps the one it has",
        expected="among the roots the one that vouches for the server now",
        found=f"{chain.names(roots)}; tried out with them: {error.found}",
        cure="push a bundle with the old root and the new one, and take the old one out after the "
        'change; or, where it is out of use by then, say "untried": true',
    )


def _no(status: int, error: LabError) -> Answer:
    told = {"expected": error.expected, "found": error.found, "cure": error.cure}
    return Answer(status, {"error": error.message, **told})
