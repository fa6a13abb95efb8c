"""The query language of IoT Hub: a text becomes a :class:`Query` that picks and shapes documents.

    SELECT [TOP n] * | column, …  FROM devices | devices.jobs  [WHERE condition] [GROUP BY path, …]

What a path does not find is *undefined*, which is neither true nor false: a comparison with it is
undefined too, NOT leaves it so, and only what is true is picked. So is a comparison of values of
different kinds.

The grammar is lark's to read. Nothing here looks at a text longer than :data:`LONGEST`, or at a
condition nested deeper than :data:`DEEPEST`.

Source: Azure documentation, IoT Hub query language for device and module twins, jobs, and message
routing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer, Tree, UnexpectedCharacters, UnexpectedInput, v_args
from lark.exceptions import UnexpectedEOF, VisitError

from labkit.cloud.hub import aggregates, values
from labkit.cloud.hub.values import UNDEFINED

LONGEST = 8192
"""Characters of a query."""
DEEPEST = 32
"""Parentheses, NOTs and brackets within one another."""

DEVICES, JOBS = "devices", "devices.jobs"

Document: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Document], Any]

_GRAMMAR = r"""
query: "SELECT"i [top] columns "FROM"i source ["WHERE"i condition] ["GROUP"i "BY"i groups]
condition: _or
top: "TOP"i INTEGER
columns: "*" -> everything | column ("," column)*
column: (aggregate | path) ["AS"i name]
aggregate: NAME "(" ["*" | path] ")"
groups: path ("," path)*
source: path

_or: either | _and
either: _and ("OR"i _and)+
_and: both | _not
both: _not ("AND"i _not)+
_not: negation | _test
negation: "NOT"i _not
_test: "(" _or ")" | comparison | membership | exclusion | truth
comparison: _value OPERATOR _value
membership: _value "IN"i list
exclusion: _value ("NIN"i | "NOT"i "IN"i) list
truth: _value
_value: call | path | _literal
call: NAME "(" [_value ("," _value)*] ")"
list: "[" [_literal ("," _literal)*] "]" | "(" _literal ("," _literal)* ")"
_literal: string | number | true | false | null
string: STRING
number: INTEGER | DECIMAL
true: "TRUE"i
false: "FALSE"i
null: "NULL"i
path: name ("." name)*
name: NAME | QUOTED

