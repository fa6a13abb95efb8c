"""The CAs of all namespaces: their keys are in tokens, one token for each namespace, as Azure keeps
them in a managed HSM.

P-384 and SHA-384 throughout. A key is made before its certificate, and the certificate is on
record before anybody has it: whoever is killed in between finds the key and goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labkit.clock import Clock
from labkit.cloud.adr import names
from labkit.cloud.adr.tables import CaRow, NamespaceRow, Signer
from labkit.cloud.store import new_etag
from labkit.database import Database
from labkit.errors import LabError
from labkit.hsm import Algorithm, KeyPlace, Token, TokenKey, TokenStore
from labkit.pki import profiles
from labkit.pki.authority import Authority, self_sign

ROOT = profiles.ROOT_CA.limited_to(1).lasting(timedelta(days=3653))
ISSUING = profiles.ISSUING_CA.limited_to(0).lasting(timedelta(days=1096))
"""Ten years and three: Azure's documents name no number."""

_LONGEST_IN_LABEL = 19


@dataclass(frozen=True, slots=True)
class Chain:
    """A CA and its issuers up to the root: as certificates, and each in DER."""

    certificates: tuple[x509.Certificate, ...]
    ders: tuple[bytes, ...]


class Authorities:
    """Makes CAs, one at a time, and finds those that were made. ``tokens`` is None for a cloud
    without HSM."""

    def __init__(self, database: Database, clock: Clock, tokens: TokenStore | None) -> None:
        self._database, self._clock, self._tokens = database, clock, tokens
        self._chains: dict[int, Chain] = {}

    def make_root(self, namespace: NamespaceRow) -> CaRow:
        """The root of a namespace that has none."""
        number, earlier = self._next(namespace.name, "")
        token, label = self._token(_token_label(namespace)), f"root {number}"
        key = token.ensure_key(label, Algorithm.P384)
        certificate = self_sign(key, names.of_root(namespace.name, earlier), self._clock, ROOT)
        return self._keep(number, namespace.name, "", 0, (token.label, label), certificate)

    def make_issuing(self, root: CaRow, policy: str, days: int) -> CaRow:
        """The issuing CA of a new policy, signed by the root. Raises BadRequest where that is not
        valid now."""
        number, earlier = self._next(root.namespace, policy)
        token, label = self._token(root.token), f"policy {number}"
        key = token.ensure_key(label, Algorithm.P384)
        subject = names.of_issuing(root.namespace, policy, earlier)
        above = Authority(
            self._token(root.token).key(root.key),
            self.chain(root.number).certificates,
            self._clock,
        )
        certificate = above.issue(key.public_key(), subject, ISSUING)
        at = (token.label, label)
        return self._keep(number, root.namespace, policy, days, at, certificate, root.number)

    def place(self, ca: Signer) -> KeyPlace:
        """Where its key is."""
        return self._store().place(ca.token, ca.key)

    def key(self, place: KeyPlace) -> TokenKey:
        """The key at this place."""
        return self._store().key(place)

    def chain(self, number: int) -> Chain:
        """The certificate of a CA, and the root's behind it. None ever changes."""
        if number not in self._chains:
            with self._database.read() as session:
                ca = session.get_one(CaRow, number)
                rows = [ca] if ca.issuer is None else [ca, session.get_one(CaRow, ca.issuer)]
            found = tuple(row.certificate for row in rows), tuple(row.der for row in rows)
            self._chains[number] = Chain(*found)
        return self._chains[number]

    def _token(self, label: str) -> Token:
        return self._store().token(label)

    def _store(self) -> TokenStore:
        if self._tokens is None:
            raise LabError("This cloud has no HSM", cure="open a lab: it has tokens for its CAs")
        return self._tokens

    def _next(self, namespace: str, policy: str) -> tuple[int, int]:
        """The number of the next CA, and how many there were of the same name."""
        same = (CaRow.namespace == namespace) & (func.lower(CaRow.policy) == policy.lower())
        with self._database.read() as session:
            last = session.scalar(select(func.max(CaRow.number))) or 0
            earlier = session.scalar(select(func.count()).where(same)) or 0
        return last + 1, earlier

    def _keep(
        self,
        number: int,
        namespace: str,
        policy: str,
        days: int,
        at: tuple[str, str],
        certificate: x509.Certificate,
        issuer: int | None = None,
    ) -> CaRow:
        now, der = self._clock.now(), certificate.public_bytes(Encoding.DER)
        row = CaRow(number, namespace, policy, days, *at, der, issuer, now, now, new_etag())
        with self._database.write() as session:
            session.add(row)
        return row


def current(session: Session, namespace: str, policy: str = "") -> CaRow | None:
    """The root of a namespace, or the issuing CA of its policy; none that is retired."""
    same = (CaRow.namespace == namespace) & (func.lower(CaRow.policy) == policy.lower())
    return session.scalar(select(CaRow).where(same, CaRow.retired.is_(None)))


def _token_label(namespace: NamespaceRow) -> str:
    """Of 32 bytes at the most. Part of the UUID is in it: nobody else's token is called so, nor
    that of an earlier namespace of this name."""
    return f"ADR {namespace.name[:_LONGEST_IN_LABEL]} {namespace.uuid[:8]}"
