"""A plain model of DPS: dictionaries, and the rules in a few lines. Random back ends and devices.

The model knows individual enrollments and groups with their certificates and keys, whether they
are enabled, their ETags, and which devices are registered through what. After each step the
service must hold just what the model holds, and each device must be admitted or refused as the
model says. How the service is asked is a :class:`Face`: by plain calls in ``tests/cloud``, over
its sockets in ``tests/wire``.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import forge
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from provisioning import hmac_sha256

Kind = Literal["enrollments", "enrollmentGroups"]
ENROLLMENTS: Kind = "enrollments"
GROUPS: Kind = "enrollmentGroups"

ROOT = forge.ca("root")
LINES = {name: forge.ca(name, ROOT) for name in ("line-a", "line-b")}
SIGNERS = {**LINES, "root": ROOT}
NAMES = ("w-0", "w-1", "w-2", "w-3")
DEVICES = {(name, line): forge.device(name, LINES[line]) for name in NAMES for line in LINES} | {
    (name, "self"): forge.device(name, None) for name in NAMES
}
"""Each device with a certificate of either line, and with a self-signed one."""

KEYS = {name: base64.b64encode(name.encode() * 10).decode() for name in ("key-1", "key-2")}
GROUP_NAMES = ("g-0", "g-1")

DONE, EXISTS, MISSING, NO_RECORD, STALE = 0, 409201, 404201, 404202, 412201

names = st.sampled_from(NAMES)
individuals = st.sampled_from(NAMES[:2])
"""The other devices come through groups only, or random entries of their own would hide those."""
groups = st.sampled_from(GROUP_NAMES)
certificates = st.sampled_from(["line-a", "line-b", "self"])
signers = st.sampled_from(sorted(SIGNERS))
keys = st.sampled_from(sorted(KEYS))
spelling = st.sampled_from([str.lower, str.upper])
preconditions = st.sampled_from(["none", "present", "present", "any", "stale"])
mostly = st.sampled_from([True, True, True, False])
modes = st.sampled_from(["create", "update", "updateIfMatchETag", "delete"])


@dataclass(frozen=True)
class Entry:
    """What the model knows of an entry: the certificates (primary first) or the key it names."""

    certificates: tuple[str, ...] = ()
    key: str = ""
    enabled: bool = True

    @property
    def status(self) -> str:
        return "enabled" if self.enabled else "disabled"

    def slots(self, kind: Kind, name: str) -> list[forge.Forged]:
        """The certificates themselves; a device's own, or those of CAs."""
        if kind == GROUPS:
            return [SIGNERS[which] for which in self.certificates]
        return [DEVICES[name, which] for which in self.certificates]


Shelf = dict[Kind, dict[str, Entry]]


@dataclass(frozen=True)
class Came:
    """What a device was told: 200 with its group (empty for its own entry) and hub, or 401."""

    status: int
    group: str = ""
    hub: str = ""


class Face(Protocol):
    """One way to ask the service. Numbers are Azure's error codes, 0 for what was done."""

    def put(self, kind: Kind, name: str, entry: Entry, if_match: str) -> int: ...
    def switch(self, kind: Kind, name: str, on: bool) -> int: ...
    def delete(self, kind: Kind, name: str, if_match: str) -> int: ...
    def bulk(self, kind: Kind, mode: str, said: dict[str, tuple[Entry, str]]) -> dict[str, int]: ...
    def etag(self, kind: Kind, name: str) -> str: ...
    def entries(self, kind: Kind) -> dict[str, bool]: ...
    def records(self) -> dict[str, str]: ...
    def record_etag(self, name: str) -> str: ...
    def delete_record(self, name: str, if_match: str) -> int: ...
    def come(self, name: str, sent: tuple[forge.Forged, ...], key: str) -> Came: ...
    def look_up(self, name: str, sent: tuple[forge.Forged, ...]) -> int: ...
    def close(self) -> None: ...


