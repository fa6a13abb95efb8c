"""A custodian in the role of a CA: requests come in, certificates go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic

from cryptography import x509

from labkit.errors import Conflict, LabError
from labkit.hsm import Algorithm, TokenKey, transport
from labkit.pki import chain, possession, profiles, request, revocation
from labkit.pki.authority import Authority
from labkit.pki.forms import Readable
from labkit.pki.profiles import Profile
from labkit.pki.renewal import Renewal
from labkit.supplychain import carried, renewing, terms
from labkit.supplychain.carried import Consignment
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.issuing import Issuing
from labkit.supplychain.ledger import DeviceRow, RenewalRow, renewed, stored
from labkit.supplychain.line import Line, Production, SimulatedDevice, Where
from labkit.supplychain.records import PregeneratedRow
from labkit.supplychain.terms import Inject, Terms

if TYPE_CHECKING:
    from labkit.supplychain.custodian import Custodian


class CertificateAuthority(Generic[DeviceT]):
    """A custodian in the role of a CA: takes requests, gives certificates, keeps a ledger.

    One that was renewed is several of these, one for each of its certificates: ``generation``
    counts them from 1.
    """

    def __init__(
        self,
        custodian: Custodian[DeviceT],
        signer: Authority,
        supply_chain: SupplyChain[DeviceT],
        generation: int = 1,
    ) -> None:
        self.custodian, self.generation = custodian, generation
        self._signer, self._chain = signer, supply_chain
        self._issuing = Issuing(
            signer, custodian.name, self.name, supply_chain.ledger, supply_chain.clock
        )

    def __repr__(self) -> str:
        return f"<CA {self.name!r} of {self.custodian.name}, key in token {self.custodian.name!r}>"

    @property
    def name(self) -> str:
        """The CN of the CA's certificate."""
        return chain.common_name(self.certificate)

    @property
    def key(self) -> TokenKey:
        """Its private key, in its custodian's token."""
        return self._signer.key

    @property
    def certificate(self) -> x509.Certificate:
        return self._signer.certificate

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate first, then its issuers up to the root."""
        return self._signer.chain

    @property
    def issuer_certificate(self) -> x509.Certificate | None:
        """That of the CA which signed this one; None for a root."""
        return self.chain[1] if len(self.chain) > 1 else None

    def renew(
        self, issuer: CertificateAuthority[DeviceT] | None = None, *, new_key: bool = False
    ) -> CertificateAuthority[DeviceT]:
        """A new certificate for this CA, of the same name: with its own key, or a new one. Who
        signs it is ``issuer``, else whoever signed this one: a root signs itself.

        What this certificate has signed stays below it; with the same key it is below the new
        one, too. Twice is harmless: a renewal of this certificate on the same terms is returned.
        Raises NotFound where the issuer is no CA of this lab, BadRequest where it may not sign.
        """
        if issuer is None and self.issuer_certificate is not None:
            issuer = self.custodian._ca_with(self.issuer_certificate)
        return renewing.next_generation(self, issuer, new_key=new_key)

    def issue(self, asked: Renewal, /) -> list[x509.Certificate]:
        """The next certificate of a device that has one, on its own request: what
        ``widget.renew(ca)`` calls. Any CA of the supply chain may: so devices move below a new one.

        The request may ask for another name that is free: then that is a second registration ID
        of one device. Returns what goes into the device: its certificate, then its issuers without
        the root. Raises BadRequest where it is not the device that asks, or its certificate has
        expired; Conflict where another device has the name.
        """
        device = renewing.check(asked, self._chain)
        name = chain.common_name(asked.request)
        self._tell("request", f"{device} asks {self.custodian.name} for a certificate", device)
        made = self._issue_again(device, asked.request)
        told = f"{name} was signed anew by {self.name}"
        if name != device:
            told = f"{device} was signed by {self.name} under another name: {name}"
        self._tell("renewed", told, device)
        return made

    def reissue(self, device: DeviceT | str) -> list[x509.Certificate]:
        """Another certificate for the key that a device has, on the request of it that was
        retained: the device is not asked, and does not have it yet. Returns what is to go in.

        Raises NotFound where there is no such device, or no request of it.
        """
        name = device if isinstance(device, str) else device.name
        made = self._issue_again(name, renewing.retained(name, self._chain))
        self._tell("renewed", f"{name} was signed anew by {self.name}, on a retained request", name)
        return made

    def _issue_again(
        self, device: str, csr: x509.CertificateSigningRequest
    ) -> list[x509.Certificate]:
        def rows(made: Sequence[x509.Certificate]) -> list[RenewalRow]:
            return [renewed(device, self._injected(certificate)) for certificate in made]

        (certificate,) = self._issuing.on_requests([csr], profiles.DEVICE, rows)
        return self._injected(certificate)

    def sign_intermediate(
        self,
        custodian: Custodian[DeviceT],
        common_name: str = "",
        *,
        algorithm: Algorithm | str = Algorithm.P256,
        path_length: int | None = None,
    ) -> CertificateAuthority[DeviceT]:
        """Signs another custodian's CA. They make the key and the request; this CA signs it.

        ``path_length`` is how many CAs may follow below it; None for as many as its issuer
        allows. Raises BadRequest where this CA may sign none, and Conflict where the custodian
        has a CA of this name that differs.
        """
        terms.check_custodian(custodian, "sign_intermediate")
        wanted, kind = common_name or f"{custodian.name} CA", Algorithm.named(algorithm)
        wished = Terms(kind, terms.intermediate(path_length).below(self.certificate))
        if existing := custodian._existing(wanted, self.certificate, wished):
            return existing
        csr = custodian.request_ca(wanted, algorithm=kind)
        return custodian.accept_ca(csr, self.sign_ca(csr, path_length=path_length))

    def sign_ca(
        self, csr: x509.CertificateSigningRequest | Readable, *, path_length: int | None = None
    ) -> tuple[x509.Certificate, ...]:
        """Signs the request of a CA: the way on foot, of which sign_intermediate is the short one.

        Returns what goes back to the asker: the new certificate, then this CA's chain up to the
        root. Raises BadCertificate for what is no request, BadRequest for one that is not signed.
        """
        return self._sign_ca(request.read(csr), terms.intermediate(path_length))

    def _sign_ca(
        self, asked: x509.CertificateSigningRequest, profile: Profile
    ) -> tuple[x509.Certificate, ...]:
        name, asker = chain.common_name(asked), terms.organization(asked.subject) or "somebody"
        self._tell("request", f"{asker} sends {self.custodian.name} a request for {name}", name)
        certificate = self._sign(asked, profile)
        text = f"{self.custodian.name} sends {asker} the certificate of {name}, and its issuers"
        self._tell("certificate", text, name)
        return (certificate, *self.chain)

    def make_device(
        self,
        name: str,
        *,
        inject: Inject = "all",
        algorithm: Algorithm | str = Algorithm.P256,
        key_in_file: bool = False,
    ) -> DeviceT:
        """A device: its key is born in its own token, its request goes out, its chain comes in.

        ``name`` becomes the CN and so the registration ID: at most 64 characters. ``inject`` is
        what this CA puts in behind the device's certificate: ``"all"`` issuers but the root, its
        ``"own"`` certificate, or ``"none"``; see :meth:`inject` for the others. ``key_in_file`` is
        a mistake, for the lesson about it: the key lies in the flash, for whoever reads that.
        Raises Conflict where there is a device of this name that is not just so.
        """
        kind = Algorithm.named(algorithm)
        request.name(name)  # refuses what can be no name before anything is looked up or made
        self._behind(inject)
        row = self._chain.ledger.device(name)
        if row is None:
            self._chain.refuse_taken(name)
            self._manufacture(name, inject, kind, key_in_file)
        elif row.maker != self._full_name:
            raise Conflict(
                f"There is a device {name!r} already",
                found=f"it was signed by {row.maker}",
                cure="give the second device another name: registration IDs are unique",
            )
        else:
            self._refuse_other_kind(row, inject, kind)
            self._refuse_other_place(name, key_in_file)
            self._chain.events.record("supply chain", "again", f"{name} was there already")
        return self._chain.device(name)

    def _refuse_other_kind(self, row: DeviceRow, inject: Inject, kind: Algorithm) -> None:
        made = list(stored(row.chain_pem))
        found = request.describe_key(made[0].public_key())
        if (wanted := self._injected(made[0], inject)) == made and found == kind.value:
            return
        raise Conflict(
            f"There is a device {row.name!r} already",
            expected=f"a {kind.value} key, and put in: {chain.names(wanted[1:])}",
            found=f"a {found} key, and put in: {chain.names(made[1:])}",
            cure=f"take it as it is: lab.device({row.name!r}), or choose another name",
        )

    def _refuse_other_place(self, name: str, key_in_file: bool) -> None:
        if self._chain.has_key_in_file(name) == key_in_file:
            return
        places = "in a token of its own", "in a file"
        raise Conflict(
            f"There is a device {name!r} already",
            expected=f"one whose key is {places[key_in_file]}",
            found=f"its key is {places[not key_in_file]}",
            cure=f"take it as it is: lab.device({name!r}), or choose another name",
        )

    def pregenerate(
        self, names: Sequence[str], *, algorithm: Algorithm | str = Algorithm.P256
    ) -> Consignment[DeviceT]:
        """Keys for devices, made in this custodian's token to be carried to them, and their
        chains: the way that the lab warns of. :meth:`make_device` needs no key to travel.

        Raises Conflict where there is a device, or another's key, of one of these names.
        """
        kind = Algorithm.named(algorithm)
        asked = carried.wanted(names, f"{self.custodian.name}/{self.name}", self._chain)
        for name in self._chain.work.each(asked, "making keys to be carried"):
            self._pregenerate(name, kind)
        if asked:
            made = carried.private_keys(asked)
            self._tell("keys", f"{self.custodian.name} made {made}, for others to carry")
        else:
            made = carried.private_keys(names)
            self._tell("again", f"{self.custodian.name} had {made} already")
        return Consignment(names, self._chain)

    def _pregenerate(self, name: str, kind: Algorithm) -> None:
        """On record before the key is born: a crash in between leaves no key that nobody knows of.
        What it left without a chain goes on here."""
        row = PregeneratedRow(name, self.custodian.name, self.name, chain_pem="")
        self._chain.records.save(row)
        key = transport.generate(self.custodian.token, carried.label(name), kind)
        certificate = self._sign(request.make(key, request.name(name)), profiles.DEVICE)
        row.chain_pem = chain.to_pem(self._injected(certificate))
        self._chain.records.save(row)

    def make_devices(
        self, names: Sequence[str], *, keys: Where = "token", processes: int = 1
    ) -> Production[DeviceT | SimulatedDevice]:
        """Many devices in one go: see :meth:`labkit.supplychain.line.Line.make`."""
        return Line(self).make(names, keys=keys, processes=processes)

    def inject(self, device: DeviceT | str, part: Inject = "own") -> DeviceT:
        """This CA touches the device: it puts its own certificate in, in its place in the chain.

        With ``"all"`` those of its issuers too, for CAs that never touch a device. A root is not
        put in: whoever judges the chain has it, or does not trust it. Returns the device. Raises
        LabError where this CA is none of the device's issuers.
        """
        device = self._chain.device(device) if isinstance(device, str) else device
        path = self._chain.path(device.chain[0])
        if self.certificate not in path:
            raise LabError(
                f"{self.name} did not sign {device.name}, nor any CA above it",
                expected=f"a CA on the path {chain.names(path)}",
                found=f"{self.name} of {self.custodian.name}",
                cure="have those CAs inject that signed the device or one another",
            )
        mine = [ca for ca in self._behind(part) if not chain.is_self_signed(ca)]
        if missing := [ca for ca in mine if ca not in device.chain]:
            self._chain.inject(device, self.custodian.name, missing)
        elif mine:
            self._tell("again", f"{chain.names(mine)} was in {device.name} already")
        else:
            self._tell("again", f"{self.name} is the root: {device.name} need not have it")
        return device

    def sign_device(
        self,
        csr: x509.CertificateSigningRequest | Readable,
        *,
        profile: Profile = profiles.DEVICE,
    ) -> list[x509.Certificate]:
        """Signs the request of a device that keeps its own key: PEM, DER, or a file of either.

        ``profile`` is the template. DPS refuses what is by a server's or a CA's; what is by that
        of a proof of possession names no purpose, and passes as a device's. Returns what goes into
        the device: its certificate first, then its issuers without the root. Raises
        BadCertificate for what is no request, BadRequest for one that is not signed: the CN must
        be a registration ID; and Conflict where a device of this name has another key.
        """
        asked = request.read(csr)
        name = chain.common_name(asked)
        self._chain.refuse_other_key(name, asked)
        certificate = self._sign(asked, profile)
        text = f"{name} was signed by {self.name}, on a request from outside the lab"
        self._chain.events.record("supply chain", "signed", text, name=name)
        return self._injected(certificate)

    def revoke(
        self, *certificates: x509.Certificate, reason: str = "keyCompromise"
    ) -> x509.CertificateRevocationList:
        """A list on which this CA takes certificates back that it has signed, good for a week.
        It is for whoever asks for one: neither DPS nor a hub does.

        Raises BadRequest for a certificate of another CA, and for what is no reason.
        """
        signed = revocation.revocation_list(
            self.key, self.certificate, certificates, self._chain.clock.now(), reason
        )
        self._tell("revoked", f"{self.name} has signed a list that revokes {_named(certificates)}")
        return signed

    def prove_possession(self, code: str) -> x509.Certificate:
        """A verification certificate with ``code`` as its CN, signed inside the CA's token."""
        csr = possession.answer(self.custodian.token, code)
        return self._sign(csr, profiles.VERIFICATION)

    def _manufacture(self, name: str, inject: Inject, kind: Algorithm, in_file: bool) -> None:
        subject = request.name(name)
        key = self._chain.device_key(name, kind, in_file=in_file)
        csr = request.make(key, subject)
        self._tell("request", f"{name} sends {self.custodian.name} a request", name)
        self._issuing.on_requests([csr], profiles.DEVICE, lambda made: self._rows(made, inject))
        text = f"{name} was signed by {self.name}"
        text += ", and has its key in a file" if in_file else ""
        self._chain.events.record("supply chain", "device", text, name=name)

    def _rows(self, made: Sequence[x509.Certificate], inject: Inject = "all") -> list[DeviceRow]:
        """The devices that these certificates make, each with what this CA puts in."""
        return [
            DeviceRow(
                chain.common_name(certificate),
                self._full_name,
                chain.to_pem(self._injected(certificate, inject)),
            )
            for certificate in made
        ]

    def _injected(
        self, certificate: x509.Certificate, inject: Inject = "all"
    ) -> list[x509.Certificate]:
        """Without the root: whoever judges the chain must have that already, or it is worth
        nothing."""
        return [certificate, *(ca for ca in self._behind(inject) if not chain.is_self_signed(ca))]

    def _behind(self, inject: Inject) -> tuple[x509.Certificate, ...]:
        parts = {"all": self.chain, "own": self.chain[:1], "none": ()}
        if inject not in parts:
            raise LabError(
                f"{inject!r} is nothing that can be injected",
                expected=" or ".join(map(repr, parts)),
                cure="choose one of these",
            )
        return parts[inject]

    def _tell(self, kind: str, text: str, name: str = "") -> None:
        self._chain.events.record("supply chain", kind, text, name=name or self.name)

    @property
    def _full_name(self) -> str:
        """Two custodians may call their CAs the same."""
        return f"{self.custodian.name}/{self.name}"

    def _sign(self, csr: x509.CertificateSigningRequest, profile: Profile) -> x509.Certificate:
        """Nothing leaves this CA that is not in its ledger."""
        return self._issuing.on_requests([csr], profile)[0]


def _named(certificates: Sequence[x509.Certificate]) -> str:
    return chain.names(certificates) if certificates else "nothing"
