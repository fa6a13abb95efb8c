"""The portal without a screen: what is shown, and a public method for every button.

portal = lab.portal()
portal.show("individual enrollments")
portal.open("smart-x-widget-001")
portal.attach("secondary", new_certificate)
portal.save(remove=["primary"])

What is refused is raised, and shown as well: ``trouble`` has the explanation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Unpack

from cryptography import x509

from labkit.cloud.dps.entries import Entry
from labkit.errors import BadCertificate, LabError, NotFound, ServiceRefusal
from labkit.pki.forms import Readable
from labkit.pki.reading import read_certificate
from labkit.ui.portal import wishes
from labkit.ui.portal.deeds import Deed
from labkit.ui.portal.showing import Conflict, Showing
from labkit.ui.portal.wishes import SLOTS, Attached, Wishes

if TYPE_CHECKING:
    from labkit.lab import Lab
    from labkit.ui.portal.page import PortalPage

LARGEST_UPLOAD = 64 * 1024
"""Bytes of a file that is taken; a certificate has two thousand."""

CERTIFICATE, PROOF = "certificate", "proof"
_UPLOADS = (*SLOTS, CERTIFICATE, PROOF)
_LONGEST_FILE_NAME = 80
_STALE = 412


class Portal(Showing):
    """The portal of ``lab``. Shown in a notebook, it is a page whose every button calls one of
    these methods. See :class:`Showing` for what it shows."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._page: PortalPage | None = None

    # ---- what is handed over

    def attach(self, slot: str, certificate: x509.Certificate | Readable, file: str = "") -> None:
        """Hands over a certificate, which is used by the next save, upload or proof.

        ``slot`` is ``primary`` or ``secondary`` in an entry, ``certificate`` or ``proof`` in the
        list of CA certificates; ``file`` the name that it came under. Takes PEM, DER, or a
        certificate object, of at most :data:`LARGEST_UPLOAD` bytes. Raises BadCertificate for
        anything else: a private key is refused, and nothing of it is kept.
        """
        if slot not in _UPLOADS:
            raise LabError(f"There is no place {slot!r}", expected=", ".join(_UPLOADS))
        name = PurePath(file.replace("\\", "/")).name[-_LONGEST_FILE_NAME:]
        read = self._guarded(lambda: _read(certificate))
        self.attached[slot] = Attached(read, name or f"{slot}.pem")
        self.changed()

    def detach(self, slot: str) -> None:
        """Takes a certificate back that was handed over."""
        self.attached.pop(slot, None)
        self.changed()

    # ---- enrollments

    def save(self, **wanted: Unpack[Wishes]) -> None:
        """Saves the form of an entry, new or opened, with the certificates that are attached.

        An entry that was changed since it was opened is left alone: ``conflict`` then tells both
        states. Raises LabError, ServiceRefusal (400, 409, 412).
        """
        shelf, before = self._entries, self.form
        if before is None:
            cure = "open an entry first, or new()"
            raise self._shown(LabError("There is no form to save", cure=cure))
        after = self._guarded(lambda: wishes.wanted(before, wanted, self.attached))
        if self.making:
            self._saved(self._do(shelf.create(after, self._files)), "is saved.")
        elif after == before:
            self.notice = "There was nothing to save."
            self.changed()
        else:
            self._put(shelf.change(before, after, self._files), before, after)

    def overwrite(self) -> None:
        """After a conflict: what was wanted takes the place of what the conflict showed. If that
        has changed again meanwhile, there is another conflict. Raises LabError without one."""
        if self.conflict is None:
            raise self._shown(LabError("There is no conflict to decide", cure="save first"))
        read, there, after = self.conflict.read, self.conflict.there, self.conflict.wanted
        self._put(self._entries.overwrite(there, after), read, after)

    def delete_registration(self, name: str, confirm: str) -> None:
        """Forgets one of the records that are shown; ``confirm`` repeats its name. The identity
        in the hub stays. Raises LabError, NotFound, ServiceRefusal (404)."""
        self._check_confirmed(name, confirm)
        shown = {r.registration_id: r for r in self.records.listing.things} if self.records else {}
        found = shown.get(name)
        if found is None:
            cure = "show_registrations() first"
            raise self._shown(NotFound(f"No registration {name!r} is shown", cure=cure))
        self._do(self._entries.delete_registration(found))
        self.notice = f"The registration of {name} was deleted. Its identity in the hub stays."
        self._reread()
        self.changed()

    # ---- CA certificates

    def upload(self, name: str) -> None:
        """Keeps the attached ``certificate`` under a name. Raises LabError, ServiceRefusal."""
        shelf = self._cas
        self._do(shelf.upload(name, self._given(CERTIFICATE)))
        self._saved(shelf.open(name).act(), "is uploaded.")

    def generate_code(self) -> None:
        """A fresh verification code for the certificate that is open. Raises ServiceRefusal."""
        shelf, row = self._cas, self._needs_open()
        self._do(shelf.generate_code(row))
        self._saved(shelf.open(row.name).act(), "has a new verification code.")

    def verify(self) -> None:
        """Shows the attached ``proof`` for the certificate that is open. Raises ServiceRefusal."""
        shelf, row = self._cas, self._needs_open()
        self._do(shelf.verify(row, self._given(PROOF)))
        self._saved(shelf.open(row.name).act(), "is verified.")

    # ---- devices

    def disable(self, reason: str = "") -> None:
        """Cuts off the device that is open. Raises ServiceRefusal."""
        shelf, device = self._devices, self._needs_open()
        self._do(shelf.disable(device, reason))
        self._saved(shelf.open(device.device_id).act(), "is disabled.")

    def enable(self) -> None:
        """Lets the device that is open connect again. Raises ServiceRefusal."""
        shelf, device = self._devices, self._needs_open()
        self._do(shelf.enable(device))
        self._saved(shelf.open(device.device_id).act(), "is enabled.")

    # ---- all of them

    def delete(self, confirm: str) -> None:
        """Deletes what is open; ``confirm`` repeats its name. Raises LabError, ServiceRefusal."""
        thing, name = self._needs_open(), self.title
        self._check_confirmed(name, confirm)
        self._do(self._shelf.delete(thing))
        self._leave()
        self.notice = f"{name} was deleted."
        self._reread()
        self.changed()

    # ---- on a screen

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live page, and what stays of it without a kernel."""
        from labkit.ui.portal.page import PortalPage

        if self._page is None:
            self._page = PortalPage(self)
        return self._page._repr_mimebundle_(**options)

    # ---- inside

    @property
    def _files(self) -> Mapping[x509.Certificate, str]:
        return {given.certificate: given.file for given in self.attached.values()}

    def _given(self, slot: str) -> Attached:
        if slot not in self.attached:
            cure = "choose a file, or paste its PEM text"
            raise self._shown(LabError(f"No {slot} was handed over", cure=cure))
        return self.attached[slot]

    def _put(self, deed: Deed[Entry], read: Entry, after: Entry) -> None:
        try:
            self._saved(self._do(deed), "is saved.")
        except ServiceRefusal as refusal:
            if refusal.error.status == _STALE:
                self.conflict = Conflict(read, self._entries.book.find(read.id), after)
                self.changed()
            raise

    def _saved(self, thing: Any, what: str) -> None:
        self._leave()
        self._look_at(thing)
        self.notice = f"{self.title} {what}"
        self._reread()
        self.changed()

    def _check_confirmed(self, name: str, confirm: str) -> None:
        if confirm != name:
            error = LabError(
                f"{name} was not deleted: its name was not confirmed",
                expected=name,
                found=confirm or "nothing",
                cure="type the name just as it is written",
            )
            raise self._shown(error)


def _read(certificate: x509.Certificate | Readable) -> x509.Certificate:
    if isinstance(certificate, bytes | str) and len(certificate) > LARGEST_UPLOAD:
        raise BadCertificate(
            "This is too large for a certificate. It was not read",
            expected=f"at most {LARGEST_UPLOAD // 1024} KB",
            found=f"{len(certificate) // 1024} KB",
            cure="choose the certificate's own file",
        )
    return read_certificate(certificate)
