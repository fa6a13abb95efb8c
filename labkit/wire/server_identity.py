"""Who the emulated cloud is in TLS: a root and an issuing CA of its own, and a leaf for each start.

The CAs' keys are in a token like everybody's. The leaf's key is made at each start and lives
in memory only, as a server's must that shakes hands hundreds of times a second; it is never
written anywhere. All of this lives in *real* time: clients check a server's certificate by
their machine's clock, whatever the lab's clock says.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from labkit.clock import Clock
from labkit.errors import BadCertificate
from labkit.files import write_whole
from labkit.hsm import TokenKey, TokenStore
from labkit.pki import chain, profiles, reading, request
from labkit.pki.authority import Authority, self_sign
from labkit.wire.tls import server_context

TOKEN = "Azure services (emulated)"
_ROOT, _ISSUING, _LEAF = "Lab Service Root CA", "Lab Service Issuing CA", "Lab Services"


class ServerIdentity:
    """``root_file`` is the PEM file that clients have to trust."""

    def __init__(self, tokens: TokenStore, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.root_file = directory / "server-root.pem"
        self._issuing_file = directory / "server-issuing.pem"
        self._token = tokens.token(TOKEN)
        self._real_time = Clock()
        self._issuing = self._authority()

    @property
    def root_pem(self) -> str:
        return self.root_file.read_text()

    def context(self, names: Iterable[str], addresses: Iterable[str]) -> SSL.Context:
        """A TLS context whose fresh certificate covers these host names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        covered = [
            *(x509.DNSName(name) for name in sorted(set(names))),
            *(x509.IPAddress(ip_address(address)) for address in sorted(set(addresses))),
        ]
        # Clients look at these names only; a CN would be too short for a hub's longest.
        leaf = self._issuing.issue(
            key.public_key(), request.name(_LEAF), profiles.SERVER, names=covered
        )
        return server_context(key, (leaf, self._issuing.certificate))

    def _authority(self) -> Authority:
        root_key, key = self._token.ensure_key(_ROOT), self._token.ensure_key(_ISSUING)
        return Authority(key, self._stored() or self._made(root_key, key), self._real_time)

    def _stored(self) -> list[x509.Certificate]:
        """Issuing CA and root; empty where they were never written whole."""
        try:
            return [reading.read_certificate(file) for file in (self._issuing_file, self.root_file)]
        except BadCertificate:
            return []

    def _made(self, root_key: TokenKey, key: TokenKey) -> list[x509.Certificate]:
        root = self_sign(root_key, request.name(_ROOT), self._real_time)
        signer = Authority(root_key, [root], self._real_time)
        csr = request.make(key, request.name(_ISSUING))
        issuing = signer.sign_request(csr, profiles.INTERMEDIATE_CA)
        write_whole(self.root_file, chain.to_pem([root]))
        write_whole(self._issuing_file, chain.to_pem([issuing]))
        return [issuing, root]
