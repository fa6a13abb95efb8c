"""The two texts beside a click: run as Python, sent over HTTPS, each does what the click did."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import forge
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from https_clients import Answer, client, sign
from stories import Story

from labkit import Lab
from labkit.cloud.dps.entries import (
    CLIENT,
    NEVER,
    UNSET,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.store import wire_etag
from labkit.errors import LabError, NotFound, WorkspaceError
from labkit.pki import chain
from labkit.ui.portal import Portal
from labkit.ui.portal.deeds import KEPT, Logged
from labkit.ui.portal.page import BUTTONS, PortalPage
from labkit.ui.portal.still import still

HUB, GROUPS, INDIVIDUAL = "contoso-hub", "enrollment groups", "individual enrollments"
OLD, NEW = (forge.device("widget", None).certificate for _ in range(2))
AUTHORITY = forge.ca("Other CA").certificate


@dataclass(frozen=True)
class Click:
    """What is there before, the click, and what there is to see of it afterwards."""

    prepare: Callable[[Story], str]
    press: Callable[[Portal, Story], Any]
    seen: Callable[[Lab], Any]


def plain(entry: Any) -> Any:
    """An entry without what differs each time; of keys, that there are two."""
    if isinstance(entry.attestation, SymmetricKeyAttestation):
        assert entry.attestation.primary_key
        assert entry.attestation.secondary_key
        entry = replace(entry, attestation=SymmetricKeyAttestation())
    return replace(entry, etag="", created=UNSET, updated=UNSET)


# ---- what is there before: each returns the ETag that the click will name


def nothing(story: Story) -> str:
    for book in (story.lab.dps.enrollments, story.lab.dps.enrollment_groups):
        for name in ("widget", "other"):
            if book.find(name):
                book.delete(name)
    return ""


def an_entry(story: Story) -> str:
    nothing(story)
    return story.lab.dps.enrollments.create("widget", certificate=OLD).etag


def a_ca(story: Story) -> str:
    certificates = story.lab.dps.certificates
    no_ca(story)
    certificates.upload("factory-y", story.factory.certificate)
    return certificates.get("factory-y").etag


def no_ca(story: Story) -> str:
    if any(ca.name == "factory-y" for ca in story.lab.dps.certificates):
        story.lab.dps.certificates.delete("factory-y")
    return ""


def a_device(story: Story) -> str:
    """Known by a thumbprint, and enabled."""
    devices = story.lab.hub().devices
    if "widget" in devices:
        devices.delete("widget")
    devices.create("widget", certificate=OLD, iot_edge=True)
    return ""


def a_disabled_device(story: Story) -> str:
    a_device(story)
    story.lab.hub().devices.disable("widget", "why")
    return ""


def a_registration(story: Story) -> str:
    story.widget.provision()
    return ""


# ---- the clicks


def to_entry(portal: Portal) -> None:
    portal.show(INDIVIDUAL)
    portal.open("widget")


def change(portal: Portal, _: Story) -> None:
    to_entry(portal)
    portal.attach("secondary", NEW, "new.pem")
    hub = portal.lab.hub().host_name
    portal.save(remove=["primary"], enabled=False, hubs=[hub], reprovision="never")


def change_to_webhook(portal: Portal, _: Story) -> None:
    to_entry(portal)
    portal.save(allocation="custom", webhook='https://example.net/"quoted"', reprovision="reset")


def create(portal: Portal, _: Story) -> None:
    portal.show(INDIVIDUAL)
    portal.new()
    portal.attach("primary", NEW, "new.pem")
    portal.save(id="widget", device_id="in-the-hub", reprovision="never", enabled=False)


def create_keys(portal: Portal, _: Story) -> None:
    portal.new()
    portal.save(id="other", attestation="symmetricKey", allocation="geoLatency")


def create_group(portal: Portal, _: Story) -> None:
    portal.new()
    portal.attach("secondary", AUTHORITY, "ca.pem")
    portal.save(id="other")


def delete(portal: Portal, _: Story) -> None:
    to_entry(portal)
    portal.delete("widget")


def to_ca(portal: Portal) -> None:
    portal.show("certificates")
    portal.open("factory-y")


def upload(portal: Portal, story: Story) -> None:
    portal.show("certificates")
    portal.new()
    portal.attach("certificate", story.factory.certificate, "factory.pem")
    portal.upload("factory-y")


def code(portal: Portal, _: Story) -> None:
    to_ca(portal)
    portal.generate_code()


def delete_ca(portal: Portal, _: Story) -> None:
    to_ca(portal)
    portal.delete("factory-y")


def to_device(portal: Portal) -> None:
    portal.show("devices", HUB)
    portal.open("widget")


def disable(portal: Portal, _: Story) -> None:
    to_device(portal)
    portal.disable("stolen")


def enable(portal: Portal, _: Story) -> None:
    to_device(portal)
    portal.enable()


def delete_device(portal: Portal, _: Story) -> None:
    to_device(portal)
    portal.delete("widget")


def forget(portal: Portal, story: Story) -> None:
    portal.open("smart-x-widgets")
    portal.show_registrations()
    portal.delete_registration(story.widget.name, story.widget.name)


# ---- what there is to see


def entry(lab: Lab) -> Any:
    found = lab.dps.enrollments.find("widget")
    return found and plain(found)


def group(lab: Lab) -> Any:
    found = lab.dps.enrollment_groups.find("other")
    return found and plain(found)


def ca(lab: Lab) -> Any:
    found = [row for row in lab.dps.certificates if row.name == "factory-y"]
    return [(one.thumbprint, one.is_verified, bool(one._row.code)) for one in found]


def device(lab: Lab) -> Any:
    found = lab.hub().devices.find("widget")
    return found and (found.enabled, found.status_reason, found.thumbprint, found.iot_edge)


def registration(lab: Lab) -> Any:
    return len(lab.dps.registrations)


CLICKS = {
    "an entry is changed": Click(an_entry, change, entry),
    "a webhook is named": Click(an_entry, change_to_webhook, entry),
    "an entry is made": Click(nothing, create, entry),
    "a group with keys is made": Click(nothing, create_keys, group),
    "a group is made": Click(nothing, create_group, group),
    "an entry is deleted": Click(an_entry, delete, entry),
    "a CA is uploaded": Click(no_ca, upload, ca),
    "a code is made": Click(a_ca, code, ca),
    "a CA is deleted": Click(a_ca, delete_ca, ca),
    "a device is disabled": Click(a_device, disable, device),
    "a device is enabled": Click(a_disabled_device, enable, device),
    "a device is deleted": Click(a_device, delete_device, device),
    "a registration is deleted": Click(a_registration, forget, registration),
}


@pytest.mark.parametrize("click", CLICKS.values(), ids=CLICKS)
def test_click_python_and_rest_do_the_same(
    story: Story, click: Click, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same beginning thrice; only the ETag of the beginning is another each time."""
    lab, portal = story.lab, story.lab.portal()
    before = click.prepare(story)
    beginning = click.seen(lab)
    click.press(portal, story)
    clicked, call = click.seen(lab), list(portal.calls)[-1]
    assert clicked != beginning

    write_files(tmp_path, story)
    monkeypatch.chdir(tmp_path)
    again = click.prepare(story)
    exec(call.python.replace(before or "no ETag", again), {"lab": lab})
    assert click.seen(lab) == clicked

    last = click.prepare(story)
    answer = send(lab, renewed(call.rest, before, last))
    assert answer.status in (200, 204), answer.body
    assert click.seen(lab) == clicked


