"""Clients that decide by themselves whether they trust a server: openssl, and the standard
library's TLS without a socket."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable
from pathlib import Path

from foreign_tools import run
from OpenSSL import SSL

from labkit import Lab

NAME = "contoso-hub.azure-devices.net"


def openssl_says(lab: Lab, store: Path, pem: str, name: str = NAME) -> str:
    """What ``openssl s_client`` finds of the hub's server with these roots alone to trust:
    ``0 (ok)``, or its error."""
    store.write_text(pem)
    where = f"{lab.listener.host}:{lab.listener.mqtt_port}"
    result = run(
        "openssl", "s_client", "-connect", where, "-CAfile", store, "-no-CApath", "-no-CAstore",
        "-verify_return_error", "-verify_hostname", name,
    )  # fmt: skip
    told = (result.stdout + result.stderr).decode(errors="replace")
    found = [
        line for line in told.splitlines() if "Verify return code" in line or "error:num" in line
    ]
    assert found, told
    return found[-1].partition("code: ")[2] or found[-1].partition("error:")[2]


def trusts(context: SSL.Context, roots: Iterable[str], name: str = NAME) -> bool:
    """Whether a client with these roots (PEM) completes TLS with a server of this context."""
    store = ssl.create_default_context(cadata="".join(roots))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = store.wrap_bio(incoming, outgoing, server_hostname=name)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    for _ in range(10):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError:
            return False
        else:
            return True
        server.bio_write(outgoing.read())
        with contextlib.suppress(SSL.WantReadError):
            server.do_handshake()
        incoming.write(server.bio_read(65536))
    raise AssertionError("the handshake does not end")
