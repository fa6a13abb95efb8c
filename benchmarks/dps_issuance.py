"""Certificates that DPS has issued at registration, per raw P-384 signature of a token.

The raw signature is the limit of an issuing CA whose key is there. Devices register over MQTT
and TLS as they do in the field, each with a new key and request; their connections were made
before the clock runs (what a handshake costs is ``registration_ratio``), and a device asks again
as soon as it is answered, so that as many as there are wait at any time. A request's own signature
has to be verified, which takes P-384 about two thirds as long as to sign in a token: whoever issues
more than six certificates in the time of ten signatures uses more than one core.

``python -m benchmarks.dps_issuance DIR N`` serves such a lab, and signs when it reads a number.
"""

from __future__ import annotations

import base64
import json
import select
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder
from pkcs11 import Mechanism

from benchmarks import mqtt
from benchmarks.fleet import Issuer, hand_out
from benchmarks.result import Result, median
from labkit.hsm import Algorithm
from labkit.lab import Lab
from labkit.pki import request
from labkit.wire.ports import Ports

_DEVICES, _ROUNDS, _SIGNATURES = 16, 12, 100
_EACH = 8
"""Certificates for each device in a round."""
_WARM_SECONDS = 4.0
"""Other processes have to be started, and to open the token."""
_VERSION = "2025-07-01-preview"


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.dps_issuance", directory, str(_DEVICES)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            said = json.loads(server.stdout.readline())
            ratio = _ratio(server, _connections(Path(directory), said))
            server.communicate()
    yield Result("issuance_via_dps", ratio, "certificates per raw P-384 signature", ">= 0.6")


def _ratio(server: Any, connections: dict[str, ssl.SSLSocket]) -> float:
    """In turns, so that both see the same machine."""
    warm = perf_counter() + _WARM_SECONDS
    while perf_counter() < warm:
        _round(connections)
    return median(_raw(server) / _round(connections) for _ in range(_ROUNDS))


def _round(connections: dict[str, ssl.SSLSocket]) -> float:
    """Seconds of one certificate."""
    packets = {
        connection: [_register(name, number) for number in range(_EACH)]
        for name, connection in connections.items()
    }
    start = perf_counter()
    _ask(packets)
    return (perf_counter() - start) / (len(packets) * _EACH)


def _raw(server: Any) -> float:
    """Seconds of one signature."""
    server.stdin.write(f"{_SIGNATURES}\n")
    server.stdin.flush()
    return float(server.stdout.readline()) / _SIGNATURES


def _ask(packets: dict[ssl.SSLSocket, list[bytes]]) -> None:
    """Each sends its next packet when it has got the certificate that it asked for with the last
    one, and the two above that."""
    heard = dict.fromkeys(packets, b"")
    for connection, waiting in packets.items():
        connection.sendall(waiting.pop())
    while heard:
        ready = [c for c in heard if c.pending()] or select.select(list(heard), [], [], 20)[0]
        assert ready, "nobody answers"
        for connection in ready:
            heard[connection] += connection.recv(65536)
            assert b"errorCode" not in heard[connection], heard[connection]
            if b"issuedCertificateChain" not in heard[connection]:
                continue
            heard[connection] = b""
            if packets[connection]:
                connection.sendall(packets[connection].pop())
            else:
                del heard[connection]


def _connections(directory: Path, said: dict[str, Any]) -> dict[str, ssl.SSLSocket]:
    found = {}
    for name in said["devices"]:
        tls = ssl.create_default_context(cafile=said["serverCa"])
        tls.load_cert_chain(directory / f"{name}.pem")
        found[name] = connection = mqtt.dial(tls, said["port"])
        user = f"{said['scope']}/registrations/{name}/api-version={_VERSION}"
        for packet in (mqtt.connect(name, user), mqtt.subscribe("$dps/registrations/res/#")):
            connection.sendall(packet)
            assert connection.recv(65536)
    return found


def _register(name: str, number: int) -> bytes:
    """Sent once more in each round, with a key of its own."""
    key = ec.generate_private_key(ec.SECP384R1())
    csr = CertificateSigningRequestBuilder().subject_name(request.name(name))
    der = csr.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)
    return mqtt.register(name, number, csr=base64.b64encode(der).decode())


# ---- the other process


def serve(directory: Path, count: int) -> None:
    with Lab.open(directory / "lab", ports=Ports("127.0.0.1", 0, 0), say=None) as lab:
        issuer = Issuer()
        issuer.enroll(lab.dps)
        namespace = lab.registry.namespaces.create("contoso")
        namespace.create_credential()
        namespace.policies.create("short", validity_days=7)
        namespace.link_dps()
        namespace.link_hub("contoso-hub")
        namespace.synchronize()
        groups = lab.dps.enrollment_groups
        groups.update(replace(groups.get("fleet"), credential_policy="short"))
        print(json.dumps(hand_out(directory, issuer, lab, count)), flush=True)
        key = lab.custodian("Benchmark").make_key("raw", algorithm=Algorithm.P384.value)
        for line in sys.stdin:
            start = perf_counter()
            for _ in range(int(line)):
                key._sign_raw(bytes(48), mechanism=Mechanism.ECDSA)
            print(perf_counter() - start, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
