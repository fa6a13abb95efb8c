"""One family of errors. Each says what was expected, what was found, and what would cure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from labkit.trace import Check, first_failure

_LONGEST = 200
"""Characters of an error that is none of the lab's own."""


class LabError(Exception):
    """Something that a user of the lab can understand and mend.

    ``expected``, ``found`` and ``cure`` are whole phrases; each may be empty where
    the message alone says it.
    """

    def __init__(
        self, message: str, *, expected: str = "", found: str = "", cure: str = ""
    ) -> None:
        self.message, self.expected, self.found, self.cure = message, expected, found, cure
        super().__init__(message)

    def __str__(self) -> str:
        parts = (("Expected", self.expected), ("Found", self.found), ("Cure", self.cure))
        return "\n".join([self.message, *(f"  {name}: {text}" for name, text in parts if text)])

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: a trainee needs the words, not our frames."""
        return [f"{type(self).__name__}: {self}"]


class SoftHsmMissing(LabError):
    """The PKCS#11 library of SoftHSM could not be found or loaded."""


class TokenError(LabError):
    """A token or a key in it is not there, is closed, or refuses the operation."""


class WorkspaceError(LabError):
    """A workspace cannot be opened: in use by another process, unreadable, or not a workspace."""


class PortTaken(LabError):
    """A port that the lab must listen on belongs to somebody else."""


class Conflict(LabError):
    """A thing of this name exists already, and is not the same thing."""


class NotFound(LabError):
    """No thing of this name exists."""


class BadCertificate(LabError):
    """Bytes that are not the certificate, request or chain that was wanted."""


class BadRequest(LabError):
    """A certificate signing request that an authority does not sign, and why."""


class _NotTaken(LabError):
    """``refused`` where the other side said no; else it was not reached, or said nothing."""

    refused = False


class ProvisioningFailed(_NotTaken):
    """What a device learns when provisioning fails: no more than the network told it."""


class ConnectionFailed(_NotTaken):
    """What a device learns when the hub does not take it, or TLS fails."""


class NotIssued(_NotTaken):
    """What a device learns when its hub has no certificate issued to it."""


Distrust = Literal["root", "name", "time", "other"]
"""What a client dislikes about a server: no root of its own vouches for it, it is not the one that
was dialled, it is not valid by the client's clock, or something else."""


class ServerNotTrusted(ProvisioningFailed, ConnectionFailed, NotIssued):
    """What a device says that left in TLS by itself: it does not trust the server. Nobody refused
    it, so there is no status. ``why`` tells the kinds apart."""

    def __init__(
        self, message: str, why: Distrust, *, expected: str, found: str, cure: str
    ) -> None:
        super().__init__(message, expected=expected, found=found, cure=cure)
        self.why = why


@dataclass(frozen=True, slots=True)
class AzureError:
    """The part of a refusal that goes over the wire, exactly as Azure says it.

    ``status`` is the HTTP status (100-599), ``code`` Azure's six digits or an
    ``IH`` code, ``message`` Azure's own text.
    """

    status: int
    code: int | str
    message: str


class ServiceRefusal(LabError):
    """A cloud service said no: Azure's bare answer, and beside it the trace that explains it.

    ``tracking_id`` is the GUID under which ``lab.explain`` finds the trace again;
    ``checks`` are in the order in which they were made. ``info`` is what Azure says beside its
    words, where it says anything.
    """

    info: Mapping[str, str] | None = None

    def __init__(
        self, error: AzureError, checks: tuple[Check, ...] = (), *, tracking_id: str = ""
    ) -> None:
        self.error, self.checks, self.tracking_id = error, checks, tracking_id
        failed = first_failure(checks)
        super().__init__(
            f"{error.status} {error.code}: {error.message}",
            found=failed.why if failed else "",
            cure=" Or: ".join(failed.cures) if failed else "",
        )


def in_short(error: BaseException) -> str:
    """An error that nobody expected, for people: its kind and its first line. What stands below
    that may be the parameters of a statement, and those may be keys."""
    first = str(error).partition("\n")[0][:_LONGEST]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def counted(number: int, noun: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
