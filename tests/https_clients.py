"""Clients of the lab's HTTPS ports that share no code with it: the standard library's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wire_clients import SECONDS, tls

from labkit import Lab


def sign(resource: str, key: str, *, policy: str = "", seconds: float = 3600) -> str:
    """A SAS token, made as Azure's documents say. ``resource`` is written as it is."""
    until = str(int(time.time() + seconds))
    mac = hmac.new(base64.b64decode(key), f"{resource}\n{until}".encode(), hashlib.sha256)
    signature = quote(base64.b64encode(mac.digest()), safe="")
    name = f"&skn={policy}" if policy else ""
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={until}{name}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One connection. ``headers`` go with every request."""

    connection: http.client.HTTPSConnection
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Header names are written with underscores: ``if_match="*"``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        self.connection.request(method, path, data, {**kind, **self.headers, **named})
        found = self.connection.getresponse()
        received = {name.lower(): value for name, value in found.getheaders()}
        return Answer(found.status, received, found.read())


@contextmanager
def client(
    lab: Lab, *, chain_file: Path | None = None, key_file: Path | None = None, port: int = 0
) -> Iterator[Client]:
    """To DPS's port where no other is named."""
    connection = http.client.HTTPSConnection(
        lab.listener.host,
        port or lab.listener.https_port,
        timeout=SECONDS,
        context=tls(lab, chain_file, key_file),
    )
    try:
        yield Client(connection)
    finally:
        connection.close()


@contextmanager
def back_end(lab: Lab, policy: str = "provisioningserviceowner") -> Iterator[Client]:
    """A back end of DPS that signs as a policy."""
    found = lab.cloud.policies("dps").find(policy)
    assert found is not None
    with client(lab) as opened:
        host = quote(f"{lab.listener.host}:{lab.listener.https_port}", safe="")
        token = sign(host, found.primary_key, policy=policy)
        opened.headers["Authorization"] = token
        yield opened
