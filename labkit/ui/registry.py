"""What there is to say about the CAs of the Device Registry, and what devices have of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from labkit.errors import counted
from labkit.graph import registry as drawn
from labkit.pki import chain
from labkit.ui.inspection import Inspection, certificate_facts

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from labkit.cloud.adr.namespaces import Namespace
    from labkit.cloud.adr.retired import RetiredCa
    from labkit.lab import Lab

    Fact = tuple[str, str]

_KEPT: Final = ("private key", "in the namespace's token, which does not give it away")
_ROOT, _ISSUING = (f"{role} CA certificate of the Device Registry" for role in ("root", "issuing"))


def inspections(lab: Lab) -> Iterator[tuple[str, Inspection]]:
    """For each node of :mod:`labkit.graph.registry`."""
    held = drawn.holdings(lab)
    for ca in drawn.retired(lab, held):
        yield from _retired(ca)
        yield from _leaves(held, ca.certificate)
    for namespace in lab.registry.namespaces:
        if namespace.root is not None:
            yield from _present(namespace, held)


def _present(namespace: Namespace, held: drawn.Holdings) -> Iterator[tuple[str, Inspection]]:
    linked = ("linked to", ", ".join(namespace.links) or "nothing")
    root = namespace.credential.certificate
    yield drawn.credential_node(namespace), _inspection(_ROOT, root, linked)
    issued = Counter(entry.policy for entry in namespace.certificates())
    for policy in namespace.policies:
        count = counted(issued[policy.name], "certificate")
        signs = ("signs", f"for {policy.validity_days} days; {count} so far")
        yield drawn.policy_node(policy), _inspection(_ISSUING, policy.certificate, signs)
        yield from _leaves(held, policy.certificate)


def _retired(ca: RetiredCa) -> Iterator[tuple[str, Inspection]]:
    if ca.root_at is not None:
        gone = ("credential", _deleted(ca.root_at))
        yield drawn.retired_root_node(ca), _inspection(_ROOT, ca.root, gone)
    gone = ("policy", _deleted(ca.at))
    signs = ("signs", "nothing more; what it has signed is valid to its last day")
    yield drawn.retired_node(ca), _inspection(_ISSUING, ca.certificate, gone, signs)


def _leaves(held: drawn.Holdings, ca: x509.Certificate) -> Iterator[tuple[str, Inspection]]:
    for device, certificate in held.get(ca, ()):
        key = ("private key", "in the device's token, made for this certificate")
        facts = (key, ("shown to", "its hub"), *certificate_facts(certificate))
        found = Inspection(device.name, "operational certificate", facts, certificate)
        yield drawn.operational_node(device.name), found


def _deleted(at: datetime) -> str:
    return f"deleted {at:%Y-%m-%d %H:%M:%S} by the lab's clock"


def _inspection(kind: str, certificate: x509.Certificate, *facts: Fact) -> Inspection:
    whole = (_KEPT, *facts, *certificate_facts(certificate))
    return Inspection(chain.common_name(certificate), kind, whole, certificate)
