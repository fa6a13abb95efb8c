"""Certificates that take the place of others: of devices, and of CAs.

    device ──Renewal──> CA ──chain──> device             a new key, its request vouched for
    retained request ──> CA ──chain──> update package    the same key, and nobody asks the device
    CA ──request──> issuer ──> the CA's next generation  the same name; its key or a new one

What was before stays: in the ledger, with the CA, and with whoever holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.errors import BadRequest, NotFound
from labkit.pki import authority, chain, profiles, renewal
from labkit.pki.renewal import Renewal
from labkit.supplychain import terms
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import AuthorityRow, stored
from labkit.trace import first_failure

if TYPE_CHECKING:
    from labkit.supplychain.authority import CertificateAuthority


def check(asked: Renewal, supply_chain: SupplyChain[DeviceT]) -> str:
    """The name of the device that asks. Raises BadRequest where it is not the device itself, or
    asks too late; Conflict where it asks for the name of another."""
    current = asked.current
    signature = supply_chain.ledger.find(current.serial_number)
    if signature is None or signature.der != current.public_bytes(Encoding.DER):
        raise BadRequest(
            f"No CA of this supply chain knows {chain.subject(current)}",
            expected="a device that renews a certificate of this supply chain",
            found=f"a certificate by {chain.title(current.issuer)} that is not in the ledger",
            cure="sign its request as that of a new device: sign_device(request)",
        )
    if failure := first_failure(renewal.examine(asked, supply_chain.clock.now())):
        raise BadRequest(
            f"{chain.subject(current)} is not renewed",
            expected=failure.name,
            found=failure.why,
            cure=" Or: ".join(failure.cures),
        )
    device, wanted = supply_chain.name_of(current), chain.common_name(asked.request)
    if wanted != device:  # nobody keeps a name that another device has got meanwhile
        supply_chain.refuse_other_key(wanted, asked.request)
    return device


def retained(device: str, supply_chain: SupplyChain[DeviceT]) -> x509.CertificateSigningRequest:
    """The last request of a device, as the CA that signed it has kept it. Raises NotFound."""
    newest = supply_chain.newest_chain(device)[0]
    signature = supply_chain.ledger.find(newest.serial_number)
    if signature is None or signature.request is None:
        raise NotFound(
            f"No request of {device} was retained",
            found=f"its certificate {chain.subject(newest)}, by {chain.title(newest.issuer)}",
            cure=f"have the device ask: lab.device({device!r}).renew(ca)",
        )
    return signature.request


def next_generation(
    ca: CertificateAuthority[DeviceT],
    issuer: CertificateAuthority[DeviceT] | None,
    *,
    new_key: bool,
) -> CertificateAuthority[DeviceT]:
    """Another certificate for a CA: of the same name, with its key or a new one, signed by
    ``issuer``; without one, by itself. One that takes this one's place already is returned."""
    owner, above = ca.custodian, issuer.certificate if issuer else None
    for row in owner._generations(ca.name):
        later = row.generation > ca.generation
        if later and _issuer(row) == above and (row.key_label != ca.key.label) == new_key:
            owner._tell("again", f"{ca.name} was renewed already", ca.name)
            return owner._authority(row)
    csr = owner._request_renewal(ca.key, ca.certificate.subject, new_key=new_key)
    made = (
        issuer.sign_ca(csr, path_length=terms.path_length(ca.certificate))
        if issuer
        else _self_signed(ca, csr)
    )
    return owner.accept_ca(csr, made)


def _issuer(row: AuthorityRow) -> x509.Certificate | None:
    """The certificate that signed a CA's; None for a root."""
    return next(iter(stored(row.chain_pem)[1:]), None)


def _self_signed(
    ca: CertificateAuthority[DeviceT], csr: x509.CertificateSigningRequest
) -> Sequence[x509.Certificate]:
    """A root as the one before, for as long as that was made for."""
    begin, end = ca.certificate.not_valid_before_utc, ca.certificate.not_valid_after_utc
    limit = terms.path_length(ca.certificate)
    profile = profiles.ROOT_CA.lasting(end - begin - authority.SKEW)
    profile = profile if limit is None else profile.limited_to(limit)
    return (ca.custodian._sign_root(ca.name, csr, profile),)
