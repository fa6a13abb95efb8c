"""A frame of a performance as the browser gets it: plain values, nothing that JSON cannot hold."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cryptography import x509

from labkit.cloud.dps import attestation
from labkit.events import Event
from labkit.explanation import Explanation, Row
from labkit.graph import STATES
from labkit.pki import chain
from labkit.ui.inspection import Inspection
from labkit.ui.performance import Feedback, Frame, Performance
from labkit.ui.scenario import Decision

Json = dict[str, Any]
Certificates = tuple[x509.Certificate, ...]

_SERVICES = {"dps": "DPS", "hub": "IoT Hub", "mqtt": "the service"}


def scene_of(play: Performance, run: int) -> Json:
    """Everything beside the picture. ``run`` tells the log of one run from that of the next."""
    frame = play.frame
    return {
        "scenario": play.scenario.title,
        "frame": play.position,
        "step": frame.step,
        "steps": play.steps,
        "title": frame.title,
        "narration": frame.narration,
        "told": frame.told,
        "states": states(frame.states),
        "log": {"run": run, "upto": _last(frame.events), "since": _last(play.before.events)},
        "prediction": _prediction(play),
        "feedback": _feedback(frame.feedback),
        "explanation": _explanation(frame, play.at_present),
        "failure": "" if frame.explanation else frame.failure,
        "look": _labels(frame.look_at, frame.inspections),
        "failed": _failed(frame),
        "can_back": play.can_go_back,
        "can_next": play.can_go_on,
    }


def states(counts: Mapping[str, int]) -> list[Json]:
    """The states that occur, in the order of the legend, each with its signs and its count."""
    return [
        {"word": state.word, "slug": state.slug, "icon": state.icon, "count": counts[key]}
        for key, state in STATES.items()
        if counts.get(key)
    ]


def log_of(events: Iterable[Event], since: int) -> list[Json]:
    """The events after number ``since``, oldest first."""
    return [
        {
            "number": event.number,
            "time": f"{event.at:%H:%M:%S}",
            "source": event.source,
            "kind": event.kind,
            "text": event.text,
            "details": plain(event.details),
        }
        for event in events
        if event.number > since
    ]


def plain(value: object) -> Any:
    """The value as JSON can hold it; bytes that are no text become Base64, and say so."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return _bytes_in_words(bytes(value))
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _bytes_in_words(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"{len(value)} bytes, in Base64: {base64.b64encode(value).decode()}"


def _last(events: tuple[Event, ...]) -> int:
    return events[-1].number if events else 0


def _labels(nodes: Iterable[str], inspections: Mapping[str, Inspection]) -> list[Json]:
    return [
        {"id": node, "label": inspections[node].title, "kind": inspections[node].kind}
        for node in nodes
        if node in inspections
    ]


def _prediction(play: Performance) -> Json | None:
    asked = play.asked
    if asked is None:
        return None
    return {
        "question": asked.question,
        "options": list(asked.options),
        "chosen": play.chosen,
        "open": play.at_present,
        "decides": isinstance(asked, Decision),
    }


def _feedback(feedback: Feedback | None) -> Json | None:
    if feedback is None:
        return None
    asked = feedback.prediction
    return {
        "right": feedback.right,
        "question": asked.question,
        "chosen": feedback.chosen,
        "answer": asked.answer,
        "why": asked.why,
    }


def _explanation(frame: Frame, at_present: bool) -> Json | None:
    if frame.explanation is None:
        return None
    offered = frame.remedies if at_present else ()
    return explained(frame.explanation, frame.inspections) | {
        "remedies": [
            {"place": place, "cure": remedy.cure, "label": remedy.label}
            for place, remedy in enumerate(offered)
        ],
        "past": bool(frame.remedies) and not at_present,
    }


def explained(
    told: Explanation, inspections: Mapping[str, Inspection] = MappingProxyType({})
) -> Json:
    """A refusal: Azure's answer, the checks and the cures. ``inspections`` are of the nodes of a
    picture that stands beside it, if there is one."""
    return {
        **_headings(told),
        "answer": told.answer,
        "checks": [_row(row, inspections, told.refusal.chain) for row in told.rows],
        "cures": list(told.cures),
        "remedies": [],
        "past": False,
        "source": told.failure.source if told.failure else "",
    }


def _headings(told: Explanation) -> Json:
    """Who is said to have said no: of a handshake that failed, no service."""
    if told.in_tls:
        return {
            "title": "Why the connection ended in TLS",
            "label": "How it ended",
            "says": "No service was asked, and none has answered:",
            "looked": f"{told.shown}. What was looked at:",
        }
    service = _SERVICES.get(told.refusal.service, told.refusal.service)
    shown = f"{told.shown}. " if told.shown else ""
    return {
        "title": f"Why {service} refused {told.about}",
        "label": f"All that {service} says",
        "says": f"All that {service} says to {told.about}:",
        "looked": f"{shown}What {service} checked, in order:",
    }


def _row(row: Row, inspections: Mapping[str, Inspection], sent: Certificates) -> Json:
    first = row.checks[0]
    return {
        "name": first.name,
        "about": row.about,
        "outcome": str(row.outcome),
        "why": first.why,
        "passed": [f"{check.name}: {check.why}" for check in row.checks if check.passed],
        "node": _node_of(first.name, row.about, inspections, sent),
    }


def _failed(frame: Frame) -> str:
    """The node of the certificate that the deciding check was asked of; "" where none is shown."""
    told: Explanation | None = frame.explanation
    if told is None or told.failure is None:
        return ""
    name, about = told.failure.name, told.failure.about
    return _node_of(name, about, frame.inspections, told.refusal.chain)


def _node_of(
    check: str, about: str, inspections: Mapping[str, Inspection], sent: Certificates
) -> str:
    """A check names a certificate by its subject, or a record by its name: an individual
    enrollment has that of its device. Of a CA's several certificates it is the one that was
    sent, if one was: they have the same subject."""
    if check in (attestation.ENTRY, attestation.ENABLED):
        for node in (f"enrollment {about}", f"group {about}"):
            if node in inspections:
                return node
    found = [node for node, one in inspections.items() if about and about in _names(one)]
    shown = (node for node in found if inspections[node].certificate in sent)
    return next(shown, "") or next(iter(found), "")


def _names(found: Inspection) -> tuple[str, str]:
    subject = chain.title(found.certificate.subject) if found.certificate else ""
    return subject, found.title
