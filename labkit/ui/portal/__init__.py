"""The pages of Azure's portal that the procedures need, with the Python and the REST call behind
every click."""

from labkit.ui.portal.portal import Portal

__all__ = ["Portal"]
