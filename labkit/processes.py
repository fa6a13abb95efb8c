"""Other processes of this program."""

from __future__ import annotations

import sys


def python(module: str, function: str, *arguments: str) -> list[str]:
    """The command of a process that calls a function of the lab's, which finds its arguments in
    ``sys.argv[1:]``.

    It imports from where this process does: ``-c`` alone begins with the folder in which it is
    started, and in a trainee's there may be a ``random.py``.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import {function}; {function}()"
    return [sys.executable, "-c", code, *arguments]
