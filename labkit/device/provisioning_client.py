"""A client of DPS that can send a certificate signing request, over MQTT or HTTPS: no released SDK
for Python or Node does.

    PUT register {"registrationId", "csr"} ──> 202, retry-after ──> GET the operation, … ──> 200

It proves who it is by a certificate, whose key may be in a token, or by a symmetric key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote

from labkit.device import dps_https, dps_mqtt, sdk
from labkit.device.answer import Answer
from labkit.device.dialects import REGISTRY, dialect
from labkit.device.distrust import found_in
from labkit.device.mqtt_line import NOT_AUTHORIZED
from labkit.device.network import Network
from labkit.device.registration import Csr, Proof, Registered, Registrar, Transport
from labkit.errors import LabError, ProvisioningFailed

MOST_POLLS = 60
LONGEST_WAIT = 30.0
"""Seconds between two polls, whatever the service says."""

_TOKEN_SECONDS = 3600
_FAILURES = (OSError, TimeoutError, ssl.SSLError, ValueError)


class Connection(Protocol):
    """An open way to DPS."""

    def register(self, body: bytes) -> Answer:
        """The answer to a registration."""

    def poll(self, operation_id: str) -> Answer:
        """How an earlier one stands."""


class ProvisioningClient:
    """Speaks for one device. ``proof`` is its certificate, or its symmetric key in base64."""

    def __init__(
        self,
        network: Network,
        registration_id: str,
        proof: Proof | str,
        transport: Transport = "mqtt",
        csr: Csr | None = None,
        api_version: str = REGISTRY,
    ) -> None:
        if transport not in ("mqtt", "https"):
            raise LabError(
                f"DPS is not reached over {transport!r}",
                expected="mqtt or https",
                cure="choose one of these: transport=...",
            )
        self._network, self._name, self._proof = network, registration_id, proof
        self._transport, self._csr, self._dialect = transport, csr, dialect(api_version)

    def register(self) -> Registered:
        """Registers, and waits for the outcome. Raises ProvisioningFailed, which repeats what the
        service said; ServerNotTrusted, which is one, too, where this device left in TLS."""
        try:
            with self._connect() as connection:
                answer = self._settled(connection)
        except _FAILURES as error:
            told = str(error) or type(error).__name__
            refused = isinstance(error, ConnectionRefusedError) and told == NOT_AUTHORIZED
            raise found_in(error) or self._failed(told, refused=refused) from error
        return self._registered(answer)

    def _connect(self) -> AbstractContextManager[Connection]:
        context = ssl.create_default_context(cadata=self._network.server_roots)
        where = f"{self._network.id_scope}/registrations/{self._name}"
        version, token = self._dialect.version, ""
        if isinstance(self._proof, str):
            token = _token(where, self._proof)
        else:
            self._proof.load_into(context)
        if self._transport == "https":
            return dps_https.connect(self._network, where, version, token, context)
        return dps_mqtt.connect(self._network, where, version, token, context)

    def _settled(self, connection: Connection) -> Answer:
        """The first answer that is final."""
        said: dict[str, Any] = {"registrationId": self._name}
        if self._csr is not None:
            said[self._dialect.field] = self._dialect.text(self._csr)
        answer = connection.register(json.dumps(said).encode())
        for _ in range(MOST_POLLS):
            if answer.status != 202:
                return answer
            time.sleep(min(answer.retry_after, LONGEST_WAIT))
            answer = connection.poll(str(answer.body.get("operationId", "")))
        return answer

    def _registered(self, answer: Answer) -> Registered:
        state = answer.body.get("registrationState") or {}
        if answer.status != 200 or answer.body.get("status") != "assigned":
            raise self._failed(_words(answer, state), refused=answer.status != 202)
        chain, bundle = self._dialect.issued(state), self._dialect.trust_bundle(state)
        if self._csr is not None and not chain:
            raise self._failed("it sent no certificate for the request")
        hub, device_id = str(state.get("assignedHub")), str(state.get("deviceId"))
        return Registered(hub, device_id, "assigned", str(state.get("substatus")), chain, bundle)

    def _failed(self, found: str, *, refused: bool = False) -> ProvisioningFailed:
        failed = ProvisioningFailed(
            f"DPS did not provision {self._name}",
            found=found,
            cure="ask the lab why, the device learns no more: lab.explain()",
        )
        failed.refused = refused
        return failed


def registrar(
    network: Network,
    name: str,
    proof: sdk.TokenX509 | str,
    transport: Transport,
    csr: Csr | None,
    api_version: str = "",
) -> Registrar:
    """Who asks DPS for a device: Microsoft's SDK, where it can; else the client of this module.
    ``api_version`` is one of :mod:`labkit.device.dialects`, where the device wants that."""
    plain = csr is None and transport == "mqtt" and not api_version
    if plain and not isinstance(proof, str):
        return sdk.SdkRegistrar(network, name, proof)
    return ProvisioningClient(network, name, proof, transport, csr, api_version or REGISTRY)


def _words(answer: Answer, state: Mapping[str, Any]) -> str:
    """What the service said, in one line."""
    code = state.get("errorCode") or answer.body.get("errorCode", "")
    text = state.get("errorMessage") or answer.body.get("message", "")
    status = answer.body.get("status", "")
    return " ".join(str(part) for part in (answer.status, status, code, text) if part)


def _token(resource: str, key: str) -> str:
    """A SAS token (Azure documentation, DPS: symmetric key attestation)."""
    quoted, until = quote(resource, safe=""), int(time.time()) + _TOKEN_SECONDS
    mac = hmac.new(base64.b64decode(key), f"{quoted}\n{until}".encode(), hashlib.sha256)
    signature = quote(base64.b64encode(mac.digest()), safe="")
    return f"SharedAccessSignature sr={quoted}&sig={signature}&se={until}&skn=registration"
