"""The folder that a lab lives in: private, ours alone, and there again after a crash."""

from __future__ import annotations

import gc
import json
import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from stories import enrolled, open_lab
from subprocesses import run_python

from labkit import Lab
from labkit.errors import LabError, WorkspaceError
from labkit.wire.ports import Ports
from labkit.workspace import Workspace, existing, locate

MARK = "labkit-workspace"
OPEN = """
import sys
from pathlib import Path
from labkit import Lab
from labkit.errors import WorkspaceError
try:
    Lab.open(Path(sys.argv[1])).close()
except WorkspaceError as error:
    print(error)
else:
    print("opened")
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- where


def test_a_plain_name_is_below_labkit_home() -> None:
    assert locate("first-device") == Path(os.environ["LABKIT_HOME"]).resolve() / "first-device"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(tmp_path / "lab") == tmp_path / "lab"
    assert locate(f"{tmp_path}/lab") == tmp_path / "lab"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "nul\0", 123, None])
def test_what_cannot_name_a_workspace(name: Any) -> None:
    with pytest.raises(WorkspaceError, match="cannot name a workspace"):
        locate(name)
    with pytest.raises(WorkspaceError, match="cannot name a workspace"):
        Lab.open(name)


# ---- private


def test_it_is_closed_to_others_and_so_is_all_that_matters_in_it(lab: Lab) -> None:
    enrolled(lab)
    assert mode(lab.path) == 0o700
    for entry in lab.path.iterdir():
        if entry.name == "hsm" or entry.suffix == ".db" or entry.name.startswith("labkit-"):
            assert mode(entry) & 0o077 == 0, entry


def test_an_existing_empty_folder_becomes_private(tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir(mode=0o755)
    Workspace(place).close()
    assert mode(place) == 0o700


# ---- one process at a time


def test_a_second_process_is_refused_with_the_holders_number(lab: Lab) -> None:
    result = run_python(OPEN, lab.path)
    assert "open in another process" in result.stdout, result.stderr
    assert f"process {os.getpid()} has it" in result.stdout
    assert "Cure:" in result.stdout


def test_it_lets_the_next_process_in_once_it_is_closed(tmp_path: Path) -> None:
    open_lab(tmp_path / "lab").close()
    result = run_python(OPEN, tmp_path / "lab")
    assert result.stdout == "opened\n", result.stderr


def test_fresh_throws_nothing_away_that_another_process_uses(lab: Lab) -> None:
    enrolled(lab)
    before = sorted(str(p) for p in lab.path.rglob("*"))
    result = run_python(OPEN.replace("[1]))", "[1]), fresh=True)"), lab.path)
    assert "open in another process" in result.stdout, result.stderr
    assert sorted(str(p) for p in lab.path.rglob("*")) == before


# ---- foreign folders


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    place = tmp_path / "thesis"
    place.mkdir(mode=0o755)
    (place / "thesis.tex").write_text("ten years of work")
    return place


@pytest.mark.parametrize("fresh", [False, True])
def test_a_foreign_folder_is_refused_and_nothing_in_it_is_touched(
    foreign: Path, fresh: bool
) -> None:
    with refused(WorkspaceError, "not a workspace", "thesis.tex"):
        Lab.open(foreign, fresh=fresh)
    assert [p.name for p in foreign.iterdir()] == ["thesis.tex"]
    assert (foreign / "thesis.tex").read_text() == "ten years of work"


def test_a_refused_folder_keeps_its_mode(foreign: Path) -> None:
    """Otherwise ``Lab.open("/tmp")`` by an administrator locks everybody out of /tmp."""
    with pytest.raises(WorkspaceError):
        Lab.open(foreign)
    assert mode(foreign) == 0o755


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("a file")
    with refused(WorkspaceError, "cannot be a workspace"):
        Lab.open(tmp_path / "lab")
    assert (tmp_path / "lab").read_text() == "a file"


# ---- fresh


def test_fresh_starts_over_and_needs_no_closing_before(tmp_path: Path) -> None:
    first = open_lab(tmp_path / "lab")
    scope, tokens = first.dps.id_scope, enrolled(first).lab.custodians
    second = open_lab(tmp_path / "lab", fresh=True)
    assert tokens
    assert second is not first
    assert second.custodians == []
    assert second.dps.id_scope != scope
    second.close()


# ---- the mark


def test_the_mark_is_written_once(tmp_path: Path) -> None:
    """Written anew at each start, it was empty after a crash at that moment."""
    Workspace(tmp_path / "lab").close()
    mark = tmp_path / "lab" / MARK
    before = mark.stat().st_ino, mark.stat().st_mtime_ns
    Workspace(tmp_path / "lab").close()
    assert (mark.stat().st_ino, mark.stat().st_mtime_ns) == before
    assert [p.name for p in (tmp_path / "lab").iterdir() if p.suffix == ".part"] == []


def test_an_empty_mark_locks_nobody_out(tmp_path: Path) -> None:
    Workspace(tmp_path / "lab").close()
    (tmp_path / "lab" / "kept").write_text("kept")
    os.truncate(tmp_path / "lab" / MARK, 0)
    again = Workspace(tmp_path / "lab")
    again.close()
    assert not again.is_new
    assert (tmp_path / "lab" / "kept").exists()
    assert (tmp_path / "lab" / MARK).read_text() == "7\n"


def test_a_mark_of_another_layout_is_refused_and_left(tmp_path: Path) -> None:
    Workspace(tmp_path / "lab").close()
    (tmp_path / "lab" / MARK).write_text("1\n")
    for fresh in (False, True):
        with refused(WorkspaceError, "another version", "layout '1'"):
            Workspace(tmp_path / "lab", fresh=fresh)
    with refused(WorkspaceError, "another version", "layout '1'"):
        existing(tmp_path / "lab")
    assert (tmp_path / "lab" / MARK).read_text() == "1\n"


def test_a_start_that_was_cut_off_before_the_mark_goes_on(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    for name in ("lock", f"{MARK}.abc.part"):
        (tmp_path / "lab" / name).touch()
    again = Workspace(tmp_path / "lab")
    again.close()
    assert again.is_new


def test_starting_over_that_was_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes first: the folder stays a workspace, and nothing old shows up in the new."""
    names = [f"file-{number}" for number in range(5)]
    for survivors in range(len(names) + 1):
        place = tmp_path / f"lab-{survivors}"
        Workspace(place).close()
        for name in names:
            (place / name).touch()
        gone = iter(range(len(names) - survivors))

        def unlink(path: Path, *, left: Any = gone, **_: Any) -> None:
            if path.suffix != ".part" and next(left, None) is None:
                raise KeyboardInterrupt  # as good as a kill: nothing of ours runs after it
            os.unlink(path)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", unlink)
            if survivors:
                with pytest.raises(KeyboardInterrupt):
                    Workspace(place, fresh=True)
        again = Workspace(place, fresh=not survivors)
        again.close()
        assert again.is_new
        assert {p.name for p in place.iterdir()} == {MARK, "lock"}


