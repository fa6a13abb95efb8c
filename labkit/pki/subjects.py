"""Subjects of requests: one common name, and nothing longer than a certificate may have it."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

LONGEST_CN = 64
"""ub-common-name, RFC 5280, appendix A.1."""

# Upper bounds of RFC 5280, appendix A.1, in characters.
_LONGEST = {
    NameOID.COMMON_NAME: LONGEST_CN,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.TITLE: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.COUNTRY_NAME: 2,
}
_LONGEST_OTHER = 255  # that of the longest there, ub-emailaddress-length
_MOST_PARTS = 32
"""Parts of a subject. The RFC has no bound; a CA that signs thousands of them keeps them all."""


def fault(subject: x509.Name) -> str:
    """What is wrong with the subject of a request, in words; empty for a good one."""
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        return f"the subject has {len(names) or 'no'} common names"
    if (parts := len(list(subject))) > _MOST_PARTS:
        return f"the subject has {parts} parts, of {_MOST_PARTS} at most"
    for part in subject:
        text, longest = part.value, _LONGEST.get(part.oid, _LONGEST_OTHER)
        label = part.rfc4514_attribute_name
        if not text:
            return f"{label} is empty"
        if len(text) > longest:
            return f"{label} has {len(text)} characters, of {longest} at most"
        if isinstance(text, str) and not text.isprintable():
            return f"{label} has characters that cannot be printed: {text!r}"
    return ""
