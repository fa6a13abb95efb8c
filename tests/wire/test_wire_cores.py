"""Tasks that other processes do: real processes, real tokens, and what happens when they die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from issuance_stories import certificates, csr, csr_der, managed, new_key
from registering import Speaker
from stories import PATIENCE, PemDevice, Story, enrolled, eventually, open_lab, pem_device
from subprocesses import children, have_softhsm

from labkit.clock import Clock
from labkit.hsm import Algorithm, TokenStore
from labkit.pki import chain, profiles, request
from labkit.pki.authority import self_sign
from labkit.pki.tasks import Issue, Signers, Verify
from labkit.steps import Task
from labkit.wire import workers
from labkit.wire.cores import Cores

CROWD = 2
SPEAKER = Speaker("2025-07-01-preview")
GOOD = csr_der("widget")
ALTERED = bytes([*GOOD[:-1], GOOD[-1] ^ 1])


class OnlyIn(NamedTuple):
    """No other process can do it."""

    process: int

    def do(self, _: Any) -> str:
        assert os.getpid() == self.process
        return "done here"


class Here:
    """An event loop in a thread, and a thread beside it that does tasks only when it is let to."""

    def __init__(self, signers: Signers) -> None:
        self.go_on = threading.Event()
        self.done = 0
        self._signers = signers
        self._pool = ThreadPoolExecutor(1)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.cores = Cores(self.loop, self._later, CROWD, most=2)

    def _later(self, task: Task[Any], then: Any, fail: Any) -> None:
        self._pool.submit(self._do, task, then, fail)

    def _do(self, task: Task[Any], then: Any, fail: Any) -> None:
        assert self.go_on.wait(PATIENCE)
        self.done += 1
        try:
            found = task.do(self._signers)
        except Exception as error:
            self.loop.call_soon_threadsafe(fail, error)
        else:
            self.loop.call_soon_threadsafe(then, found)

    def ask(self, task: Task[Any]) -> Future[Any]:
        found: Future[Any] = Future()
        call = (task, found.set_result, found.set_exception)
        self.loop.call_soon_threadsafe(self.cores.do, *call)
        return found

    def with_processes(self) -> list[int]:
        """Crowds until two are there; their numbers."""
        first = [self.ask(Verify(GOOD)) for _ in range(CROWD + 1)]
        eventually(lambda: len(self.cores._ready) == 2)
        self.go_on.set()
        assert all(found.result(PATIENCE) for found in first)
        self.done = 0
        return [core._process.pid for core in self.cores._all]

    def close(self) -> None:
        if self.loop.is_closed():
            return
        self.go_on.set()
        self.loop.call_soon_threadsafe(self.cores.leave)
        self.cores.wait()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()
        self._pool.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    made = TokenStore(tmp_path / "hsm")
    yield made
    made.close()


@pytest.fixture
def here(store: TokenStore) -> Iterator[Here]:
    made = Here(Signers(store))
    yield made
    made.close()


def test_for_a_few_no_process_is_started(here: Here) -> None:
    here.go_on.set()
    for _ in range(3 * CROWD):  # one after the other
        assert here.ask(Verify(GOOD)).result(PATIENCE)
    assert (here.cores._all, here.done) == ([], 3 * CROWD)


def test_a_crowd_is_served_by_other_processes(here: Here) -> None:
    """As soon as they are there; then nothing is done here any more."""
    here.with_processes()
    asked = [here.ask(Verify(each)) for each in (GOOD, ALTERED) * 10]
    assert [found.result(PATIENCE) for found in asked] == [True, False] * 10
    assert here.done == 0


def test_they_sign_with_the_key_in_the_token(here: Here, store: TokenStore) -> None:
    """Tokens that were made after they were started, too."""
    here.with_processes()
    key = store.token("ADR contoso").ensure_key("policy", Algorithm.P384)
    ca = self_sign(key, request.name("CA"), Clock(), profiles.ISSUING_CA)
    at = store.place("ADR contoso", "policy")
    now = datetime.now(UTC)
    validity, device = (now, now + timedelta(days=7)), new_key()
    der = csr_der("another", device)
    issue = Issue(der, "widget", timedelta(days=7), validity, ca.public_bytes(Encoding.DER), at)
    issued = x509.load_der_x509_certificate(here.ask(issue).result(PATIENCE))
    issued.verify_directly_issued_by(ca)
    assert issued.public_key() == device.public_key()
    assert issued.subject == request.name("widget")
    assert here.done == 0


def test_what_one_cannot_do_ends_it_and_is_done_and_told_here(here: Here) -> None:
    """A task that only this process can do, and one that fails wherever it is done."""
    here.with_processes()
    assert here.ask(OnlyIn(os.getpid())).result(PATIENCE) == "done here"
    assert (here.done, len(here.cores._ready)) == (1, 1)
    with pytest.raises(ValueError, match="error parsing asn1"):
        here.ask(Verify(b"no request")).result(PATIENCE)
    assert (here.done, len(here.cores._ready)) == (2, 0)
    assert here.ask(Verify(GOOD)).result(PATIENCE)


def test_what_a_killed_one_has_not_answered_is_done_here(here: Here) -> None:
    processes = here.with_processes()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    asked = [here.ask(Verify(each)) for each in (GOOD, ALTERED) * 3]
    os.kill(processes[0], signal.SIGKILL)
    eventually(lambda: here.done == 3)  # every other one was its own
    os.kill(processes[1], signal.SIGCONT)
    assert [found.result(PATIENCE) for found in asked] == [True, False] * 3


def test_without_any_of_them_threads_go_on(here: Here) -> None:
    for process in here.with_processes():
        os.kill(process, signal.SIGKILL)
    eventually(lambda: not here.cores._ready)
    asked = [here.ask(Verify(GOOD)) for _ in range(3 * CROWD)]
    assert all(found.result(PATIENCE) for found in asked)
    assert here.done == 3 * CROWD


def test_after_a_pause_a_crowd_has_new_ones(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended them may be over: but nobody starts one after the other."""
    before = here.with_processes()
    for process in before:
        os.kill(process, signal.SIGKILL)
    eventually(lambda: not any(core.is_there for core in here.cores._all))
    here.go_on.clear()
    asked = [here.ask(Verify(GOOD)) for _ in range(2 * CROWD)]
    here.loop.call_soon_threadsafe(setattr, here.cores, "_not_before", 0.0)
    assert len(here.cores._all) == len(before)
    asked += [here.ask(Verify(GOOD)) for _ in range(CROWD)]
    eventually(lambda: len(here.cores._ready) == len(before))
    here.go_on.set()
    assert all(found.result(PATIENCE) for found in asked)
    assert not {core._process.pid for core in here.cores._all[len(before) :]} & {*before}


