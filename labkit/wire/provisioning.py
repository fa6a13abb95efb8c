"""What a device's request to DPS says, whichever way it came."""

from __future__ import annotations

from labkit.cloud import strict_json
from labkit.cloud.dps.registrations import Operation
from labkit.cloud.dps.service import Caller, ProvisioningService

REQUESTS = {"csr": "base64 of DER, in one line", "clientCertificateCsr": "PEM"}
"""The fields that hold a certificate signing request, and in which form each does."""
_MAY_WAIT = (*(f'"{name}"'.encode() for name in REQUESTS), b"\\u")


def register(dps: ProvisioningService, caller: Caller, body: bytes, *, force: bool) -> Operation:
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
    return dps.register(
        caller,
        named=None if named is None else str(named),
        payload=said.get("payload"),
        force=force,
        csr=csr,
        client_csr=client_csr,
    )


def takes_its_time(dps: ProvisioningService, body: bytes) -> bool:
    """Whether a registration may have to wait for somebody: a webhook, or a CA's signature. Where
    it need not, it is sooner done than handed to another thread. A name may be written with
    escapes (RFC 8259, section 7): what has any counts as one that waits."""
    return dps.may_wait or any(found in body for found in _MAY_WAIT)


def is_yes(text: str) -> bool:
    """Whether a flag in a query is set."""
    return text.lower() == "true"
