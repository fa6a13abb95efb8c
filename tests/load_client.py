"""Back ends and devices, many at once, against a `labkit serve` in another process.

``python load_client.py PLACE ROUND THREADS``. ``PLACE`` has ``ready.json`` (what the server said),
and ``ca.pem``, ``ca.key`` of the CA that an enrollment group names. Each thread is a back end with
a kept connection, and the devices that come with what it enrolled. It writes a line for whatever
was acknowledged, after it was: ``enrolled NAME``, or ``registered NAME HUB DEVICE``. It ends when
the server does.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from forge import Forged, device
from https_clients import sign
from wire_clients import ANSWERS, PUBLISH, REGISTER, connect, publish, subscribe, take_packet

API = "api-version=2021-10-01"
SECONDS = 20.0
ENDED = (OSError, EOFError, http.client.HTTPException)
"""What a client sees of a server that is killed."""


class Authority(Forged):
    """The CA of the group, as it was left in files."""

    def __init__(self, place: Path) -> None:
        self.certificate = x509.load_pem_x509_certificate((place / "ca.pem").read_bytes())
        key = load_pem_private_key((place / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key, self.subject = key, self.certificate.subject


class Worker(threading.Thread):
    """One back end and its devices."""

    def __init__(self, place: Path, name: str) -> None:
        super().__init__(name=name)
        self._place, self._said = place, json.loads((place / "ready.json").read_text())
        self._authority = Authority(place)
        fields = self._said["dps"]["connectionString"].split(";")
        parts = dict(part.split("=", 1) for part in fields)
        host = parts["HostName"]
        token = sign(
            quote(host, safe=""), parts["SharedAccessKey"], policy=parts["SharedAccessKeyName"]
        )
        self._headers = {"Authorization": token, "Content-Type": "application/json"}
        context = ssl.create_default_context(cafile=self._said["serverCa"])
        self._back_end = http.client.HTTPSConnection(host, timeout=SECONDS, context=context)

    def run(self) -> None:
        try:
            for number in itertools.count():
                for line in self._one(f"{self.name}-{number}", number):
                    os.write(1, f"{line}\n".encode())  # in one piece: others write too
        except ENDED:
            pass

    def _one(self, name: str, number: int) -> Iterator[str]:
        """By turns: through the group, with an enrollment of its own, and ten enrollments."""
        if number % 3 == 0:
            yield self._registered(name, device(name, self._authority), self._authority)
        elif number % 3 == 1:
            alone = device(name, None)
            self._ask("PUT", f"/enrollments/{name}?{API}", _individually(name, alone))
            yield f"enrolled {name}"
            yield self._registered(name, alone)
        else:
            names = [f"{name}-{number}" for number in range(10)]
            entries = [{"registrationId": n, "attestation": _BY_KEY} for n in names]
            body = {"mode": "create", "enrollments": entries}
            answer = json.loads(self._ask("POST", f"/enrollments?{API}", body))
            assert answer["isSuccessful"], answer
            yield from (f"enrolled {name}" for name in names)

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> bytes:
        self._back_end.request(method, path, json.dumps(body), self._headers)
        answer = self._back_end.getresponse()
        data = answer.read()
        assert answer.status == 200, (answer.status, data)
        return data

    def _registered(self, name: str, *sent: Forged) -> str:
        state = register(self._said, name, self._pem(name, *sent))
        return f"registered {name} {state['assignedHub']} {state['deviceId']}"

    def _pem(self, name: str, *sent: Forged) -> Path:
        key = sent[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._place / f"{name}.pem"
        path.write_bytes(b"".join(s.certificate.public_bytes(Encoding.PEM) for s in sent) + key)
        return path


_BY_KEY = {"type": "symmetricKey", "symmetricKey": {}}


def _individually(name: str, alone: Forged) -> dict[str, Any]:
    der = base64.b64encode(alone.certificate.public_bytes(Encoding.DER)).decode()
    named = {"clientCertificates": {"primary": {"certificate": der}}}
    return {"registrationId": name, "attestation": {"type": "x509", "x509": named}}


def register(said: dict[str, Any], name: str, pem: Path) -> dict[str, Any]:
    """Registers over MQTT and returns the state that DPS answers; EOFError, or OSError, where the
    server is gone."""
    context = ssl.create_default_context(cafile=said["serverCa"])
    context.load_cert_chain(pem)
    user = f"{said['idScope']}/registrations/{name}/api-version=2019-03-31"
    address = said["dps"]["host"], said["dps"]["mqttPort"]
    with (
        socket.create_connection(address, SECONDS) as bare,
        context.wrap_socket(bare, server_hostname=address[0]) as connection,
    ):
        asked = connect(name, user), subscribe(ANSWERS), publish(REGISTER.format(1), b"{}")
        connection.sendall(b"".join(asked))
        return _state(connection)


def _state(connection: ssl.SSLSocket) -> dict[str, Any]:
    buffer = bytearray()
    while data := connection.recv(65536):
        buffer += data
        while packet := take_packet(buffer):
            if packet.kind == PUBLISH:
                assert packet.topic.startswith("$dps/registrations/res/200/"), packet
                assert packet.json["status"] == "assigned", packet
                state: dict[str, Any] = packet.json["registrationState"]
                return state
    raise EOFError("the server closed the connection")


def main() -> None:
    place, round_, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    workers = [Worker(place, f"r{round_}-{number}") for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
