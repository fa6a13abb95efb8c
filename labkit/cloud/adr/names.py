"""How namespaces and policies may be called, and what their CAs are called after them."""

from __future__ import annotations

import re

from cryptography import x509

from labkit.errors import LabError
from labkit.pki import request

NAMESPACE_RULE = "3 to 64 lower-case letters, digits and dashes, no dash at the ends"
POLICY_RULE = "3 to 63 letters, digits and dashes, no dash at the beginning"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]")
_POLICY = re.compile(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,62}")
_LONGEST_IN_CN = 45
"""Characters of a name that a CA is called after: there is room for 64, with the rest."""


def check_namespace(name: str) -> None:
    """Raises LabError for what cannot name a namespace."""
    _check(name, "a namespace", _NAMESPACE, NAMESPACE_RULE)


def is_policy(name: str) -> bool:
    """Whether a policy may be called so."""
    return isinstance(name, str) and _POLICY.fullmatch(name) is not None


def check_policy(name: str) -> None:
    """Raises LabError for what cannot name a policy."""
    _check(name, "a policy", _POLICY, POLICY_RULE)


def _check(name: str, what: str, form: re.Pattern[str], rule: str) -> None:
    if not isinstance(name, str) or not form.fullmatch(name):
        raise LabError(f"{name!r} cannot be the name of {what}", expected=rule)


def of_root(namespace: str, earlier: int) -> x509.Name:
    """The subject of a namespace's root; ``earlier`` roots were made before it."""
    return request.name(_counted(f"{namespace[:_LONGEST_IN_CN]} Root CA", earlier), namespace)


def of_issuing(namespace: str, policy: str, earlier: int) -> x509.Name:
    """The subject of a policy's issuing CA; ``earlier`` ones had a policy of this name."""
    return request.name(_counted(f"{policy[:_LONGEST_IN_CN]} Issuing CA", earlier), namespace)


def _counted(name: str, earlier: int) -> str:
    """Two CAs of one name and different keys are hard to tell apart, for verifiers too."""
    return f"{name} {earlier + 1}" if earlier else name
