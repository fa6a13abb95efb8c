"""Who may provision, and who may connect? The rules of a DPS and of the hub behind it, on one page.

Each of the two has a book of its own, and each asks only that:

    provision ──> DPS   an entry names the certificate, or a CA above it ──┐ writes
    connect   ──> hub   the device's identity holds the certificate   <────┘

So nothing that is changed at DPS keeps anybody out of the hub. A certificate that was taken out of
its entry still opens the hub: that is *the hole*. Two things close it: the hub's own identity is
changed by hand, or the device provisions again, which replaces what the identity holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile


@dataclass(frozen=True, repr=False)
class Certificate:
    """``name`` is its CN; without an ``issuer`` it has signed itself. It is valid from the day
    ``begin`` until the day before ``end``."""

    name: str
    issuer: Certificate | None
    begin: int
    end: int

    def __repr__(self) -> str:
        return f"<{self.name} by {self.issuer.name if self.issuer else 'itself'}>"

    def is_valid(self, day: int) -> bool:
        return self.begin <= day < self.end

    @property
    def issuers(self) -> Iterator[Certificate]:
        """The CAs above it, the nearest first."""
        if self.issuer is not None:
            yield self.issuer
            yield from self.issuer.issuers


@dataclass
class Entry:
    """An entry of DPS: the certificates that it names, one or two, and a switch. An individual
    enrollment names a device's own, an enrollment group those of CAs."""

    certificates: tuple[Certificate, ...]
    enabled: bool = True


@dataclass
class Identity:
    """A device as its hub knows it: by the certificates that DPS said last, and a switch."""

    holds: tuple[Certificate, ...] = ()
    enabled: bool = True


@dataclass
class WhoMay:
    """One DPS with one hub, on a certain day. Devices go by their names."""

    day: int = 0
    verified: set[Certificate] = field(default_factory=set)
    individuals: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, Entry] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)

    # ---- DPS

    def may_provision(self, certificate: Certificate) -> bool:
        """One entry decides. It has to be enabled, and the chain has to be sound."""
        entry = self.deciding(certificate)
        return entry is not None and entry.enabled and self.is_sound(certificate)

    def deciding(self, certificate: Certificate) -> Entry | None:
        """The entry of the device's own name, whether it names the certificate (or nobody does).
        Where there is none, the group that names the nearest CA: no other is asked, also where
        that one is disabled and another would take it."""
        own = self.individuals.get(certificate.name)
        if own is not None:
            return own if certificate in own.certificates else None
        named = {ca: group for group in self.groups.values() for ca in group.certificates}
        return next((named[ca] for ca in self.vouching(certificate) if ca in named), None)

    def is_sound(self, certificate: Certificate) -> bool:
        """It is valid, and somebody vouches for it. Who signed itself needs only its entry."""
        alone = certificate.issuer is None
        return certificate.is_valid(self.day) and (alone or bool(self.vouching(certificate)))

    def vouching(self, certificate: Certificate) -> list[Certificate]:
        """The CAs above it as far as they count: each is valid, and the last one is verified."""
        valid = list(takewhile(lambda ca: ca.is_valid(self.day), certificate.issuers))
        while valid and valid[-1] not in self.verified:
            valid.pop()
        return valid

    def provision(self, certificate: Certificate) -> bool:
        """Whether DPS lets it in. Then the hub's identity holds what the device may come with
        from now on, and nothing else: all that its own entry names, or just this certificate."""
        if not self.may_provision(certificate):
            return False
        own = self.individuals.get(certificate.name)
        identity = self.identities.setdefault(certificate.name, Identity())
        identity.holds = own.certificates if own is not None else (certificate,)
        return True

    # ---- the hub

    def may_connect(self, certificate: Certificate) -> bool:
        """Who signed it, and what DPS thinks of it by now, is not asked."""
        identity = self.identities.get(certificate.name, Identity(enabled=False))
        held = certificate in identity.holds
        return identity.enabled and held and certificate.is_valid(self.day)

    def connect(self, certificate: Certificate) -> bool:
        """Whether the hub lets it in."""
        if self.may_connect(certificate):
            self.connected.add(certificate.name)
            return True
        return False

    def disable_identity(self, name: str) -> None:
        """Cuts off whoever is connected by that name. Provisioning does not enable it again."""
        self.identities[name].enabled = False
        self.connected.discard(name)

    def delete_identity(self, name: str) -> None:
        """The same; but the device may provision, and then it has another identity."""
        del self.identities[name]
        self.connected.discard(name)
