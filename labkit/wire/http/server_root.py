"""``/labkit/server-root``: the servers' own chain, looked at and renewed while the lab runs, for
those who test their devices against it.

    GET                          what there is
    POST …/new                   {"name": "…"}: announces a root; nothing that is served changes
    POST …/switch                {"to": "…", "crossSigned": false}: the chain leads to it, or to the
                                 next that is announced
    POST …/roll-leaf
    POST …/roll-issuing-ca
    POST …/push                  {"hub": "…", "device": "…", "untried": false}: the trust bundle, to
                                 devices

Nothing of this is Azure's. Who asks signs as a policy of DPS that has ServiceConfig. Each answer is
what there is then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509

from labkit.cloud import Cloud
from labkit.cloud.policies import SERVICE_CONFIG
from labkit.errors import Conflict, LabError, NotFound, ServiceRefusal
from labkit.pki import chain
from labkit.wire.http.dps_errors import answering
from labkit.wire.http.dps_service import admit
from labkit.wire.http.fields import Fields
from labkit.wire.http.messages import Request, Response, Router, json_response
from labkit.wire.server_identity import ServerIdentity

PATH = "/labkit/server-root"

_Action = Callable[[Fields], dict[str, Any]]
"""Does it, and returns what there is to say of it beside what there is then."""


def add_routes(router: Router, cloud: Cloud, server: ServerIdentity) -> None:
    """Serves what can be seen and done."""

    def shown(_: Fields) -> dict[str, Any]:
        return {}

    def new(said: Fields) -> dict[str, Any]:
        server.new_root(said.text("name"))
        return {}

    def switch(said: Fields) -> dict[str, Any]:
        to = said.text("to") or _announced(server)
        server.switch_root(to, cross_signed=said.flag("crossSigned", False))
        return {}

    def roll_leaf(_: Fields) -> dict[str, Any]:
        server.roll_leaf()
        return {}

    def roll_issuing_ca(_: Fields) -> dict[str, Any]:
        server.roll_issuing_ca()
        return {}

    def push(said: Fields) -> dict[str, Any]:
        name, device = said.text("hub"), said.text("device")
        hub = cloud.hubs.get(name) if name else next(iter(cloud.hubs))
        done = server.push_trust_bundle(hub, device, untried=said.flag("untried", False))
        told = {"installed": done.installed, "refused": done.refused}
        return {"pushed": {**told, "notReached": done.not_reached}}

    def serve(method: str, path: str, action: _Action) -> None:
        def answer(request: Request, _: dict[str, str]) -> Response:
            admit(cloud, request, SERVICE_CONFIG)
            with cloud.refusals.told("dps", ""):
                said = Fields.of(request.body) if request.body else Fields({})
                return _answer(lambda: {**action(said), **state(server)})

        router.add(method, path, answering(answer))

    serve("GET", PATH, shown)
    actions = (new, switch, roll_leaf, roll_issuing_ca, push)
    for action in actions:
        serve("POST", f"{PATH}/{action.__name__.replace('_', '-')}", action)


def state(server: ServerIdentity) -> dict[str, Any]:
    """All roots, the oldest first, and what a client that connects now is shown."""
    leaf, issuing = server.chain[:2]
    signer = server.cross_signer
    return {
        "roots": [{"state": root.state, **_told(root.certificate)} for root in server.roots],
        "inUse": server.root.name,
        "crossSignedBy": signer.name if signer else None,
        "issuingCa": _told(issuing),
        "leaf": _told(leaf),
        "trustBundle": server.trust_bundle,
        "trustBundleFile": str(server.root_file),
    }


def _told(certificate: x509.Certificate) -> dict[str, str]:
    return {
        "name": chain.common_name(certificate),
        "notAfter": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": chain.thumbprint(certificate),
    }


def _announced(server: ServerIdentity) -> str:
    """The oldest root that is still to come. Raises Conflict."""
    waiting = [root.name for root in server.roots if root.state == "announced"]
    if not waiting:
        raise Conflict(
            "There is no root to switch to",
            expected="one that was announced before, or the name of an older one",
            found=f"in use is {server.root.name}",
            cure="announce one: labkit server-root new",
        )
    return waiting[0]


def _answer(act: Callable[[], dict[str, Any]]) -> Response:
    try:
        return json_response(200, act())
    except ServiceRefusal:
        raise
    except LabError as error:
        status = 404 if isinstance(error, NotFound) else 409 if isinstance(error, Conflict) else 400
        told = {"expected": error.expected, "found": error.found, "cure": error.cure}
        return json_response(status, {"message": error.message, **told})
