"""The folder that a lab lives in: private, marked as ours, and used by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from labkit import progress
from labkit.errors import WorkspaceError
from labkit.files import write_whole

HOME = "LABKIT_HOME"
_MARK, _LOCK = "labkit-workspace", "lock"
_LAYOUT = "7\n"
"""The version of what is inside; a later lab that changes it must know the older one."""
_EMPTYING = "being emptied\n"
"""What the mark says meanwhile: whoever finds it finishes that."""
_NAMES = "a plain name such as first-device, or a path with a slash such as ./first-device"


def home() -> Path:
    """Where workspaces with a plain name live: ``$LABKIT_HOME``, else ``~/.labkit``."""
    return Path(os.environ.get(HOME) or Path.home() / ".labkit")


def locate(name: str | os.PathLike[str]) -> Path:
    """A plain name is below :func:`home`; whatever holds a slash is a path of its own.

    Raises WorkspaceError.
    """
    if not isinstance(name, str | os.PathLike):
        raise WorkspaceError(
            f"{name!r} cannot name a workspace",
            expected=_NAMES,
            found=f"a value of type {type(name).__name__}",
        )
    text = os.fspath(name)
    if os.sep in text or isinstance(name, Path):
        return Path(text).expanduser().resolve()
    if not text or text.startswith(".") or "\0" in text:
        raise WorkspaceError(f"{text!r} cannot name a workspace", expected=_NAMES)
    return (home() / text).resolve()


def existing(path: Path) -> Path:
    """The folder, if it is a workspace; it may be open elsewhere. Raises WorkspaceError."""
    if not (path / _MARK).exists():
        raise WorkspaceError(
            f"There is no workspace at {path}",
            expected="a folder that Lab.open or labkit serve has made",
            cure="name it with --workspace; notebooks keep theirs below " + str(home()),
        )
    _layout(path)
    return path


def _layout(path: Path) -> str | None:
    """What the mark says, if there is one. Raises WorkspaceError for that of another version."""
    mark = path / _MARK
    layout = mark.read_text(errors="replace") if mark.exists() else None
    # Earlier versions wrote the mark anew at each start: cut off there, it is empty.
    if layout not in (None, "", _LAYOUT, _EMPTYING):
        raise WorkspaceError(
            f"{path} was made by another version of the lab",
            expected=f"layout {_LAYOUT.strip()}",
            found=f"layout {str(layout).strip()[:20]!r}",
            cure="use that version, or open another workspace",
        )
    return layout


class Workspace:
    """Takes the folder (mode 0700) and its lock. Raises WorkspaceError when it may not.

    ``is_new`` tells whether it was made just now.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._lock = -1
        while not self._holds_lock():  # a failed start elsewhere may take the folder away
            self.close()
            self._made = self._make()
            self._lock = self._take_lock()
        try:
            self.is_new = self._enter(fresh)
        except BaseException:
            self.abandon()
            raise

    def close(self) -> None:
        """Lets other processes in. Harmless when called twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def abandon(self) -> None:
        """Closes it after a start that failed; a folder that was made for it goes with it."""
        if self._made and self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def _make(self) -> bool:
        """Whether there was no folder before. Refuses a foreign one, and touches nothing in it."""
        made = not self.path.exists()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise WorkspaceError(
                f"{self.path} cannot be a workspace",
                expected="a folder that may be written",
                found=error.strerror or str(error),
                cure=f"choose another place: set {HOME}, or open the lab by a path",
            ) from error
        if foreign := [] if _MARK in found else [name for name in found if not _is_ours(name)]:
            raise WorkspaceError(
                f"{self.path} is not a workspace of the lab",
                expected="an empty or a new folder, or a workspace",
                found=f"other files, such as {min(foreign)}",
                cure="choose another folder: the lab never touches files that are not its own",
            )
        self.path.chmod(0o700)
        return made

    def _enter(self, fresh: bool) -> bool:
        """Reads the mark and sets it; whether all begins anew."""
        mark, layout = self.path / _MARK, _layout(self.path)
        if layout is not None and (fresh or layout == _EMPTYING):
            write_whole(mark, _EMPTYING)
            self._empty()
            layout = None
        if layout != _LAYOUT:
            write_whole(mark, _LAYOUT)
        return layout is None

    def _take_lock(self) -> int:
        try:
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the folder is gone again
            return -1
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise WorkspaceError(
                f"Workspace {self.path.name!r} is open in another process",
                found=f"process {holder or 'unknown'} has it",
                cure="shut down the other notebook's kernel (in JupyterLab: Running Terminals "
                "and Kernels → shut it down), stop labkit serve, "
                "or open a workspace of another name",
            ) from error
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def _holds_lock(self) -> bool:
        """Whether what is locked is still the file that others would look for."""
        if self._lock < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self.path / _LOCK))
        except FileNotFoundError:
            return False

    def _empty(self) -> None:
        """The mark stays to the end: without it, what is left would be somebody else's folder."""
        for entry in self.path.iterdir():
            if entry.name in (_MARK, _LOCK, progress.FILE):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _is_ours(name: str) -> bool:
    """What lies in a workspace before its mark does: the lock, and a mark half written."""
    return name == _LOCK or name.startswith(_MARK)
