"""To which hub? The four allocation policies.

hashed       evenly by the hubs' weights, and stable: a device that has one of the hubs keeps it
geoLatency   the hub that is nearest, by the latencies that the lab declares; equals are hashed
static       the one that the entry names
custom       the one that a webhook names
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit import ids
from labkit.cloud import codes, strict_json
from labkit.cloud.dps import webhook_request
from labkit.cloud.dps.entries import CUSTOM, GEO_LATENCY, STATIC, Entry, InitialTwin
from labkit.cloud.dps.registrations import Registration
from labkit.cloud.hub.links import LinkedHub, LinkedHubs
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Denial
from labkit.errors import AzureError
from labkit.trace import failed

HUB = "a hub is linked"
CANDIDATE = "a hub that the enrollment names is linked"
WEBHOOK = "the webhook of the custom allocation chooses a hub"

_LINK = "link the hub to DPS: lab.dps.linked_hubs.link(...); in the portal, Linked IoT hubs"
_LINKED = "Azure documentation, DPS: how to link and manage IoT hubs"
_HOW_TO = "Azure documentation, DPS: how to use allocation policies"
_CUSTOM = "Azure documentation, DPS: understand custom allocation policies"
_TOO_BUSY, _UNAUTHORIZED, _OK = 429, 401, 200


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What a webhook said; ``status`` 0 where it could not be asked, ``body`` then says why."""

    status: int
    body: bytes = b""


Webhook = Callable[[str, bytes], WebhookAnswer]
"""Posts JSON to a URL. It may take its time: who calls must be able to wait."""


