"""Every test run gets a home of its own, and none of it leaves this machine.

Notebook kernels started by a run inherit the home through the environment. They are kept
off the network too: this file is also the start-up file of their private IPython profile.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: to connect to, write to or look up anything but loopback is an error."""
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name and not name.startswith(LOCAL):
        raise PermissionError(f"tests stay on this machine, but {event} wants {name!r}")


def pytest_configure(config: pytest.Config) -> None:
    home = Path(tempfile.mkdtemp(prefix="labkit-tests-"))  # mode 0700
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    # In a namespace of its own: a notebook must not find our imports in place of its own.
    (startup / "offline.py").write_text(f"__import__('runpy').run_path({__file__!r})\n")
    os.environ["LABKIT_HOME"] = str(home / "labs")
    os.environ["IPYTHONDIR"] = str(home / "ipython")
    (home / "labs").mkdir(mode=0o700)


sys.addaudithook(stay_on_this_machine)
