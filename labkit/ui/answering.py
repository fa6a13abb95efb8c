"""A widget that answers the browser: every question gets exactly one answer.

The browser asks with a message ``{"id": …, "do": …}`` and gets ``{"re": …}`` back, and
``{"re": …, "error": …}`` where that failed. A failure is never silent: a handler's traceback
would go nowhere that a trainee looks.
"""

from __future__ import annotations

import logging
from abc import ABCMeta
from typing import Any

import anywidget
import traitlets

from labkit.errors import LabError, in_short

_log = logging.getLogger("labkit.ui")

Json = dict[str, Any]


class _Meta(ABCMeta, traitlets.MetaHasTraits):
    """Of widgets that leave something to be said by those that inherit."""


class Answering(anywidget.AnyWidget, metaclass=_Meta):
    """``scene`` is what the browser shows, ``busy`` whether something is under way."""

    scene = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.on_msg(self._receive)

    def live_bundle(self, **options: Any) -> tuple[Json, Json]:
        """What shows the widget while there is a kernel, and its metadata."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return dict(data), dict(metadata)

    def answer(self, message: Json) -> Json:
        """What the browser asked for. Raises LabError for what this widget does not know."""
        raise LabError(f"There is no answer to {message.get('do')!r}")

    def _receive(self, _: object, message: Json, __: object) -> None:
        try:
            answer = self.answer(message)
        except LabError as error:
            answer = {"error": str(error)}
        except Exception as error:
            _log.exception("%s failed", message.get("do"))
            answer = {"error": in_short(error)}
        self.send({"re": message.get("id"), **answer})