@dataclass(frozen=True, slots=True)
class Request:
    """A device that wants a hub: who it is, what it had, which there are, and what it says."""

    registration_id: str
    entry: Entry
    known: Registration | None
    linked: Sequence[LinkedHub]
    presented: Presented
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The hub, by its host name; and what a webhook may add: a twin, a payload for the device."""

    hub: str
    twin: InitialTwin | None = None
    payload: Any = None


class TryAgain(Exception):
    """Somebody whom DPS asks has too much to do, and is asked again later. Where that was so too
    often, ``error`` is the answer; ``rule`` was broken, and ``cure`` may help."""

    def __init__(self, error: AzureError, rule: str, cure: str) -> None:
        super().__init__(rule)
        self.error, self.rule, self.cure = error, rule, cure


def choose(request: Request, policy: str, hubs: LinkedHubs, webhook: Webhook) -> Choice:
    """The hub for a device. Raises Denial (400207 to 400209) where there is none, TryAgain."""
    candidates = _candidates(request, request.linked)
    if policy == CUSTOM:
        return _ask(request, candidates, webhook)
    if policy == GEO_LATENCY:
        return Choice(_nearest(request, candidates, hubs.latencies(request.registration_id)))
    if policy == STATIC:
        return Choice(_named(request, candidates))
    return Choice(_spread(request, candidates))


def _candidates(request: Request, linked: Sequence[LinkedHub]) -> list[LinkedHub]:
    """The linked hubs that the entry allows; all where it names none."""
    if not linked:
        check = failed(HUB, request.entry.id, "no hub is linked", _LINK, source=_LINKED)
        raise Denial(codes.NO_HUB, check)
    wanted = {name.lower() for name in request.entry.iot_hubs}
    found = [hub for hub in linked if not wanted or hub.host_name in wanted]
    if not found:
        raise _none_linked(request, sorted(wanted), linked)
    return found


def _none_linked(request: Request, wanted: Sequence[str], linked: Sequence[LinkedHub]) -> Denial:
    why = (
        f"enrollment {request.entry.id!r} names {', '.join(wanted)}; linked: "
        f"{', '.join(hub.host_name for hub in linked)}"
    )
    cures = (_LINK, "name a linked hub in the enrollment")
    check = failed(CANDIDATE, request.entry.id, why, *cures, source=_HOW_TO)
    return Denial(codes.NO_HUB, check)


def _spread(request: Request, candidates: Sequence[LinkedHub]) -> str:
    """Weighted rendezvous hashing: each device has its own order of the hubs, so that a hub that
    is added or taken away moves no device but those that it gains or had."""
    usable = [hub for hub in candidates if hub.weight] or list(candidates)
    had = request.known.assigned_hub if request.known is not None else ""
    if any(hub.host_name == had for hub in usable):
        return had
    key = ids.key(request.registration_id)
    return max(usable, key=lambda hub: _score(key, hub)).host_name


def _score(key: str, hub: LinkedHub) -> float:
    digest = hashlib.sha256(f"{key}\n{hub.name}".encode()).digest()
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
    return -max(hub.weight, 1) / math.log(share)


def _nearest(
    request: Request, candidates: Sequence[LinkedHub], latencies: Mapping[str, float]
) -> str:
    """The hub of the least latency; equals share the devices evenly, by their weights."""
    least = min(latencies[hub.name] for hub in candidates)
    return _spread(request, [hub for hub in candidates if latencies[hub.name] == least])


def _named(request: Request, candidates: Sequence[LinkedHub]) -> str:
    wanted = (request.entry.iot_hub_host_name or candidates[0].host_name).lower()
    if all(hub.host_name != wanted for hub in candidates):
        raise _none_linked(request, [wanted], candidates)
    return wanted


def _ask(request: Request, candidates: Sequence[LinkedHub], webhook: Webhook) -> Choice:
    custom = request.entry.custom_allocation
    if custom is None:
        raise _failed(request, codes.ALLOCATION_FAILED, "the enrollment names no webhook")
    body = webhook_request.body(
        request.entry,
        [hub.host_name for hub in candidates],
        webhook_request.runtime_context(
            request.registration_id, request.known, request.presented, request.payload
        ),
    )
    answer = webhook(custom.webhook_url, json.dumps(body, separators=(",", ":")).encode())
    return _answered(request, candidates, answer)


def _answered(request: Request, candidates: Sequence[LinkedHub], answer: WebhookAnswer) -> Choice:
    if answer.status >= _TOO_BUSY:
        cure = "look at the webhook's own log"
        raise TryAgain(codes.ALLOCATION_FAILED, WEBHOOK, cure)
    if answer.status == _UNAUTHORIZED:
        cure = "put the function's key into the webhook's URL: …?code=…"
        raise _failed(request, codes.HUB_REFUSED, "it answered 401", cure)
    if answer.status != _OK:
        why = f"it answered {answer.status}" if answer.status else answer.body.decode()
        raise _failed(request, codes.ALLOCATION_FAILED, why, "look at the webhook's own log")
    said = strict_json.read_object(answer.body)
    if said is None:
        why, cure = "its answer is no JSON object", 'answer {"iotHubHostName": "…"}'
        raise _failed(request, codes.ALLOCATION_FAILED, why, cure)
    return _choice(request, candidates, said)


def _choice(request: Request, candidates: Sequence[LinkedHub], said: Mapping[str, Any]) -> Choice:
    hub = said.get("iotHubHostName")
    if not isinstance(hub, str) or not hub:
        why, cure = "its answer names no hub", 'answer {"iotHubHostName": "…"}'
        raise _failed(request, codes.NO_HUB, why, cure)
    if all(candidate.host_name != hub.lower() for candidate in candidates):
        names = ", ".join(candidate.host_name for candidate in candidates)
        why, cure = f"it chose {hub!r}; linked: {names}", "choose one of linkedHubs"
        raise _failed(request, codes.ALLOCATION_FAILED, why, cure)
    twin = _twin(said.get("initialTwin"))
    section, why = twin.fault if twin is not None else ("", "")
    if why:
        cure = "answer a twin that a hub would keep, or none"
        raise _failed(request, codes.ALLOCATION_FAILED, f"its initialTwin.{section}: {why}", cure)
    return Choice(hub.lower(), twin, said.get("payload"))


def _twin(said: Any) -> InitialTwin | None:
    if not isinstance(said, dict):
        return None
    tags, properties = said.get("tags"), said.get("properties")
    desired = properties.get("desired") if isinstance(properties, dict) else None
    return InitialTwin(
        tags if isinstance(tags, dict) else {}, desired if isinstance(desired, dict) else {}
    )


def _failed(request: Request, error: Any, why: str, *cures: str) -> Denial:
    return Denial(error, failed(WEBHOOK, request.entry.id, why, *cures, source=_CUSTOM))