OPERATOR: "!=" | "<>" | "<=" | ">=" | "=" | "<" | ">"
STRING: /'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"/s
INTEGER.2: /[+-]?[0-9]{1,18}(?![.0-9eE])/
DECIMAL: /[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/
QUOTED: /\[\[[^\[\]]+\]\]/
NAME: /[^\W\d][\w$-]*|\$[\w$-]+/i
%ignore /\s+/
"""


class QueryError(ValueError):
    """A text that is no query: ``at`` is the place of the character where that shows, from 1."""

    def __init__(self, why: str, at: int) -> None:
        self.why, self.at = why, at
        super().__init__(f"{why}, at character {at}")


@dataclass(frozen=True, slots=True)
class Path:
    """Where in a document a value is."""

    names: tuple[str, ...]
    at: int = 1

    def __call__(self, document: Document) -> Any:
        """The value there; undefined where there is none. The names of the top level are found
        in any case, as Azure's own examples write them."""
        return values.at(document, self.names)

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result, by its ``name``: a value of the document, or an aggregate."""

    name: str
    path: Path | None
    aggregate: aggregates.Aggregate | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was read. ``columns`` is empty for ``*``, ``top`` is 0 for all."""

    source: str
    columns: tuple[Column, ...] = ()
    condition: Reader | None = None
    groups: tuple[Path, ...] = ()
    top: int = 0

    @property
    def is_aggregate(self) -> bool:
        """Whether its rows are made of many documents, so that it has to see them all."""
        return bool(self.groups) or any(column.aggregate for column in self.columns)

    def picks(self, document: Document) -> bool:
        """Whether the condition is true of a document."""
        return self.condition is None or self.condition(document) is True

    def shaped(self, document: Document) -> dict[str, Any]:
        """The row of one document; what is undefined is left out of it."""
        if not self.columns:
            return dict(document)
        read = ((c.name, c.path(document)) for c in self.columns if c.path is not None)
        return {name: value for name, value in read if value is not UNDEFINED}

    def rows(self, documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
        """All rows, of all documents."""
        picked = filter(self.picks, documents)
        rows = self._grouped(picked) if self.is_aggregate else map(self.shaped, picked)
        return islice(rows, self.top) if self.top else iter(rows)

    def _grouped(self, documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
        kept: dict[str, list[Document]] = {} if self.groups else {values.key([]): []}
        for document in documents:
            key = values.key([path(document) for path in self.groups])
            kept.setdefault(key, []).append(document)
        return map(self._summed_up, kept.values())

    def _summed_up(self, group: list[Document]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for column in self.columns:
            if column.aggregate is not None:
                read = map(column.path, group) if column.path else iter(group)
                row[column.name] = column.aggregate(read)
            elif column.path is not None:
                row[column.name] = column.path(group[0])
        return {name: value for name, value in row.items() if value is not UNDEFINED}


def parse(text: str) -> Query:
    """A whole query. Raises QueryError."""
    found = _read(text, "query")
    assert isinstance(found, Query)
    return found


def parse_condition(text: str) -> Query:
    """All devices of which a condition is true, as jobs name them: what stands behind WHERE.
    Nothing, or ``*``, is all devices. Raises QueryError."""
    if text.strip() in ("", "*"):
        return Query(DEVICES)
    return Query(DEVICES, condition=_read(text, "condition"))


@cache
def _parser() -> Lark:
    """Its tables are made when the first query comes."""
    return Lark(
        _GRAMMAR,
        start=["query", "condition"],
        parser="lalr",
        propagate_positions=True,
        maybe_placeholders=True,
    )


def _read(text: str, start: str) -> Any:
    if len(text) > LONGEST:
        raise QueryError(f"it is longer than {LONGEST} characters", LONGEST + 1)
    try:
        tree = _parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    _check_depth(tree)
    try:
        return _Reading().transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise


def _check_depth(tree: Tree[Token]) -> None:
    level, depth = [tree], 0
    while level:
        if depth > DEEPEST:
            raise QueryError(
                f"it is nested deeper than {DEEPEST} levels", level[0].meta.start_pos + 1
            )
        level = [child for one in level for child in one.children if isinstance(child, Tree)]
        depth += 1


_WORDS = {
    "NAME": "a name",
    "QUOTED": "a name",
    "STRING": "a text in quotes",
    "INTEGER": "a number",
    "DECIMAL": "a number",
    "OPERATOR": "= or another comparison",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": "a comma",
    "DOT": "a dot",
    "STAR": "*",
    "$END": "the end",
}


def _unexpected(error: UnexpectedInput, text: str) -> QueryError:
    at = len(text.rstrip()) + 1 if _is_at_end(error) else (error.pos_in_stream or 0) + 1
    wanted = sorted({_WORDS.get(name, name) for name in _expected(error)})
    seen = repr(text[at - 1 : at + 19]) if text[at - 1 :].strip() else "the end"
    return QueryError(f"found {seen}, expected {' or '.join(wanted)}", at)


def _is_at_end(error: UnexpectedInput) -> bool:
    token = getattr(error, "token", None)
    return isinstance(error, UnexpectedEOF) or (token is not None and token.type == "$END")


def _expected(error: UnexpectedInput) -> Iterable[str]:
    if isinstance(error, UnexpectedCharacters):
        return error.allowed or ()
    return getattr(error, "accepts", None) or getattr(error, "expected", None) or ()


@v_args(inline=True)
class _Reading(Transformer[Token, Any]):
    """From the tree's leaves up: values become functions of a document."""

    # ---- clauses

    def query(self, top: Any, columns: Any, source: str, condition: Any, groups: Any) -> Query:
        found = Query(source, columns, condition, groups or (), top or 0)
        for column in columns:
            if found.is_aggregate and column.aggregate is None:
                _check_grouped(column, found.groups)
        if found.groups and not columns:
            raise QueryError("SELECT * has no groups: name the columns", found.groups[0].at)
        return found

    def condition(self, inner: Reader) -> Reader:
        return inner

    def top(self, number: Token) -> int:
        if int(number) < 1:
            raise QueryError("TOP wants 1 at least", _at(number))
        return int(number)

    def everything(self) -> tuple[Column, ...]:
        return ()

    def columns(self, *columns: Column) -> tuple[Column, ...]:
        return columns

    def column(self, what: Path | Column, name: Token | None) -> Column:
        found = what if isinstance(what, Column) else Column(what.names[-1], what)
        return found if name is None else Column(str(name), found.path, found.aggregate)

    def aggregate(self, name: Token, path: Path | None = None) -> Column:
        found = aggregates.find(str(name), path is not None)
        if found is None:
            raise QueryError(f"{name} is none of {aggregates.KNOWN}", _at(name))
        return Column(str(name).upper(), path, found)

    def groups(self, *paths: Path) -> tuple[Path, ...]:
        return paths

    def source(self, path: Path) -> str:
        found = str(path).lower()
        if found not in (DEVICES, JOBS):
            raise QueryError(f"FROM wants {DEVICES} or {JOBS}, not {str(path)!r}", path.at)
        return found

    # ---- conditions

    def either(self, *parts: Reader) -> Reader:
        return lambda document: values.either(part(document) for part in parts)

    def both(self, *parts: Reader) -> Reader:
        return lambda document: values.both(part(document) for part in parts)

    def negation(self, part: Reader) -> Reader:
        return lambda document: values.negated(part(document))

    def comparison(self, left: Reader, operator: Token, right: Reader) -> Reader:
        compare = values.COMPARISONS[str(operator)]
        return lambda document: compare(left(document), right(document))

    def membership(self, value: Reader, among: tuple[Any, ...]) -> Reader:
        return lambda document: values.among(value(document), among)

    def exclusion(self, value: Reader, among: tuple[Any, ...]) -> Reader:
        return lambda document: values.negated(values.among(value(document), among))

    def truth(self, value: Reader) -> Reader:
        return value

    def list(self, *items: Any) -> tuple[Any, ...]:
        return tuple(item({}) for item in items if item is not None)

    # ---- values

    def call(self, name: Token, *arguments: Reader) -> Reader:
        given = [argument for argument in arguments if argument is not None]
        function = values.FUNCTIONS.get((str(name).lower(), len(given)))
        if function is None:
            many = "1 value" if len(given) == 1 else f"{len(given)} values"
            raise QueryError(f"there is no function {name} of {many}", _at(name))
        return lambda document: function(*(argument(document) for argument in given))

    def path(self, *names: Token) -> Path:
        return Path(tuple(map(str, names)), _at(names[0]))

    def name(self, token: Token) -> Token:
        if token.type != "QUOTED":
            return token
        return token.update(value=token[2:-2])

    def string(self, token: Token) -> Reader:
        text = values.unquoted(str(token))
        return lambda _: text

    def number(self, token: Token) -> Reader:
        value = float(token) if token.type == "DECIMAL" else int(token)
        return lambda _: value

    def true(self) -> Reader:
        return lambda _: True

    def false(self) -> Reader:
        return lambda _: False

    def null(self) -> Reader:
        return lambda _: None


def _check_grouped(column: Column, groups: tuple[Path, ...]) -> None:
    assert column.path is not None, "it is no aggregate"
    if column.path.names not in [path.names for path in groups]:
        why = f"{column.path} stands beside an aggregate, and is not in GROUP BY"
        raise QueryError(why, column.path.at)


def _at(token: Token) -> int:
    return (token.start_pos or 0) + 1
