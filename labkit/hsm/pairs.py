"""Key pairs in a token: making them, finding both halves, and sweeping away what is half made.

SoftHSM makes a pair in several steps: a file for the public key, one for the private key, and
their values afterwards. A process that is killed in between leaves a public key without a
private one, or a private key without its number. A label does not tell which halves belong
together, since a second try has the same label: the ID does, which is random for each pair.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from labkit.hsm.keys import Algorithm, TokenEcKey, TokenKey, wrap

if TYPE_CHECKING:
    from labkit.hsm.tokens import Token

_ID_BYTES = 8
_HALVES = (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY)


def generate(
    session: Any, label: str, algorithm: Algorithm, *, keep: bool, extractable: bool = False
) -> tuple[Any, Any]:
    """A new pair, public half first: sensitive, never extractable, for signing only.

    ``keep`` stores it in the token; otherwise it ends with the session. ``extractable`` is for
    the lesson on keys that are carried: see :mod:`labkit.hsm.transport`.
    """
    common = {"store": keep, "label": label, "id": secrets.token_bytes(_ID_BYTES)}
    private = {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: extractable,
        Attribute.SIGN: True,
        Attribute.DECRYPT: False,
        Attribute.UNWRAP: False,
    }
    if algorithm.curve is None:
        public, secret = session.generate_keypair(
            KeyType.RSA, algorithm.bits, private_template=private, **common
        )
        return public, secret
    curve = encode_named_curve_parameters(algorithm.curve.name)
    domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    public, secret = domain.generate_keypair(
        private_template={**private, Attribute.DERIVE: False}, **common
    )
    return public, secret


def sound(token: Token, label: str) -> TokenKey | None:
    """The stored key of this label that signs what its public half verifies, if there is one."""
    for private in stored(token.session, ObjectClass.PRIVATE_KEY, label):
        for public in _publics(token.session, private):
            key = _checked(token, label, public, private)
            if key is not None:
                return key
    return None


def stored(session: Any, half: ObjectClass, label: str) -> list[Any]:
    """The halves of this label that are in the token, and not of the session only."""
    return _find(session, CLASS=half, LABEL=label, TOKEN=True)


def sweep(session: Any, label: str) -> None:
    """Destroys what is stored under this label: what a cut-off generation left, halves that make
    no pair; or a pair that has served its time."""
    for half in _HALVES:
        for leftover in stored(session, half, label):
            leftover.destroy()


def sweep_unnamed(token: Token) -> None:
    """Destroys halves whose generation was cut off before they had got their label and ID.

    For a token that was just opened: nobody makes a key in it yet. A pair that works stays:
    another tool may make one without label and ID.
    """
    publics, privates = (_unnamed(token.session, half) for half in _HALVES)
    for private in list(privates):
        for public in list(publics):
            if _checked(token, "", public, private) is not None:
                privates.remove(private)
                publics.remove(public)
                break
    for leftover in (*publics, *privates):
        leftover.destroy()


def _unnamed(session: Any, half: ObjectClass) -> list[Any]:
    # To be listed gives a half what it lacks, empty: only then does a search find it so.
    _find(session, CLASS=half)
    return _find(session, CLASS=half, LABEL="", ID=b"")


def _publics(session: Any, private: Any) -> list[Any]:
    identifier = private[Attribute.ID]
    return _find(session, CLASS=ObjectClass.PUBLIC_KEY, ID=identifier, TOKEN=True)


def _find(session: Any, **wanted: Any) -> list[Any]:
    return list(session.get_objects({Attribute[name]: value for name, value in wanted.items()}))


def _checked(token: Token, label: str, public: Any, private: Any) -> TokenKey | None:
    """The key, or None where a half is incomplete or belongs to another."""
    try:
        key = wrap(token, label, public, private)
        _verify(key, b"Do these two belong together?")
    except (InvalidSignature, PKCS11Error, KeyError, ValueError):
        return None
    return key


def _verify(key: TokenKey, data: bytes) -> None:
    if isinstance(key, TokenEcKey):
        ecdsa = ec.ECDSA(hashes.SHA256())
        key.public_key().verify(key.sign(data, ecdsa), data, ecdsa)
        return
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    key.public_key().verify(key.sign(data, scheme, digest), data, scheme, digest)
