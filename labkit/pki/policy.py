"""The decision on a chain: cryptography's verifier, told what a device's chain looks like.

Path validation by RFC 5280, built and fuzzed by others. It answers yes, or no in one sentence;
:mod:`labkit.pki.verdict` explains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from labkit.pki import chain
from labkit.pki.known_cas import KnownCas

DEEPEST = 8
"""CAs between the leaf and the anchor, at most."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a chain is judged for: ``name`` is that of the extended key usage (RFC 5280,
    4.2.1.12), ``words`` says it to people."""

    name: str
    words: str
    usage: x509.ObjectIdentifier

    @property
    def rule(self) -> str:
        """The name of the check."""
        return f"it may be used for {self.words}"

    def allows(self, usages: x509.ExtendedKeyUsage) -> bool:
        """Whether these extended key usages include it. ``anyExtendedKeyUsage`` does not."""
        return self.usage in usages


CLIENT = Purpose("clientAuth", "client authentication", ExtendedKeyUsageOID.CLIENT_AUTH)
SERVER = Purpose("serverAuth", "server authentication", ExtendedKeyUsageOID.SERVER_AUTH)


def verify(
    presented: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    purpose: Purpose = CLIENT,
) -> tuple[list[x509.Certificate], str]:
    """The path that was accepted, leaf to anchor; or no path, and the verifier's own words."""
    if not anchors:
        return [], "there is no trusted CA at all"
    known = _known_cas(tuple(anchors), purpose)
    try:
        if path := _shortened(known, presented, at, purpose):
            return path, ""
        path = _validated(presented[0], presented[1:], tuple(anchors), at, purpose)
        known.keep(presented, path)
    except (VerificationError, *chain.UNREADABLE) as error:
        return [], str(error) or type(error).__name__
    return path, ""


def _shortened(
    known: KnownCas, presented: Sequence[x509.Certificate], at: datetime, purpose: Purpose
) -> list[x509.Certificate]:
    """The path by CAs that were validated before; empty where the whole is to be validated."""
    with suppress(VerificationError, *chain.UNREADABLE):
        if way := known.find(presented, at):
            device = presented[0]
            if not known.came_before(device, way, at):
                _validated(device, (), way.cas[:1], at, purpose)
                known.came(device, way)
            return [device, *way.cas]
    return []


def _validated(
    leaf: x509.Certificate,
    above: Sequence[x509.Certificate],
    anchors: tuple[x509.Certificate, ...],
    at: datetime,
    purpose: Purpose,
) -> list[x509.Certificate]:
    """The path to one of these anchors. Raises what the verifier raises."""
    verifier = verifying(anchors, purpose).time(at.replace(tzinfo=None)).build_client_verifier()
    return verifier.verify(leaf, list(above)).chain


@lru_cache(maxsize=64)
def _known_cas(anchors: tuple[x509.Certificate, ...], purpose: Purpose) -> KnownCas:
    return KnownCas(anchors)


@lru_cache(maxsize=64)  # a service asks for the same few anchors again and again
def verifying(anchors: tuple[x509.Certificate, ...], purpose: Purpose = CLIENT) -> PolicyBuilder:
    """The rules for a chain to these anchors; only the moment is left to be named.

    A server's chain is judged as a client's: whether it is the right server's, by its name, is
    not asked.
    """
    return (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .max_chain_depth(DEEPEST)
        .extension_policies(ca_policy=_ca_policy(purpose), ee_policy=_leaf_policy(purpose))
    )


def _leaf_policy(purpose: Purpose) -> ExtensionPolicy:
    """The default is the web's: it wants a SAN. A device has a CN."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _allowing(purpose))
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_ca)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_shake_hands)
    )


def _ca_policy(purpose: Purpose) -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _allowing(purpose))
    )


def _allowing(
    purpose: Purpose,
) -> Callable[[Policy, x509.Certificate, x509.ExtendedKeyUsage | None], None]:
    def check(_: Policy, __: x509.Certificate, usages: x509.ExtendedKeyUsage | None) -> None:
        if usages is not None and not purpose.allows(usages):
            raise ValueError(f"extended key usage without {purpose.name}")

    return check


def _is_no_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("a CA certificate in the place of a device's")


def _may_shake_hands(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("a key usage without digitalSignature")


def _may_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("a CA without keyCertSign")
