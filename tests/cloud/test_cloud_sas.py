"""Shared access signatures and policies, against openssl's HMAC."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from complaints import refused
from foreign_tools import openssl
from hypothesis import given
from hypothesis import strategies as st

from labkit import Lab
from labkit.cloud import policies, sas
from labkit.errors import Conflict, LabError

NOW = datetime(2026, 7, 1, tzinfo=UTC)
KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
RESOURCE = "0ne00000001/registrations/widget-1"


def signed(resource: str, key: str = KEY, *, until: datetime = NOW + timedelta(hours=1)) -> str:
    """By openssl, as the documents say: HMAC-SHA256 over ``sr``, a line feed, and ``se``."""
    seconds = str(int(until.timestamp()))
    raw = base64.b64decode(key).hex()
    text = f"{resource}\n{seconds}".encode()
    shown = openssl("dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{raw}", data=text)
    signature = base64.b64encode(bytes.fromhex(shown.split("= ")[1].strip())).decode()
    return f"SharedAccessSignature sr={resource}&sig={quote(signature, safe='')}&se={seconds}"


@pytest.mark.parametrize("resource", [RESOURCE, quote(RESOURCE, safe=""), RESOURCE.upper()])
def test_the_resource_is_signed_as_it_was_written(resource: str) -> None:
    """SDKs differ in what they encode; the signature is over the text, whatever it means."""
    assert sas.check(signed(resource), RESOURCE, (KEY,), NOW).passed


def test_either_key_signs() -> None:
    assert sas.check(signed(RESOURCE, OTHER), RESOURCE, (KEY, OTHER), NOW).passed
    assert sas.check(signed(RESOURCE, OTHER), RESOURCE, (KEY,), NOW).failed


def test_the_parts_may_come_in_any_order_and_the_signature_unencoded() -> None:
    scheme, _, rest = signed(RESOURCE).partition(" ")
    parts = rest.split("&")
    for order in (parts, parts[::-1], parts[1:] + parts[:1]):
        text = f"{scheme} {'&'.join(order)}".replace("%2F", "/").replace("%3D", "=")
        assert sas.check(text, RESOURCE, (KEY,), NOW).passed


def test_a_token_is_good_until_its_moment_and_no_longer() -> None:
    token = signed(RESOURCE, until=NOW)
    assert sas.check(token, RESOURCE, (KEY,), NOW - timedelta(seconds=1)).passed
    late = sas.check(token, RESOURCE, (KEY,), NOW + timedelta(days=2))
    assert late.failed
    assert "expired 2 days" in late.why


@pytest.mark.parametrize(
    ("resource", "covered"),
    [
        ("host", True),
        ("host/", True),
        ("https://host", True),
        ("host/enrollments", True),
        ("host/enroll", False),
        ("hos", False),
        ("host/enrollments/a/b", False),
        ("other", False),
    ],
)
def test_a_token_covers_what_lies_below_its_resource(resource: str, covered: bool) -> None:
    found = sas.check(signed(resource), "host/enrollments/a", (KEY,), NOW)
    assert found.passed is covered


@given(st.text(max_size=80))
def test_no_text_passes_and_none_is_too_strange(text: str) -> None:
    for token in (text, f"SharedAccessSignature {text}"):
        assert sas.check(token, RESOURCE, (KEY, ""), NOW).failed


@given(st.binary(max_size=40), st.text(max_size=20))
def test_no_other_signature_passes(signature: bytes, key: str) -> None:
    encoded = quote(base64.b64encode(signature), safe="")
    token = f"SharedAccessSignature sr={RESOURCE}&sig={encoded}&se=9999999999"
    assert sas.check(token, RESOURCE, (KEY, key), NOW).failed


def test_an_empty_key_signs_nothing() -> None:
    """Otherwise whoever knows that a slot is empty could sign with no key at all."""
    token = "SharedAccessSignature sr=a&sig={}&se=9999999999"
    mac = openssl("dgst", "-sha256", "-hmac", "", data=b"a\n9999999999").split("= ")[1].strip()
    signature = quote(base64.b64encode(bytes.fromhex(mac)), safe="")
    assert sas.check(token.format(signature), "a", ("", ""), NOW).failed


def test_the_key_of_a_groups_device_is_an_hmac_of_its_registration_id() -> None:
    raw = base64.b64decode(KEY).hex()
    shown = openssl(
        "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{raw}", data=b"sn-007-888"
    )
    wanted = base64.b64encode(bytes.fromhex(shown.split("= ")[1].strip())).decode()
    assert sas.derived_key(KEY, "sn-007-888") == wanted


# ---- policies


def token_of(policy: policies.Policy, key: str = "") -> str:
    return f"{signed('host', key or policy.primary_key)}&skn={policy.name}"


def test_the_owner_is_there_and_may_do_everything(lab: Lab) -> None:
    book = lab.cloud.policies("dps")
    for key in (book.owner.primary_key, book.owner.secondary_key):
        for right in policies.DPS_RIGHTS:
            checks = book.authorize(token_of(book.owner, key), ["host/x"], right, NOW)
            assert all(check.passed for check in checks)


def test_a_policy_may_do_what_it_has_the_right_to(lab: Lab) -> None:
    book = lab.cloud.policies("dps")
    reader = book.create("reader", policies.ENROLLMENT_READ)
    *_, granted = book.authorize(token_of(reader), ["host"], policies.ENROLLMENT_READ, NOW)
    *_, denied = book.authorize(token_of(reader), ["host"], policies.ENROLLMENT_WRITE, NOW)
    assert granted.passed
    assert denied.failed
    assert "EnrollmentRead" in denied.why
    assert "EnrollmentWrite" in denied.cures[0]


def test_a_policys_key_is_good_for_its_own_name_only(lab: Lab) -> None:
    book = lab.cloud.policies("dps")
    reader = book.create("reader", policies.ENROLLMENT_READ)
    stolen = token_of(book.owner, reader.primary_key)
    assert book.authorize(stolen, ["host"], policies.ENROLLMENT_WRITE, NOW)[-1].failed
    unnamed = signed("host", book.owner.primary_key)
    assert book.authorize(unnamed, ["host"], policies.ENROLLMENT_READ, NOW)[-1].failed


def test_a_policy_twice_is_the_same_policy_and_another_is_a_conflict(lab: Lab) -> None:
    book = lab.cloud.policies("dps")
    first = book.create("reader", policies.ENROLLMENT_READ)
    assert book.create("reader", policies.ENROLLMENT_READ).primary_key == first.primary_key
    with refused(Conflict, "reader", "EnrollmentRead"):
        book.create("reader", policies.ENROLLMENT_WRITE)
    with pytest.raises(LabError, match="FlyToTheMoon"):
        book.create("astronaut", "FlyToTheMoon")
    assert [policy.name for policy in book] == ["provisioningserviceowner", "reader"]


def test_services_have_policies_of_their_own(lab: Lab) -> None:
    dps, hub = lab.cloud.policies("dps"), lab.cloud.policies("contoso-hub")
    assert hub.owner.name == "iothubowner"
    assert hub.owner.primary_key != dps.owner.primary_key
    assert hub.find("provisioningserviceowner") is None


def test_keys_are_256_random_bits_and_stay(lab: Lab) -> None:
    owner = lab.cloud.policies("dps").owner
    assert len(base64.b64decode(owner.primary_key)) == 32
    assert owner.primary_key != owner.secondary_key
    assert lab.cloud.policies("dps").owner.primary_key == owner.primary_key
    assert owner.primary_key not in repr(owner)
