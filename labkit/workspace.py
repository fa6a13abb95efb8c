"""The folder that a lab lives in: private, marked as ours, and used by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from labkit import progress
from labkit.errors import WorkspaceError

HOME = "LABKIT_HOME"
_MARK, _LOCK = "labkit-workspace", "lock"
_LAYOUT = "1\n"
"""The version of what is inside; a later lab that changes it must know the older one."""


def home() -> Path:
    """Where workspaces with a plain name live: ``$LABKIT_HOME``, else ``~/.labkit``."""
    return Path(os.environ.get(HOME) or Path.home() / ".labkit")


def locate(name: str | os.PathLike[str]) -> Path:
    """A plain name is below :func:`home`; whatever holds a slash is a path of its own."""
    text = os.fspath(name)
    if os.sep in text or isinstance(name, Path):
        return Path(text).expanduser().resolve()
    if not text or text.startswith(".") or "\0" in text:
        raise WorkspaceError(
            f"{text!r} cannot name a workspace", expected="a plain name such as first-device"
        )
    return (home() / text).resolve()


def existing(path: Path) -> Path:
    """The folder, if it is a workspace; it may be open elsewhere. Raises WorkspaceError."""
    if not (path / _MARK).exists():
        raise WorkspaceError(
            f"There is no workspace at {path}",
            expected="a folder that Lab.open or labkit serve has made",
            cure="name it with --workspace; notebooks keep theirs below " + str(home()),
        )
    return path


class Workspace:
    """Takes the folder (mode 0700) and its lock. Raises WorkspaceError when it may not.

    ``is_new`` tells whether it was made just now.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.is_new = self._make()
        self._lock = self._take_lock()
        if fresh and not self.is_new:
            self._empty()
            self.is_new = True
        (path / _MARK).write_text(_LAYOUT)

    def close(self) -> None:
        """Lets other processes in. Harmless when called twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _make(self) -> bool:
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
        if _MARK in found and (layout := (self.path / _MARK).read_text()) != _LAYOUT:
            raise WorkspaceError(
                f"{self.path} was made by another version of the lab",
                expected=f"layout {_LAYOUT.strip()}",
                found=f"layout {layout.strip()[:20]!r}",
                cure="use that version, or open another workspace",
            )
        if found - {_LOCK} and _MARK not in found:
            raise WorkspaceError(
                f"{self.path} is not a workspace of the lab",
                expected="an empty or a new folder, or a workspace",
                found=f"other files, such as {min(found)}",
                cure="choose another folder: the lab never touches files that are not its own",
            )
        self.path.chmod(0o700)
        return _MARK not in found

    def _take_lock(self) -> int:
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise WorkspaceError(
                f"Workspace {self.path.name!r} is open in another process",
                found=f"process {holder or 'unknown'} has it",
                cure="shut down the other notebook's kernel (or stop labkit serve), "
                "or open a workspace of another name",
            ) from error
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def _empty(self) -> None:
        for entry in self.path.iterdir():
            if entry.name in (_LOCK, progress.FILE):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
