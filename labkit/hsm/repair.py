"""What a process that was killed leaves in SoftHSM's files, and how it is mended.

SoftHSM rewrites a file by emptying it first, and does so for each attribute of a new object.
A process that is killed at that moment leaves a file that is empty or ends too early:

- a key's: no tool sees it, and while it has no class yet it makes every listing fail;
- a token's that is being made: the library cannot be opened any more, or the token has no PIN;
- a token's that is there since long, for a mere log-in rewrites it: the token would be lost.

So each token's file is copied before its first log-in (what is in it is encrypted under the
PIN), and all is mended before the library is loaded, while nobody else uses the files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from labkit.errors import TokenError
from labkit.files import write_whole

_TOKEN, _OBJECT, _LOCK = "token.object", ".object", ".lock"
_NOTHING_YET = 8
"""A file of an object begins with its generation, 8 bytes; then come the attributes."""
_SO_PIN = (0x8000534C).to_bytes(8, "big")
"""The type of the attribute that holds the security officer's PIN. SoftHSM's own."""


def mend(tokens: Path, copies: Path) -> None:
    """Restores or clears away what a killed process left below ``tokens``.

    Raises TokenError for a token with keys in it whose file is cut off, and has no copy: one that
    another tool made. SoftHSM could not be loaded then.
    """
    for directory in tokens.iterdir():
        if directory.is_dir():
            _clear_unborn(directory)
            _mend_token(directory, copies / directory.name)


def keep(tokens: Path, copies: Path, serial: str) -> None:
    """Copies the file of the token of this serial number, unless the copy is as it is.

    Before a log-in: the file is whole then, and has the PIN that the owner may have changed.
    """
    # SoftHSM takes the serial number from the end of the directory's name, which is a UUID.
    (directory,) = tokens.glob(f"*-{serial[:4]}-{serial[4:]}")
    whole, copy = (directory / _TOKEN).read_bytes(), copies / directory.name
    if not copy.exists() or copy.read_bytes() != whole:
        copies.mkdir(mode=0o700, exist_ok=True)
        write_whole(copy, whole)


def _clear_unborn(directory: Path) -> None:
    """Objects that have not got their first attribute: not even what they are."""
    for file in directory.glob(f"*{_OBJECT}"):
        if file.name != _TOKEN and file.stat().st_size <= _NOTHING_YET:
            file.unlink()
            file.with_suffix(_LOCK).unlink(missing_ok=True)


def _mend_token(directory: Path, copy: Path) -> None:
    file = directory / _TOKEN
    found = file.read_bytes() if file.exists() else b""
    if copy.exists():
        whole = copy.read_bytes()
        if len(found) < len(whole):
            write_whole(file, whole)
    elif _SO_PIN not in found:
        if _has_objects(directory):
            raise _lost(directory, len(found))
        # Without the officer's PIN nobody was given a PIN of theirs: there can be no key in it.
        shutil.rmtree(directory)


def _lost(directory: Path, size: int) -> TokenError:
    return TokenError(
        "A token of this workspace is damaged",
        expected=f"its file, whole, at {directory / _TOKEN}",
        found=f"{size} bytes of it: whoever wrote it was killed meanwhile",
        cure="restore the file, or move its folder away: its keys are lost without it; "
        "or start over: Lab.open(..., fresh=True)",
    )


def _has_objects(directory: Path) -> bool:
    return any(file.name != _TOKEN for file in directory.glob(f"*{_OBJECT}"))
