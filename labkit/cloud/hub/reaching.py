"""What back ends do to a device through its hub: methods, messages, twins."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from labkit.cloud.hub import commands, methods
from labkit.cloud.hub.base import HubBase
from labkit.cloud.hub.methods import MethodResult
from labkit.cloud.hub.tables import QueuedMessage, Twin
from labkit.errors import NotFound, ServiceRefusal


class Reaching(HubBase):
    """The half of a hub that reaches devices."""

    # ---- direct methods

    def begin_method(
        self,
        device_id: str,
        name: str,
        payload: Any = None,
        response_timeout: float = methods.USUAL_WAIT,
        connect_timeout: float = 0.0,
    ) -> Future[MethodResult]:
        """Calls a direct method and does not wait. The future has the answer, or a ServiceRefusal:
        404103 where the device does not come within ``connect_timeout`` seconds, 504101 where it
        does not answer within ``response_timeout``, 404001 and 400004 for a call that nobody could
        answer."""
        if self.devices.find(device_id) is None:
            return _refused(self._refusals.of(self._unknown(device_id), "hub", device_id))
        if why := methods.fault(name, payload, response_timeout, connect_timeout):
            cure = "see Azure's documents on direct methods"
            return _refused(self.refuse_request(device_id, why, cure, rule=methods.CALL))
        self._record("method", f"{name} is called on {device_id} in {self.name}")
        return self._running.methods.begin(
            self.name, device_id, name, payload, response_timeout, connect_timeout,
            lambda error, check: self._refusals.refuse("hub", device_id, error, (check,)),
        )  # fmt: skip

    def invoke(
        self,
        device_id: str,
        name: str,
        payload: Any = None,
        *,
        response_timeout: float = methods.USUAL_WAIT,
        connect_timeout: float = 0.0,
    ) -> MethodResult:
        """Calls a direct method and waits for the answer. Raises ServiceRefusal as
        :meth:`begin_method` says."""
        begun = self.begin_method(device_id, name, payload, response_timeout, connect_timeout)
        return begun.result()

    def answer_method(self, device_id: str, request_id: str, status: int, payload: Any) -> None:
        """The device's answer to a call. One that nobody waits for any more is passed over."""
        self.connections.heard(self.name, device_id, self._clock.now())
        result = MethodResult(status, payload)
        taken = self._running.methods.answer(self.name, device_id, request_id, result)
        said = "answered a method" if taken else "answered a method too late, or one never called"
        self._record("method answered", f"{device_id} {said}: {status}")

    # ---- cloud-to-device messages

    def send(
        self,
        device_id: str,
        body: Any,
        *,
        message_id: str = "",
        expires_in: float = commands.USUAL_LIFE,
        **properties: str,
    ) -> QueuedMessage:
        """Sends a message to a device: bytes, text, or what JSON can carry. It is kept until the
        device has completed it, or for ``expires_in`` seconds by the lab's clock.

        Raises ServiceRefusal: 404001 for a device that the hub does not know, 403004 where 50
        messages wait for it, 400004 for a message of more than 64 KB.
        """
        try:
            data, system = commands.as_body(body)
        except (TypeError, ValueError, RecursionError) as error:
            cure = "send bytes, text, or what JSON can carry"
            raise self.refuse_request(device_id, str(error), cure, rule=commands.FORM) from error
        system["mid"] = message_id or str(uuid.uuid4())
        message = commands.Message(data, properties, system, expires_in)
        with self._refusals.told("hub", device_id):
            sent = self._shared.commands.send(self.name, device_id, message)
        self._record("message sent", f"{self.name} keeps {len(data)} bytes for {device_id}")
        return sent

    def queued(self, device_id: str) -> list[QueuedMessage]:
        """The messages to a device that it has not completed and that have not expired."""
        return self._shared.commands.queued(self.name, device_id)

    def purge(self, device_id: str) -> int:
        """Takes back all messages to a device; returns how many."""
        return self._shared.commands.purge(self.name, device_id)

    def complete(self, device_id: str, number: int) -> None:
        """The device has a message that was brought to it."""
        self._shared.commands.complete(self.name, device_id, number)

    def fetch(self, device_id: str) -> commands.Fetched | None:
        """The oldest message to a device that comes and asks, locked for it for a minute by the
        lab's clock; None where there is none."""
        self.connections.heard(self.name, device_id, self._clock.now())
        return self._shared.commands.fetch(self.name, device_id)

    def settle(self, device_id: str, lock: str, how: commands.Settlement) -> None:
        """What a device says of a message that it has fetched. Raises ServiceRefusal (412002)
        where its lock is lost."""
        with self._refusals.told("hub", device_id):
            self._shared.commands.settle(self.name, device_id, lock, how)

    # ---- twins

    def twin(self, device_id: str) -> Twin:
        """Raises NotFound."""
        row = self._twins.find(device_id)
        if row is None:
            raise NotFound(
                f"{self.name} has no twin of {device_id!r}",
                cure="a twin comes and goes with the device's identity: look at .devices",
            )
        return row

    def report(self, device_id: str, patch: Mapping[str, Any], version: int | None = None) -> int:
        """Merges a patch into the reported properties and returns their new version.

        A null takes a property away (JSON merge patch, RFC 7396). Raises ServiceRefusal for
        more than Azure's twins hold, and where ``version`` is given and not the present one.
        """
        self.connections.heard(self.name, device_id, self._clock.now())
        with self._refusals.told("hub", device_id):
            return self._twins.report(device_id, patch, version)

    def update_twin(
        self,
        device_id: str,
        *,
        desired: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        etag: str = "",
    ) -> Twin:
        """Merges patches into the desired properties and the tags; a null takes a property away.
        A connected device that listens is told of the desired ones.

        Raises ServiceRefusal: 404001 for a device that the hub does not know, 412001 where
        ``etag`` is given and not the twin's, 400004 for what a twin cannot hold.
        """
        with self._refusals.told("hub", device_id):
            return self._change_twin(device_id, desired, tags, etag, replace=False)

    def replace_twin(
        self,
        device_id: str,
        *,
        desired: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        etag: str = "",
    ) -> Twin:
        """Puts these in the place of all desired properties, and of all tags; what is not named
        stays. Raises as :meth:`update_twin` does."""
        with self._refusals.told("hub", device_id):
            return self._change_twin(device_id, desired, tags, etag, replace=True)

    def _change_twin(
        self,
        device_id: str,
        desired: Mapping[str, Any] | None,
        tags: Mapping[str, Any] | None,
        etag: str,
        *,
        replace: bool,
    ) -> Twin:
        row = self._twins.update(device_id, desired, tags, etag, replace=replace)
        parts = {"desired properties": desired, "tags": tags}
        named = " and ".join(name for name, value in parts.items() if value is not None)
        done = "replaced" if replace else "changed"
        self._record("twin", f"{named or 'nothing'} {done} in the twin of {device_id}")
        return row


def _refused(refusal: ServiceRefusal) -> Future[MethodResult]:
    found: Future[MethodResult] = Future()
    found.set_exception(refusal)
    return found
