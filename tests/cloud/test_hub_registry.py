"""The identity registry: identities made, changed, disabled, deleted; and what it refuses."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
from complaints import refused
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from provisioning import Emulated, emulated

from labkit.cloud.hub import Hub, credentials, registry
from labkit.cloud.hub.credentials import AUTHORITY, SAS, SELF_SIGNED, Credentials
from labkit.cloud.hub.live import ToDevice
from labkit.cloud.hub.registry import Wanted
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import RefusedConflict
from labkit.errors import BadCertificate, Conflict, LabError, NotFound, ServiceRefusal
from labkit.pki import chain
from labkit.trace import first_failure

NAME = "Widget-1"
ONE, TWO = (forge.device(NAME, None).certificate for _ in range(2))
SHA256, SHA1 = chain.thumbprint(ONE), chain.thumbprint_sha1(ONE)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud", hubs=("alpha-hub", "beta-hub")) as opened:
        yield opened


@pytest.fixture
def hub(service: Emulated) -> Hub:
    return service.cloud.hubs.get("alpha-hub")


def why(caught: pytest.ExceptionInfo[ServiceRefusal]) -> str:
    """The check that decided, and what it saw."""
    failure = first_failure(caught.value.checks)
    assert failure is not None
    assert failure.cures, "every refusal says what would cure it"
    return f"{failure.name}: {failure.why}"


class Line:
    """A live connection that remembers how it ended."""

    def __init__(self) -> None:
        self.ended = ""

    def deliver(self, message: ToDevice) -> None:
        """Nothing is sent in these tests."""

    def end(self, why: str) -> None:
        self.ended = why


def connected(hub: Hub) -> Line:
    line = Line()
    hub.connect(NAME, NAME, Presented((ONE,)), outlet=line)
    return line


# ---- one identity


def test_an_identity_is_made_found_and_listed(hub: Hub) -> None:
    made = hub.devices.create(NAME, certificate=ONE)
    assert (made.authentication, made.thumbprint) == (SELF_SIGNED, SHA256)
    assert hub.devices.get(NAME).etag == made.etag
    assert NAME in hub.devices
    assert NAME.lower() not in hub.devices, "in a hub, case counts"
    assert [identity.device_id for identity in hub.devices] == [NAME]
    assert hub.twin(NAME).reported == {}


def test_hubs_have_registries_of_their_own(service: Emulated, hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    other = service.cloud.hubs.get("beta-hub")
    assert NAME not in other.devices
    assert other.devices.create(NAME, ca=True).authentication == AUTHORITY
    assert hub.devices.get(NAME).authentication == SELF_SIGNED


def test_without_any_proof_keys_are_made(hub: Hub) -> None:
    made = hub.devices.create(NAME)
    keys = [base64.b64decode(key) for key in (made.primary_key, made.secondary_key)]
    assert made.authentication == SAS
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_the_same_again_is_harmless_and_said(service: Emulated, hub: Hub) -> None:
    first = hub.devices.create(NAME, thumbprint=SHA256)
    assert hub.devices.create(NAME, certificate=ONE).etag == first.etag
    assert len(service.events.about(kind="again")) == 1


def test_keys_that_were_made_are_the_same_again(hub: Hub) -> None:
    first = hub.devices.create(NAME)
    assert hub.devices.create(NAME).primary_key == first.primary_key


def test_another_under_a_name_that_is_taken_is_a_conflict(hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    with refused(Conflict, "409001", "known by a certificate's SHA-256 thumbprint"):
        hub.devices.create(NAME, certificate=TWO)
    with refused(Conflict, "409001"):
        hub.devices.create(NAME)


def test_an_identity_made_again_is_of_another_generation(hub: Hub) -> None:
    first = hub.devices.create(NAME, ca=True)
    hub.devices.delete(NAME)
    again = hub.devices.create(NAME, ca=True)
    assert first.generation_id != again.generation_id
    assert first.etag != again.etag


def test_nobody_is_found_and_the_error_names_who_is_there(hub: Hub) -> None:
    hub.devices.create(NAME, ca=True)
    for act in (hub.devices.get, hub.devices.delete, hub.devices.disable, hub.devices.enable):
        with refused(NotFound, "404001", NAME):
            act("nobody")


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "a/b", "café"])
def test_what_azure_would_not_take_as_an_id_is_refused(hub: Hub, name: str) -> None:
    with refused(ServiceRefusal, "400004"):
        hub.devices.create(name, ca=True)
    assert len(hub.devices) == 0


# ---- thumbprints


def test_the_forms_of_thumbprints_may_not_be_mixed(hub: Hub) -> None:
    """Pain point 16: the refusal says which slot has which form, and how to mend it."""
    with pytest.raises(ServiceRefusal) as caught:
        hub.devices.create(NAME, thumbprint=SHA1, secondary=chain.thumbprint(TWO))
    assert why(caught).endswith("the primary one is SHA-1, the secondary one SHA-256")
    made = hub.devices.create(NAME, thumbprint=SHA1, secondary=chain.thumbprint_sha1(TWO))
    assert made.credentials == Credentials(SHA1, chain.thumbprint_sha1(TWO))


@pytest.mark.parametrize(
    ("thumbprint", "words"),
    [("ABC", "it has 3 characters"), ("X" * 40, "no hex digit"), ("A" * 41, "41 characters")],
)
def test_what_is_no_thumbprint_is_refused(hub: Hub, thumbprint: str, words: str) -> None:
    with pytest.raises(ServiceRefusal) as caught:
        hub.devices.create(NAME, thumbprint=thumbprint)
    assert words in why(caught)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_openssls_own_fingerprint_is_taken(hub: Hub, tmp_path: Path, algorithm: str) -> None:
    """As people paste it: what stands behind the equals sign, colons and all."""
    file = tmp_path / "one.pem"
    file.write_bytes(ONE.public_bytes(Encoding.PEM))
    command = ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", f"-{algorithm}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    hub.devices.create(NAME, thumbprint=said.partition("=")[2])
    hub.connect(NAME, NAME, Presented((ONE,)))


SPELLINGS = st.builds(
    lambda text, seed: "".join(
        (digit.lower() if seed[n] & 1 else digit) + " :\n\t-\u200e"[seed[n] % 7 : seed[n] % 7 + 1]
        for n, digit in enumerate(text)
    ),
    st.sampled_from([SHA1, SHA256]),
    st.lists(st.integers(0, 255), min_size=64, max_size=64),
)


@given(SPELLINGS)
def test_any_spelling_of_a_thumbprint_is_that_thumbprint(spelling: str) -> None:
    """Case, colons, blanks, dashes and Windows' invisible marks do not count."""
    assert credentials.normalised(spelling) in (SHA1, SHA256)


