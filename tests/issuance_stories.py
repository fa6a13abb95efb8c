"""A lab whose DPS has certificates issued, and requests as devices of any make send them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from stories import Story

from labkit.cloud.adr.namespaces import Namespace

GROUP, POLICY, DAYS = "smart-x-widgets", "short", 7
USER = "{}/registrations/{}/api-version=2025-07-01-preview"


def managed(story: Story, *, synchronized: bool = True) -> Namespace:
    """A namespace with one policy, linked to DPS and hub; the group's devices get certificates."""
    namespace = story.lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    namespace.policies.create(POLICY, validity_days=DAYS)
    namespace.link_dps()
    namespace.link_hub("contoso-hub")
    if synchronized:
        namespace.synchronize()
    set_policy(story, POLICY)
    return namespace


def set_policy(story: Story, policy: str) -> None:
    """The enrollment group of the story names this credential policy."""
    groups = story.lab.dps.enrollment_groups
    groups.update(replace(groups.get(GROUP), credential_policy=policy))


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP384R1())


def csr(name: str, key: Any = None) -> str:
    """As the field ``csr`` holds it, made by a foreign builder; signed over SHA-384."""
    return base64.b64encode(csr_der(name, key)).decode()


def csr_der(name: str, key: Any = None) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key or new_key(), hashes.SHA384()).public_bytes(Encoding.DER)


def tampered(name: str) -> str:
    """A request whose signature was altered on the way."""
    der = bytearray(csr_der(name))
    der[-1] ^= 1
    return base64.b64encode(der).decode()


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificates(chain: list[str]) -> list[x509.Certificate]:
    """What ``issuedCertificateChain`` holds."""
    return [x509.load_der_x509_certificate(base64.b64decode(text)) for text in chain]
