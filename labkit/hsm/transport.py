"""Carrying a private key from one token into another: what a careful supply chain never does.

It is here so that the lab can show what it costs. Even so nothing of a private key lies outside
of a token: both tokens agree on a wrapping key that neither shows, one wraps the private key with
it, the other unwraps it.

    from ── ECDH ──┐                     ┌── ECDH ── to        session keys, gone afterwards
                   └─ the same AES key ──┘
    key ── CKM_AES_KEY_WRAP_PAD ──> wrapped bytes ──> copy     RFC 5649, PKCS#11 v2.40

A token remembers it: the copy is not LOCAL, for it was not born there, and neither copy nor
original is NEVER_EXTRACTABLE.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from labkit.errors import Conflict, TokenError
from labkit.hsm import pairs
from labkit.hsm.keys import Algorithm, TokenEcKey, TokenKey
from labkit.hsm.library import LOCK
from labkit.hsm.tokens import Token

_CURVE = "secp256r1"
_POINT = 65  # an uncompressed point of that curve
_ID_BYTES = 8
_PUBLIC = {
    KeyType.EC: (Attribute.EC_PARAMS, Attribute.EC_POINT),
    KeyType.RSA: (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT),
}


def generate(token: Token, label: str, algorithm: Algorithm = Algorithm.P256) -> TokenKey:
    """A new key pair whose private half may be carried away: sensitive, but extractable.

    The key of this label where the token has one. Raises Conflict where that cannot be carried.
    """
    with LOCK:
        if not token.has_key(label):
            pairs.sweep(token.session, label)
            pairs.generate(token.session, label, algorithm, keep=True, extractable=True)
        elif not token.key(label).attributes["EXTRACTABLE"]:
            raise Conflict(
                f"Token {token.label!r} has a key {label!r} already",
                expected="one that may be carried away",
                found="one that never leaves its token",
                cure="choose another name",
            )
        return token.key(label)


def carry(key: TokenKey, to: Token, label: str, *, extractable: bool) -> TokenKey:
    """A copy of ``key`` in another token, under ``label``; the original stays where it is.

    ``extractable`` tells whether the copy may be carried on. The same copy twice is harmless.
    Raises Conflict where the token has another key of this label, and TokenError for a key that
    never leaves its token.
    """
    with LOCK:
        if to.has_key(label):
            return _same(key, to, label)
        if not key.attributes["EXTRACTABLE"]:
            raise TokenError(
                f"Key {key.label!r} never leaves token {key.token.label!r}",
                expected="a key that was made to be carried",
                found="one that is not extractable",
                cure="make a key in the other token, and sign a request of it: nothing secret "
                "has to travel",
            )
        pairs.sweep(to.session, label)
        with _agreed(key.token, to) as (wrapping, unwrapping):
            # An identity of its own would hide that the halves belong together.
            identity = secrets.token_bytes(_ID_BYTES)
            _copy_public(key, to, label, identity)
            _copy_private(key, wrapping, unwrapping, label, identity, extractable)
        return to.key(label)


def _same(key: TokenKey, to: Token, label: str) -> TokenKey:
    found = to.key(label)
    if found.public_key() != key.public_key():
        raise Conflict(
            f"Token {to.label!r} has a key {label!r} already",
            expected="a copy of the key that is carried",
            found="another key",
            cure="choose another name",
        )
    return found


@contextmanager
def _agreed(one: Token, other: Token) -> Iterator[tuple[Any, Any]]:
    """One AES key, in both tokens: it wraps in the first and unwraps in the second.

    Each derives it from its own private key and the other's public one (CKM_ECDH1_DERIVE), so
    not even the wrapping key travels. All of it ends with the block.
    """
    with ExitStack() as passing:
        (mine, my_secret), (yours, your_secret) = (_passing_pair(t, passing) for t in (one, other))
        wrapping = _derived(my_secret, yours, passing, Attribute.WRAP)
        unwrapping = _derived(your_secret, mine, passing, Attribute.UNWRAP)
        yield wrapping, unwrapping


def _passing_pair(token: Token, passing: ExitStack) -> tuple[Any, Any]:
    session = token.session
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVE)}
    domain = session.create_domain_parameters(KeyType.EC, curve, local=True)
    template = {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.DERIVE: True,
        Attribute.SIGN: False,
    }
    pair: tuple[Any, Any] = domain.generate_keypair(store=False, private_template=template)
    for half in pair:
        passing.callback(half.destroy)
    return pair


def _derived(secret: Any, public: Any, passing: ExitStack, use: Attribute) -> Any:
    point = public[Attribute.EC_POINT][-_POINT:]
    uses = {each: each is use for each in (Attribute.WRAP, Attribute.UNWRAP)}
    derived = secret.derive_key(
        KeyType.AES,
        256,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, **uses},
    )
    passing.callback(derived.destroy)
    return derived


def _kind(key: TokenKey) -> KeyType:
    return KeyType.EC if isinstance(key, TokenEcKey) else KeyType.RSA


def _copy_public(key: TokenKey, to: Token, label: str, identity: bytes) -> None:
    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key._handle[Attribute.ID]}
    (public,) = key.token.session.get_objects(wanted)
    numbers = {attribute: public[attribute] for attribute in _PUBLIC[_kind(key)]}
    to.session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: _kind(key),
            Attribute.LABEL: label,
            Attribute.ID: identity,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.VERIFY: True,
            **numbers,
        }
    )


def _copy_private(
    key: TokenKey, wrapping: Any, unwrapping: Any, label: str, identity: bytes, extractable: bool
) -> None:
    wrapped = wrapping.wrap_key(key._handle, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    # python-pkcs11 asks for the uses of a secret key too, which SoftHSM refuses in a private one.
    not_for_it = (Attribute.ENCRYPT, Attribute.WRAP, Attribute.VERIFY)
    unwrapping.unwrap_key(
        ObjectClass.PRIVATE_KEY,
        _kind(key),
        wrapped,
        mechanism=Mechanism.AES_KEY_WRAP_PAD,
        id=identity,
        label=label,
        store=True,
        template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: extractable,
            Attribute.SIGN: True,
            Attribute.DECRYPT: False,
            Attribute.UNWRAP: False,
            Attribute.DERIVE: False,
            **dict.fromkeys(not_for_it, DEFAULT),
        },
    )
