"""The query language: what its sentences pick, and what it says of those that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from hypothesis import given
from hypothesis import strategies as st
from provisioning import Emulated, emulated

from labkit.cloud.hub import Hub, language
from labkit.cloud.hub.language import QueryError, parse, parse_condition
from labkit.errors import ServiceRefusal

PLANTS = {"a": "43", "b": "44", "c": "43"}
NETS = {"a": "wifi", "b": "wired"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("query") / "cloud", hubs=("alpha-hub",)) as opened:
        hub = opened.cloud.hubs.get("alpha-hub")
        for number, (name, plant) in enumerate(PLANTS.items()):
            hub.devices.create(name, ca=True)
            tags = {"location": {"plant": plant}}
            hub.update_twin(name, tags=tags, desired={"interval": 30 * number, "on": name != "b"})
            if net := NETS.get(name):
                hub.report(name, {"connectivity": {"type": net}, "level": number + 0.5})
        hub.devices.disable("b", "in repair")
        hub.devices.create("keyed")
        yield opened


@pytest.fixture(scope="module")
def hub(service: Emulated) -> Hub:
    return service.cloud.hubs.get("alpha-hub")


CONDITIONS = {
    "tags.location.plant = '43'": "ac",
    "tags.location.plant='43' AND properties.desired.interval >= 60": "c",
    "properties.reported.connectivity.type IN ['wired', 'wifi']": "ab",
    "properties.reported.connectivity.type IN ('wired')": "b",
    "properties.reported.connectivity.type NIN ['wired']": "a",
    "properties.reported.connectivity.type NOT IN ['wired']": "a",
    "is_defined(properties.reported.connectivity)": "ab",
    "NOT is_defined(properties.reported.connectivity)": "c",
    "properties.desired.on": "ac",
    "properties.desired.on = true AND NOT (deviceId = 'a')": "c",
    "NOT properties.desired.on": "b",
    "status = 'disabled'": "b",
    'statusReason = "in repair"': "b",
    "STARTSWITH(deviceId, 'b') OR deviceId > 'b'": "bc",
    "endswith(tags.location.plant, '4')": "b",
    "contains(statusReason, 'rep')": "b",
    "DeviceId IN ['a', 'z']": "a",
    "devices.deviceId <> 'a'": "bc",
    "authenticationType != 'certificateAuthority'": "",
    "connectionState = 'Disconnected'": "abc",
    "capabilities.iotEdge = false": "abc",
    "properties.reported.level >= 0.5 and properties.reported.level < 1e0": "a",
    "properties.desired.interval = -1 or properties.desired.interval = 30": "b",
    "tags.[[location]].plant = '44'": "b",
    "tags.location.plant = 43": "",
    "NOT tags.location.plant = 43": "",
    "is_number(properties.desired.interval) and is_string(deviceId) and is_object(tags)": "abc",
    "is_null(tags.none) or is_bool(properties.desired.interval)": "",
    "": "abc",
    " * ": "abc",
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_picks_the_devices_of_which_it_is_true(hub: Hub, condition: str) -> None:
    found = hub.queries.devices(condition)
    assert "".join(name for name in found if name != "keyed") == CONDITIONS[condition]


def test_select_star_is_the_whole_twin_as_a_back_end_reads_it(hub: Hub) -> None:
    (twin,) = hub.query("SELECT * FROM devices WHERE deviceId = 'b'")
    assert twin["tags"] == {"location": {"plant": "44"}}
    assert twin["status"] == "disabled"
    assert twin["statusReason"] == "in repair"
    assert twin["authenticationType"] == "certificateAuthority"
    assert twin["x509Thumbprint"] == {"primaryThumbprint": None, "secondaryThumbprint": None}
    assert twin["properties"]["reported"]["connectivity"] == {"type": "wired"}
    assert twin["properties"]["desired"]["$version"] == 2
    assert twin["cloudToDeviceMessageCount"] == 0
    assert "primaryKey" not in json.dumps(hub.query("SELECT * FROM devices"))


def test_columns_and_what_is_not_there_is_left_out(hub: Hub) -> None:
    text = "SELECT deviceId, properties.reported.level AS level FROM devices WHERE deviceId < 'd'"
    expected = [{"deviceId": "a", "level": 0.5}, {"deviceId": "b", "level": 1.5}, {"deviceId": "c"}]
    assert hub.query(text) == expected


def test_counting_and_grouping(hub: Hub) -> None:
    assert hub.query("SELECT COUNT() AS totalNumber FROM devices") == [{"totalNumber": 4}]
    assert hub.query("SELECT COUNT() AS n FROM devices WHERE status = 'gone'") == [{"n": 0}]
    grouped = hub.query(
        "SELECT tags.location.plant AS plant, COUNT() AS numberOfDevices FROM devices "
        "WHERE is_defined(tags.location) GROUP BY tags.location.plant"
    )
    assert grouped == [
        {"plant": "43", "numberOfDevices": 2},
        {"plant": "44", "numberOfDevices": 1},
    ]
    of = "properties.desired.interval"
    (found,) = hub.query(
        f"SELECT SUM({of}) AS s, AVG({of}) AS a, MIN({of}), MAX({of}) FROM devices"
    )
    assert found == {"s": 90, "a": 30, "MIN": 0, "MAX": 60}


def test_top_takes_the_first(hub: Hub) -> None:
    assert hub.query("SELECT TOP 2 deviceId FROM devices") == [{"deviceId": "a"}, {"deviceId": "b"}]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT deviceId FROM devices",
        "SELECT TOP 3 deviceId FROM devices",
        "SELECT deviceId, COUNT() AS n FROM devices GROUP BY deviceId",
    ],
)
def test_page_by_page_is_all_and_each_once(hub: Hub, text: str) -> None:
    rows: list[Any] = []
    token = ""
    while True:
        found = hub.queries.page(text, 2, token)
        assert len(found.rows) <= 2
        rows += found.rows
        token = found.continuation
        if not token:
            break
    assert rows == hub.query(text)


def test_a_token_is_of_its_own_query(hub: Hub) -> None:
    token = hub.queries.page("SELECT * FROM devices", 1).continuation
    with refused(ServiceRefusal, "400004", "is not one that this query gave"):
        hub.queries.page("SELECT deviceId FROM devices", 1, token)
    with refused(ServiceRefusal, "400004"):
        hub.queries.page("SELECT * FROM devices", 1, "nonsense")


ERRORS = {
    "": ("the end", 1),
    "SELECT": ("the end", 7),
    "UPDATE devices": ("UPDATE devices", 1),
    "SELECT * FROM elsewhere": ("devices or devices.jobs", 15),
    "SELECT * FROM devices WHERE": ("the end", 28),
    "SELECT * FROM devices WHERE tags.x == 3": ("'= 3'", 37),
    "SELECT * FROM devices WHERE tags.x = 'open": ("'open", 38),
    "SELECT * FROM devices ORDER BY deviceId": ("ORDER BY", 23),
    "SELECT * FROM devices WHERE near(tags.x)": ("no function near", 29),
    "SELECT deviceId, COUNT() AS n FROM devices": ("not in GROUP BY", 8),
    "SELECT MEDIAN(tags.x) FROM devices": ("MEDIAN is none of", 8),
    "SELECT SUM() FROM devices": ("SUM is none of", 8),
    "SELECT TOP 0 * FROM devices": ("TOP wants 1", 12),
    "SELECT * FROM devices GROUP BY tags.x": ("name the columns", 32),
}


@pytest.mark.parametrize("text", ERRORS)
def test_what_is_no_query_is_told_where(text: str) -> None:
    words, at = ERRORS[text]
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert words in caught.value.why
    assert caught.value.at == at


def test_a_refusal_shows_the_place(hub: Hub) -> None:
    with refused(ServiceRefusal, "400004", "at character 37", "== 3"):
        hub.query("SELECT * FROM devices WHERE tags.x == 3")


def test_what_is_too_long_or_too_deep_is_refused() -> None:
    with pytest.raises(QueryError, match="longer than"):
        parse("SELECT * FROM devices WHERE a = '" + "x" * language.LONGEST + "'")
    with pytest.raises(QueryError, match="nested deeper"):
        parse_condition("NOT " * 100 + "a = 1")
    with pytest.raises(QueryError, match="nested deeper"):
        parse_condition("NOT (a = 1 AND " * 40 + "b = 2" + ")" * 40)


def test_the_longest_text_of_brackets_is_answered() -> None:
    """What is only brackets nests nothing, and breaks nothing."""
    deep = "(" * 4000 + "a = 1" + ")" * 4000
    assert parse_condition(deep).picks({"a": 1})


WORDS = """SELECT FROM WHERE devices * ( ) [ ] , . = != IN NOT AND OR 'x' 1 -2.5e3 tags.a COUNT() AS
n GROUP BY TOP true null is_defined [[ ]] $ ' " \\ é devices.jobs"""
TOKENS = st.sampled_from([*WORDS.split(), "\x00"])


