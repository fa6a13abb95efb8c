"""A lab: one workspace, opened. Tokens, clock, supply chain, the emulated cloud, its ports."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import progress
from labkit.clock import Clock, parse_moment
from labkit.errors import ServiceRefusal, counted
from labkit.events import Event, Events
from labkit.progress import Progress
from labkit.wire.ports import Ports
from labkit.work import Stage, Work
from labkit.workspace import Workspace, locate

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from labkit.cloud import Cloud
    from labkit.cloud.adr.registry import DeviceRegistry
    from labkit.cloud.dps import ProvisioningService
    from labkit.cloud.hub import Hub
    from labkit.device import Device, Impostor, Network
    from labkit.drill import Attacker, Attempts, Fleet, Incident
    from labkit.explanation import Explanation
    from labkit.graph import Picture
    from labkit.graph.timeline import DrawnTimeline
    from labkit.hsm import Algorithm, TokenKey
    from labkit.rooms import Rooms
    from labkit.supplychain import Custodian, SupplyChain
    from labkit.supplychain.accountability import Accountability
    from labkit.supplychain.public_ca import PublicCA
    from labkit.ui.bar import Bars
    from labkit.ui.dashboard import CertificateBoard
    from labkit.ui.portal import Portal
    from labkit.ui.view import ChainView
    from labkit.wire.certificate_service import ThirdPartyCa

_open: dict[Path, Lab] = {}


class Lab:
    """One workspace, opened; the front door of everything. Use :meth:`open`.

    ``path`` is its folder, ``clock`` its time, ``events`` what happened; ``cloud``, ``server``
    and ``listener`` are for those who look behind the scenes.
    """

    def __init__(
        self,
        workspace: Workspace,
        ports: Ports,
        hubs: tuple[str, ...],
        clock: str,
        say: Callable[[str], None] | None,
    ) -> None:
        self.path = workspace.path
        self._workspace, self._say = workspace, say
        self._opener = threading.current_thread()
        self._inside: Rooms | None = None
        self._bars: Bars | None = None
        try:
            self._enter(ports, hubs, clock)
        except BaseException:
            workspace.abandon()
            raise

    def _enter(self, ports: Ports, hubs: tuple[str, ...], clock: str) -> None:
        from labkit.rooms import Rooms

        self.clock = Clock(self.path / "clock.json")
        if clock and self._workspace.is_new:
            self.clock.set(parse_moment(clock))
        self.events = Events(self.clock)
        self.events.listen(self._tell)
        self.work = Work(self._show_work)
        self._inside = Rooms(self.path, self.clock, self.events, self.work, ports, hubs)
        self.cloud: Cloud = self._inside.cloud
        self.server, self.listener = self._inside.server, self._inside.listener

    @classmethod
    def open(
        cls,
        name: str | os.PathLike[str] = "lab",
        *,
        fresh: bool = False,
        clock: str = "",
        hubs: str | tuple[str, ...] = (),
        ports: Ports = Ports(),  # noqa: B008  frozen
        say: Callable[[str], None] | None = print,
    ) -> Lab:
        """Opens a workspace, makes it when there is none, and goes on with what is in it.

        ``name`` is a name below ``$LABKIT_HOME`` (default ``~/.labkit``) or a path.
        ``fresh=True`` throws away what was in it. ``clock`` (ISO 8601) is where the clock of a
        new workspace starts; without it, at the machine's time. ``hubs`` are added to those that
        it has; one that has none gets ``contoso-hub``. ``say`` is told when a step finds
        that its thing was there already; None for nobody. A lab that this process has
        open already is returned as it is. A start that fails leaves nothing running and no new
        folder. Raises WorkspaceError where another process has it open, PortTaken,
        SoftHsmMissing.
        """
        path, hubs = locate(name), (hubs,) if isinstance(hubs, str) else hubs
        _check(ports, hubs, clock)
        if path in _open and fresh:
            _open[path].close()
        if path not in _open:
            _open[path] = cls(Workspace(path, fresh=fresh), ports, hubs, clock, say)
        return _open[path]

    @property
    def _rooms(self) -> Rooms:
        if self._inside is None:
            from labkit.database import closed

            raise closed()
        return self._inside

    @property
    def _supply_chain(self) -> SupplyChain[Device]:
        return self._rooms.supply_chain

    # ---- the supply chain

    def custodian(self, name: str) -> Custodian[Device]:
        """A party of the supply chain, with a token of its own: made when first named."""
        from labkit.supplychain import Custodian

        return Custodian(name, self._supply_chain)

    @property
    def custodians(self) -> list[Custodian[Device]]:
        return [self.custodian(name) for name in self._supply_chain.custodian_names()]

    def device(self, name: str) -> Device:
        """A device that was made in this lab. Raises NotFound."""
        return self._supply_chain.device(name)

    @property
    def devices(self) -> list[Device]:
        return [self.device(name) for name in self._supply_chain.device_names()]

    def issued_chain(self, device: str) -> list[Certificate]:
        """What the factory put into a device: its certificate, then its issuers without the root.

        Raises NotFound.
        """
        return self._supply_chain.issued_chain(device)

    def self_signed_device(self, name: str, *, algorithm: Algorithm | str = "P-256") -> Device:
        """A device that signs its own certificate, with the key in its own token: made when first
        named. No CA vouches for it. ``algorithm`` is P-256, P-384, RSA-2048 or RSA-3072.

        Raises Conflict where there is a device of this name that is not just so.
        """
        from labkit.hsm import Algorithm
        from labkit.supplychain import self_signed

        return self_signed.device(self._supply_chain, name, Algorithm.named(algorithm))

    def spare_certificate(self, device: Device | str) -> Certificate:
        """A second certificate for the key of a device that signs its own: made when first asked
        for, and not installed. Raises NotFound, and LabError for a device that a CA has signed."""
        from labkit.supplychain import self_signed

        name = device if isinstance(device, str) else device.name
        return self_signed.spare(self._supply_chain, name)

    def impersonate(
        self, device: str, by: Custodian[Device] | str, *, key: TokenKey | None = None
    ) -> Impostor:
        """A device as a custodian can play it who carried its private key, and so has a copy; or
        with a ``key`` of their own, who has caught only the certificates that it sends.

        Raises NotFound without ``key`` for a custodian who has no copy: a key that was born in
        its device stays.
        """
        return self._rooms.impostor(device, by if isinstance(by, str) else by.name, key)

    def attacker(self, name: str = "Mallory") -> Attacker:
        """Somebody who steals what lies in a device's flash, and plays the device with it: made
        when first named. Raises LabError for what is no name."""
        return self._rooms.attacker(name)

    @property
    def attackers(self) -> list[Attacker]:
        """Those who were named, or who left a trace in this workspace."""
        return self._rooms.attackers()

    @property
    def attempts(self) -> Attempts:
        """The book of what attackers have tried."""
        return self._rooms.grounds.attempts

    def public_ca(self, name: str = "Example Trust Services") -> PublicCA[Device]:
        """A stand-in for a company that sells CA certificates: made when first named."""
        from labkit.supplychain.public_ca import PublicCA

        return PublicCA(name, self._supply_chain)

    def third_party_ca(self, name: str = "Digital-Trust") -> ThirdPartyCa:
        """A stand-in for a company that issues client certificates as a web service, which DPS can
        be linked to: founded when first named, and it listens from then on. One a lab.

        Raises Conflict where there is another, LabError for what is no name."""
        return self._rooms.third_party_ca(name)

    @property
    def third_parties(self) -> list[ThirdPartyCa]:
        """Those that were named: one at most."""
        return self._rooms.third_parties()

    def ledger(self) -> Accountability[Device]:
        """Who signed whom, and who holds which private key: what the supply chain has on record."""
        from labkit.supplychain.accountability import Accountability

        return Accountability(self._supply_chain)

    # ---- the cloud

    @property
    def dps(self) -> ProvisioningService:
        """The Device Provisioning Service."""
        return self._rooms.cloud.dps

    @property
    def registry(self) -> DeviceRegistry:
        """The Device Registry: namespaces, and the CAs that sign for devices."""
        return self._rooms.cloud.registry

    def hub(self, name: str = "") -> Hub:
        """An IoT hub, by its name with or without the domain; without a name, the first.

        Raises NotFound.
        """
        hubs = self._rooms.cloud.hubs
        return hubs.get(name) if name else next(iter(hubs))

    @property
    def network(self) -> Network:
        """What this lab's devices are configured with."""
        return self._rooms.network

    # ---- understanding it

    def explain(self, what: str | Device | ServiceRefusal | None = None) -> Explanation:
        """Why somebody was refused: by tracking ID, by device or its name (its last refusal), by
        the refusal itself, or the last of all. Raises NotFound."""
        from labkit.explanation import explained

        refusals = self._rooms.cloud.refusals
        self.listener.settle()
        if isinstance(what, ServiceRefusal):
            what = what.tracking_id
        if not isinstance(what, str):
            return explained(refusals, device=what.name if what else "")
        if what in self._supply_chain.device_names():
            return explained(refusals, device=what)
        return explained(refusals, what)

    def graph(self, *, servers: bool = False) -> Picture:
        """Chain, enrollments, hub and what each device presented last, in one picture; with the
        ``servers``' own certificates, too, where that is asked for or there is a choice."""
        _ = self._rooms  # open?
        from labkit.graph import Picture
        from labkit.graph.model import of_lab

        return Picture.of(of_lab(self, servers=servers))

    def fleet(self, devices: Sequence[Device] = ()) -> Fleet:
        """Devices at work, all of the lab's unless named: to measure a roll at. Raises LabError."""
        from labkit.drill import Fleet

        return Fleet(devices or self.devices, self.events, self._rooms.history)

    def incident(self, attacker: str = "Mallory") -> Incident:
        """A breach drill, round by round, with a score: an attacker against all devices that the
        lab has when it is first asked for. The same one afterwards, until the lab is closed."""
        return self._rooms.incident(attacker)

    def timeline(self) -> DrawnTimeline:
        """What happened since the lab was opened, step by step: whom DPS and hubs let in, whom
        they refused, what was lost, and what the operator did meanwhile."""
        from labkit.graph.timeline import DrawnTimeline

        told = self._rooms.history
        return DrawnTimeline(tuple(told.steps()), frozenset(told.theirs), self.clock.now())

    def view(self) -> ChainView:
        """The same picture, alive: it follows the lab, and every node can be looked into."""
        from labkit.ui.view import ChainView

        return ChainView(self)

    def portal(self) -> Portal:
        """The pages of Azure's portal for enrollments, certificates and devices; every click shows
        the Python and the REST call that do the same."""
        from labkit.ui.portal import Portal

        return Portal(self)

    def dashboard(self, hub: str = "") -> CertificateBoard:
        """The operational certificates of a fleet by days to expiry, renewals done and failed: as
        the devices report them in their twins, of one hub or of all. Raises NotFound."""
        from labkit.ui.dashboard import CertificateBoard

        named = [self.hub(hub).name] if hub else []
        return CertificateBoard(
            lambda: [one for one in self._rooms.cloud.hubs if not hub or one.name in named],
            self.clock.now,
        )

    def progress(self) -> Progress:
        """Which stories were played how far, and which exercises are solved, in all workspaces
        beside this one."""
        return progress.of_home(self.path.parent)

    # ---- the end

    @property
    def closed(self) -> bool:
        """True once it was closed, or opened afresh elsewhere in this process."""
        return self._inside is None

    def close(self) -> None:
        """Disconnects devices, closes ports, tokens and files. Everything is kept on disk.

        Harmless when called twice.
        """
        if _open.get(self.path) is self:
            del _open[self.path]
        try:
            if self._inside is not None:
                self._inside.close()
        finally:
            self._inside = None
            self._workspace.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._inside is None:
            return f"<Lab {self.path.name!r}: closed>"
        return (
            f"<Lab {self.path.name!r}: {counted(len(self._supply_chain.device_names()), 'device')}>"
        )

    def _show_work(self, stage: Stage) -> None:
        """A bar below the cell, in a notebook; elsewhere nobody waits to see one."""
        if "IPython" not in sys.modules:
            return
        if self._bars is None:
            from labkit.ui.bar import Bars

            self._bars = Bars()
        self._bars(stage)

    def _tell(self, event: Event) -> None:
        """Twice is harmless, and is said: a trainee who runs a cell again learns what it found.

        Said only where somebody waits for it: output from the listener's thread would end up
        below whatever cell ran last.
        """
        heard = (self._opener, threading.main_thread())
        if event.kind == "again" and self._say and threading.current_thread() in heard:
            self._say(event.text)


def _check(ports: Ports, hubs: tuple[str, ...], clock: str) -> None:
    """Raises LabError for what cannot be, before a folder is made or an older lab is emptied."""
    from labkit.cloud.hub.names import hub_label
    from labkit.wire import sockets

    if clock:
        Clock().set(parse_moment(clock))
    if ports.host is not None:
        sockets.address(ports.host)
    for port in (ports.mqtt, ports.https):
        if port is not None:
            sockets.check_port(port)
    for hub in hubs:
        hub_label(hub)


@atexit.register
def _close_all() -> None:
    with ExitStack() as leaving:
        for lab in list(_open.values()):
            leaving.callback(lab.close)