@given(st.text(max_size=80))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = credentials.normalised(text)
    assert credentials.normalised(once) == once
    assert credentials.form_of(once) in ("", "SHA-1", "SHA-256")


# ---- change


def test_what_is_not_named_stays(hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    hub.devices.disable(NAME, "on the way")
    changed = hub.devices.update(NAME, iot_edge=True)
    assert (changed.thumbprint, changed.iot_edge) == (SHA256, True)
    assert (changed.enabled, changed.status_reason) == (False, "on the way")


def test_a_device_rolls_its_certificate_by_the_secondary_slot(hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    hub.devices.update(NAME, certificate=ONE, secondary=TWO)
    for certificate in (ONE, TWO):
        hub.connect(NAME, NAME, Presented((certificate,)))
    hub.devices.update(NAME, certificate=TWO)
    with refused(ServiceRefusal, "401003"):
        hub.connect(NAME, NAME, Presented((ONE,)))


def test_keys_that_are_left_out_stay_as_they_were(hub: Hub) -> None:
    made = hub.devices.create(NAME)
    new = base64.b64encode(b"n" * 32).decode()
    changed = hub.devices.update(NAME, keys=(new, ""))
    assert (changed.primary_key, changed.secondary_key) == (new, made.secondary_key)


def test_a_stale_etag_changes_nothing(hub: Hub) -> None:
    first = hub.devices.create(NAME, certificate=ONE)
    second = hub.devices.update(NAME, iot_edge=True, etag=first.etag)
    with refused(RefusedConflict, "412001"):
        hub.devices.update(NAME, iot_edge=False, etag=first.etag)
    with refused(RefusedConflict, "412001"):
        hub.devices.delete(NAME, etag=first.etag)
    assert hub.devices.get(NAME).etag == second.etag


@pytest.mark.parametrize("form", ["*", '"*"', "{}", '"{}"', 'W/"{}"', '"\\"{}\\""'])
def test_if_match_counts_in_every_form_that_clients_send(hub: Hub, form: str) -> None:
    made = hub.devices.create(NAME, ca=True)
    wanted = Wanted(NAME, AUTHORITY, iot_edge=True)
    assert hub.devices.put(wanted, form.format(made.etag)).iot_edge


def test_to_change_what_is_not_there_is_404(hub: Hub) -> None:
    with refused(NotFound, "404001"):
        hub.devices.put(Wanted(NAME), "*")


@pytest.mark.parametrize("key", ["no base64!", base64.b64encode(b"short").decode()])
def test_a_key_that_is_none_is_refused_and_not_told(hub: Hub, key: str) -> None:
    with pytest.raises(ServiceRefusal) as caught:
        hub.devices.create(NAME, keys=(key, ""))
    assert credentials.KEY_FORM in why(caught)
    assert key not in str(caught.value)


def test_two_ways_at_once_are_refused(hub: Hub) -> None:
    with refused(LabError, "one way only"):
        hub.devices.create(NAME, certificate=ONE, ca=True)
    with refused(LabError, "one way only"):
        hub.devices.create(NAME, keys=("", ""), thumbprint=SHA1)


def test_a_private_key_in_the_place_of_a_certificate_is_refused(hub: Hub) -> None:
    pem = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
    with refused(BadCertificate, "private key"):
        hub.devices.create(NAME, certificate=pem)


# ---- cut off


def test_disabling_ends_the_live_connection(service: Emulated, hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    line = connected(hub)
    service.clock.advance(days=3)
    found = hub.devices.disable(NAME, "stolen")
    assert line.ended == "its identity is disabled"
    assert found.status_updated is not None
    assert (found.status_updated - found.created).days == 3, "by the lab's clock"
    with pytest.raises(ServiceRefusal) as caught:
        hub.connect(NAME, NAME, Presented((ONE,)))
    assert why(caught).endswith("it is disabled in the hub, because: stolen")
    assert not hub.devices.enable(NAME).status_reason
    connected(hub)


def test_what_leaves_the_identity_enabled_leaves_the_connection(hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    line = connected(hub)
    hub.devices.update(NAME, certificate=TWO)
    assert not line.ended, "who is connected stays: the next connection is judged anew"


def test_deleting_ends_the_connection_and_takes_the_twin_along(hub: Hub) -> None:
    hub.devices.create(NAME, certificate=ONE)
    line = connected(hub)
    hub.report(NAME, {"a": 1})
    hub.devices.delete(NAME)
    assert line.ended == "its identity was deleted"
    with refused(NotFound, "no twin"):
        hub.twin(NAME)
    hub.devices.create(NAME, certificate=ONE)
    assert hub.twin(NAME).reported == {}


def test_a_long_reason_is_refused(hub: Hub) -> None:
    hub.devices.create(NAME, ca=True)
    with refused(ServiceRefusal, "400004"):
        hub.devices.disable(NAME, "x" * (registry.LONGEST_REASON + 1))


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    place = tmp_path / "cloud"
    with emulated(place, hubs=("alpha-hub",)) as first:
        first.cloud.hubs.get("alpha-hub").devices.create(NAME, certificate=ONE)
        made = first.cloud.hubs.get("alpha-hub").devices.disable(NAME, "stolen")
    with emulated(place, hubs=("alpha-hub",)) as second:
        found = second.cloud.hubs.get("alpha-hub").devices.get(NAME)
        assert (found.etag, found.status_reason) == (made.etag, "stolen")


def test_they_are_counted_and_listed_in_pages(hub: Hub) -> None:
    names = [f"w-{number:02}" for number in range(7)]
    for name in names:
        hub.devices.create(name, ca=True)
    hub.devices.disable("w-03")
    counts = hub.devices.counts()
    assert (counts.total, counts.enabled, counts.disabled) == (7, 6, 1)
    first = hub.devices.page(3)
    rest = hub.devices.page(10, first[-1].device_id)
    assert [identity.device_id for identity in first + rest] == names
