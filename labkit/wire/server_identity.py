"""Who the emulated cloud is in TLS: a root and an issuing CA of its own, and a leaf.

    Lab Service Root CA ──> Lab Service Issuing CA ──> Lab Services (the endpoint)

All three can be renewed while the lab runs, as a cloud does it: the leaf every few months, the
issuing CA every few years, the root once in a decade or two. Connections that are open stay;
each new one is shown the new chain. A new root is announced first (:meth:`new_root`), so that
clients can put it into their trust stores, and used later (:meth:`switch_root`). The leaf is
renewed by itself when a third of its life is left, for whoever connects next.

The CAs' keys are in a token like everybody's. The leaf's key is made at each start and lives
in memory only, as a server's must that shakes hands hundreds of times a second; it is never
written anywhere. All of this lives in *real* time: clients check a server's certificate by
their machine's clock, whatever the lab's clock says.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from labkit.clock import Clock
from labkit.cloud.hub import Hub, trust_push
from labkit.cloud.hub.trust_push import Pushed
from labkit.errors import Conflict
from labkit.events import Events
from labkit.files import write_whole
from labkit.hsm import TokenStore
from labkit.pki import chain, profiles, request
from labkit.pki.authority import Authority, self_sign
from labkit.wire import service_roots
from labkit.wire.openssl import server_context
from labkit.wire.service_roots import Kept, Roots, ServiceRoot

TOKEN = "Azure services (emulated)"
FIRST_ROOT = "Lab Service Root CA"
MOST_ROOTS = 16
"""Each has a key in the token for good."""
_ISSUING, _LEAF = "Lab Service Issuing CA", "Lab Services"
_ROOT_KEY, _ISSUING_KEY = "root {}", "issuing {}"
"""Labels in the token, which begin differently: a root may be named as anything."""
_RENEWED_AT = 1 / 3
"""Of its life is left when a leaf is renewed, as the public CAs advise."""
_NEXT_TRY = timedelta(hours=1)
"""Where the renewal failed: each who connects would try it again, and be kept waiting."""

_log = logging.getLogger(__name__)


class ServerIdentity:
    """``root_file`` is the PEM file that clients have to trust: the :attr:`trust_bundle` of now.

    ``before_change`` is called before another root is announced or used.
    """

    def __init__(self, tokens: TokenStore, directory: Path, events: Events) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.root_file = directory / "server-root.pem"
        self._file = directory / "service-roots.json"
        self._token, self._events = tokens.token(TOKEN), events
        self._real_time, self._lock = Clock(), threading.RLock()
        self._names: tuple[x509.GeneralName, ...] = ()
        self._chain: tuple[x509.Certificate, ...] = ()
        self._renew_at = datetime.max.replace(tzinfo=UTC)
        self.before_change: Callable[[], None] = lambda: None
        self._roots = service_roots.load(self._file) or self._begin()
        self._tell_clients()

    # ---- what is served

    @property
    def root(self) -> ServiceRoot:
        """The root that the chain leads to."""
        return self._roots.in_use

    @property
    def roots(self) -> tuple[ServiceRoot, ...]:
        """All that there have been, and those that are announced; the oldest first."""
        return tuple(self._roots)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a client is sent: the endpoint's certificate, the issuing CA's and, while the root
        is cross-signed, the root's as the older root has signed it. The root itself is not sent:
        it counts because the client has it."""
        return self._chain

    @property
    def cross_signer(self) -> ServiceRoot | None:
        """The older root that vouches for the one in use; None where none does."""
        return list(self._roots)[self._roots.signer] if self._roots.cross else None

    @property
    def root_pem(self) -> str:
        """The root in use alone, as PEM. Whoever wants to be ready for the next one as well
        takes the :attr:`trust_bundle`."""
        return self.root.pem

    @property
    def trust_bundle(self) -> str:
        """PEM of all roots that are in use or announced: who trusts these is served today, and
        after the change."""
        return "".join(root.pem for root in self._roots.to_trust)

    @property
    def context(self) -> SSL.Context:
        """What a new connection is served with. Asked for at each: so a leaf that grows old is
        renewed without a timer, also on a machine that was asleep when it should have been."""
        if self._real_time.now() >= self._renew_at:
            self._renew_leaf()
        return self._context

    def cover(self, names: Iterable[str], addresses: Iterable[str]) -> None:
        """From now on the endpoint's certificate is for these host names and IP addresses."""
        self._names = (
            *(x509.DNSName(name) for name in sorted(set(names))),
            *(x509.IPAddress(ip_address(address)) for address in sorted(set(addresses))),
        )
        with self._lock:
            self._new_leaf()

    # ---- what renews it

    def roll_leaf(self) -> x509.Certificate:
        """A new key and a new certificate for the endpoint. Clients need do nothing."""
        with self._lock:
            self._new_leaf()
            self._record("rolled", "the endpoint shows a new certificate, with a new key")
            return self._chain[0]

    def roll_issuing_ca(self) -> x509.Certificate:
        """A new issuing CA below the root in use, and a new leaf below it. Clients that trust the
        root need do nothing; those that have pinned the issuing CA are cut off."""
        with self._lock:
            made = self._issuing_below(self.root)
            self._keep(self._roots.with_issuing(chain.to_pem([made])))
            self._record(
                "rolled", f"the endpoint's certificate is issued by {chain.common_name(made)} now"
            )
            return made

    def new_root(self, name: str = "") -> ServiceRoot:
        """Announces another root: it joins the :attr:`trust_bundle`, and nothing that is served
        changes. Without a name, it is the one that is announced already, or the next (G2, G3 …).

        Raises BadRequest for what is no common name, Conflict where there are too many.
        """
        with self._lock:
            name = name or self._next_name()
            if self._roots.has(name):
                found = self._root(name)
                self._record("again", f"{name} is there already: {found.state}")
                return found
            self._announce(name)
            return self._root(name)

    def push_trust_bundle(
        self, hub: Hub, device_id: str = "", *, untried: bool = False, connect_timeout: int = 0
    ) -> Pushed:
        """Sends the :attr:`trust_bundle` to one device of a hub, or by a job to all, before
        another root is used: to those whose firmware takes it (``widget.take_trust_bundles()``).
        Says who has it now, and who would be shut out.

        A device tries the bundle out before it installs it, unless it is to do so ``untried``.
        ``connect_timeout`` is how many seconds one that is away is waited for. Raises
        ServiceRefusal (404001) for a device that the hub does not know.
        """
        pushed = trust_push.push(
            hub, self.trust_bundle, device_id, untried=untried, connect_timeout=connect_timeout
        )
        self._record("pushed", f"the trust bundle went to {hub.name}: {pushed}")
        return pushed

    def switch_root(self, to: ServiceRoot | str, *, cross_signed: bool = False) -> ServiceRoot:
        """From now on the chain leads to this root, which was announced; one that was in use
        before can be gone back to. ``cross_signed`` lets the root that was in use until now (or,
        of the one in use, the root before it) sign its key, and serves that certificate as well:
        clients with either root are content. To end that, switch to the same root without it.

        Raises NotFound where it was not announced, Conflict where no older root can sign it.
        """
        with self._lock:
            name = to.name if isinstance(to, ServiceRoot) else to
            place = self._roots.place(name)
            if place == self._roots.serving and cross_signed == bool(self._roots.cross):
                self._record("again", f"the endpoint's chain leads to {name} already")
            else:
                self._switch(place, cross_signed)
            return self._root(name)

    # ---- inside

    def _begin(self) -> Roots:
        """The first root. Keys that a start which was cut off has made already are used."""
        roots = Roots((self._made(FIRST_ROOT, 1),))
        service_roots.save(self._file, roots)
        return roots

    def _announce(self, name: str) -> None:
        if len(self._roots.kept) >= MOST_ROOTS:
            raise Conflict(
                f"The services have {MOST_ROOTS} roots already",
                cure="switch among those: lab.server.roots lists them",
            )
        request.name(name)  # refused before anything is made of it
        self.before_change()
        self._keep(self._roots.with_root(self._made(name, self._roots.issued + 1)))
        self._record("announced", f"{name} is announced: clients should trust it by the change")

    def _made(self, name: str, number: int) -> Kept:
        key = self._token.ensure_key(_ROOT_KEY.format(name))
        root = self_sign(key, request.name(name), self._real_time)
        issuing = self._issue_ca(Authority(key, [root], self._real_time), number)
        return Kept(name, chain.to_pem([root]), chain.to_pem([issuing]))

    def _issuing_below(self, root: ServiceRoot) -> x509.Certificate:
        return self._issue_ca(self._signer(root), self._roots.issued + 1)

    def _signer(self, root: ServiceRoot) -> Authority:
        key = self._token.key(_ROOT_KEY.format(root.name))
        return Authority(key, [root.certificate], self._real_time)

    def _issue_ca(self, signer: Authority, number: int) -> x509.Certificate:
        name = _ISSUING if number == 1 else f"{_ISSUING} {number}"
        key = self._token.ensure_key(_ISSUING_KEY.format(name))
        csr = request.make(key, request.name(name))
        return signer.sign_request(csr, profiles.INTERMEDIATE_CA.limited_to(0))

    def _switch(self, place: int, cross_signed: bool) -> None:
        before = place - 1 if place == self._roots.serving else self._roots.serving
        root = list(self._roots)[place]
        cross = chain.to_pem([self._cross(root, before)]) if cross_signed else ""
        self.before_change()
        self._keep(self._roots.switched(place, cross, before if cross_signed else -1))
        how = f", cross-signed by {self._roots.kept[before].name}" if cross_signed else ""
        self._record("switched", f"the endpoint's chain leads to {root.name} now{how}")

    def _cross(self, root: ServiceRoot, signer: int) -> x509.Certificate:
        """The root's name and key, signed by an older root: RFC 5280, 3.2."""
        older = next((o for at, o in enumerate(self._roots) if at == signer), None)
        if older is None or self._roots.place(root.name) < signer:
            raise Conflict(
                f"{root.name} cannot be cross-signed now",
                expected="an older root to sign it",
                found=f"in use is {self.root.name}",
                cure="switch without: a cross-signature leads from an older root to a newer one",
            )
        key = self._token.key(_ROOT_KEY.format(root.name)).public_key()
        subject = root.certificate.subject
        return self._signer(older).issue(key, subject, profiles.INTERMEDIATE_CA)

    def _keep(self, roots: Roots) -> None:
        """On disk before anybody is served by it. What is above the leaf may be what it was."""
        service_roots.save(self._file, roots)
        before, self._roots = self._chain[1:], roots
        self._tell_clients()
        if self._names and self._above_leaf() != before:
            self._new_leaf()

    def _above_leaf(self) -> tuple[x509.Certificate, ...]:
        """What is shown beside the leaf, which is nobody's trust anchor."""
        cross = self._roots.cross_certificate
        return (self.root.issuing, *((cross,) if cross else ()))

    def _tell_clients(self) -> None:
        if not self.root_file.exists() or self.root_file.read_text() != self.trust_bundle:
            write_whole(self.root_file, self.trust_bundle)

    def _renew_leaf(self) -> None:
        """Whoever is at work on the identity already makes a new leaf, too, and is not waited for:
        this runs while a client connects."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._new_leaf()
            self._record("rolled", "the endpoint's certificate grew old, and was renewed")
        except Exception:  # whatever it is, who connects is served with what there is
            self._renew_at = self._real_time.now() + _NEXT_TRY
            _log.exception("the endpoint's certificate could not be renewed")
        finally:
            self._lock.release()

    def _new_leaf(self) -> None:
        root, key = self.root, ec.generate_private_key(ec.SECP256R1())
        signing = self._token.key(_ISSUING_KEY.format(chain.common_name(root.issuing)))
        issuing = Authority(signing, [root.issuing], self._real_time)
        # Clients look at these names only; a CN would be too short for a hub's longest.
        public, subject = key.public_key(), request.name(_LEAF)
        leaf = issuing.issue(public, subject, profiles.SERVER, names=self._names)
        self._chain = (leaf, *self._above_leaf())
        self._context = server_context(key, self._chain)
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        self._renew_at = leaf.not_valid_after_utc - life * _RENEWED_AT

    def _next_name(self) -> str:
        waiting = (root.name for root in self._roots if root.state == "announced")
        number = len(self._roots.kept) + 1
        return next(waiting, f"{FIRST_ROOT} G{number}")

    def _root(self, name: str) -> ServiceRoot:
        return list(self._roots)[self._roots.place(name)]

    def _record(self, kind: str, text: str) -> None:
        self._events.record("server", kind, text)
