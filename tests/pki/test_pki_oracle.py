"""Hundreds of generated chains before two judges: ours, and ``openssl verify``.

They agree, or the difference is listed here and named in docs/conformance.md with its reason. A
difference that is not listed fails, and so does a listed one that no longer differs.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import oracle_chains
import pytest
from foreign_tools import run
from oracle_chains import KINDS, Vector

from labkit.pki import chain, verdict
from labkit.trace import first_failure

DIFFERENCES = {
    "key identifier of another issuer": "openssl refuses",
    "simulated time in the very last second": "openssl refuses",
    "name constraints that the leaf's CN breaks": "openssl refuses",
    "the first way up is a dead end": "openssl refuses",
    "an anchor without basic constraints": "the lab refuses",
    "the leaf says CA:TRUE": "the lab refuses",
    "leaf for key agreement only": "the lab refuses",
    "version 1": "the lab refuses",
    "nine CAs below the anchor": "the lab refuses",
    "more certificates than anybody sends": "the lab refuses",
    "a CA with an RSA-1024 key": "the lab refuses",
    "signed over SHA-224": "the lab refuses",
    "certificate policies marked critical": "the lab refuses",
    "name constraints of the kind directoryName": "the lab refuses",
}
"""The kinds of chains on which openssl decides otherwise; the reasons are in the document."""

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


@dataclass(frozen=True)
class Judged:
    """A chain, our verdict, and openssl's complaint (empty: it accepts)."""

    vector: Vector
    ours: verdict.Verdict
    complaint: str

    @property
    def agrees(self) -> bool:
        return self.ours.accepted is (self.complaint == "")

    def __str__(self) -> str:
        vector = self.vector
        return (
            f"{vector.kind}: {chain.names(vector.presented)} → [{chain.names(vector.anchors)}]; "
            f"ours: {first_failure(self.ours.checks) or 'accepts'}; "
            f"openssl: {self.complaint or 'accepts'}"
        )


def openssl(directory: Path, vector: Vector) -> str:
    """Empty where openssl takes the chain for a TLS client's, else its complaint."""
    directory.mkdir()
    command = ["openssl", "verify", "-purpose", "sslclient", "-partial_chain"]
    command += ["-no-CAfile", "-no-CApath", "-no-CAstore"]
    command += ["-attime", str(int(vector.at.timestamp()))]
    files = {"trusted": vector.anchors, "untrusted": vector.presented[1:]}
    for name, certificates in files.items():
        if certificates:
            (directory / name).write_text(chain.to_pem(certificates))
            command += [f"-{name}", str(directory / name)]
    (directory / "leaf").write_text(chain.to_pem(vector.presented[:1]))
    result = run(*command, directory / "leaf")
    return "" if result.returncode == 0 else result.stderr.decode()


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Judged]]:
    """Every chain before both judges, by its kind. openssl takes one process a chain."""
    vectors, place = oracle_chains.vectors(), tmp_path_factory.mktemp("openssl")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = pool.map(
            openssl, (place / str(number) for number in range(len(vectors))), vectors
        )
        found = defaultdict(list)
        for vector, complaint in zip(vectors, complaints, strict=True):
            ours = verdict.judge(vector.presented, vector.anchors, vector.at)
            found[vector.kind].append(Judged(vector, ours, complaint))
    return found


each_kind = pytest.mark.parametrize("kind", [kind.name for kind in KINDS])


def test_there_are_enough_of_them_and_no_two_kinds_have_one_name() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert len(oracle_chains.vectors()) >= 300


@each_kind
def test_our_decision_is_openssls_but_for_the_listed_differences(
    kind: str, judged: dict[str, list[Judged]]
) -> None:
    """Of a kind that is listed every chain differs, of any other none."""
    wrong = [str(j) for j in judged[kind] if j.agrees is (kind in DIFFERENCES)]
    assert wrong == []


@each_kind
def test_our_decision_is_the_one_that_the_kind_asks_for(
    kind: str, judged: dict[str, list[Judged]]
) -> None:
    """Which guards the oracle too: two judges that refuse everything would agree."""
    assert [str(j) for j in judged[kind] if j.ours.accepted is not (j.vector.check == "")] == []


@each_kind
def test_the_one_thing_that_is_wrong_is_named_of_the_right_certificate(
    kind: str, judged: dict[str, list[Judged]]
) -> None:
    """Exactly one check fails, the one of the mutation, and none where nothing is wrong."""
    for found in judged[kind]:
        named = {(check.name, check.about) for check in found.ours.checks if check.failed}
        vector = found.vector
        assert named == ({(vector.check, vector.about)} if vector.check else set()), str(found)


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_every_difference_is_named_in_the_document(kind: str) -> None:
    """With who refuses, and with a reason of some length."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {kind} |")]
    assert len(rows) == 1, "docs/conformance.md has one row for it"
    _, _, who, reason, _ = rows[0].split("|")
    assert who.strip() == DIFFERENCES[kind]
    assert len(reason) > 30


def test_the_document_names_no_difference_that_is_not_tested() -> None:
    rows = [line.split("|")[1:3] for line in DOCUMENT.read_text().splitlines()]
    named = {row[0].strip() for row in rows if len(row) == 2 and row[1].strip().endswith("refuses")}
    assert named == set(DIFFERENCES)


def test_the_same_chains_come_at_every_run() -> None:
    """But for their signatures, which are random in ECDSA."""

    def bodies(vectors: Sequence[Vector]) -> list[list[bytes]]:
        return [[c.tbs_certificate_bytes for c in v.presented] for v in vectors]

    assert bodies(oracle_chains.vectors()[:40]) == bodies(oracle_chains.vectors()[:40])
