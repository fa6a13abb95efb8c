"""A custodian's token and keys: made once, told of once, and known by what they are."""

from __future__ import annotations

import pytest

from labkit import Lab
from labkit.errors import Conflict
from labkit.pki.request import describe_key
from labkit.ui.inspector import inspect_all


def told(lab: Lab) -> list[str]:
    return [event.text for event in lab.events.about(source="hsm")]


def test_a_new_token_and_a_new_key_are_told_of_once(lab: Lab) -> None:
    for _ in range(2):
        lab.custodian("Company-X").make_key("root")
    assert told(lab) == [
        "Company-X has a token now, with a PIN of its own",
        "Company-X's token made a key pair: root, P-256",
        "the key 'root' was there already",
    ]


def test_a_ca_s_key_is_told_of_before_its_certificate(lab: Lab) -> None:
    """However often it is asked for: only the first request makes a key."""
    company = lab.custodian("Company-X")
    company.request_ca("Company-X Root CA", algorithm="P-384")
    company.request_ca("Company-X Root CA", algorithm="P-384")
    company.create_root_ca(algorithm="P-384")
    kinds = [event.kind for event in lab.events]
    assert kinds == ["token", "key", "ca"]


def test_a_key_of_a_label_is_of_one_algorithm(lab: Lab) -> None:
    company = lab.custodian("Company-X")
    assert describe_key(company.make_key("root", algorithm="P-384").public_key()) == "P-384"
    with pytest.raises(Conflict, match="has a key 'root' already"):
        company.make_key("root")


def test_the_inspector_says_what_is_in_a_token(lab: Lab) -> None:
    """Also of a key that was carried there."""
    company = lab.custodian("Company-X").create_root_ca()
    company.pregenerate(["w"]).carry(lab.custodian("Factory-Y"))
    found = inspect_all(lab)["token Factory-Y"]
    facts = dict(found.facts)
    assert (found.title, found.kind, facts["owner"]) == ("Factory-Y", "token", "Factory-Y")
    assert "carried there from another token" in facts["key device w"]
    assert lab.custodian("Factory-Y").token.pin not in str(found)