def test_the_mark_is_read_when_the_folder_is_locked(tmp_path: Path) -> None:
    held = Workspace(tmp_path / "lab")
    (tmp_path / "lab" / MARK).write_text("being written")
    with refused(WorkspaceError, "open in another process", "Running Terminals and Kernels"):
        Workspace(tmp_path / "lab")
    held.close()


# ---- a start that fails


def test_a_new_workspace_whose_start_fails_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.rooms.Listener", _broken)
    with pytest.raises(RuntimeError, match="broken"):
        open_lab(tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_an_older_workspace_whose_start_fails_keeps_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_lab(tmp_path / "lab") as lab:
        scope = lab.dps.id_scope
    with monkeypatch.context() as patched:
        patched.setattr("labkit.rooms.Listener", _broken)
        with pytest.raises(RuntimeError, match="broken"):
            open_lab(tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        assert lab.dps.id_scope == scope


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("broken")


PARTS = ("TokenStore", "Ledger", "Cloud", "ServerIdentity", "Listener", "SupplyChain")


@pytest.mark.parametrize("part", PARTS)
def test_a_start_that_fails_anywhere_releases_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    open_lab(tmp_path / "lab").close()
    threads, environment = threading.active_count(), os.environ.get("SOFTHSM2_CONF")
    open_files = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    with monkeypatch.context() as patched:
        patched.setattr(f"labkit.rooms.{part}", _broken)
        with pytest.raises(RuntimeError, match="broken"):
            open_lab(tmp_path / "lab")
    gc.collect()
    assert threading.active_count() == threads
    assert os.environ.get("SOFTHSM2_CONF") == environment
    if open_files:
        assert set(os.listdir("/proc/self/fd")) - open_files == set()
    result = run_python(OPEN, tmp_path / "lab")
    assert result.stdout == "opened\n", result.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"hubs": ("x",)},
        {"clock": "yesterday"},
        {"clock": "9999-01-01"},
        {"ports": Ports("nowhere")},
        {"ports": Ports(None, 70000)},
        {"ports": Ports(None, None, -1)},
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made_or_thrown_away(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(LabError):
        Lab.open(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()
    with open_lab(tmp_path / "lab") as lab:
        scope = lab.dps.id_scope
        with pytest.raises(LabError):
            Lab.open(tmp_path / "lab", fresh=True, **wrong)
        assert lab.dps.id_scope == scope, "it is open still"


# ---- files


def test_two_processes_may_write_one_file_at_once(tmp_path: Path) -> None:
    """Each fills a file of its own: with one name for both, one of them lost it while filling."""
    code = (
        "import sys; from pathlib import Path; from labkit.files import write_whole\n"
        "for _ in range(150): write_whole(Path(sys.argv[1]), sys.argv[2] * 5000)"
    )
    file = tmp_path / "clock.json"
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda letter: run_python(code, file, letter), "ab"))
    assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
    assert file.read_text() in ("a" * 5000, "b" * 5000)
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


# ---- crash

CRASH = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from stories import enrolled, open_lab
lab = open_lab(Path(sys.argv[1]))
story = enrolled(lab)
story.widget.provision()
story.widget.connect().send({"temperature": 21.5})
registration = lab.dps.registrations.get("smart-x-widget-001")
print(registration.operation_id, lab.dps.id_scope, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_whatever_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    result = run_python(CRASH, tmp_path / "lab", Path(__file__).parent)
    assert result.returncode == -signal.SIGKILL, result.stderr
    operation, scope = result.stdout.split()
    with open_lab(tmp_path / "lab") as lab:
        assert lab.dps.id_scope == scope
        assert lab.dps.registrations.get("smart-x-widget-001").operation_id == operation
        assert [m.text for m in lab.hub().messages()] == ['{"temperature": 21.5}']
        assert [ca.is_verified for ca in lab.dps.certificates] == [True]
        widget = lab.device("smart-x-widget-001")
        assert widget.assignment is not None
        widget.connect().send({"temperature": 22.5})
        assert len(lab.hub().messages()) == 2


CUT_OFF = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from stories import open_lab
lab = open_lab(Path(sys.argv[1]))
company = lab.custodian("Company-X").create_root_ca()
print("root", flush=True)
for number in range(1000):
    company.make_device(f"widget-{number}")
    print(f"widget-{number}", flush=True)
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_device_that_was_returned_is_there_after_kill_9(tmp_path: Path) -> None:
    result = run_python(CUT_OFF, tmp_path / "lab", Path(__file__).parent)
    assert result.returncode == -signal.SIGKILL, result.stderr
    made = result.stdout.split()[1:]
    with open_lab(tmp_path / "lab") as lab:
        assert [d.name for d in lab.devices] == made
        assert [d.certificate.public_key() for d in lab.devices] == [
            d.key.public_key() for d in lab.devices
        ]


def test_a_start_that_was_cut_off_while_the_servers_certificates_were_written(
    tmp_path: Path,
) -> None:
    """A file that was created and not filled yet must not lock the workspace for ever."""
    open_lab(tmp_path / "lab").close()
    os.truncate(tmp_path / "lab" / "server" / "service-roots.json", 0)
    open_lab(tmp_path / "lab").close()


def test_a_damaged_database_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    open_lab(tmp_path / "lab").close()
    for name in ("cloud.db-wal", "cloud.db-shm"):
        (tmp_path / "lab" / name).unlink(missing_ok=True)
    (tmp_path / "lab" / "cloud.db").write_bytes(b"this is no database" * 500)
    with refused(WorkspaceError, "cloud.db", "fresh=True"):
        open_lab(tmp_path / "lab")
    open_lab(tmp_path / "lab", fresh=True).close()  # and nothing was left locked


def test_the_pins_file_is_for_its_owner_only(lab: Lab) -> None:
    lab.custodian("Company-X")
    pins = lab.path / "hsm" / "pins.json"
    assert mode(pins) == 0o600
    assert "Company-X" in json.loads(pins.read_text())
