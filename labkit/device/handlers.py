"""What a device's firmware does when its hub calls: methods, desired properties, messages.

The SDK calls handlers in threads of its own, one call after another for each kind.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.device.payload import as_json

MOST_KEPT = 1_000
"""Messages that a device keeps until its program asks for them; later ones are dropped."""
UNKNOWN, FAILED = 404, 500
"""The status of an answer to a method that the firmware does not have, or that failed there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A method's answer with a status of the device's own; without one it is 200."""

    status: int
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Received:
    """A cloud-to-device message, as it arrived."""

    body: bytes
    properties: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are shown as replacement characters."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Message to the device: {self.text}>"


MethodHandler = Callable[[Any], Any]
DesiredHandler = Callable[[dict[str, Any]], object]
MessageHandler = Callable[[Received], bool]
"""Whether it has taken a message; the others wait to be received."""


class Handlers:
    """They outlast a connection: :meth:`attach` gives them to each client that is made.

    ``tell`` takes a kind of event and its text.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self.methods: dict[str, MethodHandler] = {}
        self.desired: DesiredHandler | None = None
        self.wants_messages = False
        self.message: MessageHandler = _take_none
        self.inbox: queue.Queue[Received] = queue.Queue(MOST_KEPT)

    def attach(self, client: Any) -> None:
        """Lets a client listen to what there are handlers for; what it listens to already stays
        so. The SDK asks the hub as its handlers are set."""
        if self.methods and client.on_method_request_received is None:
            client.on_method_request_received = lambda request: self._answer(client, request)
        if self.desired and client.on_twin_desired_properties_patch_received is None:
            client.on_twin_desired_properties_patch_received = self._change
        if (
            self.wants_messages or self.message is not _take_none
        ) and client.on_message_received is None:
            client.on_message_received = self._keep

    def _answer(self, client: Any, request: Any) -> None:
        from azure.iot.device import MethodResponse

        answer = self._called(request.name, request.payload)
        self._tell("method", f"answers {request.name} with {answer.status}")
        made = MethodResponse.create_from_method_request(request, answer.status, answer.payload)
        client.send_method_response(made)

    def _called(self, name: str, payload: Any) -> Answer:
        """Whatever the handler does, the caller gets an answer."""
        handler = self.methods.get(name)
        if handler is None:
            return Answer(UNKNOWN, {"error": f"no method {name!r}", "methods": list(self.methods)})
        try:
            found = handler(payload)
            answer = found if isinstance(found, Answer) else Answer(200, found)
            as_json(answer.payload)
        except Exception as error:
            return Answer(FAILED, {"error": f"{type(error).__name__}: {error}"})
        return answer

    def _change(self, patch: Mapping[str, Any]) -> None:
        wanted = {name: value for name, value in patch.items() if name != "$version"}
        self._tell("desired", f"is to be {json.dumps(wanted)}")
        if self.desired is None:
            return
        try:
            self.desired(wanted)
        except Exception as error:
            self._tell("failed", f"could not do so: {type(error).__name__}: {error}")

    def _keep(self, message: Any) -> None:
        data = message.data
        body = data.encode() if isinstance(data, str) else bytes(data)
        properties = dict(message.custom_properties)
        received = Received(body, properties, message.message_id or "")
        self._tell("message", f"received {received.text[:100]}")
        try:
            if self.message(received):
                return
        except Exception as error:
            self._tell("failed", f"could not take it: {type(error).__name__}: {error}")
            return
        try:
            self.inbox.put_nowait(received)
        except queue.Full:
            self._tell("failed", "has no room for the message: receive those that wait")


def _take_none(_: Received) -> bool:
    return False
