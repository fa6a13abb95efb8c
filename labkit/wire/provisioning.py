"""What a device's request to DPS says, whichever way it came."""

from __future__ import annotations

from labkit.cloud import strict_json
from labkit.cloud.dps.registrations import Operation
from labkit.cloud.dps.service import Caller, ProvisioningService


def register(dps: ProvisioningService, caller: Caller, body: bytes, *, force: bool) -> Operation:
    """Registers with what the body says: the registration ID and a payload, or nothing.

    Raises ServiceRefusal.
    """
    said = strict_json.read_object(body.strip() or b"{}")
    if said is None:
        raise dps.refuse_request(
            caller, "the body is not a JSON object", 'send {"registrationId": "…"}'
        )
    named = said.get("registrationId")
    return dps.register(
        caller,
        named=None if named is None else str(named),
        payload=said.get("payload"),
        force=force,
    )


def is_yes(text: str) -> bool:
    """Whether a flag in a query is set."""
    return text.lower() == "true"
