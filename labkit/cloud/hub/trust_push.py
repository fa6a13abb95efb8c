"""What a back end does before the servers' root changes: it pushes the new trust bundle to devices,
and learns who is not ready.

IoT Hub has nothing for that. The direct method is one that firmware and back end have agreed on:

    installTrustBundle {"roots": PEM, "untried": false} ──> 200 {"trusts": […]}, else {"error": …}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.cloud.hub import job_tables as tables
from labkit.cloud.hub.job_tables import DeviceJobRow
from labkit.cloud.hub.service import Hub

METHOD = "installTrustBundle"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of a push: the devices that have ``installed`` the bundle, and why which others
    have not: those that ``refused`` it, and those that were ``not_reached``. ``job`` is the ID of
    the hub's job that did it."""

    job: str
    installed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    not_reached: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nobody is left whom the change would shut out."""
        return not self.refused and not self.not_reached

    def __repr__(self) -> str:
        return f"<Trust bundle: {self}>"

    def __str__(self) -> str:
        others = (("refused it", self.refused), ("not reached", self.not_reached))
        told = [f"installed by {len(self.installed)}"]
        told += [f"{what}: {_listed(those)}" for what, those in others if those]
        return "; ".join(told)


def push(
    hub: Hub, roots: str, device_id: str = "", *, untried: bool = False, connect_timeout: int = 0
) -> Pushed:
    """Calls the method on one device, or by a job on all of a hub, and waits until that is over.

    ``roots`` is the bundle, in PEM. ``connect_timeout`` is how many seconds a device that is away
    is waited for. Raises ServiceRefusal (404001) for a device that the hub does not know.
    """
    if device_id:
        hub.devices.get(device_id)
    quoted = device_id.replace("'", "''")
    job = hub.jobs.invoke_method(
        f"deviceId = '{quoted}'" if device_id else "*",
        METHOD,
        {"roots": roots, **({"untried": True} if untried else {})},
        connect_timeout=connect_timeout,
    )
    return _sorted(job.id, hub.jobs.outcomes(job.id))


def _sorted(job: str, outcomes: Iterable[DeviceJobRow]) -> Pushed:
    installed, refused, not_reached = [], {}, {}
    for row in outcomes:
        if row.status != tables.COMPLETED:
            not_reached[row.device_id] = row.error.get("description") or row.status
            continue
        answer = row.outcome["deviceMethodResponse"]
        if answer["status"] == 200:
            installed.append(row.device_id)
        else:
            refused[row.device_id] = _why(answer["status"], answer["payload"])
    return Pushed(job, tuple(installed), refused, not_reached)


def _why(status: int, payload: Any) -> str:
    """In the firmware's words, which may be anybody's."""
    said = payload if isinstance(payload, dict) else {}
    parts = [str(said[name]) for name in ("error", "found") if said.get(name)]
    return f"{status} {': '.join(parts)}".strip()[:500]


def _listed(those: Mapping[str, str]) -> str:
    first = [f"{name} ({why})" for name, why in list(those.items())[:3]]
    more = len(those) - len(first)
    return ", ".join([*first, f"{more} more"] if more else first)
