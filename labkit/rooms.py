"""The rooms of an open lab: built in the order in which they need one another, left in reverse.

Imported late, by :class:`labkit.lab.Lab` when it opens: SQLAlchemy, OpenSSL and PKCS#11 take
longer to load than everything else.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

from labkit.clock import Clock
from labkit.cloud import Cloud, handshakes
from labkit.database import closed
from labkit.device import Device, Impostor, Network
from labkit.device.flash import Flash, folder_of
from labkit.drill import Attacker, Attempts, Fleet, Grounds, History, Incident
from labkit.errors import ServerNotTrusted
from labkit.events import Events
from labkit.hsm import KeyFolder, TokenKey, TokenStore
from labkit.pki.identity import Identity
from labkit.supplychain import SupplyChain
from labkit.supplychain.carried import copy_of
from labkit.supplychain.ledger import Ledger
from labkit.supplychain.records import Records
from labkit.thirdparty import CertificateService
from labkit.thirdparty.service import known_name, other_company
from labkit.wire import webhook, whereabouts
from labkit.wire.certificate_service import ThirdPartyCa
from labkit.wire.listener import Listener
from labkit.wire.ports import Ports
from labkit.wire.server_identity import TOKEN, ServerIdentity
from labkit.work import Work

DEFAULT_HUB = "contoso-hub"
_THIRD_PARTY = "third-party-ca.db"


class Rooms:
    """Everything below ``path``, running. What was built is taken down when a later part fails."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        events: Events,
        work: Work,
        ports: Ports,
        hubs: tuple[str, ...],
    ) -> None:
        self._path, self._events, self._work = path, events, work
        self._closed, self._clock, self._now = False, clock, clock.now
        self._impostors: list[Impostor] = []
        self._attackers: dict[str, Attacker] = {}
        self._incidents: dict[str, Incident] = {}
        self._leave = ExitStack()
        try:
            self._build(clock, ports, hubs)
        except BaseException:
            self.close()
            raise

    def _build(self, clock: Clock, ports: Ports, hubs: tuple[str, ...]) -> None:
        self.tokens = TokenStore(self._path / "hsm")
        self._leave.callback(self.tokens.close)
        ledger = Ledger(self._path / "supply-chain.db")
        self._leave.callback(ledger.close)
        records = Records(self._path / "supply-chain.db")
        self._leave.callback(records.close)
        self.cloud = Cloud(self._path / "cloud.db", clock, self._events, self.tokens)
        self._leave.callback(self.cloud.close)
        self.history = History(self._events, self.cloud.hubs.connected)
        self.cloud.dps.webhook = webhook.post
        self.cloud.hubs.work = self._work
        for name in hubs:
            self.cloud.hubs.add(name)
        if not any(self.cloud.hubs):
            self.cloud.hubs.add(DEFAULT_HUB)
        self.server = ServerIdentity(self.tokens, self._path / "server", self._events)
        ports = replace(ports, hubs=whereabouts.last_hub_ports(self._path))
        self.listener = Listener(self.cloud, self.server, self._events, ports)
        self._leave.callback(self.listener.stop)
        self._leave.callback(whereabouts.forget, self._path)
        whereabouts.tell(self._path, self.listener.host, self.listener.https_port)
        whereabouts.keep_hub_ports(self._path, self.listener.hub_ports)
        self._host = self.listener.host
        self.supply_chain: SupplyChain[Device] = SupplyChain(
            self.tokens,
            ledger,
            records,
            clock,
            self._events,
            self._work,
            self._assemble,
            self._key_folder,
            frozenset({TOKEN}),
        )
        self.server.before_change = self._finish_devices
        self._leave.callback(self._close_devices)
        self._third_party: ThirdPartyCa | None = None
        self._leave.callback(self._close_third_party)
        if name := known_name(self._path / _THIRD_PARTY):
            self.third_party_ca(name)
        attempts = Attempts(self._path / "attempts.db")
        self._leave.callback(attempts.close)
        self.grounds = Grounds(
            self._path,
            clock,
            self._events,
            self.cloud,
            attempts,
            lambda: self.network,
            self.listener.settle,
        )
        self._leave.callback(self._send_attackers_away)

    @property
    def network(self) -> Network:
        """What this lab's devices are configured with. Raises WorkspaceError once it is closed:
        another lab may have the address by then, and files of the same name."""
        if self._closed:
            raise closed()
        ports = (self.listener.mqtt_port, self.listener.https_port)
        return Network(self._host, self.cloud.dps.id_scope, self.server.trust_bundle, *ports)

    def impostor(self, device: str, holder: str, key: TokenKey | None = None) -> Impostor:
        """The device as a custodian plays it who carried its key, or with another key and the
        certificates that it sends. Raises NotFound."""
        if key is None:
            copy = copy_of(device, holder, self.supply_chain)
        else:
            copy = Identity(key, tuple(self.supply_chain.device(device).chain))
        flash = Flash(self._path / "impostors" / quote(holder, safe=""), copy.name)
        self._impostors.append(Impostor(holder, copy, flash, lambda: self.network, self._events))
        return self._impostors[-1]

    def third_party_ca(self, name: str) -> ThirdPartyCa:
        """The certificate service of another company: founded when first named, and DPS has the
        way to it. Raises Conflict where there is another, LabError for what is no name."""
        if self._third_party is None:
            path = self._path / _THIRD_PARTY
            service = CertificateService(name, path, self.tokens, self._clock, self._events)
            self._third_party = ThirdPartyCa(service, self._host, self._events)
            self.cloud.dps.certificate_authorities.ask = self._third_party.ask
        if self._third_party.name != name:
            raise other_company(name, self._third_party.name)
        return self._third_party

    def third_parties(self) -> list[ThirdPartyCa]:
        """The same, where there is one."""
        return [self._third_party] if self._third_party is not None else []

    def _close_third_party(self) -> None:
        if self._third_party is not None:
            self._third_party.close()

    def attacker(self, name: str) -> Attacker:
        """The attacker of this name, made when first named. Raises LabError."""
        if name not in self._attackers:
            self._attackers[name] = Attacker(name, self.grounds)
        return self._attackers[name]

    def incident(self, attacker: str) -> Incident:
        """The incident of this attacker, with all devices of now when first named. Raises
        LabError."""
        if attacker not in self._incidents:
            names = self.supply_chain.device_names()
            devices = list(map(self.supply_chain.device, names))
            # One after the other: pictures are about who came last, and that is to be the same.
            fleet = Fleet(devices, self._events, self.history, at_a_time=1)
            self._incidents[attacker] = Incident(
                fleet, self.attacker(attacker), self._events, self.listener.settle
            )
        return self._incidents[attacker]

    def attackers(self) -> list[Attacker]:
        """Those who were named, or who have stolen or tried anything, in the order of their
        names."""
        folder = self._path / "attackers"
        thieves = {unquote(found.name) for found in folder.iterdir()} if folder.exists() else set()
        names = thieves.union(self._attackers, self.grounds.attempts.attackers())
        return [self.attacker(name) for name in sorted(names)]

    def close(self) -> None:
        """Disconnects devices, closes ports, databases and tokens. Harmless when called twice.

        Each is left whatever the others raise; what was raised last comes out at the end.
        """
        self._closed = True
        self._leave.close()

    def _send_attackers_away(self) -> None:
        with ExitStack() as leaving:
            for attacker in self._attackers.values():
                leaving.callback(attacker.leave)

    def _close_devices(self) -> None:
        with ExitStack() as leaving:
            for device in (*self.supply_chain.assembled(), *self._impostors):
                leaving.callback(device.close)

    def _assemble(self, identity: Identity) -> Device:
        flash = Flash(self._path / "devices", identity.name)
        return Device(
            identity,
            flash,
            lambda: self.network,
            self._events,
            self._left,
            token=lambda: self.supply_chain.device_token(identity.name),
            update_keys=lambda: self.supply_chain.update_keys(identity.name),
            now=self._now,
        )

    def _key_folder(self, device: str) -> KeyFolder:
        """A key that is in a file lies in the device's flash."""
        return KeyFolder(folder_of(self._path / "devices", device))

    def _finish_devices(self) -> None:
        """Devices come into being when they are first asked for. Those that were made by now have
        the trust store of now, also where nobody has asked for them yet."""
        for name in self.supply_chain.device_names():
            self.supply_chain.device(name)

    def _left(self, device: Device, error: ServerNotTrusted) -> None:
        """The lab runs both ends of this handshake, so it can tell what neither end knows."""
        self.listener.settle()
        told = handshakes.both_sides(
            device.name,
            error,
            holds=device.trusted_roots,
            sent=self.server.chain,
            roots=[root.certificate for root in self.server.roots],
        )
        self.cloud.device_left(device.name, told)
