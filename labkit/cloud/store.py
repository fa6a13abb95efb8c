"""What the cloud remembers: one database for DPS and every hub of a lab."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit.database import COLUMN_TYPES, Database


class Base(MappedAsDataclass, DeclarativeBase):
    """Each service declares its own tables on it, beside the code that uses them."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        **COLUMN_TYPES,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class _Setting(Base):
    __tablename__ = "setting"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


def setting(database: Database, name: str, make: Callable[[], str]) -> str:
    """The value kept under ``name``; made once in the life of a workspace."""
    with database.write() as session:
        row = session.get(_Setting, name)
        if row is None:
            row = _Setting(name, make())
            session.add(row)
        return row.value


def kept_setting(database: Database, name: str, default: str) -> str:
    """The value kept under ``name``, if there is one."""
    with database.read() as session:
        row = session.get(_Setting, name)
    return default if row is None else row.value


def keep_setting(database: Database, name: str, value: str) -> None:
    """Keeps ``value`` under ``name``, in place of another; it is on disk when this returns."""
    with database.write() as session:
        session.merge(_Setting(name, value))


def new_id_scope() -> str:
    """``0ne`` and eight hex digits, as DPS hands them out."""
    return f"0ne{secrets.token_hex(4).upper()}"


def new_sas_key() -> str:
    """256 random bits in base64, the form of a shared access key."""
    return b64encode(secrets.token_bytes(32)).decode()


def new_etag() -> str:
    """A version of a record that was never there before."""
    return secrets.token_hex(8)


def machine_time() -> datetime:
    """Real time, in which SAS tokens live, as the machines do that make them. Certificates are
    judged by the lab's clock."""
    return datetime.fromtimestamp(time.time(), UTC)


def azure_time(moment: datetime | None) -> str:
    """As .NET writes it: seven digits behind the point, and Z; its first moment for none."""
    if moment is None:
        return "0001-01-01T00:00:00Z"
    whole = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{whole}0Z"


def etag_matches(if_match: str, etag: str) -> bool:
    """If-Match (RFC 9110, 13.1.1) against the ETag of a record that exists.

    Nothing and ``*`` match any. Clients differ in how they write the rest: quoted, unquoted,
    escaped as it stood in the JSON, as base64 of the quoted text, or several of these. What is
    empty between or behind the commas of a list says nothing (RFC 9110, section 5.6.1).
    """
    wanted = {part.strip().removeprefix("W/").strip('"\\') for part in if_match.split(",")}
    if len(wanted) > 1:
        wanted.discard("")
    return bool(wanted & {"", "*", etag, wire_etag(etag)})


def wire_etag(etag: str) -> str:
    """An ETag as registration states carry it: base64 of the quoted text."""
    return b64encode(f'"{etag}"'.encode()).decode()
