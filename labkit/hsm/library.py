"""Finding SoftHSM's PKCS#11 library, and one instance of it for each open workspace.

SoftHSM reads its configuration once, when it is initialised, and knows one token
directory. A process that opens two workspaces therefore needs two instances. The dynamic
loader keeps apart what it loads from two *files*, so the second workspace loads a copy of
the library; an instance whose workspace was closed is finalised and serves the next one.
"""

from __future__ import annotations

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
from labkit.hsm import cryptoki

CONFIGURATION = "SOFTHSM2_CONF"
"""The environment variable in which SoftHSM finds its configuration file."""

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
_taken: list[str] = []
"""The configurations of the workspaces that are open, the latest last."""
_found: str | None = None
"""What SOFTHSM2_CONF was before the first of them."""


def take(configuration: Path) -> Any:
    """An initialised library that reads ``configuration``; give it back with :func:`release`."""
    with LOCK:
        _point_to(str(configuration))
        try:
            if not _idle:
                return _load_another(find_module())
            _idle[-1].initialize()
            return _idle.pop()
        except BaseException:
            _point_back(str(configuration))
            raise


def release(library: Any, configuration: Path) -> None:
    """Finalises ``library``: every session and key handle of it dies."""
    with LOCK:
        try:
            library.finalize()
            _idle.append(library)
        finally:
            _point_back(str(configuration))


def _point_to(configuration: str) -> None:
    """Until the release, so that `softhsm2-util` started from a notebook sees the same tokens."""
    global _found
    if not _taken:
        _found = os.environ.get(CONFIGURATION)
    _taken.append(configuration)
    os.environ[CONFIGURATION] = configuration


def _point_back(configuration: str) -> None:
    """To the workspace opened last of those still open, or to where it pointed before them all."""
    _taken.remove(configuration)
    if os.environ.get(CONFIGURATION) != configuration:
        return  # somebody has set it to something else since
    earlier = _taken[-1] if _taken else _found
    if earlier is None:
        del os.environ[CONFIGURATION]
    else:
        os.environ[CONFIGURATION] = earlier


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
    cryptoki.functions(str(path))
    _loaded.add(str(path))
    return library


def _load_another(module: Path) -> Any:
    """A second instance, from a copy. Once it is loaded the file is of no more use, and a kernel
    that is killed could not take it away later."""
    if str(module) not in _loaded:
        return _load(module)
    with tempfile.TemporaryDirectory(prefix="labkit-softhsm-") as directory:
        return _load(Path(shutil.copy(module, directory)))
