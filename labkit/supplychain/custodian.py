"""Those through whose hands a device goes: each with a token, a PIN, and perhaps a CA.

    Company-X ──signs──> Factory-Y ──signs──> Technician-Z ──signs──> Smart-X-Widget

Only requests (CSR) and certificates pass between them. Every key is born in its owner's
token and stays there.
"""

from __future__ import annotations

from typing import Generic

from cryptography import x509

from labkit import ids
from labkit.errors import BadCertificate, BadRequest, Conflict, LabError
from labkit.hsm import Token
from labkit.pki import authority, chain, possession, profiles, request
from labkit.pki.authority import Authority
from labkit.pki.chain import Readable
from labkit.pki.profiles import Profile
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import AuthorityRow, DeviceRow, stored


class Custodian(Generic[DeviceT]):
    """A party of the supply chain, with a token of its own."""

    def __init__(self, name: str, supply_chain: SupplyChain[DeviceT]) -> None:
        self.name = name
        self._chain = supply_chain
        self.token: Token = supply_chain.custodian_token(name)

    def __repr__(self) -> str:
        return f"<Custodian {self.name}, with a token of its own>"

    def create_root_ca(self, common_name: str = "") -> CertificateAuthority[DeviceT]:
        """A self-signed CA whose key pair is made inside this custodian's token."""
        wanted = common_name or f"{self.name} Root CA"
        if existing := self._existing(wanted, issuer=None):
            return existing
        subject = request.name(wanted, self.name)  # refuses a bad name before there is a key
        key = self.token.ensure_key(wanted)
        csr = request.make(key, subject)
        certificate = authority.self_sign(key, subject, self._chain.clock)
        self._chain.record_issued(self.name, wanted, certificate, csr)
        return self.accept_ca(csr, (certificate,))

    def request_ca(self, common_name: str) -> x509.CertificateSigningRequest:
        """A request for a CA certificate: the key pair is made in this custodian's token."""
        subject = request.name(common_name, self.name)  # refuses a bad name before there is a key
        return request.make(self.token.ensure_key(common_name), subject)

    def accept_ca(
        self, csr: x509.CertificateSigningRequest, certificates: tuple[x509.Certificate, ...]
    ) -> CertificateAuthority[DeviceT]:
        """Takes the chain that came back for a request, and is a CA from now on.

        ``certificates`` is the new one first, then its issuers. The same chain again is
        harmless. Raises BadCertificate where the first is not for the request's key.
        """
        own, name = certificates[0], chain.common_name(csr)
        if own.public_key() != self.token.key(name).public_key():
            raise BadCertificate(
                f"This chain does not answer the request for {name!r}",
                expected=f"first a certificate for the key {name!r} in token {self.name!r}",
                found=chain.names(certificates),
                cure="take the certificate that was issued for this very request",
            )
        above = certificates[1] if len(certificates) > 1 else None
        if existing := self._existing(name, above):
            return existing
        row = AuthorityRow(self.name, name, name, chain.to_pem(certificates))
        self._chain.ledger.add(row)
        text = f"{name} was signed by {chain.title(own.issuer)}"
        self._chain.events.record("supply chain", "ca", text, name=name)
        return self._authority(row)

    def authorities(self) -> list[CertificateAuthority[DeviceT]]:
        """Every CA of this custodian."""
        rows = self._chain.ledger.authorities()
        return [self._authority(row) for row in rows if row.custodian == self.name]

    def _existing(
        self, common_name: str, issuer: x509.Certificate | None
    ) -> CertificateAuthority[DeviceT] | None:
        row = self._chain.ledger.authority(self.name, common_name)
        if row is None:
            return None
        found = self._authority(row)
        above = found.chain[1] if len(found.chain) > 1 else found.certificate
        if above != (issuer or found.certificate):
            raise Conflict(
                f"{self.name} has a CA {common_name!r} already",
                expected="the same issuer as before",
                found=f"it was issued by {chain.title(found.certificate.issuer)}",
                cure="give the second CA another name: common_name=...",
            )
        self._chain.events.record("supply chain", "again", f"{common_name} was there already")
        return found

    def _authority(self, row: AuthorityRow) -> CertificateAuthority[DeviceT]:
        signer = Authority(self.token.key(row.key_label), stored(row.chain_pem), self._chain.clock)
        return CertificateAuthority(self, signer, self._chain)