class Books(RuleBasedStateMachine):
    """One service and its model. A subclass says how the service is asked."""

    face: Callable[[Path], Face]
    """Opens the service whose files are at a path: three hubs, and ROOT is trusted."""

    @initialize(signer=signers, own=certificates, key=keys)
    def open(self, signer: str, own: str, key: str) -> None:
        """Some books to begin with, or most of the devices would find them empty."""
        self.path = Path(tempfile.mkdtemp())
        self.service = self.face(self.path)
        self.books: Shelf = {ENROLLMENTS: {}, GROUPS: {}}
        self.etags: dict[tuple[Kind, str], str] = {}
        self.older = '"an older one"'
        self.registered: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        self._put(GROUPS, "g-0", Entry((signer,)), "none")
        self._put(GROUPS, "g-1", Entry(key=key), "none")
        self._put(ENROLLMENTS, "w-0", Entry((own,)), "none")

    def teardown(self) -> None:
        self.service.close()
        shutil.rmtree(self.path)

    # ---- back ends

    @rule(
        name=individuals,
        of=certificates,
        second=st.none() | certificates,
        enabled=mostly,
        match=preconditions,
    )
    def put_enrollment(
        self, name: str, of: str, second: str | None, enabled: bool, match: str
    ) -> None:
        named = (of,) if second in (None, of) else (of, second)
        self._put(ENROLLMENTS, name, Entry(named, "", enabled), match)

    @rule(name=individuals, key=keys, enabled=mostly, match=preconditions)
    def put_enrollment_with_keys(self, name: str, key: str, enabled: bool, match: str) -> None:
        self._put(ENROLLMENTS, name, Entry(key=key, enabled=enabled), match)

    @rule(group=groups, signer=signers, enabled=mostly, match=preconditions)
    def put_group(self, group: str, signer: str, enabled: bool, match: str) -> None:
        self._put(GROUPS, group, Entry((signer,), "", enabled), match)

    @rule(group=groups, key=keys, enabled=mostly, match=preconditions)
    def put_group_with_keys(self, group: str, key: str, enabled: bool, match: str) -> None:
        self._put(GROUPS, group, Entry(key=key, enabled=enabled), match)

    def _put(self, kind: Kind, name: str, entry: Entry, match: str) -> None:
        if name not in self.books[kind] and match == "present":
            match = "none"
        code = self.service.put(kind, name, entry, self._if_match(kind, name, match))
        refused = self._precondition(kind, name, match) or self._second_use(kind, name, entry)
        assert code == refused
        if code == DONE:
            self._written(kind, name, entry)

    def _if_match(self, kind: Kind, name: str, match: str) -> str:
        present = self.etags.get((kind, name), self.older)
        return {"none": "", "any": "*", "stale": self.older, "present": present}[match]

    def _precondition(self, kind: Kind, name: str, match: str) -> int:
        if name in self.books[kind]:
            return {"none": EXISTS, "stale": STALE}.get(match, DONE)
        return DONE if match == "none" else STALE

    def _second_use(self, kind: Kind, name: str, entry: Entry) -> int:
        """A CA may be in one group only; devices' certificates are each one's own."""
        others = [e for g, e in self.books[kind].items() if g != name] if kind == GROUPS else []
        taken = any(set(entry.certificates) & set(other.certificates) for other in others)
        return EXISTS if taken else DONE

    def _written(self, kind: Kind, name: str, entry: Entry) -> None:
        self.books[kind][name] = entry
        before, now = self.etags.get((kind, name)), self.service.etag(kind, name)
        assert now != before, "whatever is written has a new ETag"
        self.etags[kind, name] = now
        self.older = before or self.older

    @rule(name=individuals, spelled=spelling, on=st.booleans())
    def switch_enrollment(self, name: str, spelled: type[str], on: bool) -> None:
        self._switch(ENROLLMENTS, name, spelled, on)

    @rule(group=groups, spelled=spelling, on=st.booleans())
    def switch_group(self, group: str, spelled: type[str], on: bool) -> None:
        self._switch(GROUPS, group, spelled, on)

    def _switch(self, kind: Kind, name: str, spelled: type[str], on: bool) -> None:
        code = self.service.switch(kind, spelled(name), on)
        found = self.books[kind].get(name)
        assert code == (DONE if found else MISSING)
        if found:
            self._written(kind, name, replace(found, enabled=on))

    @rule(name=individuals, match=preconditions)
    def delete_enrollment(self, name: str, match: str) -> None:
        self._delete(ENROLLMENTS, name, match)

    @rule(group=groups, match=preconditions)
    def delete_group(self, group: str, match: str) -> None:
        self._delete(GROUPS, group, match)

    def _delete(self, kind: Kind, name: str, match: str) -> None:
        code = self.service.delete(kind, name, self._if_match(kind, name, match))
        if name not in self.books[kind]:
            assert code == MISSING
            return
        assert code == (STALE if match == "stale" else DONE)
        if code == DONE:
            self._gone(kind, name)

    def _gone(self, kind: Kind, name: str) -> None:
        del self.books[kind][name]
        self.older = self.etags.pop((kind, name))

    @rule(mode=modes, key=keys, stale=st.booleans(), enabled=mostly)
    def many_enrollments_at_once(self, mode: str, key: str, stale: bool, enabled: bool) -> None:
        """Each is done or refused by itself, whatever becomes of the others."""
        entry, book = Entry(key=key, enabled=enabled), self.books[ENROLLMENTS]
        sent = {name: self._bulk_etag(mode, name, stale) for name in NAMES[:2]}
        wanted = {name: self._bulk_code(mode, name, stale) for name in sent}
        said = {name: (entry, etag) for name, etag in sent.items()}
        assert self.service.bulk(ENROLLMENTS, mode, said) == wanted
        for name in (name for name, code in wanted.items() if code == DONE):
            if mode != "delete":
                self._written(ENROLLMENTS, name, entry)
            elif name in book:
                self._gone(ENROLLMENTS, name)

    def _bulk_etag(self, mode: str, name: str, stale: bool) -> str:
        """A plain update and a creation send none: it would not count."""
        if mode in ("create", "update"):
            return ""
        return self._if_match(ENROLLMENTS, name, "stale" if stale else "present")

    def _bulk_code(self, mode: str, name: str, stale: bool) -> int:
        if name not in self.books[ENROLLMENTS]:
            return DONE if mode == "create" else MISSING
        if mode == "create":
            return EXISTS
        return STALE if stale and mode != "update" else DONE

    @rule(name=names, match=st.sampled_from(["none", "present", "any", "stale"]))
    def delete_record(self, name: str, match: str) -> None:
        present = self.service.record_etag(name)
        assert bool(present) == (name in self.registered)
        said = {"none": "", "any": "*", "stale": '"stale"', "present": present or "*"}[match]
        code = self.service.delete_record(name, said)
        if name not in self.registered:
            assert code == NO_RECORD
            return
        assert code == (STALE if match == "stale" else DONE)
        if code == DONE:
            del self.registered[name]

    @rule()
    def restart(self) -> None:
        """What was acknowledged is there after the process is gone."""
        self.service.close()
        self.service = self.face(self.path)

    # ---- devices

    @rule(name=names, which=certificates, whole=st.booleans(), spelled=spelling)
    def come_with_certificate(self, name: str, which: str, whole: bool, spelled: type[str]) -> None:
        self._come(spelled(name), _sent(name, which, whole), "", self._through(name, which, whole))

    @rule(line=st.sampled_from(sorted(LINES)))
    def the_fleet_comes(self, line: str) -> None:
        """Devices without entries of their own, with all that they should send."""
        for name in NAMES[2:]:
            through = self._through(name, line, whole=True)
            self._come(name, _sent(name, line, whole=True), "", through)

    @rule(name=names, choice=st.sampled_from(range(12)), spelled=spelling)
    def somebody_comes_whom_an_entry_knows(
        self, name: str, choice: int, spelled: type[str]
    ) -> None:
        """Whether that is enabled or not: those who come at random are mostly strangers."""
        shown = [(_sent(name, w, whole=True), "") for w in ("line-a", "line-b", "self")]
        signed = [((), key) for own in KEYS.values() for key in (own, hmac_sha256(own, name))]
        books, self.books = self.books, _all_enabled(self.books)
        known = [who for who in (*shown, *signed) if self._admits(name, *who) is not None]
        self.books = books
        if known:
            sent, key = known[choice % len(known)]
            through = self._admits(name, sent, key)
            self._come(name if key else spelled(name), sent, key, through)

    def _admits(self, name: str, sent: tuple[forge.Forged, ...], key: str) -> str | None:
        """What admits a device that comes so."""
        for which in KEYS:
            if key == KEYS[which]:
                return self._by_own_key(name, which)
            if key == hmac_sha256(KEYS[which], name):
                return self._by_derived_key(name, which)
        which = next(which for n, which in DEVICES if DEVICES[n, which] in sent)
        return self._through(name, which, whole=True)

    @rule(name=names, which=certificates)
    def a_device_looks_itself_up(self, name: str, which: str) -> None:
        """Who may register may also ask; who never did is not known."""
        found = self.service.look_up(name, _sent(name, which, whole=True))
        admitted = self._through(name, which, whole=True) is not None
        assert found == (200 if name in self.registered else 404) if admitted else found == 401

    def _through(self, name: str, which: str, whole: bool) -> str | None:
        """The group that admits the device, empty for its own entry, None for nobody."""
        reaches = which == "self" or whole
        if name in self.books[ENROLLMENTS]:
            own = self.books[ENROLLMENTS][name]
            return "" if own.enabled and which in own.certificates and reaches else None
        if which == "self" or not whole:
            return None
        for signer in (which, "root"):
            for group, entry in self.books[GROUPS].items():
                if signer in entry.certificates:
                    return group if entry.enabled else None
        return None

    @rule(name=names, key=keys)
    def come_with_own_key(self, name: str, key: str) -> None:
        self._come(name, (), KEYS[key], self._by_own_key(name, key))

    def _by_own_key(self, name: str, key: str) -> str | None:
        own = self.books[ENROLLMENTS].get(name)
        return "" if own is not None and own.enabled and own.key == key else None

    @rule(name=names, key=keys)
    def come_with_derived_key(self, name: str, key: str) -> None:
        self._come(name, (), hmac_sha256(KEYS[key], name), self._by_derived_key(name, key))

    def _by_derived_key(self, name: str, key: str) -> str | None:
        groups = sorted(self.books[GROUPS].items())
        fitting = [group for group, entry in groups if entry.key == key and entry.enabled]
        return fitting[0] if fitting and name not in self.books[ENROLLMENTS] else None

    def _come(
        self, spelled: str, sent: tuple[forge.Forged, ...], key: str, through: str | None
    ) -> None:
        name, came = spelled.lower(), self.service.come(spelled, sent, key)
        if through is None:
            assert came == Came(401)
            return
        assert (came.status, came.group) == (200, through)
        event(f"admitted through {through or 'its own entry'}")
        self.registered[name] = through
        assert self.homes.setdefault(name, came.hub) == came.hub, "hashed, it has one hub"

    # ---- what must hold

    @invariant()
    def the_books_agree(self) -> None:
        for kind, book in self.books.items():
            found = self.service.entries(kind)
            assert list(found) == sorted(book)
            assert found == {name: entry.enabled for name, entry in book.items()}

    @invariant()
    def the_records_agree(self) -> None:
        assert self.service.records() == self.registered


def _all_enabled(books: Shelf) -> Shelf:
    return {
        kind: {name: replace(entry, enabled=True) for name, entry in book.items()}
        for kind, book in books.items()
    }


def _sent(name: str, which: str, whole: bool) -> tuple[forge.Forged, ...]:
    """The device's certificate, and its issuer where the chain is whole and has one."""
    return (DEVICES[name, which], *([LINES[which]] if whole and which in LINES else []))


def profile(examples: int, steps: int, *, shrink: bool = True) -> settings:
    """So many examples for each hundred that other tests draw: those draw sixty, and a thousand for
    ``./lab soak``. To shrink a failure over sockets takes minutes."""
    phases = (Phase.reuse, Phase.generate, *((Phase.shrink,) if shrink else ()))
    return settings(
        max_examples=examples * settings.default.max_examples // 100,
        stateful_step_count=steps,
        phases=phases,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
