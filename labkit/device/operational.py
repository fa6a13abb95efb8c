"""The operational credential: what a service has issued to a device, beside the onboarding one that
it was made with.

    onboarding    identity, its chain in flash      for DPS: whether it may be provisioned at all
    operational   operational N, operational.pem    for the hub: short-lived, renewed over and over

    request ──> install ──on trial──> taken: the one before goes, with its key
                            └──refused──> fall back: the new one goes

The key in use is the one that the installed chain is for. So both change in one step; a key for
which nothing came back yet is asked for again, and no other is made meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cryptography import x509

from labkit.device.flash import Flash
from labkit.errors import BadCertificate, LabError
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import chain, request

_FAMILY = "operational"
"""What the labels of these keys begin with: ``operational 1``, and so on."""
_TAKEN = "operational_taken"

REPORTED = "operationalCertificate"
"""The reported property of a device's twin that tells of its operational certificate: an object of
``issued`` and ``expires`` (ISO 8601, UTC), and ``renewals`` and ``failures``, which are counted
since the device was made. Azure's documents recommend to report both dates, and name no names."""

Renewer: TypeAlias = Literal["dps", "hub"]
"""Whom a device asks for its next operational certificate."""


def check_renewer(by: str) -> None:
    """Raises LabError for anybody else."""
    if by not in get_args(Renewer):
        raise LabError(
            f"{by!r} renews no operational certificate",
            expected=" or ".join(get_args(Renewer)),
            cure='ask one of these: widget.renew_operational("hub")',
        )


class Operational:
    """The operational credential of one device: its keys are in the device's ``token``."""

    def __init__(self, name: str, flash: Flash, token: Callable[[], Token]) -> None:
        self._name, self._flash, self._find_token = name, flash, token
        self._slots = flash.operational

    def __repr__(self) -> str:
        held = chain.names(self.chain)
        return f"<Operational credential of {self._name}: {held}>"

    @property
    def chain(self) -> list[x509.Certificate]:
        """What is installed, its own certificate first, the root last; empty while nothing is."""
        return self._slots.chain

    @property
    def reserve(self) -> list[x509.Certificate]:
        """What was in use before, while the hub has not taken the new one; empty without."""
        found = self._slots.reserve
        return found if found != self.chain else []

    @property
    def certificate(self) -> x509.Certificate | None:
        """The device's own, where there is one."""
        return next(iter(self.chain), None)

    @property
    def proof(self) -> tuple[Path, TokenKey] | None:
        """What it shows to its hub: the file with the chain, and the key that signs for it."""
        key = self._key_of(self.chain)
        return (self._slots.file, key) if key is not None else None

    @property
    def is_taken(self) -> bool:
        """Whether the hub has taken what is in use."""
        used = self.certificate
        return used is not None and self._flash.state.get(_TAKEN) == chain.thumbprint(used)

    def told(self, *, renewals: int, failures: int) -> dict[str, Any]:
        """What the twin says of it: see :data:`REPORTED`. None takes it away."""
        held = self.certificate
        if held is None:
            return {REPORTED: None}
        dates = {"issued": held.not_valid_before_utc, "expires": held.not_valid_after_utc}
        shown = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in dates.items()}
        return {REPORTED: {**shown, "renewals": renewals, "failures": failures}}

    def request(
        self, common_name: str = "", *, algorithm: Algorithm | str = Algorithm.P384
    ) -> x509.CertificateSigningRequest:
        """A request for a new key, made in the device's token. A key that was asked for before, and
        for which nothing came back, is asked for again.

        The CN is the device's name, unless another is given: DPS wants the registration ID. Raises
        BadRequest for what can be no CN.
        """
        kind = Algorithm.named(algorithm)
        subject = request.name(common_name or self._name)
        token = self._find_token()
        waiting = next(self._waiting(kind), None)
        return request.make(waiting or token.ensure_key(self._free_label(token), kind), subject)

    def install(self, certificates: Sequence[x509.Certificate]) -> None:
        """Uses what was issued from now on. What was in use stays in reserve until the hub has
        taken the new one. The same again is harmless. Raises BadCertificate where the first is for
        no key of the token."""
        if self._key_of(certificates) is None:
            raise BadCertificate(
                "This chain is for no key of the device",
                expected="first a certificate for a key in the device's token",
                found=chain.names(certificates),
                cure="send a request that the device made: widget.operational.request()",
            )
        if list(certificates) == self.chain:
            return
        if self.is_taken:
            self._slots.install_beside(certificates)
        else:  # what never worked is nothing to keep
            self._slots.install(certificates)
        self._sweep()

    def taken(self) -> None:
        """The hub has let the device in with what is in use: the one before goes, and its key is
        destroyed. Harmless when it is said again."""
        if self.certificate is not None and (self.reserve or not self.is_taken):
            self._flash.learn(**{_TAKEN: chain.thumbprint(self.certificate)})
            self._slots.clear_reserve()
            self._sweep()

    def fall_back(self) -> None:
        """Uses the one before again, for the hub does not take the new one, which goes. Raises
        LabError where there is none."""
        if not self.reserve:
            raise LabError(
                "There is nothing to fall back to",
                expected="an operational certificate of before, which the hub has taken",
                found=f"only {chain.names(self.chain)}",
                cure="have another one issued: widget.renew_operational()",
            )
        self._slots.switch()
        self._slots.clear_reserve()
        self._sweep()

    def remove(self) -> None:
        """Forgets it: the device shows its onboarding credential to the hub again. Its key goes for
        good. Harmless where there is none."""
        self._slots.clear()
        self._sweep()

    def _sweep(self) -> None:
        """Destroys the keys that no chain is for any more."""
        held = (self.chain, self.reserve)
        needed = [certificates[0].public_key() for certificates in held if certificates]
        token = self._find_token()
        for label, key in self._keys():
            if key.public_key() not in needed:
                token.destroy_key(label)

    def _key_of(self, certificates: Sequence[x509.Certificate]) -> TokenKey | None:
        if not certificates:
            return None
        wanted = certificates[0].public_key()
        return next((key for _, key in self._keys() if key.public_key() == wanted), None)

    def _waiting(self, kind: Algorithm) -> Iterator[TokenKey]:
        """Keys of this kind that no chain is for."""
        used = [held[0].public_key() for held in (self.chain, self.reserve) if held]
        for _, key in self._keys():
            if key.public_key() not in used and Algorithm.of(key.public_key()) is kind:
                yield key

    def _keys(self) -> Iterator[tuple[str, TokenKey]]:
        token = self._find_token()
        labels = [label for label in token.key_labels if label.startswith(_FAMILY)]
        return ((label, token.key(label)) for label in labels if token.has_key(label))

    def _free_label(self, token: Token) -> str:
        numbers = [int(label.removeprefix(_FAMILY)) for label, _ in self._keys()]
        return f"{_FAMILY} {max(numbers, default=0) + 1}"
