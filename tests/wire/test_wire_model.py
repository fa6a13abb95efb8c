"""Random back ends and devices against a plain model (``dps_model``): over the sockets.

Back ends ask over HTTPS, signed with SAS; devices come over MQTT/TLS and HTTPS by turns, with
certificates in the handshake or with tokens. Only the files are made by calls: hubs, and the CA
that is trusted. ``restart`` closes every port and opens the service anew from its files.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forge
import pytest
from dps_model import ENROLLMENTS, GROUP_NAMES, KEYS, NAMES, ROOT, Books, Came, Entry, Kind, profile
from https_clients import Answer, Client, back_end, sign
from hypothesis.stateful import run_state_machine_as_test
from provisioning import HUBS, Emulated
from stories import write_device
from wire_clients import (
    ANSWERS,
    CONNACK,
    POLL,
    SECONDS,
    SUBACK,
    MqttClient,
    connect,
    dps_user,
    register,
    request,
    subscribe,
    tls,
)

from labkit.clock import Clock
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.pki import chain
from labkit.wire.listener import Listener
from labkit.wire.ports import Ports
from labkit.wire.server_identity import ServerIdentity

API = "api-version=2021-10-01"
DEVICE_API = "api-version=2019-03-31"
ROLES = {ENROLLMENTS: "clientCertificates", "enrollmentGroups": "signingCertificates"}
IDS = {ENROLLMENTS: "registrationId", "enrollmentGroups": "enrollmentGroupId"}

Contexts = Callable[[tuple[forge.Forged, ...]], ssl.SSLContext]


@dataclass(frozen=True)
class Server:
    """What lives as long as the test: the server's identity, and clients' TLS contexts."""

    identity: ServerIdentity
    context: Contexts


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tokens = TokenStore(tmp_path / "hsm")
    identity = ServerIdentity(tokens, tmp_path / "server", Events(Clock()))
    place, lab = tmp_path / "devices", SimpleNamespace(server=identity)

    @cache
    def context(sent: tuple[int, ...]) -> ssl.SSLContext:
        chain_ = [known[number] for number in sent]
        if not chain_:
            return tls(lab)  # type: ignore[arg-type]
        certificates = tuple(forged.certificate for forged in chain_)
        files = write_device(place, chain_[0].key, certificates)
        return tls(lab, files.chain_file, files.key_file)  # type: ignore[arg-type]

    known: dict[int, forge.Forged] = {}

    def found(sent: tuple[forge.Forged, ...]) -> ssl.SSLContext:
        known.update((id(forged), forged) for forged in sent)
        return context(tuple(map(id, sent)))

    yield Server(identity, found)
    tokens.close()


class Sockets:
    """The service over its ports. It stands in for a Lab where the test clients want one."""

    def __init__(self, path: Path, server: Server) -> None:
        is_new = not (path / "cloud.db").exists()
        self._emulated = Emulated(path, HUBS)
        if is_new:
            self._emulated.trust(ROOT)
        self.cloud, self.dps = self._emulated.cloud, self._emulated.dps
        self.server, self._context = server.identity, server.context
        ports = Ports(mqtt=0, https=0)
        self.listener = Listener(self.cloud, self.server, self._emulated.events, ports)
        self._leave, self._turns = ExitStack(), 0
        self._owner = self._leave.enter_context(back_end(self))  # type: ignore[arg-type]

    def close(self) -> None:
        self._leave.close()
        self.listener.stop()
        self.cloud.close()

    # ---- back ends

    def put(self, kind: Kind, name: str, entry: Entry, if_match: str) -> int:
        return self._changed(kind, name, body_of(kind, name, entry), if_match)

    def switch(self, kind: Kind, name: str, on: bool) -> int:
        """As a back end does it: reads the entry, changes a field, and puts it back."""
        read = self._owner.ask("GET", f"/{kind}/{name}?{API}")
        if read.status != 200:
            return code_of(read, 200)
        body = {**read.json, "provisioningStatus": "enabled" if on else "disabled"}
        return self._changed(kind, name, body, read.json["etag"])

    def _changed(self, kind: Kind, name: str, body: dict[str, Any], if_match: str) -> int:
        sent = {"If_Match": if_match} if if_match else {}
        answer = self._owner.ask("PUT", f"/{kind}/{name}?{API}", body, **sent)
        if answer.status == 200:
            assert answer.json["provisioningStatus"] == body["provisioningStatus"]
        return code_of(answer, 200)

    def delete(self, kind: Kind, name: str, if_match: str) -> int:
        sent = {"If_Match": if_match} if if_match else {}
        return code_of(self._owner.ask("DELETE", f"/{kind}/{name}?{API}", **sent), 204)

    def bulk(self, kind: Kind, mode: str, said: dict[str, tuple[Entry, str]]) -> dict[str, int]:
        entries = [
            {**body_of(kind, name, entry), **({"etag": etag} if etag else {})}
            for name, (entry, etag) in said.items()
        ]
        answer = self._owner.ask("POST", f"/{kind}?{API}", {"mode": mode, kind: entries})
        assert answer.status == 200, answer.body
        codes = {error[IDS[kind]]: error["errorCode"] for error in answer.json["errors"]}
        assert answer.json["isSuccessful"] == (not codes)
        return {name: codes.get(name, 0) for name in said}

    def etag(self, kind: Kind, name: str) -> str:
        return str(self._owner.ask("GET", f"/{kind}/{name}?{API}").json["etag"])

    def entries(self, kind: Kind) -> dict[str, bool]:
        found = self._pages(f"/{kind}/query")
        return {entry[IDS[kind]]: entry["provisioningStatus"] == "enabled" for entry in found}

    def records(self) -> dict[str, str]:
        """Each device's, and the group under whose name it is listed."""
        groups = {
            record["registrationId"].lower(): group
            for group in GROUP_NAMES
            for record in self._pages(f"/registrations/{group}/query")
        }
        there = {name for name in NAMES if self.record_etag(name)}
        assert set(groups) <= there
        return {name: groups.get(name, "") for name in there}

    def _pages(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        sent = {"x_ms_max_item_count": "2"}
        while True:
            query = {"query": "SELECT * FROM enrollments" if "enrollments/" in path else "SELECT *"}
            answer = self._owner.ask("POST", f"{path}?{API}", query, **sent)
            assert answer.status == 200, answer.body
            found += answer.json
            if "x-ms-continuation" not in answer.headers:
                return found
            sent["x_ms_continuation"] = answer.headers["x-ms-continuation"]

    def record_etag(self, name: str) -> str:
        answer = self._owner.ask("GET", f"/registrations/{name}?{API}")
        if answer.status == 200:
            return str(answer.json["etag"])
        assert code_of(answer, 200) == 404202
        return ""

    def delete_record(self, name: str, if_match: str) -> int:
        sent = {"If_Match": if_match} if if_match else {}
        return code_of(self._owner.ask("DELETE", f"/registrations/{name}?{API}", **sent), 204)

    # ---- devices

    def come(self, name: str, sent: tuple[forge.Forged, ...], key: str) -> Came:
        self._turns += 1
        way = self._over_mqtt if self._turns % 2 else self._over_https
        return way(name, sent, self._token(name, key))

    def look_up(self, name: str, sent: tuple[forge.Forged, ...]) -> int:
        with self._dialled(sent) as device:
            return device.ask("POST", self._path(name), {"registrationId": name}).status

    def _over_mqtt(self, name: str, sent: tuple[forge.Forged, ...], token: str) -> Came:
        with MqttClient(self, self._context(sent)) as device:  # type: ignore[arg-type]
            user = dps_user(self, name)  # type: ignore[arg-type]
            answer = device.ask(connect(name, user, password=token.encode() or None))
            assert answer.kind == CONNACK
            if answer.body[1]:
                assert token, "a certificate is judged at the registration"
                return Came({5: 401}[answer.body[1]])
            assert device.ask(subscribe(ANSWERS)).kind == SUBACK
            answer = register(device)
            if "/res/401/" in answer.topic:
                assert answer.json["errorCode"] == 401002
                return Came(401)
            again = request(device, POLL.format("2", answer.json["operationId"]), b" ")
            assert "/res/200/" in answer.topic
            assert again.json == answer.json
            return came(answer.json)

    def _over_https(self, name: str, sent: tuple[forge.Forged, ...], token: str) -> Came:
        with self._dialled(sent) as device:
            if token:
                device.headers["Authorization"] = token
            answer = device.ask("PUT", self._path(name, "/register"), {"registrationId": name})
            if answer.status == 401:
                assert code_of(answer, 200) == 401002
                return Came(401)
            assert answer.status == 200, answer.body
            asked = self._path(name, f"/operations/{answer.json['operationId']}")
            assert device.ask("GET", asked).json == answer.json
            looked_up = device.ask("POST", self._path(name), {"registrationId": name})
            assert looked_up.json == answer.json["registrationState"]
            return came(answer.json)

    def _path(self, name: str, rest: str = "") -> str:
        return f"/{self.dps.id_scope}/registrations/{name}{rest}?{DEVICE_API}"

    def _token(self, name: str, key: str) -> str:
        return sign(f"{self.dps.id_scope}%2Fregistrations%2F{name}", key) if key else ""

    def _dialled(self, sent: tuple[forge.Forged, ...]) -> Dialled:
        return Dialled(self.listener, self._context(sent))


class Dialled:
    """A connection to DPS's HTTPS port, for as long as a ``with`` lasts."""

    def __init__(self, listener: Listener, context: ssl.SSLContext) -> None:
        where = (listener.host, listener.https_port)
        self._connection = http.client.HTTPSConnection(*where, timeout=SECONDS, context=context)

    def __enter__(self) -> Client:
        return Client(self._connection)

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def body_of(kind: Kind, name: str, entry: Entry) -> dict[str, Any]:
    """The entry as the service API wants it."""
    keys = {"primaryKey": KEYS.get(entry.key), "secondaryKey": KEYS.get(entry.key)}
    slots = [{"certificate": chain.to_pem([f.certificate])} for f in entry.slots(kind, name)]
    named = dict(zip(("primary", "secondary"), slots, strict=False))
    attestation = (
        {"type": "symmetricKey", "symmetricKey": keys}
        if entry.key
        else {"type": "x509", "x509": {ROLES[kind]: named}}
    )
    return {IDS[kind]: name, "attestation": attestation, "provisioningStatus": entry.status}


def code_of(answer: Answer, done: int) -> int:
    """Azure's code in the body and in its header; 0 where the answer is that it was done."""
    if answer.status == done:
        return 0
    code = answer.json["errorCode"]
    assert (answer.headers["x-ms-error-code"], code // 1000) == (str(code), answer.status)
    return int(code)


def came(body: dict[str, Any]) -> Came:
    """What a device reads out of its assignment."""
    state = body["registrationState"]
    assert body["status"] == state["status"] == "assigned"
    assert state["substatus"] in ("initialAssignment", "reprovisionedToInitialAssignment")
    through = state.get("x509") or state.get("symmetricKey") or {}
    return Came(200, through.get("enrollmentGroupId", ""), state["assignedHub"])


@pytest.mark.hypothesis
def test_whatever_is_asked_over_the_wire_the_model_agrees(server: Server) -> None:
    """Codes, ETags, lists, records, who is admitted through what: after every operation."""

    class BooksOverTheWire(Books):
        def face(self, path: Path) -> Sockets:
            return Sockets(path, server)

    run_state_machine_as_test(
        BooksOverTheWire, settings=profile(examples=5, steps=40, shrink=False)
    )