def test_where_no_process_can_be_started_threads_go_on(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    here.go_on.set()
    asked = [here.ask(Verify(each)) for each in (GOOD, ALTERED) * 2 * CROWD]
    assert [found.result(PATIENCE) for found in asked] == [True, False] * 2 * CROWD


def test_they_end_when_they_are_let_go(here: Here) -> None:
    here.with_processes()
    here.close()
    assert [core._process.returncode for core in here.cores._all] == [0, 0]


def test_they_end_also_while_they_are_starting(here: Here) -> None:
    for _ in range(CROWD + 1):
        here.ask(Verify(GOOD))
    eventually(lambda: len(here.cores._all) == 2)
    here.close()
    assert here.cores._ready == []
    assert all(core._process.returncode is not None for core in here.cores._all)


def test_they_are_the_program_that_this_one_is(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in the folder of the trainee. An interrupt of the notebook is not theirs."""
    (tmp_path / "random.py").write_text("raise SystemExit('this is not the library')")
    monkeypatch.chdir(tmp_path)
    for process in here.with_processes():
        assert os.getpgid(process) != os.getpgid(0)
    assert here.ask(Verify(GOOD)).result(PATIENCE)
    assert here.done == 0


# ---- over the wire


@pytest.fixture
def managed_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A lab on a machine with cores to spare, and a policy that signs."""
    monkeypatch.setattr(workers, "spare", lambda: 2)
    with open_lab(tmp_path / "lab") as lab:
        story = enrolled(lab)
        managed(story)
        yield story


class Fleet:
    """Devices that register all at once, each with a new key and request each time."""

    def __init__(self, story: Story, directory: Path) -> None:
        self._story, self.keys = story, list[bytes]()
        self._devices = [pem_device(story, directory / f"{n}", f"widget-{n:02}") for n in range(24)]

    def register(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Each gets the certificate that it asked for."""
        with ThreadPoolExecutor(len(self._devices)) as pool:
            asked = [pool.submit(self._register, device) for device in self._devices]
            wait(asked, PATIENCE, FIRST_COMPLETED)
            meanwhile()
            self.keys += [each.result(PATIENCE) for each in asked]

    def _register(self, device: PemDevice) -> bytes:
        key = new_key()
        answer = SPEAKER.by_mqtt(self._story, device, {"csr": csr(device.name, key)})
        found = certificates(answer.json["registrationState"]["issuedCertificateChain"])[0]
        assert found.public_key() == key.public_key()
        assert chain.common_name(found) == device.name
        return _spki(found)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("killed", [False, True])
def test_each_device_of_a_crowd_gets_the_certificate_that_it_asked_for(
    managed_story: Story, tmp_path: Path, killed: bool
) -> None:
    """And nobody gets two, also where the other processes die meanwhile; none outlives the lab."""
    before, fleet = children(), Fleet(managed_story, tmp_path)
    fleet.register()
    others = children() - before
    assert len(others) == 2
    end = time.monotonic() + PATIENCE
    while not have_softhsm(others):
        assert time.monotonic() < end
        fleet.register()

    def kill() -> None:
        for process in others if killed else ():
            os.kill(process, signal.SIGKILL)

    fleet.register(meanwhile=kill)
    namespace = managed_story.lab.registry.namespaces.get("contoso")
    assert sorted(fleet.keys) == sorted(_spki(c.certificate) for c in namespace.certificates())
    managed_story.lab.close()
    assert not children() - before
