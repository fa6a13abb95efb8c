"""A hub without sockets: who may connect, what is kept, how a twin changes."""

from __future__ import annotations

from typing import Any

import forge
import pytest
from complaints import refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stories import Story, failed_check

from labkit.cloud import Presented
from labkit.cloud.dps.caller import Caller
from labkit.cloud.hub import Hub, authentication
from labkit.cloud.hub.telemetry import Telemetry
from labkit.cloud.hub.twins import merged
from labkit.errors import ServiceRefusal

NAME = "smart-x-widget-001"


@pytest.fixture
def hub(story: Story) -> Hub:
    presented = Presented(tuple(story.widget.chain))
    story.lab.dps.register(Caller(story.lab.dps.id_scope, NAME, presented))
    return story.lab.hub()


def refusal(story: Story, device: str, client: str, presented: Presented) -> str:
    with refused(ServiceRefusal, "401"):
        story.lab.hub().connect(device, client, presented)
    return failed_check(story.lab)


def test_the_provisioned_device_connects_with_its_leaf_alone(story: Story, hub: Hub) -> None:
    """The hub holds its thumbprint: it needs no chain."""
    hub.connect(NAME, NAME, Presented((story.widget.certificate,)))
    assert [e.text for e in story.lab.events.about(kind="connected")] == [
        f"{NAME} connected to contoso-hub"
    ]


def test_a_client_without_certificate_is_refused(story: Story, hub: Hub) -> None:
    assert refusal(story, NAME, NAME, Presented()) == authentication.CERTIFICATE


def test_a_client_id_that_is_not_the_device_id_is_refused(story: Story, hub: Hub) -> None:
    presented = Presented(tuple(story.widget.chain))
    assert refusal(story, NAME, "another", presented) == authentication.CLIENT_ID


def test_a_device_that_never_was_provisioned_is_refused(story: Story) -> None:
    presented = Presented(tuple(story.widget.chain))
    assert refusal(story, NAME, NAME, presented) == authentication.KNOWN


def test_device_ids_are_compared_with_regard_to_case(story: Story, hub: Hub) -> None:
    presented = Presented(tuple(story.widget.chain))
    assert refusal(story, NAME.upper(), NAME.upper(), presented) == authentication.KNOWN


def test_another_certificate_of_the_same_name_is_refused(story: Story, hub: Hub) -> None:
    forged = Presented((forge.device(NAME, None).certificate,))
    assert refusal(story, NAME, NAME, forged) == authentication.THUMBPRINT


def test_a_disabled_identity_is_refused(story: Story, hub: Hub) -> None:
    hub.devices.disable(NAME, "stolen")
    presented = Presented(tuple(story.widget.chain))
    assert refusal(story, NAME, NAME, presented) == authentication.ENABLED


def test_an_expired_certificate_is_refused_by_the_labs_clock(story: Story, hub: Hub) -> None:
    story.lab.clock.advance(days=366)
    presented = Presented(tuple(story.widget.chain))
    assert refusal(story, NAME, NAME, presented) == authentication.VALIDITY


@pytest.mark.parametrize("name", ["extension twice", "name that is not UTF-8"])
def test_a_certificate_that_cannot_be_read_whole_is_refused(
    story: Story, hub: Hub, name: str
) -> None:
    odd = forge.x509.load_der_x509_certificate(forge.odd_certificates()[name][0])
    assert refusal(story, NAME, NAME, Presented((odd,))) == authentication.THUMBPRINT


# ---- telemetry


def test_telemetry_is_kept_in_order_with_its_properties(hub: Hub) -> None:
    for number in range(3):
        sent = Telemetry(f"{number}".encode(), {"n": str(number)}, {"ct": "text/plain"})
        hub.receive(NAME, [sent])
    hub.receive("another", [Telemetry(b"\xff")])
    assert [(m.text, m.properties, m.system) for m in hub.messages(NAME)] == [
        (str(n), {"n": str(n)}, {"ct": "text/plain"}) for n in range(3)
    ]
    assert [m.body for m in hub.messages()] == [b"0", b"1", b"2", b"\xff"]
    assert hub.messages("another")[0].text == "\N{REPLACEMENT CHARACTER}"


# ---- twins


def test_reported_properties_are_merged_and_counted(hub: Hub) -> None:
    assert hub.report(NAME, {"a": 1, "b": {"c": 2}}) == 2
    assert hub.report(NAME, {"a": None, "b": {"d": 3}}) == 3
    twin = hub.twin(NAME).to_json()
    assert twin["reported"] == {"b": {"c": 2, "d": 3}, "$version": 3}
    assert twin["desired"] == {"$version": 1}


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def reference(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = reference(result.get(name), value)
    return result


# Nested JSON is slow to draw on a busy machine, which says nothing of what is tested.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(objects, objects)
def test_merge_patch_is_that_of_rfc_7396(base: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merged(base, patch) == reference(base, patch)


@given(objects, objects)
def test_merging_changes_neither_of_its_arguments(
    base: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = repr((base, patch))
    merged(base, patch)
    assert repr((base, patch)) == before