def test_a_proof_over_https_is_the_same(story: Story) -> None:
    """The one click that cannot be undone: another certificate is verified by what it says."""
    lab, portal = story.lab, story.lab.portal()
    a_ca(story)
    to_ca(portal)
    portal.generate_code()
    portal.attach("proof", story.factory.prove_possession(portal.opened.code), "proof.pem")
    before = portal.opened.etag
    portal.verify()
    (call,) = [c for c in portal.calls if c.said.startswith("Verify")]
    assert f'verify("factory-y", Path("proof.pem"), etag="{before}")' in " ".join(
        call.python.split()
    ).replace("( ", "(").replace(", )", ")")
    lab.dps.certificates.delete("factory-y")
    fresh = lab.dps.certificates.upload("factory-y", story.factory.certificate)
    proof = story.factory.prove_possession(fresh.verification_code)
    text = renewed(call.rest, before, fresh.etag)
    head, body = text.split("\n\n", 1)
    sent = {**json.loads(body), "certificate": chain.to_pem([proof])}
    assert send(lab, f"{head}\n\n{json.dumps(sent)}").status == 200
    assert fresh.is_verified


def test_what_is_only_read_can_be_read_over_https_too(story: Story) -> None:
    """Every list and every thing of it, by Python and by REST."""
    lab, portal = story.lab, story.lab.portal()
    story.widget.provision()
    an_entry(story)
    portal.open("smart-x-widgets")
    portal.show_registrations()
    to_entry(portal)
    portal.show("certificates")
    portal.open("company-x")
    portal.show("devices", HUB)
    portal.open(story.widget.name)
    assert len(portal.calls) == 8
    for call in portal.calls:
        assert eval(call.python, {"lab": lab}), call.python
        answer = send(lab, call.rest)
        assert answer.status == 200, (call.rest, answer.body)
        assert answer.json


