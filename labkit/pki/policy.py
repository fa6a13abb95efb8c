"""The decision on a chain: cryptography's verifier, told what a device's chain looks like.

Path validation by RFC 5280, built and fuzzed by others. It answers yes, or no in one sentence;
:mod:`labkit.pki.verdict` explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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


def verify(
    presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> tuple[list[x509.Certificate], str]:
    """The path that was accepted, leaf to anchor; or no path, and the verifier's own words."""
    if not anchors:
        return [], "there is no trusted CA at all"
    verifier = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(at.replace(tzinfo=None))
        .extension_policies(ca_policy=_ca_policy(), ee_policy=_leaf_policy())
        .build_client_verifier()
    )
    try:
        return list(verifier.verify(presented[0], list(presented[1:])).chain), ""
    except (VerificationError, *chain.UNREADABLE) as error:
        return [], str(error) or type(error).__name__


def _leaf_policy() -> ExtensionPolicy:
    """The default is the web's: it wants a SAN. A device has a CN."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _allows_client_auth)
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_ca)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_shake_hands)
    )


def _ca_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _allows_client_auth)
    )


def _allows_client_auth(
    _: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None
) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("extended key usage without clientAuth")


def _is_no_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("a CA certificate in the place of a device's")


def _may_shake_hands(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("a key usage without digitalSignature")


def _may_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("a CA without keyCertSign")
