"""A device's next certificate, asked for at its hub: no released SDK does so.

    ask ──> 202, it is decided on ──> 200 and the chain, or a refusal
     └ 409: an earlier request is under way, of a device that lost its answer ──> takes its place

A device has one connection to its hub: this one takes the place of the SDK's for a moment, and the
next one is made with the new certificate anyway.
"""

from __future__ import annotations

import json
import ssl
import uuid
from typing import TYPE_CHECKING

from cryptography import x509

from labkit.device import mqtt_line, sdk
from labkit.device.answer import Answer
from labkit.device.assignment import Assignment
from labkit.device.dialects import base64_of, chain_of
from labkit.device.distrust import found_in
from labkit.device.mqtt_line import NOT_AUTHORIZED, MqttLine
from labkit.device.network import Network
from labkit.device.registration import Proof
from labkit.errors import LabError, NotIssued

if TYPE_CHECKING:
    from labkit.device.device import Device

API_VERSION = "2025-08-01-preview"
"""With which the operation came in."""
MOST_ANSWERS = 10
"""Answers that are listened to: the present request has two, and earlier ones may have some."""

_ANSWERS = "$iothub/credentials/res/"
_ASK = "$iothub/credentials/POST/issueCertificate/?$rid={}"
_FAILURES = (OSError, TimeoutError, ssl.SSLError, ValueError, TypeError, LookupError)


def renewable(device: Device) -> tuple[Assignment, Proof]:
    """The hub that a device may ask, and with what. Raises LabError without the one or the
    other."""
    assigned, proof = device.assignment, sdk.operational(device.operational.proof)
    if assigned is None or proof is None:
        raise LabError(
            f"{device.name} has no operational certificate that could be renewed",
            expected="one that was issued when it registered",
            cure='get the first one from DPS: widget.renew_operational("dps")',
        )
    return assigned, proof


def issue(
    network: Network, assigned: Assignment, proof: Proof, csr: x509.CertificateSigningRequest
) -> tuple[x509.Certificate, ...]:
    """What the hub has issued for a request: the device's certificate, then its issuers up to the
    root.

    Raises NotIssued, which repeats what the hub said; ServerNotTrusted, which is one, too, where
    this device left in TLS.
    """
    hub, device_id = assigned.hub, assigned.device_id
    context = ssl.create_default_context(cadata=network.server_roots)
    user = f"{hub}/{device_id}/?api-version={API_VERSION}"
    try:
        proof.load_into(context)
        with mqtt_line.connected(network, device_id, user, "", context, _ANSWERS) as line:
            return _asked(line, hub, device_id, csr)
    except _FAILURES as error:
        told = str(error) or type(error).__name__
        refused = isinstance(error, ConnectionRefusedError) and told == NOT_AUTHORIZED
        raise found_in(error) or _not_issued(hub, device_id, told, refused=refused) from error


def _asked(
    line: MqttLine, hub: str, device_id: str, csr: x509.CertificateSigningRequest
) -> tuple[x509.Certificate, ...]:
    said = {"id": device_id, "csr": base64_of(csr)}
    topic = _ASK.format(uuid.uuid4())
    answer = line.ask(topic, json.dumps(said).encode())
    for _ in range(MOST_ANSWERS):
        if answer.status == 200:
            found = chain_of(answer.body["certificates"])
            if found[0].public_key() == csr.public_key():
                return found
        elif answer.status == 409 and "replace" not in said:
            said["replace"] = "*"
            answer = line.ask(topic, json.dumps(said).encode())
            continue
        elif answer.status != 202 and topic.endswith(answer.request_id):
            raise _not_issued(hub, device_id, _words(answer), refused=True)
        answer = line.answer()
    raise _not_issued(hub, device_id, "it goes on answering, and sends no certificate")


def _words(answer: Answer) -> str:
    """What the hub said, in one line."""
    code, text = answer.body.get("errorCode", ""), answer.body.get("message", "")
    return " ".join(str(part) for part in (answer.status, code, text) if part)


def _not_issued(hub: str, device_id: str, found: str, *, refused: bool = False) -> NotIssued:
    error = NotIssued(
        f"{hub} had no certificate issued to {device_id}",
        found=found,
        cure="ask the lab why, the device learns no more: lab.explain()",
    )
    error.refused = refused
    return error