def write_files(directory: Path, story: Story) -> None:
    """The files that the clicks' certificates came in."""
    handed = {"new.pem": NEW, "ca.pem": AUTHORITY, "factory.pem": story.factory.certificate}
    for name, certificate in handed.items():
        (directory / name).write_bytes(certificate.public_bytes(Encoding.PEM))


def renewed(text: str, before: str, now: str) -> str:
    if not before:
        return text
    return text.replace(wire_etag(before), wire_etag(now)).replace(before, now)


def send(lab: Lab, text: str) -> Answer:
    """The request as it is written, with a token in the place of the three dots."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    host = headers["Host"]
    is_hub = host.startswith(HUB)
    if "SharedAccessSignature" in headers["Authorization"]:
        owner = lab.cloud.policies(HUB if is_hub else "dps").owner
        headers["Authorization"] = sign(quote(host, safe=""), owner.primary_key, policy=owner.name)
    else:
        headers["Authorization"] = "Bearer anybody"
    port = lab.listener.hub_ports[HUB] if is_hub else 0
    with client(lab, port=port) as opened:
        return opened.ask(method, path, body.encode() or None, **headers)


# ---- the log


def test_no_secret_is_ever_in_the_log(story: Story) -> None:
    """Symmetric keys and SAS keys of everything that is read or saved."""
    lab, portal = story.lab, story.lab.portal()
    secret = SymmetricKeyAttestation("QUJD" * 10, "REVG" * 10)
    lab.dps.enrollments.create("widget", keys=secret)
    to_entry(portal)
    portal.save(enabled=False)
    lab.hub().devices.create("keyed", keys=("QUJD" * 10, "REVG" * 10))
    portal.show("devices", HUB)
    portal.open("keyed")
    portal.disable()
    page = PortalPage(portal)
    told = json.dumps([page.scene, page.calls], ensure_ascii=False)
    assert lab.dps.enrollments.get("widget").attestation == secret
    for policies in (lab.cloud.policies("dps"), lab.cloud.policies(HUB)):
        assert policies.owner.primary_key not in told
    assert "QUJD" not in told
    assert "REVG" not in told
    assert "Authorization: SharedAccessSignature …" in told


def test_the_key_of_a_webhooks_function_is_not_in_the_log(story: Story) -> None:
    """Nor is it lost: what is saved, and stands in the form, is the whole URL."""
    lab, portal = story.lab, story.lab.portal()
    lab.dps.enrollments.create("widget", certificate=NEW)
    to_entry(portal)
    url = "https://example.net/api/choose?code=s3cret"
    portal.save(allocation="custom", webhook=url)
    portal.save(enabled=False)
    saved = lab.dps.enrollments.get("widget").custom_allocation
    page = PortalPage(portal)
    told = json.dumps(page.calls, ensure_ascii=False)
    assert saved is not None
    assert (saved.webhook_url, page.scene["entry"]["webhook"]) == (url, url)
    assert "https://example.net/api/choose?…" in told
    assert "s3cret" not in told


def test_the_log_keeps_the_newest(lab: Lab) -> None:
    portal = lab.portal()
    for _ in range(KEPT + 3):
        portal.refresh()
    kept: list[Logged] = list(portal.calls)
    assert [call.number for call in (kept[0], kept[-1])] == [4, KEPT + 3]
    assert len(portal.calls) == KEPT


def test_a_refused_call_stands_in_the_log_with_its_answer(lab: Lab) -> None:
    portal = lab.portal()
    with pytest.raises(NotFound):
        portal.open("nobody")
    (call,) = portal.calls
    assert call.outcome == "404 404201: Enrollment not found."


# ---- the page


def test_every_button_is_a_public_method_and_no_other_can_be_called(lab: Lab) -> None:
    page = PortalPage(lab.portal())
    for button in BUTTONS:
        assert callable(getattr(Portal, button))
    for name in ("_saved", "lab", "__init__", "calls", ""):
        with pytest.raises(LabError, match="no answer"):
            page.answer({"do": name})


def test_a_button_presses_and_the_page_shows_it(lab: Lab) -> None:
    portal = lab.portal()
    page = PortalPage(portal)
    pem = OLD.public_bytes(Encoding.PEM)
    for do, arguments in (
        ("show", {"kind": INDIVIDUAL}),
        ("new", {}),
        (
            "attach",
            {"slot": "primary", "file": "w.pem", "certificate": base64.b64encode(pem).decode()},
        ),
        ("save", {"id": "widget"}),
    ):
        assert page.answer({"do": do, "with": arguments}) == {}
    assert page.scene["entry"]["id"] == "widget"
    assert [call["number"] for call in page.calls] == [1, 2]
    assert not page.busy
    refused = page.answer({"do": "open", "with": {"name": "nobody"}})
    assert refused == {"refused": "404 404201: Enrollment not found."}
    assert page.scene["trouble"]["explanation"]["cures"]


@pytest.mark.parametrize("damaged", ["%%%", "QUJ", "bröken"])
def test_a_file_that_came_damaged_is_told(lab: Lab, damaged: str) -> None:
    page = PortalPage(lab.portal())
    with pytest.raises(LabError, match="did not arrive whole"):
        page.answer({"do": "attach", "with": {"slot": "primary", "certificate": damaged}})


def test_a_button_of_a_closed_lab_says_so(lab: Lab) -> None:
    """Not in silence: the page gets the error, with its cure."""
    page = PortalPage(lab.portal())
    lab.close()
    for do, arguments in (("refresh", {}), ("new", {}), ("open", {"name": "widget"})):
        with pytest.raises(WorkspaceError):
            page.answer({"do": do, "with": arguments})
    with pytest.raises(WorkspaceError):
        page.follow()


def test_what_stays_without_a_kernel_is_the_same_at_every_run(story: Story) -> None:
    """A table of each list, and nothing in it that differs from run to run, or that is markup."""
    lab = story.lab
    an_entry(story)
    lab.dps.enrollments.update(replace(lab.dps.enrollments.get("widget"), reprovision_policy=NEVER))
    lab.hub().devices.create("keyed")
    lab.hub().devices.disable("keyed", "<script>alert(1)</script>")
    data, _ = lab.portal()._repr_mimebundle_()
    shown = data["text/html"]
    assert shown == still(lab)
    for words in ("smart-x-widgets", "CN=Company-X Root CA", "verified", "Devices of contoso-hub"):
        assert words in shown
    assert "<script" not in shown
    assert not re.search(r"[0-9A-F]{16}|\d\d:\d\d", shown)
    assert data["text/plain"] == f"<Portal of {lab.path.name!r}: enrollment groups>"
    assert "application/vnd.jupyter.widget-view+json" in data


class Broken:
    """A book of enrollments, or a list of certificates, in which somebody has made a mistake."""

    def __call__(self, *_: object, **__: object) -> None:
        raise KeyError("nobody thought of this")


@pytest.mark.parametrize(
    "mistake",
    [
        "labkit.cloud.dps.book.EntryBook.put",
        "labkit.ui.portal.wishes.wanted",
        "labkit.ui.portal.entry_shelf.EntryShelf.list",
        "labkit.ui.portal.cells.Reader.certificate",
    ],
    ids=["in the service", "in the form", "behind the call", "in the drawing"],
)
def test_an_error_that_nobody_expected_is_shown_and_the_page_is_as_it_was(
    lab: Lab, mistake: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it comes from; and the same click works once the mistake is mended."""
    lab.dps.enrollments.create("widget", certificate=OLD)
    portal = lab.portal()
    to_entry(portal)
    portal.attach("secondary", NEW, "new.pem")
    page, before = PortalPage(portal), dict(vars(portal))
    shown, save = page.scene, {"do": "save", "with": {"enabled": False}}
    with monkeypatch.context() as patched:
        patched.setattr(mistake, Broken())
        answer = press(page, save)
    assert "KeyError: 'nobody thought of this'" in str([answer, page.scene["trouble"]])
    assert {**page.scene, "trouble": None} == shown
    kept = ("opened", "attached", "conflict", "making", "place", "listing")
    assert [vars(portal)[name] for name in kept] == [before[name] for name in kept]
    assert "save failed" in caplog.text
    portal.refresh()
    assert portal.trouble is None
    portal.attach("secondary", NEW, "new.pem")
    assert press(page, save) == {}
    assert lab.dps.enrollments.get("widget").attestation == X509Attestation(CLIENT, OLD, NEW)


def press(page: PortalPage, message: dict[str, Any]) -> dict[str, Any]:
    """What the browser gets back for a click."""
    answers: list[dict[str, Any]] = []
    page.send = answers.append
    page._handle_custom_msg({"id": "q-1", **message}, [])
    (answer,) = answers
    assert answer.pop("re") == "q-1"
    return answer


def test_what_was_called_before_the_error_stands_in_the_log(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = lab.portal()
    page = PortalPage(portal)
    monkeypatch.setattr("labkit.cloud.dps.book.EntryBook.get", Broken())
    page.answer({"do": "open", "with": {"name": "widget"}})
    (call,) = page.calls
    assert call["outcome"] == "KeyError: 'nobody thought of this'"
