"""The roots that the services have had, have, and will have: what is kept of them, in one file.

    older than the one in use  ── retired: no chain leads to it any more
    in use                     ── the chain that is served leads to it
    newer                      ── announced: to be trusted before it is used

While the root in use is cross-signed, the older root that signed it counts as in use, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography import x509

from labkit.errors import NotFound, WorkspaceError
from labkit.files import write_whole
from labkit.pki import chain

RootState = Literal["in use", "announced", "retired"]


@dataclass(frozen=True, slots=True)
class ServiceRoot:
    """A root of the services, and the issuing CA below it that signs for servers now."""

    name: str
    certificate: x509.Certificate
    issuing: x509.Certificate
    state: RootState

    def __repr__(self) -> str:
        return f"<Service root {self.name!r}: {self.state}>"

    @property
    def pem(self) -> str:
        return chain.to_pem([self.certificate])


@dataclass(frozen=True, slots=True)
class Kept:
    """One root as it is written down, certificates in PEM."""

    name: str
    certificate: str
    issuing: str


@dataclass(frozen=True, slots=True)
class Roots:
    """All roots, oldest first. ``serving`` is the place of the one in use, ``issued`` counts the
    issuing CAs so far. ``cross`` (PEM) is the certificate of the root in use that the root at
    ``signer`` has signed; empty where nobody has."""

    kept: tuple[Kept, ...]
    serving: int = 0
    issued: int = 1
    cross: str = ""
    signer: int = -1

    def __iter__(self) -> Iterator[ServiceRoot]:
        for place, root in enumerate(self.kept):
            certificates = (_read(root.certificate), _read(root.issuing))
            yield ServiceRoot(root.name, *certificates, self._state(place))

    def place(self, name: str) -> int:
        """Where the root of this name stands. Raises NotFound."""
        names = [root.name for root in self.kept]
        if name not in names:
            raise NotFound(
                f"The services have no root {name!r}",
                found=", ".join(names),
                cure="announce it first: lab.server.new_root(...)",
            )
        return names.index(name)

    def has(self, name: str) -> bool:
        return any(root.name == name for root in self.kept)

    @property
    def in_use(self) -> ServiceRoot:
        """The one that the chain leads to."""
        return list(self)[self.serving]

    @property
    def to_trust(self) -> list[ServiceRoot]:
        """Those that are in use, or will be."""
        return [root for root in self if root.state != "retired"]

    @property
    def cross_certificate(self) -> x509.Certificate | None:
        """The root in use as an older one has signed it, where that is served."""
        return _read(self.cross) if self.cross else None

    def with_root(self, root: Kept) -> Roots:
        """One more, the newest."""
        return replace(self, kept=(*self.kept, root), issued=self.issued + 1)

    def with_issuing(self, issuing: str) -> Roots:
        """The root in use with another issuing CA below it."""
        kept = list(self.kept)
        kept[self.serving] = replace(kept[self.serving], issuing=issuing)
        return replace(self, kept=tuple(kept), issued=self.issued + 1)

    def switched(self, serving: int, cross: str, signer: int) -> Roots:
        """Another one in use."""
        return replace(self, serving=serving, cross=cross, signer=signer)

    def _state(self, place: int) -> RootState:
        if place in (self.serving, self.signer):
            return "in use"
        return "announced" if place > self.serving else "retired"


def load(file: Path) -> Roots | None:
    """What was kept; None where nothing was. Raises WorkspaceError for a damaged file."""
    text = file.read_text(errors="replace") if file.exists() else ""
    if not text:
        return None
    try:
        found = json.loads(text)
        roots = Roots(**{**found, "kept": tuple(Kept(**root) for root in found["kept"])})
        _check(roots)
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceError(
            f"{file} cannot be read",
            expected="the services' roots, as the lab keeps them",
            found=str(error) or type(error).__name__,
            cure="remove the file: the services begin again with their first root, or open the "
            "lab with fresh=True",
        ) from error
    return roots


def save(file: Path, roots: Roots) -> None:
    """Whole or not at all: a kill leaves the roots of before or those of after."""
    write_whole(file, json.dumps(asdict(roots), indent=1))


def _check(roots: Roots) -> None:
    """Raises ValueError for what no lab has written."""
    if not 0 <= roots.serving < len(list(roots)) or roots.signer >= len(roots.kept):
        raise ValueError("no root in use")
    _ = roots.cross_certificate


def _read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())