class CertificateAuthority(Generic[DeviceT]):
    """A custodian in the role of a CA: takes requests, gives certificates, keeps a ledger."""

    def __init__(
        self, custodian: Custodian[DeviceT], signer: Authority, supply_chain: SupplyChain[DeviceT]
    ) -> None:
        self.custodian = custodian
        self._signer, self._chain = signer, supply_chain

    def __repr__(self) -> str:
        return f"<CA {self.name!r} of {self.custodian.name}, key in token {self.custodian.name!r}>"

    @property
    def name(self) -> str:
        """The CN of the CA's certificate."""
        return chain.common_name(self.certificate)

    @property
    def certificate(self) -> x509.Certificate:
        return self._signer.certificate

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate first, then its issuers up to the root."""
        return self._signer.chain

    def sign_intermediate(
        self, custodian: Custodian[DeviceT], common_name: str = ""
    ) -> CertificateAuthority[DeviceT]:
        """Signs another custodian's CA. They make the key and the request; this CA signs it."""
        if not isinstance(custodian, Custodian):
            raise LabError(
                f"{custodian!r} is no custodian",
                expected="the custodian whose CA is to be signed",
                found=f"a value of type {type(custodian).__name__}",
                cure=f"sign_intermediate(lab.custodian({str(custodian)!r}))"
                if isinstance(custodian, str)
                else "hand over what lab.custodian(NAME) returns",
            )
        wanted = common_name or f"{custodian.name} CA"
        if existing := custodian._existing(wanted, issuer=self.certificate):
            return existing
        csr = custodian.request_ca(wanted)
        return custodian.accept_ca(csr, (self._sign(csr, profiles.INTERMEDIATE_CA), *self.chain))

    def make_device(self, name: str) -> DeviceT:
        """A device: its key is born in its own token, its request goes out, its chain comes in.

        ``name`` becomes the CN and so the registration ID: at most 64 characters.
        Raises Conflict where another CA has made a device of this name.
        """
        request.name(name)  # refuses what can be no name before anything is looked up or made
        row = self._chain.ledger.device(name)
        if row is None:
            self._refuse_other_case(name)
            self._manufacture(name)
        elif row.maker != self._full_name:
            raise Conflict(
                f"There is a device {name!r} already",
                found=f"it was signed by {row.maker}",
                cure="give the second device another name: registration IDs are unique",
            )
        else:
            self._chain.events.record("supply chain", "again", f"{name} was there already")
        return self._chain.device(name)

    def _refuse_other_case(self, name: str) -> None:
        """DPS compares registration IDs without regard to case: the two would be one."""
        if other := self._chain.ledger.device_like(name):
            raise Conflict(
                f"There is a device {other!r} already",
                found=f"{name!r} differs from it in upper and lower case only",
                cure="give the second device another name",
            )

    def sign_device(self, csr: x509.CertificateSigningRequest | Readable) -> list[x509.Certificate]:
        """Signs the request of a device that keeps its own key: PEM, DER, or a file of either.

        Returns what goes into the device: its certificate first, then its issuers without the
        root. The CN is the registration ID. Raises BadCertificate for what is no request, and
        BadRequest for one that is not signed.
        """
        asked = request.read(csr)
        name = chain.common_name(asked)
        if not ids.is_valid(name):
            raise BadRequest(
                f"The request for {name!r} is for no registration ID",
                expected=f"as the CN {ids.RULE}",
                found=f"the subject {asked.subject.rfc4514_string()!r}",
                cure="make a new request whose CN is the device's registration ID",
            )
        certificate = self._sign(asked, profiles.DEVICE)
        text = f"{name} was signed by {self.name}, on a request from outside the lab"
        self._chain.events.record("supply chain", "signed", text, name=name)
        return self._injected(certificate)

    def prove_possession(self, code: str) -> x509.Certificate:
        """A verification certificate with ``code`` as its CN, signed inside the CA's token."""
        return possession.prove(self._signer, code)

    def _manufacture(self, name: str) -> None:
        subject = request.name(name)
        key = self._chain.device_key(name)
        csr = request.make(key, subject)
        certificate = self._sign(csr, profiles.DEVICE)
        injected = chain.to_pem(self._injected(certificate))
        self._chain.ledger.add(DeviceRow(name, self._full_name, injected))
        text = f"{name} was signed by {self.name}"
        self._chain.events.record("supply chain", "device", text, name=name)

    def _injected(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """Without the root: whoever judges the chain must have that already, or it is worth
        nothing."""
        return [certificate, *(ca for ca in self.chain if not chain.is_self_signed(ca))]

    @property
    def _full_name(self) -> str:
        """Two custodians may call their CAs the same."""
        return f"{self.custodian.name}/{self.name}"

    def _sign(self, csr: x509.CertificateSigningRequest, profile: Profile) -> x509.Certificate:
        """Nothing leaves this CA that is not in its ledger."""
        certificate = self._signer.sign_request(csr, profile)
        self._chain.record_issued(self.custodian.name, self.name, certificate, csr)
        return certificate
