"""The firmware of one device: it looks at the device, decides, and does that.

    firmware.step()     one decision, done
    firmware.run()      on and on, until there is nothing to do now
    firmware.start()    the same in the background, until stop()

Nothing sleeps here: a decision to wait names the moment, and whoever moves the clock runs it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit.device.credentials import Issuer, check_issuer
from labkit.device.firmware.decisions import after, decide
from labkit.device.firmware.policies import Policies
from labkit.device.firmware.values import (
    ORDERS,
    Decision,
    Held,
    Memory,
    Outcome,
    Situation,
    Step,
)
from labkit.device.flash import Flash
from labkit.device.handlers import Answer, Received
from labkit.device.update import UpdateRefused
from labkit.errors import ConnectionFailed, LabError, NotIssued, ProvisioningFailed, in_short
from labkit.pki import chain

if TYPE_CHECKING:
    from labkit.device.device import Device

REPROVISION, RENEW, INSTALL_UPDATE = "reprovision", "renew", "installUpdate"
"""The direct methods that firmware answers."""
UPDATE_KIND = "update"
"""The property ``kind`` of a cloud-to-device message that carries an update package."""

_ACCEPTED, _REFUSED, _SWITCHED_OFF, _CONFLICT = 202, 400, 403, 409
_MOST_STEPS = 50
_LOOKS_EVERY = 0.5
"""Seconds of the machine: the lab's clock may have been moved."""


