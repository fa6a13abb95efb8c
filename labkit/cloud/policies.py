"""Shared access policies of a service: keys for back ends, and what each may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from labkit.cloud import sas
from labkit.cloud.store import Base, new_sas_key
from labkit.database import Database
from labkit.errors import Conflict, LabError
from labkit.trace import Check, failed, passed

POLICY = "the policy that the token names exists"
RIGHT = "that policy may do this"

SERVICE_CONFIG = "ServiceConfig"
ENROLLMENT_READ, ENROLLMENT_WRITE = "EnrollmentRead", "EnrollmentWrite"
REGISTRATION_READ, REGISTRATION_WRITE = "RegistrationStatusRead", "RegistrationStatusWrite"
DPS_RIGHTS = (
    SERVICE_CONFIG,
    ENROLLMENT_READ,
    ENROLLMENT_WRITE,
    REGISTRATION_READ,
    REGISTRATION_WRITE,
)
REGISTRY_READ, REGISTRY_WRITE = "RegistryRead", "RegistryWrite"
SERVICE_CONNECT, DEVICE_CONNECT = "ServiceConnect", "DeviceConnect"
HUB_RIGHTS = (REGISTRY_READ, REGISTRY_WRITE, SERVICE_CONNECT, DEVICE_CONNECT)

_SOURCE = "Azure documentation, DPS: control access with shared access signatures"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of service has: the policy that may do all, all that there is to do, and the
    other policies that are there from the beginning, with what each of them may."""

    owner: str
    rights: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def policies(self) -> Mapping[str, tuple[str, ...]]:
        """Those that are there from the beginning, the owner first."""
        return {self.owner: self.rights, **self.others}


DPS = Kind("provisioningserviceowner", DPS_RIGHTS)
HUB = Kind(
    "iothubowner",
    HUB_RIGHTS,
    {
        "service": (SERVICE_CONNECT,),
        "device": (DEVICE_CONNECT,),
        "registryRead": (REGISTRY_READ,),
        "registryReadWrite": (REGISTRY_READ, REGISTRY_WRITE),
    },
)
"""As every new hub in Azure has them."""


class Policy(Base):
    """One policy. Both keys are base64, and either signs."""

    __tablename__ = "sas_policy"
    service: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    rights: Mapped[list[Any]]
    primary_key: Mapped[str] = mapped_column(repr=False)
    secondary_key: Mapped[str] = mapped_column(repr=False)


class Policies:
    """The policies of one service (``dps``, or a hub's name). Some are there from the beginning,
    with keys that were made at random for this workspace."""

    def __init__(self, service: str, kind: Kind, database: Database) -> None:
        self._service, self._kind, self._database = service, kind, database

    @property
    def owner(self) -> Policy:
        """The policy that may do everything."""
        return self.create(self._kind.owner, *self._kind.rights)

    def create(self, name: str, *rights: str) -> Policy:
        """A policy with these rights and fresh keys. The same again is harmless.

        Raises Conflict where the name is taken by one with other rights, LabError for a right
        that the service does not know.
        """
        unknown = ", ".join(right for right in rights if right not in self._kind.rights)
        if unknown:
            known = ", ".join(self._kind.rights)
            raise LabError(f"There is no right {unknown}", expected=f"some of: {known}")
        with self._database.write() as session:
            row = session.get(Policy, (self._service, name))
            if row is None:
                keys = new_sas_key(), new_sas_key()
                row = Policy(self._service, name, sorted(rights), *keys)
                session.add(row)
        if row.rights != sorted(rights):
            raise Conflict(
                f"A policy {name!r} exists already",
                found=f"it has {', '.join(row.rights)}",
                cure="choose another name",
            )
        return row

    def find(self, name: str) -> Policy | None:
        """The policy of this name, if there is one."""
        with self._database.read() as session:
            found = session.get(Policy, (self._service, name))
        first = self._kind.policies.get(name)
        return self.create(name, *first) if found is None and first is not None else found

    def __iter__(self) -> Iterator[Policy]:
        others = select(Policy).where(Policy.service == self._service).order_by(Policy.name)
        yield from (self.create(name, *rights) for name, rights in self._kind.policies.items())
        with self._database.read() as session:
            found = list(session.scalars(others))
        yield from (policy for policy in found if policy.name not in self._kind.policies)

    def authorize(
        self, token: str, resources: Sequence[str], right: str, now: datetime
    ) -> tuple[Check, ...]:
        """Whether whoever sent ``token`` may do what needs ``right``, to a thing that is known
        under each of ``resources``; ``now`` is real time. The checks up to the first failure."""
        said = sas.read(token)
        if said is None:
            return (sas.check(token, resources[0], (), now),)
        policy = self.find(said.policy)
        if policy is None:
            return (self._unknown(said.policy),)
        resource = next((name for name in resources if said.covers(name)), resources[0])
        signed = sas.check(token, resource, (policy.primary_key, policy.secondary_key), now)
        return (signed,) if signed.failed else (signed, may(policy, right))

    def _unknown(self, name: str) -> Check:
        why = f"it names {name!r} (skn)" if name else "it names none (skn)"
        known = ", ".join(policy.name for policy in self)
        return failed(POLICY, name, why, f"sign as one of: {known}", source=_SOURCE)


def may(policy: Policy, right: str) -> Check:
    """Whether whoever signs as this policy may do what needs the right."""
    if right in policy.rights:
        return passed(RIGHT, policy.name, f"it has {right}", source=_SOURCE)
    why = f"it has {', '.join(policy.rights) or 'no right at all'}; this needs {right}"
    return failed(RIGHT, policy.name, why, f"use a policy that has {right}", source=_SOURCE)
