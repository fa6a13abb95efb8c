"""What follows the lab is up to date after each cell of a notebook."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from labkit.errors import WorkspaceError


def after_each_cell(refresh: Callable[[], None]) -> None:
    """Calls the method ``refresh`` after each cell, while its object lives and its lab is open.

    IPython calls whatever is registered for ever; the object must be free to go. Outside a
    notebook nothing happens.
    """
    from IPython import get_ipython

    shell, method = get_ipython(), WeakMethod(refresh)
    if shell is None:
        return

    def follow(*_: object) -> None:
        alive = method()
        if alive is None or not _refreshed(alive):
            shell.events.unregister("post_run_cell", follow)

    shell.events.register("post_run_cell", follow)


def _refreshed(refresh: Callable[[], None]) -> bool:
    """False once its lab was closed or started over: then what was shown last stays."""
    try:
        refresh()
    except WorkspaceError:
        return False
    return True
