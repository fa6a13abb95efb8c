"""The first page keeps its word: what it shows runs as pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run(home: Path, *command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LABKIT_HOME": str(home)}
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_the_python_block_runs_as_pasted(home: Path) -> None:
    program = block("python") + "\nprint(lab.hub().messages())"
    assert '[<Message from smart-x-widget-001: {"temperature": 21.5}>]' in run(
        home, sys.executable, "-c", program
    )


def test_the_explanation_it_shows_is_the_one_that_is_printed(home: Path) -> None:
    """Continues the workspace of the block: the chain is cut, and the command explains it."""
    cut = """
from labkit import Lab
lab = Lab.open("first-device")
widget = lab.device("smart-x-widget-001")
widget.install_chain([widget.certificate])
try:
    widget.provision()
except Exception:
    pass
"""
    run(home, sys.executable, "-c", block("python") + cut)
    command = ("explain", "--last", "--workspace", "first-device")
    printed = run(home, sys.executable, "-m", "labkit", *command)
    assert [line for line in block("text").splitlines() if line not in printed] == []


PLAIN_SDK = """
import sys
from pathlib import Path
from azure.iot.device import X509, IoTHubDeviceClient, Message, ProvisioningDeviceClient

import json
where = json.loads(sys.stdin.readline())
trust = Path(where["serverCa"]).read_text()
x509 = X509(cert_file="device.pem", key_file="device.key")
address = where["dps"]["host"]
found = ProvisioningDeviceClient.create_from_x509_certificate(
    provisioning_host=address, registration_id="my-device-1", id_scope=where["idScope"],
    x509=x509, server_verification_cert=trust,
).register().registration_state
client = IoTHubDeviceClient.create_from_x509_certificate(
    x509=x509, hostname=found.assigned_hub, device_id=found.device_id,
    gateway_hostname=address, server_verification_cert=trust,
)
client.connect()
client.send_message(Message("hello"))
client.shutdown()
"""


def test_the_way_of_a_device_team(home: Path, tmp_path: Path) -> None:
    """A key made by openssl, the block that signs its CSR, `labkit serve`, and the plain SDK in
    a program that does not know this project."""
    openssl = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    files = ("-nodes", "-keyout", "device.key", "-out", "device.csr", "-subj", "/CN=my-device-1")
    subprocess.run([*openssl, *files], cwd=tmp_path, check=True, capture_output=True)
    run(home, sys.executable, "-c", block("python", 1), cwd=tmp_path)
    serve = (sys.executable, "-m", "labkit", "serve", "--workspace", "my-lab")
    place = ("--host", "127.0.0.33", "--https-port", "8443")
    environment = {**os.environ, "LABKIT_HOME": str(home)}
    with subprocess.Popen(
        [*serve, *place], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        client = [sys.executable, "-c", PLAIN_SDK]
        done = subprocess.run(
            client, cwd=tmp_path, input=line, capture_output=True, text=True, timeout=60
        )
        server.terminate()
        assert done.returncode == 0, done.stderr
        assert server.wait(10) == 0


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
