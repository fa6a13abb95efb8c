"""The stand-in CA's own API, over HTTPS. It is nobody's in particular: the field has no standard
for it that CAs as a service share.

    GET  /v1/profiles/{name}      200 {"name", "days", "keys", "purposes"}
    POST /v1/certificates         201 {"certificate", "chain"}, PEM; {"profile", "csr"} is asked

Who asks sends ``X-API-Key``. What is not granted is ``{"error": {"code", "message", "cures"}}``.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.cloud import strict_json
from labkit.pki import chain
from labkit.thirdparty import CertificateService, Declined
from labkit.wire.http.messages import Handler, Request, Response, Router, json_response

API_KEY = "x-api-key"
_FORM = 'send {"profile": "…", "csr": "-----BEGIN CERTIFICATE REQUEST-----…"}'


def add_routes(router: Router, service: CertificateService) -> None:
    """Serves the customers' systems of this company."""

    def profile(request: Request, parts: dict[str, str]) -> Response:
        found = service.profile(_key(request), parts["name"])
        said = {"keys": list(found.keys), "purposes": list(found.purposes)}
        return json_response(200, {"name": found.name, "days": found.days, **said})

    def issue(request: Request, _: dict[str, str]) -> Response:
        issued = service.issue(_key(request), *_wanted(request))
        pem = [chain.to_pem([certificate]) for certificate in issued]
        return json_response(201, {"certificate": pem[0], "chain": pem[1:]})

    router.add("GET", "/v1/profiles/{name}", _answering(profile))
    router.add("POST", "/v1/certificates", _answering(issue))


def _answering(handler: Callable[[Request, dict[str, str]], Response]) -> Handler:
    def answer(request: Request, parts: dict[str, str]) -> Response:
        try:
            return handler(request, parts)
        except Declined as error:
            said = {"code": error.code, "message": error.message, "cures": list(error.cures)}
            return json_response(error.status, {"error": said})

    return answer


def _key(request: Request) -> str:
    return request.headers.get(API_KEY, "")


def _wanted(request: Request) -> tuple[str, str]:
    """Profile and request of the body. Raises Declined."""
    said = strict_json.read_object(request.body) or {}
    profile, csr = said.get("profile"), said.get("csr")
    if isinstance(profile, str) and isinstance(csr, str):
        return profile, csr
    raise Declined(
        400, "unreadable_body", "profile and csr are no texts of a JSON object", (_FORM,)
    )
