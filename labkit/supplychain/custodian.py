"""Those through whose hands a device goes: each with a token, a PIN, and perhaps a CA.

    Company-X ──signs──> Factory-Y ──signs──> Technician-Z ──signs──> Smart-X-Widget

Only requests (CSR) and certificates pass between them. Every key is born in its owner's
token and stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Generic

from cryptography import x509

from labkit.errors import BadCertificate, Conflict
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import authority, chain, profiles, reading, request
from labkit.pki.authority import Authority
from labkit.pki.forms import Readable
from labkit.pki.profiles import Profile
from labkit.supplychain.authority import CertificateAuthority
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import AuthorityRow, stored
from labkit.supplychain.terms import Terms


class Custodian(Generic[DeviceT]):
    """A party of the supply chain, with a token of its own."""

    def __init__(self, name: str, supply_chain: SupplyChain[DeviceT]) -> None:
        self.name = name
        self._chain = supply_chain
        self.token: Token = supply_chain.custodian_token(name)

    def __repr__(self) -> str:
        return f"<Custodian {self.name}, with a token of its own>"

    def create_root_ca(
        self,
        common_name: str = "",
        *,
        algorithm: Algorithm | str = Algorithm.P256,
        lifetime: timedelta = profiles.ROOT_CA.lifetime,
    ) -> CertificateAuthority[DeviceT]:
        """A self-signed CA whose key pair is made inside this custodian's token.

        ``algorithm`` is P-256, P-384, RSA-2048 or RSA-3072. Raises Conflict where there is a CA
        of this name that differs.
        """
        wanted = common_name or f"{self.name} Root CA"
        return self._root(wanted, Algorithm.named(algorithm), profiles.ROOT_CA.lasting(lifetime))

    def _root(
        self, common_name: str, kind: Algorithm, profile: Profile
    ) -> CertificateAuthority[DeviceT]:
        if existing := self._existing(common_name, None, Terms(kind, profile)):
            return existing
        csr = self.request_ca(common_name, algorithm=kind)
        key = self.token.key(common_name)
        certificate = self._chain.self_signed(
            self.name,
            common_name,
            csr,
            lambda: authority.self_sign(key, csr.subject, self._chain.clock, profile),
        )
        return self.accept_ca(csr, (certificate,))

    def make_key(self, label: str, *, algorithm: Algorithm | str = Algorithm.P256) -> TokenKey:
        """A key pair, made inside this custodian's token under a label of its own.

        ``algorithm`` is P-256, P-384, RSA-2048 or RSA-3072. Raises Conflict where the token has a
        key of this label for another one.
        """
        kind, had_it = Algorithm.named(algorithm), self.token.has_key(label)
        key = self._key(label, kind)
        if had_it:
            self._chain.events.record("hsm", "again", f"the key {label!r} was there already")
        return key

    def _key(self, label: str, kind: Algorithm) -> TokenKey:
        is_new = not self.token.has_key(label)
        key = self.token.ensure_key(label, kind)
        if is_new:
            text = f"{self.name}'s token made a key pair: {label}, {kind.value}"
            self._chain.events.record("hsm", "key", text, name=label)
        return key

    def request_ca(
        self, common_name: str, *, algorithm: Algorithm | str = Algorithm.P256
    ) -> x509.CertificateSigningRequest:
        """A request for a CA certificate: the key pair is made in this custodian's token."""
        kind = Algorithm.named(algorithm)
        subject = request.name(common_name, self.name)  # refuses a bad name before there is a key
        return request.make(self._key(common_name, kind), subject)

    def confirms(self, csr: x509.CertificateSigningRequest) -> bool:
        """Whether the request was made with a key of this custodian's own token: their answer to
        a CA that calls back before it signs."""
        asked, labels = csr.public_key(), self.token.key_labels
        own = (self.token.key(label) for label in labels if self.token.has_key(label))
        return any(key.public_key() == asked for key in own)

    def accept_ca(
        self,
        csr: x509.CertificateSigningRequest | Readable,
        certificates: Sequence[x509.Certificate] | Readable,
    ) -> CertificateAuthority[DeviceT]:
        """Takes the chain that came back for a request, and is a CA from now on.

        ``certificates`` is the new one and its issuers, in any order and any form that people
        send: see :func:`labkit.pki.reading.chain_of`. The same chain again is harmless. Raises
        BadCertificate where it is no chain, or not that of a CA with the request's key.
        """
        name, path = chain.common_name(request.read(csr)), reading.chain_of(certificates)
        own, *issuers = path
        if not chain.is_ca(own) or own.public_key() != self.token.key(name).public_key():
            raise BadCertificate(
                f"This chain does not answer the request for {name!r}",
                expected=f"a CA certificate for the key {name!r} in token {self.name!r}",
                found=f"{'one for another key' if chain.is_ca(own) else 'no CA certificate'}: "
                f"{chain.names(path)}",
                cure="take the certificate that was issued for this very request",
            )
        if existing := self._existing(name, issuers[0] if issuers else None):
            return existing
        row = AuthorityRow(self.name, name, name, chain.to_pem(path))
        self._chain.ledger.add(row)
        text = f"{name} was signed by {chain.title(own.issuer)}"
        self._chain.events.record("supply chain", "ca", text, name=name)
        return self._authority(row)

    def authorities(self) -> list[CertificateAuthority[DeviceT]]:
        """Every CA of this custodian."""
        rows = self._chain.ledger.authorities()
        return [self._authority(row) for row in rows if row.custodian == self.name]

    def _existing(
        self, common_name: str, issuer: x509.Certificate | None, wished: Terms | None = None
    ) -> CertificateAuthority[DeviceT] | None:
        """The CA of this name, where there is one. Raises Conflict where it is not just so."""
        found = self._ca(common_name)
        if found is None:
            return None
        above = found.chain[1] if len(found.chain) > 1 else found.certificate
        if above != (issuer or found.certificate):
            raise Conflict(
                f"{self.name} has a CA {common_name!r} already",
                expected="the same issuer as before",
                found=f"it was issued by {chain.title(found.certificate.issuer)}",
                cure="give the second CA another name: common_name=...",
            )
        if wished is not None:
            wished.check(self.name, common_name, found.certificate)
        self._chain.events.record("supply chain", "again", f"{common_name} was there already")
        return found

    def _ca(self, common_name: str) -> CertificateAuthority[DeviceT] | None:
        row = self._chain.ledger.authority(self.name, common_name)
        return None if row is None else self._authority(row)

    def _authority(self, row: AuthorityRow) -> CertificateAuthority[DeviceT]:
        signer = Authority(self.token.key(row.key_label), stored(row.chain_pem), self._chain.clock)
        return CertificateAuthority(self, signer, self._chain)
