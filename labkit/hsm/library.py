"""Finding SoftHSM's PKCS#11 library, and one instance of it for each open workspace.

SoftHSM reads its configuration once, when it is initialised, and knows one token
directory. A process that opens two workspaces therefore needs two instances. The dynamic
loader keeps apart what it loads from two *files*, so the second workspace loads a copy of
the library; an instance whose workspace was closed is finalised and serves the next one.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11.exceptions import PKCS11Error

from labkit.errors import SoftHsmMissing

LOCK = threading.RLock()
"""Held around every PKCS#11 call of this process: python-pkcs11 calls C_Initialize without
locking arguments, and SoftHSM then has no mutexes of its own."""

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "{CONDA_PREFIX}/lib/softhsm/libsofthsm2.so",
)
"""Where Debian, Fedora, Homebrew and conda put the library; the environment variable
PKCS11_MODULE goes before them all."""


def find_module() -> Path:
    """The path of SoftHSM's library. Raises SoftHsmMissing, which names every place looked at."""
    named = os.environ.get("PKCS11_MODULE")
    places = (named,) if named else _expanded()
    for place in places:
        for path in sorted(glob.glob(place)):
            return Path(path).resolve()
    raise SoftHsmMissing(
        "SoftHSM, the software HSM that holds the lab's private keys, is not installed",
        expected="its PKCS#11 library libsofthsm2.so",
        found=f"nothing at {', '.join(places)}",
        cure="run ./lab setup, or install it yourself (Debian, Ubuntu: apt-get install softhsm2; "
        "macOS: brew install softhsm; Fedora: dnf install softhsm), "
        "or set PKCS11_MODULE to the library's path",
    )


def _expanded() -> tuple[str, ...]:
    conda = os.environ.get("CONDA_PREFIX")
    return tuple(p.format(CONDA_PREFIX=conda) for p in PLACES if conda or "{CONDA" not in p)


_idle: list[Any] = []
_loaded: set[str] = set()


def take(configuration: Path) -> Any:
    """An initialised library that reads ``configuration``; give it back with :func:`release`."""
    with LOCK:
        # Set for good: `softhsm2-util` started from a notebook then sees the same tokens.
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        if _idle:
            library = _idle.pop()
            library.initialize()
            return library
        return _load(_not_yet_loaded(find_module()))


def release(library: Any) -> None:
    """Finalises ``library``: every session and key handle of it dies."""
    with LOCK:
        library.finalize()
        _idle.append(library)


def _load(path: Path) -> Any:
    try:
        library = pkcs11.lib(str(path))
    except (PKCS11Error, OSError) as error:
        raise SoftHsmMissing(
            f"{path} could not be loaded",
            expected="a PKCS#11 library",
            found=str(error) or type(error).__name__,
            cure="reinstall softhsm2, or set PKCS11_MODULE to another library",
        ) from error
    _loaded.add(str(path))
    return library


def _not_yet_loaded(module: Path) -> Path:
    if str(module) not in _loaded:
        return module
    directory = tempfile.mkdtemp(prefix="labkit-softhsm-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(shutil.copy(module, directory))
