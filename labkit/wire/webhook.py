"""The way to the webhooks of custom allocation: a POST, by the standard library's client."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from labkit.cloud.dps import webhook_url
from labkit.cloud.dps.allocation import WebhookAnswer
from labkit.wire import asking
from labkit.wire.asking import Question

_KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_HEADERS = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}


def post(url: str, body: bytes) -> WebhookAnswer:
    """Sends JSON to a webhook and waits for what it says, as long as :mod:`labkit.wire.asking`
    allows.

    Who cannot be asked has status 0, and why as its body: without the URL's query, where a
    function's key is.
    """
    if why := webhook_url.fault(url):
        return WebhookAnswer(0, f"its URL is {why}: that is not {webhook_url.RULE}".encode())
    parts = urlsplit(url)
    kind = _KINDS[parts.scheme.lower()]
    connection = kind(parts.hostname or "", parts.port, timeout=asking.SECONDS)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    status, said = asking.ask(connection, Question("POST", target, body, _HEADERS))
    where = "" if status else f"{connection.host}:{connection.port} "
    return WebhookAnswer(status, where.encode() + said)
