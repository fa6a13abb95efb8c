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
_PINS = {0x8000534C, 0x8000534D}
"""The types of the attributes that hold the officer's and the user's PIN. SoftHSM's own."""
_WORD = 8
_SIZES = {1: 1, 2: 8}
"""Bytes of a value by its kind: a truth, a number. Any other begins with its length."""


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

    Before a log-in: the file is whole then, and has the PIN that the owner may have changed. One
    that is shorter is being rewritten by a process that outlives the lab it belonged to for a
    moment (:mod:`labkit.hsm.visitor`): the copy stays.
    """
    # SoftHSM takes the serial number from the end of the directory's name, which is a UUID.
    (directory,) = tokens.glob(f"*-{serial[:4]}-{serial[4:]}")
    whole, copy = (directory / _TOKEN).read_bytes(), copies / directory.name
    known = copy.read_bytes() if copy.exists() else b""
    if known != whole and len(known) <= len(whole):
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
    elif not _is_whole(found):
        if _has_objects(directory):
            raise _lost(directory, len(found))
        # Nothing lies in it: it was cut off while it was made, before anybody's first log-in.
        shutil.rmtree(directory)


def _is_whole(data: bytes) -> bool:
    """Whether a token's file ends where an attribute ends, and has both PINs. Each has
    its type, the kind of its value, and the value."""
    types, at = set(), _WORD
    while at < len(data):
        types.add(_word(data, at))
        kind = _word(data, at + _WORD)
        at += 2 * _WORD + (_SIZES.get(kind) or _WORD + _word(data, at + 2 * _WORD))
    return at == len(data) and types >= _PINS


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _WORD], "big")


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
