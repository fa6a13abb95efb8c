"""What a device's request to DPS says, whichever way it came."""

from __future__ import annotations

from enum import Enum

from labkit.cloud import strict_json
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import Operation
from labkit.cloud.dps.service import ProvisioningService
from labkit.steps import Steps

CSR, CLIENT_CSR = "csr", "clientCertificateCsr"
REQUESTS = {CSR: "base64 of DER, in one line", CLIENT_CSR: "PEM"}
"""The fields that hold a certificate signing request, and in which form each does."""
_OF_REGISTRY, _OF_AUTHORITY = f'"{CSR}"'.encode(), f'"{CLIENT_CSR}"'.encode()
_ESCAPE = b"\\u"


class Way(Enum):
    """How a registration is done: at once, since nothing holds it up; with its tasks done
    elsewhere; or by a thread, which may wait for somebody."""

    AT_ONCE = "at once"
    IN_STEPS = "in steps"
    BY_THREAD = "by a thread"


def register(
    dps: ProvisioningService, caller: Caller, body: bytes, *, force: bool
) -> Steps[Operation]:
    """Registers with what the body says: the registration ID, a payload and a certificate signing
    request, or nothing.

    Raises ServiceRefusal.
    """
    said = strict_json.read_object(body.strip() or b"{}")
    if said is None:
        raise dps.refuse_request(
            caller, "the body is not a JSON object", 'send {"registrationId": "…"}'
        )
    named, csr, client_csr = (said.get(name) for name in ("registrationId", *REQUESTS))
    for name, found in zip(REQUESTS, (csr, client_csr), strict=True):
        if not isinstance(found, str | None):
            raise dps.refuse_request(caller, f"{name} is no text", f"send it as {REQUESTS[name]}")
    return dps.registering(
        caller,
        named=None if named is None else str(named),
        payload=said.get("payload"),
        force=force,
        csr=csr,
        client_csr=client_csr,
    )


def way(dps: ProvisioningService, body: bytes) -> Way:
    """How to do what a registration asks for. To hand over what is soon done would take longer.

    A webhook and another company's CA are waited for. A name may be written with escapes (RFC 8259,
    section 7): what has any may be one of the two.
    """
    if dps.may_wait or _OF_AUTHORITY in body or _ESCAPE in body:
        return Way.BY_THREAD
    return Way.IN_STEPS if _OF_REGISTRY in body else Way.AT_ONCE


def is_yes(text: str) -> bool:
    """Whether a flag in a query is set."""
    return text.lower() == "true"
