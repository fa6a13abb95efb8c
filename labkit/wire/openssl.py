"""OpenSSL as a server of this lab uses it: how it shakes hands, and why that failed."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

_KNOWN = {
    "http request": "the client spoke plain HTTP to a TLS port",
    "wrong version number": "the client spoke something else than TLS, plain MQTT perhaps",
    "bad signature": "the client does not hold the private key of the certificate that it sent",
    "provider signature failure": "the client does not hold the private key of the certificate "
    "that it sent",
}


def server_context(
    key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...]
) -> SSL.Context:
    """TLS 1.2 and 1.3 with this certificate (leaf first). Asks for a client certificate and
    takes any; sessions are never resumed, so every connection shows its chain anew."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(chain[0])
    for issuer in chain[1:]:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


def reason(error: SSL.Error) -> str:
    """OpenSSL's own words: of its error queue the entry that we can explain, else the first."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in queue] or [type(error).__name__]
    return next((known for known in reasons if known in _KNOWN), reasons[0])


def in_words(said: str) -> str:
    """A reason of OpenSSL's, explained where we can."""
    known = _KNOWN.get(said)
    return f"{known} ({said})" if known else said
