"""The lessons' papers: what lies in them, and openssl beside them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nbformat
import pytest
from cryptography import x509
from foreign_tools import run

from labkit import Lab
from labkit.errors import LabError
from labkit.hsm.keys import der_signature
from labkit.scenarios.papers import Papers

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_what_is_written_can_be_read_by_openssl(lab: Lab) -> None:
    company = lab.custodian("Company-X")
    root, papers = company.create_root_ca(), Papers(lab)
    papers.write("root.pem", root.certificate)
    papers.write("root.csr", company.request_ca("Company-X Root CA"))
    papers.write("root.pub", root.key.public_key())
    papers.write("two.pem", [root.certificate, root.certificate])
    assert (papers / "two.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert (papers.folder.stat().st_mode & 0o777) == 0o700
    for file in ("x509 -in root.pem", "req -in root.csr"):
        said = papers.openssl(f"{file} -noout -subject -nameopt RFC2253")
        assert repr(said) == "subject=CN=Company-X Root CA,O=Company-X"


def test_a_command_that_fails_says_why_and_nothing_that_differs(lab: Lab) -> None:
    with pytest.raises(LabError, match="nothing") as failure:
        Papers(lab).openssl("x509 -in nothing.pem -noout")
    assert "nothing.pem" in failure.value.found
    assert not re.search(r"^[0-9A-F]{8,}:", failure.value.found, re.MULTILINE), "a thread's number"


def test_a_no_of_openssl_is_an_answer(lab: Lab) -> None:
    """A signature that does not verify is told, and is no failure of the command."""
    root, papers = lab.custodian("Company-X").create_root_ca(), Papers(lab)
    papers.write("public", root.key.public_key())
    papers.write("text", "a text")
    papers.write("signature", der_signature(bytes(range(1, 65))))
    said = papers.openssl("dgst -sha256 -verify public -signature signature text")
    assert said.text == "Verification failure"


def test_of_a_long_answer_only_the_lines_that_matter_are_shown(lab: Lab) -> None:
    """And nothing of a handshake that differs from run to run, such as a message's length."""
    dial = f"s_client -connect {lab.listener.host}:{lab.listener.mqtt_port} -tls1_2 -msg"
    said = Papers(lab).openssl(dial)
    assert "[length" in said.text
    handshake = repr(said.only("Handshake", "Alert")).splitlines()
    assert handshake[0] == ">>> TLS 1.2, Handshake, ClientHello"
    assert "<<< TLS 1.2, Handshake, CertificateRequest" in handshake
    assert ">>> TLS 1.2, Handshake, CertificateVerify" not in handshake, "it had no certificate"
    assert handshake[-1] == ">>> TLS 1.2, Alert, warning close_notify", "it was let in, and left"


def test_without_openssl_the_cell_says_what_to_install(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = Papers(lab)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LabError, match="openssl is not installed"):
        papers.openssl("version")


def hospital_s_commands() -> list[str]:
    """What lesson 04 tells a customer to run, as it is printed there."""
    lesson = nbformat.read(NOTEBOOKS / "04-prove-you-own-it.ipynb", as_version=4)
    (block,) = (
        found for c in lesson.cells for found in re.findall("```sh\n(.*?)```", c.source, re.S)
    )
    return block.replace("\\\n", " ").strip().splitlines()


def test_a_customer_who_has_only_openssl_proves_possession_as_the_lesson_says(
    lab: Lab, tmp_path: Path
) -> None:
    """Their CA is a file of theirs, outside of the lab; the lab takes their answer."""
    own = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem"
    usage = "-subj /O=Hospital-H/CN=Hospital-CA -addext keyUsage=critical,keyCertSign"
    made = run("env", "-C", tmp_path, "openssl", *shlex.split(f"{own} {usage}"))
    assert made.returncode == 0, made.stderr
    entry = lab.dps.certificates.upload("hospital-h", tmp_path / "ca.pem")
    for command in hospital_s_commands():
        filled = command.replace("/CN=CODE", f"/CN={entry.verification_code}")
        ran = run("env", "-C", tmp_path, *shlex.split(filled))
        assert ran.returncode == 0, ran.stderr
    answer = x509.load_pem_x509_certificate((tmp_path / "verification.pem").read_bytes())
    lab.clock.set(answer.not_valid_before_utc)  # openssl knows the machine's time only
    lab.dps.certificates.verify(entry, tmp_path / "verification.pem")
    assert entry.is_verified
