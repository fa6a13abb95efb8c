"""Devices that no CA signs: each signs its own certificates, with the key in its own token.

Nobody vouches for such a certificate. It proves that its sender has the key, and no more: whoever
shall know the device must have been told of this very certificate.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.errors import Conflict, LabError
from labkit.hsm import Algorithm, TokenKey
from labkit.pki import authority, chain, profiles, request
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.issuing import drawn, signed
from labkit.supplychain.ledger import DeviceRow


def device(supply_chain: SupplyChain[DeviceT], name: str, kind: Algorithm) -> DeviceT:
    """The device of this name, made when there is none. Raises Conflict where there is one that
    a CA has signed, or that has another kind of key."""
    request.name(name)  # refuses what can be no name before anything is looked up or made
    row = supply_chain.ledger.device(name)
    if row is None:
        supply_chain.refuse_taken(name)
        _sign(supply_chain, supply_chain.device_key(name, kind), name, is_new=True)
        text = f"{name} made a key and signed its own certificate: no CA has a part in it"
        supply_chain.events.record("supply chain", "device", text, name=name)
    else:
        found = request.describe_key(supply_chain.issued_chain(name)[0].public_key())
        if row.maker != _maker(name) or found != kind.value:
            raise Conflict(
                f"There is a device {name!r} already",
                expected=f"one that signs its own certificate, with a {kind.value} key",
                found=f"it was signed by {row.maker}, and has a {found} key",
                cure="give the second device another name: registration IDs are unique",
            )
        supply_chain.events.record("supply chain", "again", f"{name} was there already")
    return supply_chain.device(name)


def spare(supply_chain: SupplyChain[DeviceT], name: str) -> x509.Certificate:
    """A second certificate for the same key, signed by the device itself: made when first asked
    for. Raises NotFound, and LabError for a device that a CA has signed."""
    certificate = supply_chain.issued_chain(name)[0]
    if not chain.is_self_signed(certificate):
        raise LabError(
            f"{name} does not sign its own certificates",
            found=f"its certificate was issued by {chain.title(certificate.issuer)}",
            cure="ask that CA for another one: sign_device(request)",
        )
    made = supply_chain.ledger.issued(issuer=_maker(name), limit=2)
    if len(made) > 1:
        return made[1].certificate
    found = _sign(supply_chain, supply_chain.device_key(name), name)
    text = f"{name} signed a second certificate for its key"
    supply_chain.events.record("supply chain", "certificate", text, name=name)
    return found


def _maker(name: str) -> str:
    """Who signed it, in the form of the ledger: custodian and CA are the device itself."""
    return f"{name}/{name}"


def _sign(
    supply_chain: SupplyChain[DeviceT], key: TokenKey, name: str, *, is_new: bool = False
) -> x509.Certificate:
    """A certificate that is in the ledger when this returns, together with the device."""
    csr = request.make(key, request.name(name))

    def record(made: list[x509.Certificate]) -> None:
        entries = [signed(found, csr.public_bytes(Encoding.DER)) for found in made]
        rows = [DeviceRow(name, _maker(name), chain.to_pem(made))] if is_new else []
        now = supply_chain.clock.now()
        supply_chain.ledger.record(name, name, made[0], now, entries, rows)

    def make() -> x509.Certificate:
        return authority.self_sign(key, csr.subject, supply_chain.clock, profiles.DEVICE)

    return drawn([make], record)[0]
