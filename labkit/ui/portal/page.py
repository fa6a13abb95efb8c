"""The portal on the screen: one widget, and every button calls one method of :class:`Portal`."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import traitlets

from labkit.errors import BadCertificate, LabError
from labkit.ui.answering import Answering, Json
from labkit.ui.assets import module, style_sheet
from labkit.ui.cells import after_each_cell
from labkit.ui.portal.scene import calls_of, scene_of
from labkit.ui.portal.still import still

if TYPE_CHECKING:
    from labkit.ui.portal.portal import Portal

_log = logging.getLogger("labkit.ui")

BUTTONS = frozenset(
    {
        *("show", "open", "new", "close", "refresh", "next_page", "previous_page"),
        *("show_settings", "show_registrations", "attach", "detach", "save", "overwrite"),
        *("upload", "generate_code", "verify", "enable", "disable"),
        *("delete", "delete_registration"),
    }
)
"""The methods of the portal that the browser may call."""


class PortalPage(Answering):
    """Shows a :class:`Portal` and keeps up with it; ``calls`` is the log of what was called."""

    _esm = module("portal")
    _css = style_sheet("portal")
    calls: traitlets.List[Json] = traitlets.List().tag(sync=True)

    def __init__(self, portal: Portal) -> None:
        super().__init__()
        self._portal = portal
        portal.changed = self._show
        self._show()
        after_each_cell(self.follow)

    def follow(self) -> None:
        """Shows what a cell has changed. Raises WorkspaceError once the lab is closed."""
        self._portal.follow()

    def answer(self, message: Json) -> Json:
        """Presses a button: ``do`` names the method, ``with`` what it is called with. What is
        shown as trouble already is no error of the page. Raises LabError for what is not.

        An error that nobody expected is shown as trouble as well, and the page is as it was."""
        button = message.get("do")
        if button not in BUTTONS:
            return super().answer(message)
        before = self._portal.state()
        try:
            getattr(self._portal, button)(**_arguments(message))
        except LabError as error:
            trouble = self._portal.trouble
            if trouble is None or trouble.error is not error:
                raise
            return {"refused": error.message}
        except Exception as error:
            _log.exception("%s failed", button)
            return {"refused": self._portal.fail(error, before).message}
        return {}

    def _show(self) -> None:
        with self.hold_sync():
            self.scene, self.calls = scene_of(self._portal), calls_of(self._portal)

    def _repr_mimebundle_(self, **options: Any) -> tuple[Json, Json]:
        live, metadata = self.live_bundle(**options)
        shown = {"text/plain": repr(self._portal), "text/html": still(self._portal.lab)}
        return {**live, **shown}, metadata


def _arguments(message: Json) -> Json:
    """What the browser sends of a file is base64."""
    found = dict(message.get("with") or {})
    if isinstance(found.get("certificate"), str):
        try:
            found["certificate"] = base64.b64decode(found["certificate"], validate=True)
        except ValueError:  # binascii.Error, and its base for what is no ASCII
            raise BadCertificate("The file did not arrive whole", cure="choose it again") from None
    return found
