"""What the stand-in CA decides: whose API key that is, what a profile is, whether it signs.

API key ── account ──> profile ──> checks of the request ──> signed ──> on record ──> handed out
  401                    404           422
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from labkit.clock import Clock
from labkit.database import Database
from labkit.errors import BadCertificate, BadRequest, Conflict, LabError
from labkit.events import Events
from labkit.hsm import Token, TokenStore
from labkit.pki import request
from labkit.pki.authority import Authority
from labkit.thirdparty import authority
from labkit.thirdparty.accounts import Account, digest
from labkit.thirdparty.profiles import ClientProfile
from labkit.thirdparty.tables import AccountRow, ApiKeyRow, AuthorityRow, Base, CertificateRow
from labkit.trace import Check, first_failure

SOURCE = "certificate service"
"""Under this name the event log keeps what it did."""
LARGEST_REQUEST = 16 * 1024
"""Characters of a request, in PEM."""
LONGEST_NAME = 24
"""Characters of the company's name: its CAs and its token are called after it."""

UNKNOWN_KEY, NO_PROFILE, BAD_CSR = "unknown_api_key", "unknown_profile", "unreadable_request"
REFUSED, UNABLE = "request_refused", "unable_to_sign"
"""Codes of what it answers in place of a certificate."""


class Declined(LabError):
    """What the service answers in place of a certificate: a ``status`` of HTTP, a constant
    ``code``, and why, with ``cures``. Nothing was signed."""

    def __init__(self, status: int, code: str, why: str, cures: Sequence[str] = ()) -> None:
        self.status, self.code, self.cures = status, code, tuple(cures)
        super().__init__(why, cure=" Or: ".join(cures))


