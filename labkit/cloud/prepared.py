"""Statements that are compiled once: for what a device waits for.

Written with SQLAlchemy like all others, and sent straight to SQLite, which keeps them prepared:
a tenth of the time that the way through SQLAlchemy's engine takes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

_DIALECT = SQLiteDialect_pysqlite()


class Prepared:
    """One statement. Values are given, and come back, in the types of its columns."""

    def __init__(self, statement: Select[Any] | Insert | Update | Delete) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self._sql = compiled.string
        names = tuple(compiled.positiontup or ())
        fixed = {name: compiled.params[name] for name in names}
        self._fixed = {name: value for name, value in fixed.items() if value is not None}
        self._names = names
        binders = (_of_sqlite(compiled.binds[name].type).bind_processor(_DIALECT) for name in names)
        self._binding = [(place, how) for place, how in enumerate(binders) if how is not None]
        columns = statement.selected_columns if isinstance(statement, Select) else ()
        converters = (
            _of_sqlite(column.type).result_processor(_DIALECT, None) for column in columns
        )
        self._reading = [(place, how) for place, how in enumerate(converters) if how is not None]

    def rows(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Runs it within the transaction of ``connection``: what was found, row by row."""
        if self._fixed:
            values = {**self._fixed, **values}
        bound = [values[name] for name in self._names]
        for place, convert in self._binding:
            bound[place] = convert(bound[place])
        driver = connection.connection.dbapi_connection
        assert driver is not None, "it is in a transaction"
        found = driver.execute(self._sql, bound).fetchall()
        return [self._read(row) for row in found] if self._reading else found

    def first(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        found = self.rows(connection, **values)
        return found[0] if found else None

    def _read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for place, convert in self._reading:
            values[place] = convert(values[place])
        return tuple(values)


def _of_sqlite(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return kind.dialect_impl(_DIALECT)
