"""An attacker: whoever has read a device's flash, and speaks with what was found there.

    steal ──> a copy of the flash ──> try_dps ──> a hub, as the device
                    │                                │
                    └── without its key ──> TLS ends it: nobody hears of the device's name

To a service an attacker with the key *is* the device: the same chain, and a handshake that proves
the key. That the two are told apart here is the lab's own book of attempts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from labkit import ids
from labkit.cloud.refusals import Refusal
from labkit.device import Assignment, Device, Impostor
from labkit.device.flash import folder_of
from labkit.drill import loot
from labkit.drill.attempts import DPS, GOT_IN, Attempt
from labkit.drill.grounds import Grounds
from labkit.drill.loot import Bag, Loot
from labkit.drill.siege import Siege
from labkit.errors import BadRequest, ConnectionFailed, LabError, NotFound, ProvisioningFailed
from labkit.pki.identity import Identity

LONGEST_NAME: Final = 32


class Attacker:
    """One attacker, by ``name``. What they have stolen, and what they tried, is there again when
    the lab is opened again."""

    def __init__(self, name: str, grounds: Grounds) -> None:
        check_name(name)
        self.name, self._grounds = name, grounds
        self._bag = Bag(grounds.path / "attackers" / quote(name, safe=""))
        self._played: dict[str, Impostor] = {}
        self._sieges: list[Siege] = []
        self._trying = threading.RLock()

    def __repr__(self) -> str:
        return f"<Attacker {self.name!r}: {', '.join(map(self._has, self.victims)) or 'no loot'}>"

    def _has(self, device: str) -> str:
        return f"{'the key' if self.has_key_of(device) else 'the certificates'} of {device}"

    # ---- what was stolen

    def steal(self, device: Device) -> Loot:
        """Reads the device's flash: its certificates, what it learned, and its private key where
        that lies in a file. Where it does not, the token is asked for it, and its files are
        copied; the loot tells how that went. The device notices nothing.

        What was stolen before is replaced, but a key that was stolen is not lost again. Raises
        BadRequest for what is no device.
        """
        if not isinstance(device, Device):
            raise BadRequest(
                f"{self.name} finds nothing to steal from",
                expected="a device of the lab",
                found=f"a value of type {type(device).__name__}",
                cure="hand over the device itself: lab.device(name) finds it",
            )
        place, name = self._grounds, device.name
        flash = folder_of(place.path / "devices", name)
        account = tuple(loot.account(device, flash, place.path))
        with self._trying:
            self._drop(name)
            self._bag.fill(name, flash)
            has_key, chain = self.has_key_of(name), tuple(self._bag.flash(name).chain)
        what = "certificates and private key" if has_key else "certificates, and no key,"
        text = f"{self.name} has copied the {what} of {name}"
        place.events.record("attacker", "stolen", text, device=name, by=self.name)
        return Loot(self.name, name, chain, has_key, account)

    @property
    def victims(self) -> list[str]:
        """The devices that they have copies of, sorted."""
        return self._bag.devices()

    def has_key_of(self, device: str) -> bool:
        """Whether they have the private key of a device's stolen certificate."""
        return self._bag.holds(device) and self._bag.has_key(device)

    def as_device(self, device: str = "") -> Impostor:
        """The device as they play it, Microsoft's own client: with the stolen key, or with one of
        their own, which is not that of the certificates. Without a name, the only victim.

        Raises NotFound where nothing was stolen.
        """
        name = self._victim(device)
        with self._trying:
            if name not in self._played:
                place, flash = self._grounds, self._bag.flash(name)
                copy = Identity(self._bag.key(name), tuple(flash.chain))
                self._played[name] = Impostor(self.name, copy, flash, place.network, place.events)
            return self._played[name]

    def _drop(self, device: str) -> None:
        """The client of what was stolen before leaves."""
        if (played := self._played.pop(device, None)) is not None:
            played.disconnect()

    def _victim(self, device: str) -> str:
        victims = self.victims
        wanted = next((name for name in victims if ids.key(name) == ids.key(device)), "")
        if wanted or (not device and len(victims) == 1):
            return wanted or victims[0]
        raise NotFound(
            f"{self.name} has nothing of {device}" if device else "Whom shall they play?",
            expected="a device that something was stolen from",
            found=", ".join(victims) or "nothing was stolen yet",
            cure="steal first: attacker.steal(widget)" if not victims else "name one of these",
        )

    # ---- what is tried

    def try_dps(self, device: str = "") -> Attempt:
        """Registers with DPS as the device, and learns its hub. Returns what came of it, which is
        kept. Raises NotFound where nothing was stolen."""
        played = self.as_device(device)
        return self._try(played, DPS, played.provision)

    def try_hub(self, hub: str = "", *, device: str = "", stay: bool = False) -> Attempt:
        """Connects to a hub as the device: to ``hub``, by its name, or to the one that they know
        of, from the device's flash or from DPS. They leave again unless they ``stay``.

        Who gets in ends the device's own connection: a hub keeps one for each identity. Returns
        what came of it, which is kept. Raises NotFound, and LabError where they know of no hub.
        """
        if hub in self.victims and hub not in [each.name for each in self._grounds.cloud.hubs]:
            raise NotFound(
                f"{hub} is no hub",
                expected="a hub, where a name stands alone",
                found="a device that something was stolen from",
                cure=f"say which of the two it is: attacker.try_hub(device={hub!r})",
            )
        played = self.as_device(device)
        played.disconnect()
        played.target = self._aim(played, hub)
        attempt = self._try(played, self._known(played).hub.partition(".")[0], played.connect)
        if not stay:
            played.disconnect()
        return attempt

    def _aim(self, played: Impostor, hub: str) -> Assignment | None:
        if not hub:
            return None
        host = self._grounds.cloud.hubs.get(hub).host_name
        known = played.assignment
        return Assignment(host, known.device_id if known else played.name, "", "")

    def _known(self, played: Impostor) -> Assignment:
        if (known := played.assignment) is not None:
            return known
        raise LabError(
            f"{self.name} knows of no hub of {played.name}",
            expected="a hub that the device's flash tells of, or that DPS has assigned to them",
            cure="attacker.try_dps(), or name it: attacker.try_hub('contoso-hub')",
        )

    def _try(self, played: Impostor, service: str, act: Callable[[], object]) -> Attempt:
        with self._trying:
            place, before = self._grounds, self._grounds.cloud.refusals.newest()
            at, outcome, answer, tracking_id = place.clock.now(), GOT_IN, "", ""
            displaces = service != DPS and self._is_connected(played, service)
            try:
                act()
            except (ProvisioningFailed, ConnectionFailed) as error:
                outcome, answer, tracking_id = self._why(played, before, error)
            attempt = Attempt(
                attacker=self.name,
                device=played.name,
                service=service,
                at=at,
                ended=place.clock.now(),
                outcome=outcome,
                answer=answer,
                tracking_id=tracking_id,
                displaced=displaces and outcome == GOT_IN,
            )
            self._tell(place.attempts.add(attempt))
            return attempt

    def _is_connected(self, played: Impostor, service: str) -> bool:
        """Whether the true device has a connection that theirs would end."""
        device_id = self._known(played).device_id
        try:
            live = self._grounds.cloud.hubs.get(service).connected()
        except NotFound:
            return False
        return any(one.device_id == device_id for one in live)

    def _why(self, played: Impostor, before: int, error: LabError) -> tuple[str, str, str]:
        """The outcome, all that came back, and the tracking ID, as the lab has kept them."""
        self._grounds.settle()
        found = [r for r in self._grounds.cloud.refusals.since(before) if _is_of(r, played)]
        if not found:
            return "not reached", error.found, ""
        last = found[-1]
        if last.status == 0:
            return "ended in TLS", last.message, last.tracking_id
        return "refused", f"{last.status} {last.code}: {last.message}", last.tracking_id

    def _tell(self, attempt: Attempt) -> None:
        text = f"{self.name}, as {attempt.device}, at {attempt.where}: {attempt.outcome}"
        text += ", and the device's own connection ended" if attempt.displaced else ""
        details = {"device": attempt.device, "by": self.name, "service": attempt.service}
        if attempt.tracking_id:
            details["tracking_id"] = attempt.tracking_id
        self._grounds.events.record("attacker", attempt.outcome, text, **details)

    @property
    def attempts(self) -> list[Attempt]:
        """All that they tried in this workspace, in order."""
        return self._grounds.attempts.all(self.name)

    def keeps_trying(
        self,
        *,
        device: str = "",
        every: float = 0.5,
        most: int = 200,
        dps: bool = True,
        hub: bool = True,
    ) -> Siege:
        """Tries DPS and the hub it knows of again and again, in the background; ``every`` so many
        seconds of the machine's time, ``most`` rounds at the most. ``stop()`` ends it, or a
        ``with`` block. Raises NotFound where nothing was stolen, LabError for other bounds."""
        name = self._victim(device)

        def one_round() -> None:
            if dps:
                self.try_dps(name)
            if hub and self.as_device(name).assignment is not None:
                self.try_hub(device=name)

        self._sieges = [siege for siege in self._sieges if siege.running]
        self._sieges.append(Siege(one_round, every=every, most=most))
        return self._sieges[-1]

    def leave(self) -> None:
        """Stops trying, and ends every connection. Harmless when there is none."""
        for siege in self._sieges:
            siege.stop()
        for played in list(self._played.values()):
            played.disconnect()


def _is_of(refusal: Refusal, played: Impostor) -> bool:
    """Whether it is about who sent these certificates: a name is not told where TLS ended it."""
    return bool(refusal.chain) and refusal.chain[0] == played.certificate


def check_name(name: str) -> None:
    """Raises LabError for what cannot be the name of an attacker."""
    short = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME
    if short and name.isprintable() and name.strip(" .") == name:
        return
    raise LabError(
        f"{name!r} cannot be the name of an attacker",
        expected=f"1 to {LONGEST_NAME} characters that can be printed",
        cure='"Mallory" is the usual one',
    )
