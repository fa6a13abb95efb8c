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

from labkit.errors import BadCertificate, Conflict, NotFound
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import authority, chain, profiles, reading, request
from labkit.pki.authority import Authority
from labkit.pki.forms import Readable
from labkit.pki.profiles import Profile
from labkit.pki.reading import Given
from labkit.supplychain.authority import CertificateAuthority
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import AuthorityRow, stored
from labkit.supplychain.terms import Terms
from labkit.supplychain.updates import UpdateSigner


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
        return self.accept_ca(csr, (self._sign_root(common_name, csr, profile),))

    def _sign_root(
        self, common_name: str, csr: x509.CertificateSigningRequest, profile: Profile
    ) -> x509.Certificate:
        """A root for the key of a request, in the ledger when this returns."""
        key = self._key_of(csr, common_name)
        return self._chain.self_signed(
            self.name,
            common_name,
            csr,
            lambda: authority.self_sign(key, csr.subject, self._chain.clock, profile),
        )

    def update_signer(self) -> UpdateSigner[DeviceT]:
        """Whoever signs this custodian's update packages: a key of its own in their token, made
        when first asked for. Devices that are made below their CAs later have its public half."""
        return UpdateSigner(self, self._chain)

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

    def _request_renewal(
        self, key: TokenKey, subject: x509.Name, *, new_key: bool
    ) -> x509.CertificateSigningRequest:
        """A request for a CA that there is, with its key or with a new one of the same kind. A
        key that was born for a renewal that came to nothing is taken again."""
        if not new_key:
            return request.make(key, subject)
        name = chain.name_cn(subject)
        known = {row.key_label for row in self._generations(name)}
        return request.make(
            self._key(f"{name}, key {len(known) + 1}", Algorithm.of(key.public_key())), subject
        )

    def _key_of(self, csr: x509.CertificateSigningRequest, common_name: str) -> TokenKey:
        """The key that a request was made with; where it is none of this token's, that of the CA
        of this name. Raises NotFound."""
        labels = [label for label in self.token.key_labels if label.startswith(common_name)]
        asked = csr.public_key()
        keys = (self.token.key(label) for label in labels if self.token.has_key(label))
        own = next((key for key in keys if key.public_key() == asked), None)
        return own or self.token.key(common_name)

    def confirms(self, csr: x509.CertificateSigningRequest) -> bool:
        """Whether the request was made with a key of this custodian's own token: their answer to
        a CA that calls back before it signs."""
        asked, labels = csr.public_key(), self.token.key_labels
        own = (self.token.key(label) for label in labels if self.token.has_key(label))
        return any(key.public_key() == asked for key in own)

    def accept_ca(
        self,
        csr: x509.CertificateSigningRequest | Readable,
        certificates: Given | Sequence[Given],
    ) -> CertificateAuthority[DeviceT]:
        """Takes the chain that came back for a request, and is a CA from now on.

        ``certificates`` is the new one and its issuers, in any order and any form that people
        send: see :func:`labkit.pki.reading.chain_of`. The same chain again is harmless; another
        certificate of the same name is the CA's next generation, and the one before stays. Raises
        BadCertificate where it is no chain, or not that of a CA with the request's key.
        """
        asked, path = request.read(csr), reading.chain_of(certificates)
        name, own = chain.common_name(asked), path[0]
        key = self._key_of(asked, name)
        if not chain.is_ca(own) or own.public_key() != key.public_key():
            raise BadCertificate(
                f"This chain does not answer the request for {name!r}",
                expected=f"a CA certificate for the key {key.label!r} in token {self.name!r}",
                found=f"{'one for another key' if chain.is_ca(own) else 'no CA certificate'}: "
                f"{chain.names(path)}",
                cure="take the certificate that was issued for this very request",
            )
        before = self._generations(name)
        for row in before:
            if stored(row.chain_pem)[0] == own:
                self._tell("again", f"{name} was there already", name)
                return self._authority(row)
        made = AuthorityRow(self.name, name, key.label, chain.to_pem(path), len(before) + 1)
        self._chain.ledger.add(made)
        how = "was signed" if not before else "has another certificate, signed"
        self._tell("ca", f"{name} {how} by {chain.title(own.issuer)}", name)
        return self._authority(made)

    def authorities(self) -> list[CertificateAuthority[DeviceT]]:
        """Every CA of this custodian; one that was renewed once for each of its certificates."""
        rows = self._chain.ledger.authorities()
        return [self._authority(row) for row in rows if row.custodian == self.name]

    def _existing(
        self, common_name: str, issuer: x509.Certificate | None, wished: Terms | None = None
    ) -> CertificateAuthority[DeviceT] | None:
        """The CA of this name, where there is one. Raises Conflict where it is not just so."""
        made = [self._authority(row) for row in self._generations(common_name)]
        if not made:
            return None
        fitting = (ca for ca in made if ca.issuer_certificate == issuer)
        if (found := next(fitting, None)) is None:
            raise Conflict(
                f"{self.name} has a CA {common_name!r} already",
                expected="the same issuer as before",
                found=f"it was issued by {chain.title(made[0].certificate.issuer)}",
                cure="give the second CA another name: common_name=...; or renew the one that "
                "there is: ca.renew(issuer)",
            )
        if wished is not None:
            wished.check(self.name, common_name, found.certificate)
        self._tell("again", f"{common_name} was there already", common_name)
        return found

    def _ca(self, common_name: str) -> CertificateAuthority[DeviceT] | None:
        """The first of this name."""
        return next(map(self._authority, self._generations(common_name)), None)

    def _ca_with(self, certificate: x509.Certificate) -> CertificateAuthority[DeviceT]:
        """The CA, of whichever custodian, that has this certificate. Raises NotFound."""
        for row in self._chain.ledger.authorities():
            if stored(row.chain_pem)[0] == certificate:
                return Custodian(row.custodian, self._chain)._authority(row)
        raise NotFound(
            f"{chain.subject(certificate)} is no CA of this lab",
            found=f"CAs: {', '.join(row.common_name for row in self._chain.ledger.authorities())}",
            cure="name the CA that is to sign: ca.renew(issuer)",
        )

    def _generations(self, common_name: str) -> list[AuthorityRow]:
        return self._chain.ledger.generations(self.name, common_name)

    def _authority(self, row: AuthorityRow) -> CertificateAuthority[DeviceT]:
        signer = Authority(self.token.key(row.key_label), stored(row.chain_pem), self._chain.clock)
        return CertificateAuthority(self, signer, self._chain, row.generation)

    def _tell(self, kind: str, text: str, name: str) -> None:
        self._chain.events.record("supply chain", kind, text, name=name)
