"""How tests ask for an error: by its kind, by words of it, and by its being of use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import pytest

from labkit.errors import LabError

ErrorT = TypeVar("ErrorT", bound=LabError)


class Caught(Generic[ErrorT]):
    """Filled when the block has ended."""

    error: ErrorT


@contextmanager
def refused(kind: type[ErrorT], *words: str) -> Iterator[Caught[ErrorT]]:
    """The block raises just this kind, says these words, and tells what it found or what cures."""
    caught: Caught[ErrorT] = Caught()
    with pytest.raises(kind) as raised:
        yield caught
    caught.error = raised.value
    text = str(caught.error)
    for word in words:
        assert word in text
    assert caught.error.found or caught.error.cure, f"no help in: {text}"
