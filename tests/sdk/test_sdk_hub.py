"""Microsoft's azure-iot-device, unmodified, on a live connection to a hub: both ways."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, MethodResponse, exceptions
from complaints import refused
from identities import Proof, add_device, disable, enable
from sdk_clients import hub_client, story_on_443
from stories import PATIENCE, Story, eventually

from labkit.errors import ServiceRefusal


@pytest.fixture(scope="module")
def story(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("hub") / "lab"
    with story_on_443(told, place, "the hub's SDK over WebSockets") as found:
        yield found


class Client:
    """One device's client, and what reached its handlers."""

    def __init__(self, story: Story, name: str, proof: Proof, **options: Any) -> None:
        self.name, self.hub = name, story.lab.hub()
        self.sdk: IoTHubDeviceClient = hub_client(
            story, name, proof, is_async=False, **{"websockets": False, **options}
        )
        self.patches: queue.Queue[dict[str, Any]] = queue.Queue()
        self.messages: queue.Queue[Any] = queue.Queue()

    def listen(self) -> None:
        """To everything. The SDK subscribes as the handlers are set."""
        self.sdk.on_twin_desired_properties_patch_received = self.patches.put
        self.sdk.on_message_received = self.messages.put
        self.sdk.on_method_request_received = self._echo

    def _echo(self, request: Any) -> None:
        answer = MethodResponse.create_from_method_request(request, 200, {"got": request.payload})
        self.sdk.send_method_response(answer)

    def patch(self) -> dict[str, Any]:
        return self.patches.get(timeout=PATIENCE)

    def message(self) -> Any:
        return self.messages.get(timeout=PATIENCE)


MakeClient = Callable[..., Client]


@pytest.fixture
def client(story: Story, tmp_path: Path) -> Iterator[MakeClient]:
    """Connected, unless told otherwise."""
    made: list[Client] = []

    def make(name: str, *, key: bool = False, connect: bool = True, **options: Any) -> Client:
        proof = add_device(story, tmp_path / "pem", name, key=key)
        made.append(Client(story, name, proof, **options))
        if connect:
            made[-1].sdk.connect()
        return made[-1]

    yield make
    for one in made:
        one.sdk.shutdown()


everywhere = pytest.mark.parametrize(
    ("kind", "websockets", "key"),
    [
        ("mqtt-x509", False, False),
        ("mqtt-sas", False, True),
        ("ws-x509", True, False),
        ("ws-sas", True, True),
    ],
    ids=["MQTT, thumbprint", "MQTT, SAS", "WebSockets, thumbprint", "WebSockets, SAS"],
)


@everywhere
def test_everything_goes_both_ways(
    client: MakeClient, kind: str, websockets: bool, key: bool
) -> None:
    """Telemetry, twin, desired and reported properties, a method, a cloud-to-device message."""
    one = client(kind, websockets=websockets, key=key)
    one.listen()
    one.sdk.send_message('{"temperature": 21.5}')
    assert [m.text for m in one.hub.messages(kind)] == ['{"temperature": 21.5}']

    one.hub.update_twin(kind, desired={"interval": 5}, tags={"site": "north"})
    assert one.patch() == {"interval": 5, "$version": 2}
    one.sdk.patch_twin_reported_properties({"interval": 5})
    assert one.hub.twin(kind).reported == {"interval": 5}
    assert one.sdk.get_twin() == {
        "desired": {"interval": 5, "$version": 2},
        "reported": {"interval": 5, "$version": 2},
    }

    answer = one.hub.invoke(kind, "reboot", {"delay": [1, None]})
    assert (answer.status, answer.payload) == (200, {"got": {"delay": [1, None]}})
    assert one.hub.invoke(kind, "reboot").payload == {"got": None}

    one.hub.send(kind, "wake up", message_id="m 1", priority="high & dry")
    message = one.message()
    assert (message.data, message.message_id) == (b"wake up", "m 1")
    assert message.custom_properties == {"priority": "high & dry"}
    eventually(lambda: not one.hub.queued(kind))


def test_json_to_a_device_says_that_it_is_json(client: MakeClient) -> None:
    one = client("to-json")
    one.listen()
    one.hub.send("to-json", {"a": [1, 2]})
    message = one.message()
    assert json.loads(message.data) == {"a": [1, 2]}
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