class Firmware:
    """What a device does by itself. Its policies and its memory are in the device's flash.

    Whom it asks for its next certificate (:attr:`issuer`) is a part of the program: not kept.
    """

    def __init__(self, device: Device, flash: Flash, tell: Callable[[str, str], None]) -> None:
        self._device, self._flash, self._tell = device, flash, tell
        self._issuer: Issuer | None = None
        self._remembering, self._stepping = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake, self._leaving = threading.Event(), threading.Event()
        if not self.policies.keep_hub and device.assignment is not None:
            self._remember(lambda memory: memory.told_to_provision("it has started anew"))
        self._attend()

    def __repr__(self) -> str:
        return f"<Firmware of {self._device.name!r}: {self.next}>"

    # ---- how it is configured, and what it knows

    @property
    def issuer(self) -> Issuer | None:
        """Whom it asks for its next certificate: a CA, or a service. Without one the device renews
        nothing. Setting it raises BadRequest for what cannot answer."""
        return self._issuer

    @issuer.setter
    def issuer(self, issuer: Issuer | None) -> None:
        if issuer is not None:
            refused = f"The firmware of {self._device.name} cannot ask that for its certificates"
            check_issuer(issuer, refused, "widget.firmware.issuer = technician")
        self._issuer = issuer

    @property
    def policies(self) -> Policies:
        """What it does by itself; kept in flash across restarts."""
        return Policies.from_json(self._flash.state.get("policies", {}))

    def configure(self, **changes: Any) -> Policies:
        """Switches policies: ``configure(fall_back=False)``. Returns them all. Raises LabError."""
        policies = self.policies.changed(**changes)
        self._flash.learn(policies=policies.to_json())
        self._wake.set()
        return policies

    @property
    def memory(self) -> Memory:
        """What it remembers; kept in flash across restarts."""
        return Memory.from_json(self._flash.state.get("memory", {}))

    @property
    def situation(self) -> Situation:
        """How things are with the device now."""
        device, state, operational = self._device, self._flash.state, self._device.operational
        use, reserve = _held(device.certificate), device.reserve
        issued = _first(operational.chain)
        return Situation(
            device.name,
            device.now(),
            use,
            _held(reserve[0]) if reserve else None,
            assigned=device.assignment is not None,
            registered=state.get("registered") == use.id,
            taken=state.get("taken") == use.id,
            connected=device.connected,
            can_ask=self.issuer is not None,
            operational=issued,
            operational_reserve=_first(operational.reserve),
            operational_taken=operational.is_taken,
            reported=issued is not None and state.get("reported") == self.memory.report(issued),
        )

    @property
    def next(self) -> Decision:
        """What it would do now, and why."""
        return decide(self.policies, self.memory, self.situation)

    # ---- what it does

    def step(self) -> Decision:
        """Decides, and does it. Returns the decision: WAIT and REST are nothing to do for now."""
        with self._stepping:
            policies, situation = self.policies, self.situation
            decision = decide(policies, self.memory, situation)
            if decision.step in (Step.WAIT, Step.REST):
                return decision
            self._tell("firmware", f"decides to {decision.step}: {decision.why}")
            outcome = self._do(decision.step)
            step = decision.step
            self._remember(lambda memory: after(policies, memory, situation, step, outcome))
            return decision

    def run(self) -> list[Decision]:
        """Steps until there is nothing to do now. Returns what it did; the last is the WAIT or
        REST that it ended with."""
        done: list[Decision] = []
        while not done or (done[-1].step not in (Step.WAIT, Step.REST) and len(done) < _MOST_STEPS):
            done.append(self.step())
        return done

    def start(self) -> Firmware:
        """Runs in the background: at once when it is told to do something, and else when the
        clock says so. Twice is harmless, and begins again what an error has ended."""
        if self._thread is None or not self._thread.is_alive():
            self._leaving.clear()
            name = f"firmware of {self._device.name}"
            self._thread = threading.Thread(target=self._live, name=name, daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Ends what start() began, after the step that it is at. Harmless when nothing runs."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._leaving.set()
            self._wake.set()
            thread.join()

    def _live(self) -> None:
        while not self._leaving.is_set():
            try:
                self._step_until_idle()
            except Exception as error:  # the lab is closed, or a token: nobody else would say so
                why = error.message if isinstance(error, LabError) else in_short(error)
                self._tell("failed", f"has stopped: {why}")
                return
            self._wake.wait(_LOOKS_EVERY)
            self._wake.clear()

    def _step_until_idle(self) -> None:
        """As run(), and leaves in between when it is stopped."""
        while not self._leaving.is_set() and self.step().step not in (Step.WAIT, Step.REST):
            pass

    def _do(self, step: Step) -> Outcome:
        doing: dict[Step, Callable[[], object]] = {
            Step.RENEW: self._renew,
            Step.PROVISION: self._provision,
            Step.CONNECT: self._connect,
            Step.SWITCH: self._device.use_reserve,
            Step.RETIRE: self._device.retire_reserve,
            Step.ORDER: self._order,
            Step.ASK_HUB: lambda: self._device.renew_operational("hub"),
            Step.FALL_BACK: self._device.operational.fall_back,
            Step.REPORT: self._report,
        }
        try:
            doing[step]()
        except (ProvisioningFailed, ConnectionFailed, NotIssued) as error:
            return Outcome.REFUSED if error.refused else Outcome.FAILED
        except LabError as error:
            if step not in (Step.RENEW, Step.REPORT, *ORDERS):
                raise
            self._tell("failed", f"could not {step}: {error.message}")
            return Outcome.REFUSED
        return Outcome.DONE

    def _renew(self) -> None:
        assert self.issuer is not None, "decided with an issuer"
        self._device.renew(self.issuer)

    def _provision(self) -> None:
        """An open connection stays until DPS has answered: who is refused there has lost nothing
        by asking. Then the next one is made."""
        self._device.provision()
        self._device.disconnect()

    def _order(self) -> None:
        """The connection before, with the old certificate, stays for as long."""
        self._device.renew_operational("dps")

    def _report(self) -> None:
        memory, issued = self.memory, _held(self._device.operational.chain[0])
        self._device.report_operational(renewals=memory.renewals, failures=memory.missed)
        self._flash.learn(reported=memory.report(issued))

    def _connect(self) -> None:
        situation = self.situation
        if not situation.taken or situation.untested:  # it is still that of the old certificate
            self._device.disconnect()
        self._device.connect()

    # ---- what it is told

    def _attend(self) -> None:
        self._device.on_method(REPROVISION, self._told_to_provision)
        self._device.on_method(RENEW, self._told_to_renew)
        self._device.on_method(INSTALL_UPDATE, self._told_to_install)
        self._device.on_message(self._message)

    def _told_to_provision(self, payload: Any) -> Answer:
        if not self.policies.reprovision_on_command:
            return _switched_off("reprovision_on_command")
        self._remember(lambda memory: memory.told_to_provision("it was told to"))
        return Answer(_ACCEPTED, {"will": REPROVISION})

    def _told_to_renew(self, payload: Any) -> Answer:
        if not self.policies.renew_on_command:
            return _switched_off("renew_on_command")
        if self.issuer is None:
            return Answer(_CONFLICT, {"error": "it has no issuer to ask"})
        self._remember(lambda memory: memory.told_to_renew("it was told to"))
        return Answer(_ACCEPTED, {"will": RENEW})

    def _told_to_install(self, payload: Any) -> Answer:
        if not self.policies.accept_updates:
            return _switched_off("accept_updates")
        try:
            version = self._device.install_update(payload)
        except UpdateRefused as error:
            return Answer(_REFUSED, {"expected": error.expected, "found": error.found})
        self._wake.set()
        return Answer(200, {"version": version})

    def _message(self, received: Received) -> bool:
        """Whether it is for the firmware."""
        if received.properties.get("kind") != UPDATE_KIND:
            return False
        answer = self._told_to_install(received.body)
        if answer.status == _SWITCHED_OFF:  # a message has no answer, so somebody else is told
            self._tell("refused", f"takes no update: {answer.payload['error']}")
        return True

    def _remember(self, change: Callable[[Memory], Memory]) -> None:
        with self._remembering:
            self._flash.learn(memory=change(self.memory).to_json())
        self._wake.set()


def _held(certificate: x509.Certificate) -> Held:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Held(chain.thumbprint(certificate), begin, end)


def _first(certificates: Sequence[x509.Certificate]) -> Held | None:
    return _held(certificates[0]) if certificates else None


def _switched_off(policy: str) -> Answer:
    return Answer(_SWITCHED_OFF, {"error": f"this firmware has {policy} switched off"})
