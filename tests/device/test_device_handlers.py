"""A device whose hub calls: methods, desired properties, messages, over the real SDK."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from complaints import refused
from stories import PATIENCE, Story, eventually

from labkit.device import Answer, Device
from labkit.errors import ConnectionFailed


@pytest.fixture
def widget(story: Story) -> Iterator[Device]:
    story.widget.provision()
    yield story.widget.connect()
    story.widget.disconnect()


def invoke(story: Story, name: str, payload: Any = None) -> tuple[int, Any]:
    answer = story.lab.hub().invoke(story.widget.name, name, payload, connect_timeout=PATIENCE)
    return answer.status, answer.payload


def test_a_method_is_answered_by_its_handler(story: Story, widget: Device) -> None:
    widget.on_method("add", lambda payload: sum(payload))
    assert invoke(story, "add", [1, 2]) == (200, 3)
    widget.on_method("busy", lambda _: Answer(503, {"retry": True}))
    assert invoke(story, "busy") == (503, {"retry": True})
    widget.on_method("add", lambda _: "changed")
    assert invoke(story, "add", [1]) == (200, "changed")


def test_whatever_goes_wrong_in_a_handler_the_caller_gets_an_answer(
    story: Story, widget: Device
) -> None:
    widget.on_method("breaks", lambda payload: payload["missing"])
    widget.on_method("no-json", lambda _: {1, 2})
    status, told = invoke(story, "breaks", {})
    assert (status, "KeyError" in told["error"]) == (500, True)
    assert invoke(story, "no-json")[0] == 500
    assert invoke(story, "unheard-of") == (
        404, {"error": "no method 'unheard-of'", "methods": ["breaks", "no-json"]},
    )  # fmt: skip


def test_desired_properties_reach_their_handler_which_may_report(
    story: Story, widget: Device
) -> None:
    hub = story.lab.hub()
    widget.on_desired(lambda wanted: widget.report(**wanted))
    hub.update_twin(widget.name, desired={"interval": 5})
    eventually(lambda: hub.twin(widget.name).reported == {"interval": 5})


def test_a_handler_that_raises_is_told_of_and_called_again(story: Story, widget: Device) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def fail_once(wanted: dict[str, Any]) -> None:
        seen.put(wanted)
        raise ValueError("not that")

    widget.on_desired(fail_once)
    for number in range(2):
        story.lab.hub().update_twin(widget.name, desired={"n": number})
        assert seen.get(timeout=PATIENCE) == {"n": number}
    assert any("not that" in e.text for e in story.lab.events.about(source="device"))


def test_messages_are_received_in_order_and_none_is_none(story: Story, widget: Device) -> None:
    hub = story.lab.hub()
    hub.send(widget.name, "first", priority="high")
    hub.send(widget.name, {"second": 2})
    first, second = widget.receive(), widget.receive()
    assert first is not None
    assert second is not None
    assert (first.text, first.properties) == ("first", {"priority": "high"})
    assert second.json() == {"second": 2}
    assert widget.receive(patience=0.05) is None
    eventually(lambda: not hub.queued(widget.name))


def test_handlers_outlast_a_connection(story: Story, widget: Device) -> None:
    """As firmware does: what was set before it connects counts too."""
    widget.disconnect()
    assert not widget.connected
    done = threading.Event()
    widget.on_method("ping", lambda _: "pong")
    widget.on_desired(lambda _: done.set())
    widget.connect()
    assert widget.connected
    assert invoke(story, "ping") == (200, "pong")
    story.lab.hub().update_twin(widget.name, desired={"a": 1})
    assert done.wait(PATIENCE)


def test_a_message_that_waited_is_not_lost_when_the_device_comes_back(
    story: Story, widget: Device
) -> None:
    """The hub sends it with the CONNACK: the SDK has no handler yet, and must keep it for one."""
    seen: queue.Queue[str] = queue.Queue()
    widget.on_message(lambda received: not seen.put(received.text))
    widget.disconnect()
    story.lab.hub().send(widget.name, "welcome back")
    widget.connect()
    assert seen.get(timeout=PATIENCE) == "welcome back"


def test_a_connection_that_ends_while_the_device_leaves_is_left_all_the_same(
    story: Story, widget: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK stops half-way with an error where paho says that the line is gone already."""
    leave, gone = paho.Client.disconnect, [paho.MQTT_ERR_NO_CONN]

    def ended(client: paho.Client) -> Any:
        found = leave(client)
        return gone.pop() if gone else found

    monkeypatch.setattr(paho.Client, "disconnect", ended)
    widget.disconnect()
    assert (gone, widget.connected) == ([], False)
    widget.connect().send({"is": "back"})


def test_who_is_not_connected_receives_nothing(story: Story) -> None:
    with refused(ConnectionFailed, "not connected"):
        story.widget.receive()
