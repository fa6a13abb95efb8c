"""What the stand-in CA remembers, in a database of its own: it is another company. No row of a
certificate is ever deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit.database import COLUMN_TYPES


class Base(MappedAsDataclass, DeclarativeBase):
    """The tables of this company."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {**COLUMN_TYPES, list[Any]: JSON}


class AuthorityRow(Base):
    """The company: the token that has its keys, and in PEM its issuing CA with the root behind it,
    and the root that vouches for its web service."""

    __tablename__ = "authority"
    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    chain_pem: Mapped[str] = mapped_column(default="")
    web_root_pem: Mapped[str] = mapped_column(default="")


class AccountRow(Base):
    """A customer."""

    __tablename__ = "account"
    name: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]


class ApiKeyRow(Base):
    """An API key of an account, as its SHA-256 in hex: the key itself is kept nowhere. That is
    enough for 256 random bits; what people choose would need a slow hash with a salt."""

    __tablename__ = "api_key"
    digest: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str]
    created: Mapped[datetime]


class ProfileRow(Base):
    """A client certificate profile of an account: see
    :class:`labkit.thirdparty.profiles.ClientProfile`. ``key`` is its name in lower case."""

    __tablename__ = "profile"
    account: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    common_names: Mapped[str]
    days: Mapped[int]
    suspended: Mapped[bool]
    keys: Mapped[list[Any]]
    purposes: Mapped[list[Any]]


class CertificateRow(Base):
    """A certificate that was issued: on record before anybody has it."""

    __tablename__ = "certificate"
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    account: Mapped[str]
    profile: Mapped[str]
    serial: Mapped[str] = mapped_column(unique=True)
    request: Mapped[bytes]
    der: Mapped[bytes]
    at: Mapped[datetime]