class CertificateService:
    """The company ``name``: its CAs are made when it is first named. ``path`` is the file of its
    database; ``tokens`` hold its keys; what it issues is valid by ``clock``, the lab's."""

    def __init__(
        self, name: str, path: Path, tokens: TokenStore, clock: Clock, events: Events
    ) -> None:
        _check_name(name)
        self.name, self.clock, self._events = name, clock, events
        self.database = Database(path, Base.metadata)
        self._accounts: dict[str, Account] = {}
        self._lock = threading.RLock()
        try:
            self._row = self._made(tokens)
        except BaseException:
            self.close()
            raise
        self.issuing = authority.issuing(self._row, self._token, clock)

    def __repr__(self) -> str:
        return f"<Certificate service {self.name!r}>"

    @property
    def certificate(self) -> x509.Certificate:
        """Of the CA that signs for customers."""
        return self.issuing.certificate

    @property
    def root(self) -> x509.Certificate:
        """Of the root above it."""
        return self.issuing.chain[-1]

    @property
    def web(self) -> Authority:
        """Who vouches for its web service: a root of its own, in real time."""
        return authority.web(self._row, self._token)

    @property
    def web_root_pem(self) -> str:
        """That root in PEM, as trust stores have it."""
        return self._row.web_root_pem

    def account(self, name: str) -> Account:
        """The account of a customer: opened when first named."""
        if not name or len(name) > 64 or not name.isprintable():
            raise LabError(f"{name!r} cannot name an account", expected="1 to 64 characters")
        with self._lock:
            if name in self._accounts:
                return self._accounts[name]
            with self.database.write() as session:
                is_new = session.get(AccountRow, name) is None
                if is_new:
                    session.add(AccountRow(name, self.clock.now()))
            if is_new:
                self.record("account", f"{name} has an account at {self.name} now")
            return self._accounts.setdefault(name, Account(name, self))

    def record(self, kind: str, text: str) -> None:
        """Puts an event of the company on record."""
        self._events.record(SOURCE, kind, text)

    def close(self) -> None:
        self.database.close()

    # ---- what customers' systems ask

    def profile(self, api_key: str, name: str) -> ClientProfile:
        """A profile of the account that the key is of. Raises Declined (401, 404)."""
        account = self._admit(api_key)
        found = next((p for p in account.profiles if p.name.lower() == name.lower()), None)
        if found is not None:
            return found
        known = ", ".join(profile.name for profile in account.profiles) or "none yet"
        why = f"account {account.name} has no profile {name[:64]!r}; it has: {known}"
        raise Declined(404, NO_PROFILE, why, ("name one that there is, or have it made",))

    def issue(self, api_key: str, profile: str, csr: str) -> tuple[x509.Certificate, ...]:
        """Signs a request (PEM) by a profile: the certificate, and its issuers up to the root.

        Raises Declined (401, 404, 400 for what is no request, 422 for one that is not granted,
        503 where the CA itself is not valid now).
        """
        account, granted = self._admit(api_key), self.profile(api_key, profile)
        asked = _read(csr)
        checks = self._examined(granted, asked)
        if failure := first_failure(checks):
            self.record("refused", f"profile {granted.name!r} does not sign: {failure.why}")
            raise Declined(422, REFUSED, f"{failure.name}: {failure.why}", failure.cures)
        try:
            issued = self.issuing.issue(asked.public_key(), asked.subject, granted.certificate)
        except BadRequest as error:
            raise Declined(503, UNABLE, f"{error.message}: {error.found}", (error.cure,)) from error
        self._keep(account, granted, asked, issued)
        return (issued, *self.issuing.chain)

    # ---- inside

    def _admit(self, api_key: str) -> Account:
        """The account of a key. Raises Declined (401), which tells nothing of keys that are."""
        with self.database.read() as session:
            row = session.get(ApiKeyRow, digest(api_key))
        if row is not None:
            return self.account(row.account)
        self.record("refused", "a request came with an API key that no account has")
        why, cure = "no account has this API key", "ask the account's owner for a new one"
        raise Declined(401, UNKNOWN_KEY, why, (cure,))

    def _examined(
        self, granted: ClientProfile, asked: x509.CertificateSigningRequest
    ) -> tuple[Check, ...]:
        found: list[Check] = []
        for check in granted.examine(asked):
            found.append(check)
            if check.failed:
                break
        return tuple(found)

    def _keep(
        self,
        account: Account,
        granted: ClientProfile,
        asked: x509.CertificateSigningRequest,
        issued: x509.Certificate,
    ) -> None:
        ders = (asked.public_bytes(Encoding.DER), issued.public_bytes(Encoding.DER))
        serial, now = f"{issued.serial_number:x}", self.clock.now()
        with self.database.write() as session:
            session.add(CertificateRow(account.name, granted.name, serial, *ders, now))
        name = asked.subject.rfc4514_string()
        self.record("issued", f"{self.name} signed {name} by profile {granted.name!r}")

    def _made(self, tokens: TokenStore) -> AuthorityRow:
        """One company a lab: the token's label is on record before there is one."""
        with self.database.write() as session:
            row = session.scalar(select(AuthorityRow))
            if row is None:
                row = AuthorityRow(self.name, f"CA {self.name} {token_hex(2)}")
                session.add(row)
        if row.name != self.name:
            raise other_company(self.name, row.name)
        self._token: Token = tokens.token(row.token)
        made = authority.make(row, self._token, self.clock)
        with self.database.write() as session:
            session.merge(made)
        return made


def other_company(wanted: str, found: str) -> Conflict:
    """A lab has one such company: DPS knows one address for each kind of authority."""
    return Conflict(
        f"There is no room for {wanted!r}",
        found=f"this lab's certificate service is {found!r}",
        cure=f"name that one: lab.third_party_ca({found!r})",
    )


def known_name(path: Path) -> str:
    """The name of the company whose database this is; empty where there is none yet."""
    if not path.exists():
        return ""
    database = Database(path, Base.metadata)
    try:
        with database.read() as session:
            return session.scalar(select(AuthorityRow.name)) or ""
    finally:
        database.close()


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= LONGEST_NAME:
        raise LabError(
            f"{name!r} cannot name a certificate service",
            expected=f"text of 1 to {LONGEST_NAME} bytes",
        )
    request.name(name)  # what no certificate can hold is refused before there is a token


def _read(csr: str) -> x509.CertificateSigningRequest:
    if len(csr) > LARGEST_REQUEST:
        cure = f"send {LARGEST_REQUEST:,} characters at most"
        raise Declined(400, BAD_CSR, f"the request has {len(csr):,} characters", (cure,))
    try:
        return request.read(csr)
    except BadCertificate as error:
        raise Declined(400, BAD_CSR, f"{error.message}: {error.found}", (error.cure,)) from error
