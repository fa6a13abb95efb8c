"""Devices with a symmetric key of a group, which ask a server in another process for certificates.
They share no code with the lab, and bear it when the server goes away."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from https_clients import sign
from issuance_stories import certificates, csr, new_key
from provisioning import hmac_sha256
from wire_clients import ANSWERS, PUBLISH, REGISTER, connect, publish, subscribe, take_packet

from labkit.cloud.dps.entries import SymmetricKeyAttestation

SECRET = base64.b64encode(b"s" * 32).decode()
KEYS = SymmetricKeyAttestation(SECRET, SECRET)
"""Of the group that drones belong to."""
_SECONDS = 20.0
_GONE = (OSError, EOFError, http.client.HTTPException, ValueError)
"""What a client sees of a server that is killed."""


@dataclass
class Drone:
    """A device with a key, and the chain that it was handed for it, once it was."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    chain: tuple[x509.Certificate, ...] = ()

    version = "2025-07-01-preview"

    def body(self) -> dict[str, str]:
        """A request that is signed anew."""
        return {"csr": csr(self.name, self.key)}

    def read(self, state: dict[str, Any]) -> list[x509.Certificate]:
        """The chain in the state of its registration."""
        return certificates(state["issuedCertificateChain"])

    @property
    def issued(self) -> bytes:
        """The certificate that it was handed, in DER; empty as long as it has none."""
        return self.chain[0].public_bytes(Encoding.DER) if self.chain else b""

    def register(self, said: dict[str, Any]) -> None:
        """Asks for a certificate over HTTPS."""
        where, token = self._introduced(said)
        headers = {"Content-Type": "application/json", "Authorization": token}
        target = f"/{where}/register?api-version={self.version}"
        context = ssl.create_default_context(cafile=said["serverCa"])
        port = said["dps"]["httpsPort"]
        server = http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)
        try:
            server.request("PUT", target, json.dumps(self.body()), headers)
            answer = server.getresponse()
            self._take(answer.status, json.loads(answer.read()))
        finally:
            server.close()

    def register_by_mqtt(self, said: dict[str, Any]) -> None:
        """The same over MQTT."""
        where, token = self._introduced(said)
        user = f"{where}/api-version={self.version}"
        asked = json.dumps(self.body()).encode()
        packets = (
            connect(self.name, user, password=token.encode()),
            subscribe(ANSWERS),
            publish(REGISTER.format(1), asked),
        )
        context = ssl.create_default_context(cafile=said["serverCa"])
        address = said["dps"]["host"], said["dps"]["mqttPort"]
        with (
            socket.create_connection(address, _SECONDS) as bare,
            context.wrap_socket(bare, server_hostname=address[0]) as server,
        ):
            server.sendall(b"".join(packets))
            self._take(*_answer(server))

    def try_to_register(self, said: dict[str, Any], *, mqtt: bool = False) -> None:
        """The same, from a server that may go away."""
        try:
            self.register_by_mqtt(said) if mqtt else self.register(said)
        except _GONE:
            return

    def _introduced(self, said: dict[str, Any]) -> tuple[str, str]:
        where = f"{said['idScope']}/registrations/{self.name}"
        return where, sign(quote(where, safe=""), hmac_sha256(SECRET, self.name))

    def _take(self, status: int, found: dict[str, Any]) -> None:
        assert (status, found["status"]) == (200, "assigned"), found
        self.chain = tuple(self.read(found["registrationState"]))


def _answer(server: ssl.SSLSocket) -> tuple[int, dict[str, Any]]:
    buffer = bytearray()
    while data := server.recv(65536):
        buffer += data
        while packet := take_packet(buffer):
            if packet.kind == PUBLISH:
                return int(packet.topic.split("/")[3]), packet.json
    raise EOFError("the server closed the connection")