@given(st.text(max_size=60) | st.lists(TOKENS, max_size=20).map(" ".join))
def test_any_text_is_a_query_or_told_to_be_none(text: str) -> None:
    """Nothing else comes out: no error of the parser, no endless work."""
    for read in (parse, parse_condition):
        places = []
        try:
            list(read(text).rows([{"deviceId": "a", "tags": {"a": 1}}]))
        except QueryError as error:
            places.append(error.at)
        assert all(1 <= at <= len(text) + 1 for at in places)


# ---- agreement with plain Python

NAMES = ("x", "y", "z")
SCALARS: st.SearchStrategy[Any] = (
    st.integers(-3, 3) | st.booleans() | st.sampled_from(["", "a", "ab", "it's"]) | st.none()
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), SCALARS)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    return json.dumps(value)


class Sentence:
    """A condition as text, and as a plain Python function: true, false, or None for undefined."""

    def __init__(self, text: str, holds: Any) -> None:
        self.text, self.holds = text, holds


def compared(name: str, operator: str, value: Any) -> Sentence:
    def holds(document: dict[str, Any]) -> bool | None:
        if name not in document:
            return None
        left = document[name]
        if operator in ("=", "!="):
            if left is None or value is None:
                same = left is value
            elif isinstance(left, bool) is not isinstance(value, bool) or isinstance(
                left, str
            ) is not isinstance(value, str):
                return None
            else:
                same = left == value
            return same if operator == "=" else not same
        kinds = [str, int] if not isinstance(left, bool) and not isinstance(value, bool) else []
        if not any(isinstance(left, kind) and isinstance(value, kind) for kind in kinds):
            return None
        return bool(eval(f"left {operator} value", {}, {"left": left, "value": value}))

    return Sentence(f"tags.{name} {operator} {literal(value)}", lambda d: holds(d))