# ---- connections come and go


@pytest.mark.parametrize("websockets", [False, True], ids=["MQTT", "WebSockets"])
def test_who_was_cut_off_connects_again_and_still_listens(
    client: MakeClient, websockets: bool
) -> None:
    """The SDK does not subscribe anew: the hub has to know what it listened to."""
    name = f"returns-{websockets}"
    one = client(name, websockets=websockets, connection_retry_interval=1)
    one.listen()
    one.hub.invoke(name, "ping")
    assert one.hub.connections.end(one.hub.name, name, "a line that broke")
    one.hub.send(name, "while you were away")
    assert one.message().data == b"while you were away"
    assert one.hub.invoke(name, "ping", 1, connect_timeout=PATIENCE).payload == {"got": 1}
    one.hub.update_twin(name, desired={"a": 1})
    assert one.patch()["a"] == 1


def test_the_newer_connection_of_a_device_ends_the_older(
    story: Story, client: MakeClient, tmp_path: Path
) -> None:
    older = client("twice", connection_retry=False)
    newer = client("twice")
    eventually(lambda: not older.sdk.connected)
    assert newer.sdk.connected
    assert [p.device_id for p in newer.hub.connected()].count("twice") == 1
    assert "connected once more" in str(story.lab.explain("twice"))


def test_a_disabled_identity_is_cut_off_and_stays_out_until_it_is_enabled(
    story: Story, client: MakeClient
) -> None:
    one = client("disabled", connection_retry=False)
    disable(story, "disabled")
    eventually(lambda: not one.sdk.connected)
    with pytest.raises(exceptions.CredentialError):
        one.sdk.connect()
    assert "it is disabled in the hub" in str(story.lab.explain("disabled"))
    enable(story, "disabled")
    again = client("disabled")  # the refused one may still be told of its refusal (SDK)
    again.sdk.send_message("back")


def test_a_disabled_enrollment_does_not_end_a_connection(story: Story) -> None:
    """Pain point 10: DPS lets devices in, the hub keeps them. What cuts a device off is done in
    the hub."""
    widget = story.technician.make_device("keeps-talking")
    widget.provision()
    widget.connect()
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")
    try:
        widget.send("still here")
        widget.disconnect()
        widget.connect().send("and here again")
    finally:
        story.lab.dps.enrollment_groups.enable("smart-x-widgets")
        widget.disconnect()
    texts = [m.text for m in story.lab.hub().messages("keeps-talking")]
    assert texts == ['"still here"', '"and here again"']


# ---- a device that is not there, or says nothing


def test_a_method_on_a_device_that_is_away_is_404103(client: MakeClient) -> None:
    one = client("away", connect=False)
    with refused(ServiceRefusal, "404 404103", "Timed out waiting for device to connect."):
        one.hub.invoke("away", "ping")


def test_a_connected_device_without_a_handler_is_not_online(client: MakeClient) -> None:
    one = client("no-handler")
    with refused(ServiceRefusal, "404 404103"):
        one.hub.invoke("no-handler", "ping")


def test_a_device_that_comes_in_time_gets_the_call(client: MakeClient) -> None:
    one = client("comes-late", connect=False)
    begun: Future[Any] = one.hub.begin_method("comes-late", "ping", 7, connect_timeout=PATIENCE)
    one.sdk.connect()
    one.listen()
    assert begun.result(PATIENCE).payload == {"got": 7}


def test_a_handler_that_never_answers_is_504101(client: MakeClient) -> None:
    one = client("mute")
    one.sdk.on_method_request_received = one.messages.put
    with refused(ServiceRefusal, "504 504101", "Timed out waiting for the response from device."):
        one.hub.invoke("mute", "ping", response_timeout=0.5)
    assert one.message().name == "ping"


def test_messages_wait_for_a_device_that_is_away(client: MakeClient) -> None:
    one = client("waited-for", connect=False)
    for number in range(3):
        one.hub.send("waited-for", str(number))
    one.sdk.connect()
    one.listen()
    assert [one.message().data for _ in range(3)] == [b"0", b"1", b"2"]
    eventually(lambda: not one.hub.queued("waited-for"))
