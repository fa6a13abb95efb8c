"""What a device says when it asks its hub for the next certificate, as far as that can be judged at
once: the form of it. Whether anybody signs is found out behind the first answer.

    {"id": "<the device's own ID>", "csr": "<base64 of DER>", "replace": "*" or "<request ID>"}
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit.cloud import codes, strict_json
from labkit.cloud.adr.requests import LARGEST
from labkit.cloud.refusals import Denial
from labkit.errors import AzureError
from labkit.trace import Check, failed

ANY = "*"
"""In ``replace``: whatever is under way."""
REQUEST_ID = "the request ID can be one"
JSON = "the body is JSON"
FIELDS = "the body has id and csr, perhaps replace, and nothing else"
ID = "id is the device that asks"
CSR = "csr is base64, and no longer than the hub takes"
REPLACE = "replace is * or a request ID"

_RULE = "4 to 36 letters, digits and dashes, no dash at the ends, such as a GUID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]")
_KNOWN = frozenset({"id", "csr", "replace"})
_SOURCE = "Azure documentation, IoT: communicate with an IoT hub using MQTT (issue certificate)"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose form is right. ``replace`` is empty where it replaces nothing."""

    csr: str
    replace: str = ""


def read(body: bytes, device_id: str, request_id: str) -> Asked:
    """Reads a request. Raises Denial (400004, 400006)."""
    if not _REQUEST_ID.fullmatch(request_id):
        why = f"it is {request_id!r}"
        raise _denied(REQUEST_ID, device_id, why, f"choose {_RULE}")
    said = _decoded(body, device_id)
    for check in _faults(said, device_id):
        raise Denial(codes.BAD_REQUEST, check)
    return Asked(said["csr"], said.get("replace") or "")


def _decoded(body: bytes, about: str) -> dict[str, Any]:
    cure = 'send {"id": "…", "csr": "…"}'
    if not body.strip():
        raise _denied(FIELDS, about, "the body is empty", cure)
    try:
        found = strict_json.read(body)
    except ValueError as error:
        raise _denied(JSON, about, str(error), cure, codes.CANNOT_DECODE) from None
    if not isinstance(found, dict):
        raise _denied(FIELDS, about, f"it is a JSON {type(found).__name__}, no object", cure)
    return found


def _faults(said: dict[str, Any], device_id: str) -> Iterator[Check]:
    """What is wrong with the fields; the first counts."""
    if unknown := sorted(set(said) - _KNOWN):
        why, cure = f"it has {', '.join(unknown)}, too", "leave that out"
        yield failed(FIELDS, device_id, why, cure, source=_SOURCE)
    if said.get("id") != device_id:
        why = f"{device_id!r} is connected, and the request says {said.get('id')!r}"
        cure = f'say "id": "{device_id}": a device asks for itself only, and case counts'
        yield failed(ID, device_id, why, cure, source=_SOURCE)
    yield from _of_csr(said.get("csr"), device_id)
    replace = said.get("replace")
    if not (replace in (None, "", ANY) or _is_request_id(replace)):
        cure = f"say {ANY}, or the ID of the request that is under way: {_RULE}"
        yield failed(REPLACE, device_id, f"it is {replace!r}", cure, source=_SOURCE)


def _of_csr(csr: Any, about: str) -> Iterator[Check]:
    cure = "send the request as base64 of DER, in one line, without the lines of PEM around it"
    if not isinstance(csr, str) or not csr:
        yield failed(CSR, about, "there is none", cure, source=_SOURCE)
    elif len(csr) > LARGEST:
        why = f"it has {len(csr):,} characters; {LARGEST:,} at most"
        yield failed(CSR, about, why, "ask for less in it", source=_SOURCE)
    elif not _is_base64(csr):
        yield failed(CSR, about, "it is no base64", cure, source=_SOURCE)


def _is_request_id(value: Any) -> bool:
    return isinstance(value, str) and _REQUEST_ID.fullmatch(value) is not None


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _denied(
    rule: str, about: str, why: str, cure: str, error: AzureError = codes.BAD_REQUEST
) -> Denial:
    return Denial(error, failed(rule, about, why, cure, source=_SOURCE))
