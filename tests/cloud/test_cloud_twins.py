"""Twins: what back ends and the device write, its versions and ETags, and what a device hears."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from hub_world import HUB, NAME, Line, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provisioning import Emulated, emulated

from labkit.cloud.hub import limits
from labkit.cloud.hub.live import DesiredChange, Subject
from labkit.cloud.hub.twins import merged, stamped
from labkit.errors import ServiceRefusal


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def world(emulator: Emulated) -> World:
    return World(emulator)


def changes(line: Line) -> list[tuple[int, dict[str, Any]]]:
    found = [one for one in line.delivered if isinstance(one, DesiredChange)]
    assert len(found) == len(line.delivered)
    return [(one.version, dict(one.patch)) for one in found]


# ---- what back ends do


def test_a_patch_is_merged_counted_and_told_to_the_device_as_it_was_written(world: World) -> None:
    line = world.connect(Subject.DESIRED)
    world.hub.update_twin(NAME, desired={"a": 1, "b": {"c": 2}}, tags={"site": "north"})
    twin = world.hub.update_twin(NAME, desired={"a": None, "b": {"d": 3}})
    assert (twin.desired, twin.desired_version) == ({"b": {"c": 2, "d": 3}}, 3)
    assert twin.tags == {"site": "north"}
    assert changes(line) == [(2, {"a": 1, "b": {"c": 2}}), (3, {"a": None, "b": {"d": 3}})]


def test_replacing_leaves_nothing_of_before_and_what_is_not_named_stays(world: World) -> None:
    line = world.connect(Subject.DESIRED)
    world.hub.update_twin(NAME, desired={"a": 1}, tags={"site": "north"})
    twin = world.hub.replace_twin(NAME, desired={"b": 2, "none": None})
    assert (twin.desired, twin.tags) == ({"b": 2}, {"site": "north"})
    assert changes(line)[-1] == (3, {"b": 2, "none": None})
    twin = world.hub.replace_twin(NAME, tags={})
    assert (twin.desired, twin.tags, twin.desired_version) == ({"b": 2}, {}, 3)
    assert len(changes(line)) == 2, "tags are no business of the device"


def test_a_device_hears_of_nothing_that_it_did_not_ask_for(world: World) -> None:
    line = world.connect(Subject.METHODS, Subject.TWIN_ANSWERS)
    world.hub.update_twin(NAME, desired={"a": 1})
    assert line.delivered == []


def test_a_section_that_was_read_can_be_written_back(world: World) -> None:
    """With what came along, which only the hub writes."""
    world.hub.update_twin(NAME, desired={"a": 1})
    read = world.hub.twin(NAME).to_service_json()["properties"]["desired"]
    assert {"$metadata", "$version"} <= set(read)
    assert world.hub.update_twin(NAME, desired={**read, "a": 2}).desired == {"a": 2}


# ---- ETags and versions


def test_an_etag_of_before_is_412_and_nothing_is_written(world: World) -> None:
    stale = world.hub.twin(NAME).etag
    assert world.hub.update_twin(NAME, tags={"a": 1}, etag=stale).tags == {"a": 1}
    for change in (world.hub.update_twin, world.hub.replace_twin):
        with refused(ServiceRefusal, "412 412001", "read the twin"):
            change(NAME, desired={"b": 1}, tags={"a": 2}, etag=f'"{stale}"')
    twin = world.hub.twin(NAME)
    assert (twin.tags, twin.desired, twin.desired_version) == ({"a": 1}, {}, 1)


@pytest.mark.parametrize("etag", ["", "*", '"*"', "{}", '"{}"'])
def test_an_etag_is_taken_in_every_form_in_which_sdks_send_it(world: World, etag: str) -> None:
    current = world.hub.twin(NAME).etag
    assert world.hub.update_twin(NAME, tags={"a": 1}, etag=etag.format(current)).tags == {"a": 1}


def test_what_a_device_reports_leaves_the_etag_and_counts_in_the_version(world: World) -> None:
    before = world.hub.twin(NAME)
    assert before.version == 2, "as Azure shows a new twin"
    world.hub.report(NAME, {"a": 1})
    after = world.hub.twin(NAME)
    assert (after.etag, after.version) == (before.etag, before.version + 1)
    changed = world.hub.update_twin(NAME, tags={"a": 1})
    assert changed.etag != before.etag
    assert changed.version == after.version + 1


def test_a_device_that_reports_for_another_version_is_412(world: World) -> None:
    assert world.hub.report(NAME, {"a": 1}, version=1) == 2
    with refused(ServiceRefusal, "412 412001", "it is 2 now"):
        world.hub.report(NAME, {"a": 2}, version=1)
    assert world.hub.twin(NAME).reported == {"a": 1}


def test_a_device_that_the_hub_does_not_know_has_no_twin(world: World) -> None:
    with refused(ServiceRefusal, "404 404001"):
        world.hub.update_twin("nobody", desired={"a": 1})
    with refused(ServiceRefusal, "404 404001"):
        world.hub.report("nobody", {"a": 1})


# ---- what a twin holds

deepest = {"one": {"two": {"three": {"four": {"five": {"six": {"seven": {"eight": {"nine": {
    "ten": {"property": "value"}}}}}}}}}}}  # fmt: skip
FITS = {
    "ten levels, as documented": deepest,
    "the longest text": {"a": "x" * 4096},
    "the longest name": {"n" * 1024: 1},
    "the largest integers": {"a": 4503599627370495, "b": -4503599627370496},
    "a large fraction": {"a": 1e300},
    "lists": {"a": [1, [2, {"b": None}]]},
    "nothing": {},
    "8 KB": {f"{n}": "x" * 1023 for n in range(8)},
}
FAULTS = {
    "eleven levels": ({"zero": deepest}, "more than 10 levels"),
    "a longer text": ({"a": "x" * 4097}, "a text of more than"),
    "a longer text in UTF-8": ({"a": "ä" * 2049}, "a text of more than"),
    "a longer name": ({"n" * 1025: 1}, "a name of more than"),
    "a dot": ({"a.b": 1}, "no dot"),
    "a dollar": ({"$a": 1}, "no dot"),
    "a blank": ({"a b": 1}, "no dot"),
    "a control character": ({"a": {"\x85": 1}}, "no dot"),
    "no name": ({"": 1}, "no dot"),
    "a larger integer": ({"a": [4503599627370496]}, "an integer outside"),
    "a smaller integer": ({"a": -4503599627370497}, "an integer outside"),
    "no number": ({"a": float("nan")}, "no JSON"),
    "no JSON": ({"a": {1, 2}}, "no JSON"),
}


@pytest.mark.parametrize("section", FITS.values(), ids=FITS)
def test_what_azure_documents_as_allowed_is_taken_in_all_three_sections(
    world: World, section: dict[str, Any]
) -> None:
    twin = world.hub.replace_twin(NAME, desired=section, tags=section)
    world.hub.report(NAME, section)
    assert twin.desired == twin.tags == world.hub.twin(NAME).reported == section


@pytest.mark.parametrize(("section", "why"), FAULTS.values(), ids=FAULTS)
def test_what_azure_documents_as_not_allowed_is_refused_in_all_three_sections(
    world: World, section: dict[str, Any], why: str
) -> None:
    for write in (
        lambda: world.hub.update_twin(NAME, desired=section),
        lambda: world.hub.replace_twin(NAME, tags=section),
        lambda: world.hub.report(NAME, section),
    ):
        with refused(ServiceRefusal, "400 400004", why):
            write()
    assert world.hub.twin(NAME).version == 2, "nothing was written"


@pytest.mark.parametrize(
    ("section", "largest"), [("tags", 8 * 1024), ("desired", 32 * 1024), ("reported", 32 * 1024)]
)
def test_a_section_may_have_its_largest_size_and_not_a_byte_more(
    world: World, section: str, largest: int
) -> None:
    """Names and texts by their characters, numbers 8 bytes, true and false 4."""

    def write(patch: dict[str, Any]) -> None:
        if section == "reported":
            world.hub.report(NAME, patch)
        else:
            world.hub.update_twin(NAME, **{section: patch})

    names = itertools.count(10)
    rest = largest - 2 - 8 - 2 - 4 - 2
    most: dict[str, Any] = {"ww": 7, "xx": True}
    while rest > 4098:
        most[f"{next(names)}"] = "x" * 4096
        rest -= 4098
    most["zz"] = "x" * rest
    assert limits.size(most) == largest
    write(most)
    with refused(ServiceRefusal, "400 400004", f"{largest:,} at most"):
        write({"zz": "x" * (rest + 1)})
    write({"zz": None, "yy": "x" * rest})


# ---- metadata


def test_metadata_says_when_each_value_and_each_object_above_it_was_written(
    world: World, emulator: Emulated
) -> None:
    world.hub.update_twin(NAME, desired={"a": {"b": 1, "c": 2}, "d": 3})
    first = world.hub.twin(NAME).to_service_json()["properties"]["desired"]["$metadata"]
    emulator.clock.advance(days=1)
    world.hub.update_twin(NAME, desired={"a": {"b": 5, "c": None}})
    found = world.hub.twin(NAME).to_service_json()["properties"]["desired"]["$metadata"]
    assert set(found["a"]) == {"b", "$lastUpdated", "$lastUpdatedVersion"}
    assert found["d"] == first["d"]
    assert found["a"]["b"]["$lastUpdated"] == found["a"]["$lastUpdated"] == found["$lastUpdated"]
    assert found["$lastUpdated"] > first["$lastUpdated"]
    assert (first["$lastUpdatedVersion"], found["$lastUpdatedVersion"]) == (2, 3)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 9),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
patches = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def names(section: dict[str, Any]) -> dict[str, Any]:
    """The tree of names alone."""
    return {
        name: names(value) if isinstance(value, dict) else {}
        for name, value in section.items()
        if not name.startswith("$")
    }


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patches, max_size=4))
def test_metadata_has_the_names_of_its_section_whatever_is_written(
    sent: list[dict[str, Any]],
) -> None:
    section: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for number, patch in enumerate(sent):
        section, metadata = merged(section, patch), stamped(metadata, patch, {"$v": number})
    assert names(metadata) == names(section)


# ---- many at a time


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(patches, min_size=2, max_size=6), st.lists(patches, max_size=4))
def test_concurrent_patches_agree_with_a_reference_and_versions_never_go_back(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[dict[str, Any]],
    told: list[dict[str, Any]],
) -> None:
    """Back ends patch and the device reports, each in a thread of its own. The device hears of
    every change in the order of its version; what it heard, merged, is what the hub has."""
    with emulated(tmp_path_factory.mktemp("twins") / "cloud", (HUB,)) as emulator:
        world = World(emulator)
        line = world.connect(Subject.DESIRED)
        versions: list[int] = []
        threads = [
            threading.Thread(target=lambda p=patch: world.hub.update_twin(NAME, desired=p))
            for patch in wanted
        ]
        threads.append(
            threading.Thread(
                target=lambda: versions.extend(world.hub.report(NAME, one) for one in told)
            )
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        twin = world.hub.twin(NAME)
    heard = changes(line)
    assert [version for version, _ in heard] == list(range(2, len(wanted) + 2))
    assert versions == list(range(2, len(told) + 2))
    assert sorted(map(repr, wanted)) == sorted(repr(patch) for _, patch in heard)
    desired: dict[str, Any] = {}
    for _, patch in heard:
        desired = merged(desired, patch)
    reported: dict[str, Any] = {}
    for patch in told:
        reported = merged(reported, patch)
    assert (twin.desired, twin.reported) == (desired, reported)
