"""Accounts at the stand-in CA: whose API keys and profiles there are."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cryptography import x509
from sqlalchemy import delete, func, select

from labkit.errors import Conflict, NotFound
from labkit.thirdparty.profiles import ClientProfile
from labkit.thirdparty.tables import ApiKeyRow, CertificateRow, ProfileRow

if TYPE_CHECKING:
    from labkit.thirdparty.service import CertificateService

KEY_BEGINS = "3ca_"
"""What every API key begins with, so that one that lies about can be recognised."""


class Account:
    """A customer of the CA, by ``name``."""

    def __init__(self, name: str, service: CertificateService) -> None:
        self.name, self._service = name, service

    def __repr__(self) -> str:
        keys = self._count_keys()
        return f"<Account {self.name!r} at {self._service.name}, API keys: {keys}>"

    # ---- API keys

    def new_api_key(self) -> str:
        """An API key for this account, told this once: only its hash is kept. The ones before go
        on to be good, so that it can be changed wherever it is in use."""
        key = KEY_BEGINS + secrets.token_urlsafe(32)
        row = ApiKeyRow(digest(key), self.name, self._service.clock.now())
        with self._service.database.write() as session:
            session.add(row)
        self._service.record("key", f"{self.name} has a new API key")
        return key

    def revoke_api_keys(self) -> None:
        """Every API key of this account is good no more. Harmless where there is none."""
        with self._service.database.write() as session:
            session.execute(delete(ApiKeyRow).where(ApiKeyRow.account == self.name))
        self._service.record("revoked", f"the API keys of {self.name} are good no more")

    def _count_keys(self) -> int:
        mine = select(func.count()).where(ApiKeyRow.account == self.name)
        with self._service.database.read() as session:
            return session.scalar(mine) or 0

    # ---- profiles

    def profile(self, name: str, **settings: Any) -> ClientProfile:
        """The client certificate profile of this name: made when first named, with the settings of
        :class:`ClientProfile`. The same again is harmless.

        Raises Conflict where there is another one of this name, BadRequest for what can be none.
        """
        wanted, found = ClientProfile.of(name, settings), self._find(name)
        if found is None:
            self._keep(wanted)
            self._service.record("profile", f"{self.name} has the profile {name!r} now")
            return wanted
        if settings and found != wanted:
            raise Conflict(
                f"{self.name} has another profile {name!r} already",
                expected=str(wanted),
                found=str(found),
                cure="change it: account.change_profile(name, ...)",
            )
        self._service.record("again", f"profile {name!r} was there already")
        return found

    def change_profile(self, name: str, **settings: Any) -> ClientProfile:
        """Changes a profile; what was issued under it stays. ``suspended=True`` lets it refuse
        everything. Raises NotFound, BadRequest."""
        found = self._find(name)
        if found is None:
            raise NotFound(
                f"{self.name} has no profile {name!r}",
                found=f"it has: {', '.join(p.name for p in self.profiles) or 'none yet'}",
                cure=f"make it: account.profile({name!r}, ...)",
            )
        kept = asdict(found)
        changed = ClientProfile.of(kept.pop("name"), {**kept, **settings})
        self._keep(changed)
        self._service.record("changed", f"profile {found.name!r} is another now")
        return changed

    @property
    def profiles(self) -> list[ClientProfile]:
        """All of this account, in the order of their names."""
        mine = select(ProfileRow).where(ProfileRow.account == self.name).order_by(ProfileRow.key)
        with self._service.database.read() as session:
            return [_profile(row) for row in session.scalars(mine)]

    @property
    def certificates(self) -> list[x509.Certificate]:
        """What was issued to this account, the oldest first."""
        mine = select(CertificateRow.der).where(CertificateRow.account == self.name)
        with self._service.database.read() as session:
            ders: Sequence[bytes] = session.scalars(mine.order_by(CertificateRow.number)).all()
        return [x509.load_der_x509_certificate(der) for der in ders]

    def _find(self, name: str) -> ClientProfile | None:
        with self._service.database.read() as session:
            row = session.get(ProfileRow, (self.name, name.lower()))
        return _profile(row) if row is not None else None

    def _keep(self, profile: ClientProfile) -> None:
        said = {**asdict(profile), "keys": list(profile.keys), "purposes": list(profile.purposes)}
        with self._service.database.write() as session:
            session.merge(ProfileRow(account=self.name, key=profile.name.lower(), **said))


def digest(key: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _profile(row: ProfileRow) -> ClientProfile:
    settings = (row.common_names, tuple(row.keys), row.days, tuple(row.purposes), row.suspended)
    return ClientProfile(row.name, *settings)
