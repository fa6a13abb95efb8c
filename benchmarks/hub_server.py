"""A lab whose hub knows N devices, for :mod:`benchmarks.hub`.

``python -m benchmarks.hub_server DIR N`` writes one certificate that all the devices share, says
where it is served, and answers each line of its input: ``resident`` with its kilobytes,
``method`` with the seconds that a method on every connected device took, ``job`` with those of a
job that calls one, a hundred at a time. It ends with its input.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import wait
from pathlib import Path
from time import perf_counter

from cryptography.hazmat.primitives import serialization

from benchmarks.fleet import Issuer
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.hub.placement import place
from labkit.lab import Lab
from labkit.pki import chain
from labkit.wire.ports import Ports


def main(directory: Path, count: int) -> None:
    """Serves until the input ends."""
    ports = Ports(host="127.0.0.1", mqtt=0, https=0)
    with Lab.open(directory / "lab", ports=ports, say=None) as lab:
        _make_devices(lab, directory, count)
        said = {
            "port": lab.listener.mqtt_port,
            "serverCa": str(lab.server.root_file),
            "hub": lab.hub().host_name,
            "devices": [f"device-{number}" for number in range(count)],
        }
        print(json.dumps(said), flush=True)
        for line in sys.stdin:
            asked = {"method": _invoke_all, "job": _job}.get(line.strip())
            print(asked(lab) if asked else resident("self"), flush=True)


def _make_devices(lab: Lab, directory: Path, count: int) -> None:
    certificate, key = Issuer().device("device")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "device.pem").write_bytes(chain.to_pem([certificate]).encode() + pem)
    held = Credentials(chain.thumbprint(certificate))
    with lab.cloud.database.quick_write() as connection:
        for number in range(count):
            place(connection, lab.hub().name, f"device-{number}", held, lab.clock.now())


def _invoke_all(lab: Lab) -> float:
    start, hub = perf_counter(), lab.hub()
    begun = [hub.begin_method(one.device_id, "ping") for one in hub.connected()]
    wait(begun)
    assert all(call.result().status == 200 for call in begun)
    return perf_counter() - start


def _job(lab: Lab) -> float:
    start = perf_counter()
    job = lab.hub().jobs.invoke_method("*", "ping")
    assert job.counts == {"completed": job.devices}, job
    return perf_counter() - start


def resident(process: int | str) -> int:
    """Kilobytes of memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