def membered(name: str, values: list[Any]) -> Sentence:
    text = f"tags.{name} IN [{', '.join(map(literal, values))}]"

    def holds(document: dict[str, Any]) -> bool | None:
        if name not in document:
            return None
        found = [compared(name, "=", value).holds(document) for value in values]
        return True in found

    return Sentence(text, holds)


def joined(word: str, one: Sentence, two: Sentence) -> Sentence:
    stop = word == "OR"

    def holds(document: dict[str, Any]) -> bool | None:
        found = [one.holds(document), two.holds(document)]
        if stop in found:
            return stop
        return None if None in found else not stop

    return Sentence(f"({one.text} {word} {two.text})", holds)


def negated(one: Sentence) -> Sentence:
    def holds(document: dict[str, Any]) -> bool | None:
        found = one.holds(document)
        return None if found is None else not found

    return Sentence(f"NOT {one.text}", holds)


SENTENCES = st.recursive(
    st.builds(compared, st.sampled_from(NAMES), st.sampled_from(OPERATORS), SCALARS)
    | st.builds(membered, st.sampled_from(NAMES), st.lists(SCALARS, max_size=3)),
    lambda inner: (
        st.builds(joined, st.sampled_from(["AND", "OR"]), inner, inner) | st.builds(negated, inner)
    ),
    max_leaves=8,
)


@given(SENTENCES, st.lists(DOCUMENTS, max_size=5))
def test_conditions_agree_with_plain_python(sentence: Sentence, tags: list[dict[str, Any]]) -> None:
    query = parse(f"SELECT tags FROM devices WHERE {sentence.text}")
    documents = [{"tags": found} for found in tags]
    expected = [d for d in documents if sentence.holds(d["tags"]) is True]
    assert list(query.rows(documents)) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_can_be_looked_for(text: str) -> None:
    """Escaped as JSON escapes it."""
    query = parse_condition(f"tags.x = {json.dumps(text)}")
    assert query.picks({"tags": {"x": text}})


def test_queries_survive_a_restart(tmp_path: Path) -> None:
    """The documents are what is on disk."""
    with emulated(tmp_path / "cloud", hubs=("alpha-hub",)) as first:
        first.cloud.hubs.get("alpha-hub").devices.create("w", ca=True)
    with emulated(tmp_path / "cloud", hubs=("alpha-hub",)) as second:
        hub = second.cloud.hubs.get("alpha-hub")
        assert hub.query("SELECT deviceId FROM devices") == [{"deviceId": "w"}]
