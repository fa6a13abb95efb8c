"""After everything: no private key outside of a token, neither in a file nor in what was printed.

Of the keys that were made to be carried the test knows the very numbers: it takes them out of the
token as any thief with the PIN could. So it searches for them, too, in every way of writing them.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key
from key_search import findings, keys_in
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import KeyUnextractable
from stories import open_lab
from supply_stories import CARRIED

from labkit.hsm import Token

STORY = Path(__file__).parents[1] / "supply_stories.py"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The workspace of a process that did everything, closed, and all that it printed."""
    workspace = tmp_path_factory.mktemp("told") / "lab"
    done = subprocess.run(
        [sys.executable, str(STORY), str(workspace)],
        capture_output=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(STORY.parent)},
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return workspace, done.stdout + done.stderr


@pytest.fixture(scope="module")
def numbers(told: tuple[Path, bytes]) -> list[int]:
    """The private numbers of the carried keys."""
    with open_lab(told[0]) as lab:
        token = lab.custodian("Company-X").token
        return [stolen(token, f"device {name}") for name in CARRIED]


def stolen(token: Token, label: str) -> int:
    """The private number of an extractable key: sensitive, and taken out all the same."""
    secret = secrets.token_bytes(32)
    known = token.session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: secret,
            Attribute.WRAP: True,
            Attribute.TOKEN: False,
        }
    )
    handle = token.key(label)._handle
    wrapped = known.wrap_key(handle, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    known.destroy()
    der = aes_key_unwrap_with_padding(secret, wrapped)  # SoftHSM fills it up with zeros
    key = load_der_private_key(der[: 2 + der[1]], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == token.key(label).public_key()
    return key.private_numbers().private_value


def spellings(number: int) -> Iterator[bytes]:
    """A private number as it might be written down."""
    raw = number.to_bytes(32, "big")
    yield from (raw, raw[::-1], str(number).encode())
    yield from (raw.hex().encode(), raw.hex().upper().encode(), raw.hex(":").encode())
    for shift in range(3):  # base64 of a longer text around it begins at any of three places
        text = base64.b64encode(b"\0" * shift + raw)
        yield text[4:36] if shift else text[:36]


def spelled_out(data: bytes, numbers: list[int]) -> bool:
    return any(spelling in data for number in numbers for spelling in spellings(number))


def test_no_file_of_the_workspace_holds_a_private_key(
    told: tuple[Path, bytes], numbers: list[int]
) -> None:
    """Whatever was done: bought, self-signed, injected, carried, provisioned, refused."""
    assert (told[0] / "hsm" / "tokens").is_dir()
    assert findings(told[0]) == {}
    files = [path for path in told[0].rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if spelled_out(path.read_bytes(), numbers)] == []


def test_the_tokens_own_files_hold_them_encrypted_only(told: tuple[Path, bytes]) -> None:
    for path in (told[0] / "hsm" / "tokens").rglob("*.object"):
        assert list(keys_in(path.read_bytes())) == [], path


def test_nothing_that_the_process_printed_holds_a_private_key_or_a_pin(
    told: tuple[Path, bytes], numbers: list[int]
) -> None:
    """With every log turned on, and every object that a trainee could display displayed."""
    workspace, printed = told
    assert b"Who holds which private key" in printed
    assert b"DEBUG" in printed
    assert list(keys_in(printed)) == []
    assert not spelled_out(printed, numbers)
    with open_lab(workspace) as lab:
        tokens = [custodian.token for custodian in lab.custodians]
        tokens += [device.key.token for device in lab.devices]
    assert not [token for token in tokens if token.pin.encode() in printed]


def test_the_search_finds_a_number_however_it_is_written(numbers: list[int]) -> None:
    """A search that finds nothing must be shown to find something."""
    for number in numbers:
        raw = number.to_bytes(32, "big")
        for written in (
            b"key=" + raw + b"!",
            f"d: {raw.hex(':')}".encode(),
            str({"d": number}).encode(),
            *(base64.b64encode(b"x" * before + raw + b"yz") for before in range(7)),
        ):
            assert spelled_out(written, numbers), written


def test_a_key_that_was_born_to_stay_cannot_be_taken_so(told: tuple[Path, bytes]) -> None:
    """The same theft, tried on a CA's key: the token says no."""
    with open_lab(told[0]) as lab:
        token = lab.custodian("Factory-Y").token
        with pytest.raises(KeyUnextractable):
            stolen(token, "Factory-Y CA")
