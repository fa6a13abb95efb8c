"""Who a device says it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit.cloud.presented import Presented


@dataclass(frozen=True, slots=True)
class Caller:
    """A device as it introduced itself: the IDs that it claims, what it showed in TLS, the
    SAS token of one that has a symmetric key, and the version of the API that it speaks."""

    id_scope: str
    registration_id: str
    presented: Presented
    token: str = field(default="", repr=False)
    api_version: str = ""
