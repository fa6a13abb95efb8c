"""What firmware's decisions are about, as plain values: the steps that it can take, how things are,
and what it remembers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Step(StrEnum):
    """What firmware can do."""

    RENEW = "renew"
    PROVISION = "provision"
    CONNECT = "connect"
    SWITCH = "use the other certificate"
    RETIRE = "retire the old key"
    ORDER = "have an operational certificate issued"
    ASK_HUB = "have its operational certificate renewed by the hub"
    FALL_BACK = "use its operational certificate of before"
    REPORT = "report its operational certificate"
    WAIT = "wait"
    REST = "rest"


ORDERS = (Step.ORDER, Step.ASK_HUB)
"""Those that bring another operational certificate."""
ATTEMPTS = (Step.RENEW, Step.PROVISION, Step.CONNECT, Step.REPORT, *ORDERS)
"""Those that ask somebody else."""


class Outcome(StrEnum):
    """How a step went. ``REFUSED``: the other side said no; ``FAILED``: it was not reached."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that the device has: its thumbprint, and from when to when it is valid."""

    id: str
    begin: datetime
    end: datetime

    def is_valid(self, moment: datetime) -> bool:
        """Whether it is valid then."""
        return self.begin <= moment <= self.end


@dataclass(frozen=True, slots=True)
class Situation:
    """How things are: the certificate in ``use`` and the one in ``reserve``; whether DPS has
    ``assigned`` a hub, and whether that was with the certificate in use (``registered``); whether
    a hub has ``taken`` that one, whether there is a connection (``connected``), and whether there
    is an issuer to ask (``can_ask``).

    ``operational`` is what a service has issued to it, ``operational_reserve`` the one before while
    the hub has not ``operational_taken`` the newer; ``reported`` is whether the twin tells of it.
    """

    name: str
    now: datetime
    use: Held
    reserve: Held | None = None
    assigned: bool = False
    registered: bool = False
    taken: bool = False
    connected: bool = False
    can_ask: bool = False
    operational: Held | None = None
    operational_reserve: Held | None = None
    operational_taken: bool = False
    reported: bool = False

    @property
    def shown(self) -> Held:
        """What it shows to its hub."""
        return self.operational or self.use

    @property
    def untested(self) -> bool:
        """Whether it has an operational certificate with which no hub has let it in yet."""
        return self.operational is not None and not self.operational_taken

    @property
    def may_connect(self) -> bool:
        """Whether what it shows to its hub is valid."""
        return self.shown.is_valid(self.now)

    @property
    def is_valid(self) -> bool:
        """Whether the certificate in use is valid."""
        return self.use.is_valid(self.now)

    @property
    def can_switch(self) -> bool:
        """Whether the certificate in reserve is valid."""
        return self.reserve is not None and self.reserve.is_valid(self.now)

    @property
    def on_trial(self) -> bool:
        """Whether the certificate in use is a new one that no hub has taken yet."""
        return self.reserve is not None and not self.taken


_MOMENTS = ("wait_until", "renew_after", "connected_at", "try_again", "order_after")


@dataclass(frozen=True, slots=True)
class Memory:
    """What firmware remembers, in flash: a restart makes it neither forget nor hammer.

    ``failures`` in a row, and ``wait_until``; the same two for renewals; when it connected last;
    why it was told to be provisioned (``provision``) or to renew (``renew``), empty where it was
    not; the certificate that was ``refused`` on trial, and when it is tried again (``try_again``)
    while it is in reserve. ``attempts`` and ``refusals`` count for ever.

    Of operational certificates: how many in a row it did not get, and when it asks again
    (``order_after``); the one that the hub has refused; and for ever, how many ``renewals`` it has
    had and how many attempts at one have ``missed``.
    """

    failures: int = 0
    wait_until: datetime | None = None
    renewals_failed: int = 0
    renew_after: datetime | None = None
    connected_at: datetime | None = None
    provision: str = ""
    renew: str = ""
    refused: str = ""
    try_again: datetime | None = None
    attempts: int = 0
    refusals: int = 0
    orders_failed: int = 0
    order_after: datetime | None = None
    order_refused: str = ""
    renewals: int = 0
    missed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As flash keeps it."""
        found = asdict(self)
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in found.items()}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Memory:
        """The inverse of :meth:`to_json`."""
        known = {field.name: kept[field.name] for field in fields(cls) if field.name in kept}
        for name in _MOMENTS:
            if known.get(name):
                known[name] = datetime.fromisoformat(known[name])
        return cls(**known)

    def told_to_provision(self, why: str) -> Memory:
        """Somebody wants it to: it does not wait any longer, and the connection that ends by it
        does not count as one that failed."""
        return replace(self, provision=why, wait_until=None, connected_at=None)

    def told_to_renew(self, why: str) -> Memory:
        """Somebody wants it to: it does not wait any longer."""
        return replace(self, renew=why, renew_after=None)

    def report(self, operational: Held) -> str:
        """What a twin that tells of this certificate tells, in one word: it differs whenever the
        twin has to be told again."""
        return f"{operational.id} {self.renewals} {self.missed}"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step and the reason; ``until`` is when to look again, at the latest."""

    step: Step
    why: str
    until: datetime | None = None

    def __str__(self) -> str:
        end = f" until {self.until:%Y-%m-%d %H:%M:%S}" if self.until else ""
        return f"{self.step}{end}: {self.why}"
