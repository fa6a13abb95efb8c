"""The portal in a real JupyterLab, as whoever rolls a certificate by hand has it before them.

One JupyterLab page serves the module; each test has an enrollment of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forge
import nbformat
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Browser, Locator, Page, expect
from screens import (
    AXE,
    DARK,
    IN_THE_KERNEL,
    LIGHT,
    alone,
    check_calm,
    shots,
    themed,
    tools,
    written,
)

from labkit.pki import chain

if TYPE_CHECKING:
    from conftest import JupyterLab, Notebook

NAMES = (
    "rolled",
    "contested",
    "disabled",
    "deleted",
    "by-keyboard",
    "leaked",
    "looked-at",
    "unexpected",
)
SETUP = f"""
from dataclasses import replace
from pathlib import Path
from labkit import Lab

lab = Lab.open("portal", fresh=True, clock="{forge.NOW:%Y-%m-%dT%H:%M:%SZ}", say=None)
company = lab.custodian("Company-X").create_root_ca()
ca = lab.dps.certificates.upload("company-x", company.certificate)
lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)
widget = company.make_device("smart-x-widget-001")
widget.provision()
widget.connect()
for name in {NAMES!r}:
    made = lab.self_signed_device(name)
    lab.dps.enrollments.create(name, certificate=made.certificate)
portal = lab.portal()
portal
"""


class OnScreen:
    """The portal, and what is asked of it."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.root = self.page.locator(".lk-portal")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def heading(self, name: str) -> Locator:
        return self.root.get_by_role("heading", name=name, exact=True, level=3)

    @property
    def notice(self) -> Locator:
        return self.root.get_by_role("status")

    @property
    def alert(self) -> Locator:
        return self.root.get_by_role("alert")

    @property
    def calls(self) -> Locator:
        return self.root.get_by_role("region", name="Calls", exact=True)

    @property
    def newest(self) -> Locator:
        return self.calls.locator("li").first

    def go(self, service: str, page: str) -> None:
        """Presses an entry of the navigation."""
        group = self.root.locator(".lk-service", has=self.page.get_by_text(service, exact=True))
        group.get_by_role("button", name=page).click()

    def open(self, name: str, tab: str = "Individual enrollments") -> None:
        self.go("lab-dps", "Manage enrollments")
        self.root.get_by_role("tab", name=tab).click()
        self.button(name).click()
        expect(self.heading(name)).to_be_focused()

    def row(self, name: str) -> Locator:
        """The row of a list that begins with this name."""
        named = self.page.get_by_role("rowheader", name=name, exact=True)
        return self.root.get_by_role("row").filter(has=named)

    def slot(self, label: str) -> Locator:
        return self.root.locator(".lk-slot", has=self.page.get_by_role("heading", name=label))

    def python(self, code: str) -> None:
        """Runs a line in the notebook's kernel, as a cell would."""
        self.page.evaluate(IN_THE_KERNEL, code)

    def type_name(self, name: str) -> None:
        """Confirms a deletion as the portal wants it."""
        dialog = self.root.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
        dialog.get_by_role("textbox").fill(name)
        dialog.get_by_role("button", name="Delete").click()


@pytest.fixture(scope="module")
def opened(
    browser: Browser,
    jupyterlab: JupyterLab,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[OnScreen]:
    directory = tmp_path_factory.mktemp("portal")
    with alone(SETUP, directory, browser, jupyterlab, request) as notebook:
        shown = OnScreen(notebook)
        shown.root.wait_for()
        yield shown


@pytest.fixture
def portal(opened: OnScreen, request: pytest.FixtureRequest) -> Iterator[OnScreen]:
    yield opened
    check_calm(opened.notebook, request.node.name)


def upload(certificate: Any, name: str = "new.pem") -> Any:
    """A certificate as a file to choose."""
    pem = certificate.public_bytes(Encoding.PEM)
    return {"name": name, "mimeType": "application/x-pem-file", "buffer": pem}


def test_a_certificate_is_rolled_from_primary_to_secondary(portal: OnScreen) -> None:
    """The procedure for an expiring certificate, and then for a compromised one: the new one is
    added as the secondary, and the primary is removed."""
    new = forge.device("rolled", None).certificate
    portal.open("rolled")
    portal.slot("Secondary certificate").locator("input[type=file]").set_input_files(upload(new))
    taken = portal.slot("Secondary certificate").locator(".lk-taken")
    expect(taken).to_contain_text("new.pem")
    expect(taken).to_contain_text(chain.thumbprint_sha1(new))
    portal.button("Save").click()
    expect(portal.notice).to_contain_text("rolled is saved.")
    expect(portal.button("Save")).to_be_focused()
    primary, secondary = (portal.slot(f"{name} certificate") for name in ("Primary", "Secondary"))
    expect(primary).to_contain_text("CN=rolled")
    expect(secondary).to_contain_text(chain.thumbprint_sha1(new))
    primary.get_by_label("Remove or replace primary certificate").check()
    portal.button("Save").click()
    expect(primary).not_to_contain_text("CN=rolled")
    expect(secondary).to_contain_text(chain.thumbprint_sha1(new))
    expect(portal.newest).to_contain_text("Save individual enrollment rolled")
    expect(portal.newest).to_contain_text("attestation=replace(entry.attestation, primary=None)")
    expect(portal.newest).to_contain_text("PUT /enrollments/rolled?api-version=2021-10-01")
    expect(portal.newest).to_contain_text("If-Match:")
    expect(portal.newest).to_contain_text("SharedAccessSignature …")
    portal.newest.get_by_role("button", name="Copy").first.click()
    expect(portal.newest.get_by_role("button", name="Copied")).to_be_visible()
    portal.button("← Individual enrollments").click()
    expect(portal.button("rolled")).to_be_focused()


CHANGE = """
entry = lab.dps.enrollments.get("contested")
lab.dps.enrollments.update(replace(entry, allocation_policy="static"))
"""


def test_a_conflict_is_shown_and_decided(portal: OnScreen) -> None:
    """Somebody else saves meanwhile: first the person looks at that, then overwrites it."""
    portal.open("contested")
    portal.python(CHANGE)
    portal.root.get_by_label("Enable this entry").uncheck()
    portal.button("Save").click()
    conflict = portal.root.get_by_role("region", name="Conflict")
    title = conflict.get_by_role("heading", name="Somebody changed it since you opened it")
    expect(title).to_be_focused()
    row = conflict.get_by_role("row").filter(has_text="Allocation policy")
    expect(row.get_by_role("cell")).to_have_text(
        ["the service's own", "static", "the service's own"]
    )
    expect(portal.alert).to_contain_text("412 412201: Precondition failed.")
    why = portal.root.get_by_role("region", name="Why it was refused")
    expect(why).to_contain_text("the record was changed since that ETag was read")
    portal.root.screenshot(path=shots("portal-conflict"))
    portal.button("Reload what is there now").click()
    expect(conflict).to_be_hidden()
    expect(portal.root.get_by_label("Enable this entry")).to_be_checked()
    expect(portal.root.get_by_label("Allocation policy")).to_have_value("static")

    portal.python(CHANGE)
    portal.root.get_by_label("Enable this entry").uncheck()
    portal.button("Save").click()
    expect(title).to_be_focused()
    expect(portal.root.get_by_label("Enable this entry")).not_to_be_checked()
    portal.button("Overwrite it with mine").click()
    expect(conflict).to_be_hidden()
    expect(portal.notice).to_contain_text("contested is saved.")
    expect(portal.root.get_by_label("Enable this entry")).not_to_be_checked()


def test_an_entry_is_disabled_and_the_list_says_so(portal: OnScreen) -> None:
    portal.open("disabled")
    portal.root.get_by_label("Enable this entry").uncheck()
    portal.button("Save").click()
    expect(portal.notice).to_contain_text("disabled is saved.")
    portal.button("← Individual enrollments").click()
    row = portal.row("disabled")
    expect(row.locator(".lk-mark").first).to_have_text("disabled")


def test_what_is_deleted_must_be_named(portal: OnScreen) -> None:
    """Escape lets it be; another name does not do; its own name deletes it."""
    portal.open("deleted")
    portal.button("Delete…").click()
    dialog = portal.root.get_by_role("dialog")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    portal.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(portal.button("Delete…")).to_be_focused()
    portal.button("Delete…").click()
    dialog.get_by_role("textbox").fill("delete")
    portal.page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    portal.root.screenshot(path=shots("portal-dialog"))
    portal.type_name("deleted")
    expect(portal.notice).to_contain_text("deleted was deleted.")
    expect(portal.button("deleted")).to_have_count(0)
    expect(portal.heading("Manage enrollments")).to_be_focused()


BREAK = """
from labkit.cloud.dps.book import EntryBook
whole, EntryBook.put = EntryBook.put, lambda *_: {}["nobody thought of this"]
"""


def test_an_error_that_nobody_expected_is_seen_wherever_one_has_scrolled_to(
    portal: OnScreen,
) -> None:
    """Twice the same, for a second click is a second question; and what was chosen stays."""
    portal.open("unexpected")
    switch = portal.root.get_by_role("switch", name="Enable this entry")
    switch.uncheck()
    portal.python(BREAK)
    for _ in range(2):
        portal.button("Save").scroll_into_view_if_needed()
        portal.button("Save").click()
        expect(portal.alert).to_contain_text("KeyError: 'nobody thought of this'")
        expect(portal.alert).to_be_in_viewport()
    expect(portal.newest).to_contain_text("KeyError")
    expect(switch).not_to_be_checked()
    portal.python("EntryBook.put = whole")
    portal.button("Save").click()
    expect(portal.notice).to_have_text("unexpected is saved.")
    expect(portal.alert).to_be_empty()


def test_a_file_with_a_private_key_is_refused_and_nothing_is_kept(portal: OnScreen) -> None:
    """Neither the page nor the log nor the notebook's file has a letter of it."""
    key = forge.new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both = forge.device("leaked", None).certificate.public_bytes(Encoding.PEM) + key
    portal.open("leaked")
    file = {"name": "both.pem", "mimeType": "application/x-pem-file", "buffer": both}
    slot = portal.slot("Secondary certificate")
    slot.locator("input[type=file]").set_input_files(file)
    expect(portal.alert).to_contain_text("This holds a private key. It was not stored")
    expect(slot.locator(".lk-taken")).to_be_hidden()
    letters = key.decode().splitlines()[1]
    assert letters not in portal.page.content()
    assert letters not in str(portal.notebook.cells())
    slot.get_by_text("or paste its text").click()
    slot.get_by_role("textbox").fill(key.decode())
    slot.get_by_role("button", name="Use this text").click()
    expect(slot.get_by_role("textbox")).to_have_value("")
    expect(portal.alert).to_contain_text("This holds a private key. It was not stored")
    large = {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"0" * 70_000}
    slot.locator("input[type=file]").set_input_files(large)
    expect(portal.alert).to_contain_text("film.mp4 has 69 KB.")


def test_what_dps_would_take_without_a_word_is_warned_of(portal: OnScreen) -> None:
    """An ID that is not the certificate's CN, and one certificate in both places: it is saved,
    and the entry says so, until the right certificates are in it."""
    warnings = portal.root.get_by_role("note")
    portal.go("lab-dps", "Manage enrollments")
    portal.root.get_by_role("tab", name="Individual enrollments").click()
    portal.button("+ New individual enrollment").click()
    rule = portal.root.get_by_text("the registration ID has to be that certificate's common name")
    expect(rule).to_be_visible()
    portal.root.get_by_label("Registration ID").fill("warned")
    other = upload(forge.device("other", None).certificate)
    for slot in ("Primary", "Secondary"):
        place = portal.slot(f"{slot} certificate")
        place.locator("input[type=file]").set_input_files(other)
        expect(place.locator(".lk-taken")).to_contain_text("CN=other")
    expect(warnings).to_have_count(1)
    expect(warnings).to_contain_text("Primary and secondary are the same certificate")
    portal.button("Create").click()
    expect(portal.notice).to_contain_text("warned is saved.")
    expect(warnings).to_have_count(2)
    expect(warnings.first).to_contain_text("its common name is not the registration ID")
    for words in ("Expected", "CN=warned", "Found", "CN=other", "Cure"):
        expect(warnings.first).to_contain_text(words)
    portal.root.screenshot(path=shots("portal-warned"))
    for slot in ("Primary", "Secondary"):
        place = portal.slot(f"{slot} certificate")
        place.get_by_label("Remove or replace").check()
        right = upload(forge.device("warned", None).certificate)
        place.locator("input[type=file]").set_input_files(right)
        expect(place.locator(".lk-taken")).to_contain_text("CN=warned")
    expect(warnings).to_have_count(0)
    portal.button("Save").click()
    expect(portal.notice).to_contain_text("warned is saved.")
    expect(warnings).to_have_count(0)


PROVE = """
ca = lab.dps.certificates.get("factory-y")
Path("proof.pem").write_text(to_pem([factory.prove_possession(ca.verification_code)]))
"""
FACTORY = """
from labkit.pki.chain import to_pem
factory = company.sign_intermediate(lab.custodian("Factory-Y"))
Path("factory.pem").write_text(to_pem([factory.certificate]))
"""


def test_a_ca_is_uploaded_proven_and_deleted(portal: OnScreen) -> None:
    """The wrong proof first: what the service says, and why."""
    files = portal.notebook.server.files / "notebooks"
    portal.python(FACTORY)
    portal.go("lab-dps", "Certificates")
    portal.button("+ Add a certificate").click()
    expect(portal.heading("Add a certificate")).to_be_focused()
    portal.root.get_by_label("Certificate name").fill("factory-y")
    chosen = portal.root.get_by_label("a .pem or .cer file")
    chosen.set_input_files(files / "factory.pem")
    expect(portal.root.locator(".lk-taken")).to_contain_text("CN=Factory-Y CA")
    portal.button("Upload").click()
    expect(portal.heading("factory-y")).to_be_visible()
    expect(portal.root.locator(".lk-state")).to_contain_text("unverified")
    portal.button("Generate a verification code").click()
    code = portal.root.get_by_role("region", name="Verification code")
    expect(code).to_have_text(re.compile(r"[0-9A-Fa-f]{20,}"))
    chosen.set_input_files(files / "factory.pem")
    portal.button("Verify").click()
    expect(portal.alert).to_contain_text("400 IH400053: Proof-Of-Possession failed.")
    expect(portal.root.get_by_role("region", name="Why it was refused")).to_be_visible()
    portal.root.screenshot(path=shots("portal-proof-refused"))
    portal.python(PROVE)
    portal.button("Verification certificate: take back").click()
    chosen.set_input_files(files / "proof.pem")
    expect(portal.root.locator(".lk-taken")).to_contain_text("proof.pem")
    portal.button("Verify").click()
    expect(portal.notice).to_contain_text("factory-y is verified.")
    expect(portal.root.locator(".lk-state")).to_contain_text("verified")
    expect(portal.newest).to_contain_text("/certificates/factory-y/verify?api-version=")
    expect(portal.newest).to_contain_text("Bearer …")
    portal.button("Delete…").click()
    portal.type_name("factory-y")
    expect(portal.notice).to_contain_text("factory-y was deleted.")


def test_a_device_is_cut_off_and_let_in_again(portal: OnScreen) -> None:
    """Disabling ends its connection, and the reason stands in the list."""
    portal.go("contoso-hub", "Devices")
    row = portal.row("smart-x-widget-001")
    expect(row).to_contain_text("connected")
    portal.button("smart-x-widget-001").click()
    portal.button("Disable…").click()
    portal.root.get_by_role("dialog").get_by_role("textbox").fill("stolen from the site")
    portal.root.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(portal.notice).to_contain_text("smart-x-widget-001 is disabled.")
    portal.button("← Devices").click()
    expect(row).to_contain_text("stolen from the site")
    expect(row).to_contain_text("not connected")
    portal.button("smart-x-widget-001").click()
    portal.button("Enable").click()
    expect(portal.notice).to_contain_text("smart-x-widget-001 is enabled.")
    expect(portal.button("Disable…")).to_be_focused()


def test_registrations_of_a_group_are_listed_and_deleted(portal: OnScreen) -> None:
    portal.open("smart-x-widgets", "Enrollment groups")
    portal.root.get_by_role("tab", name="Registrations").click()
    expect(portal.row("smart-x-widget-001")).to_contain_text("assigned")
    portal.button("Delete the registration of smart-x-widget-001").click()
    portal.type_name("smart-x-widget-001")
    expect(portal.root.get_by_text("No device came through this entry yet.")).to_be_visible()
    expect(portal.newest).to_contain_text("DELETE /registrations/smart-x-widget-001")


def test_with_the_keyboard_alone(portal: OnScreen) -> None:
    """From the list to a new reprovision policy and back; and letters stay letters, though to
    JupyterLab "d d" would mean: delete the cell."""
    page, press = portal.page, portal.page.keyboard.press
    cells = len(portal.notebook.cells())
    portal.go("lab-dps", "Manage enrollments")
    tab = portal.root.get_by_role("tab", name="Enrollment groups")
    tab.focus()
    press("ArrowRight")
    expect(portal.root.get_by_role("tab", name="Individual enrollments")).to_be_focused()
    expect(portal.button("by-keyboard")).to_be_visible()
    for _ in range(2):  # the list itself, which scrolls; then its first name
        press("Tab")
    expect(portal.button("by-keyboard")).to_be_focused()
    press("Enter")
    expect(portal.heading("by-keyboard")).to_be_focused()
    policy = portal.root.get_by_label("Reprovision policy")
    tab_to(page, policy)
    press("ArrowDown")
    tab_to(page, portal.root.get_by_label("Enable this entry"))
    press("Space")
    for letter in "ddbax":
        press(letter)
    tab_to(page, portal.button("Save"))
    press("Enter")
    expect(portal.notice).to_contain_text("by-keyboard is saved.")
    expect(policy).to_have_value("reset")
    tab_to(page, portal.button("Delete…"))
    press("Enter")
    page.keyboard.type("dd")
    press("Escape")
    expect(portal.button("Delete…")).to_be_focused()
    tab_to(page, portal.button("← Individual enrollments"), back=True)
    press("Enter")
    expect(portal.button("by-keyboard")).to_be_focused()
    assert len(portal.notebook.cells()) == cells


def tab_to(page: Page, wanted: Locator, *, back: bool = False) -> None:
    """Presses Tab until the element has the focus."""
    for _ in range(40):
        if wanted.evaluate("e => e === document.activeElement"):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"Tab does not lead to {wanted}")


def test_it_follows_the_lab_and_keeps_what_was_typed(portal: OnScreen) -> None:
    """A cell changes something else: the form in hand stays, with the focus in it."""
    portal.go("lab-dps", "Manage enrollments")
    portal.root.get_by_role("tab", name="Individual enrollments").click()
    portal.button("+ New individual enrollment").click()
    field = portal.root.get_by_label("Registration ID")
    field.fill("in-hand")
    portal.python('lab.dps.enrollments.create("from-a-cell", certificate=widget.certificate)')
    expect(field).to_have_value("in-hand")
    expect(field).to_be_focused()
    portal.root.get_by_label("Mechanism").select_option("symmetricKey")
    portal.button("Create").click()
    expect(portal.notice).to_contain_text("in-hand is saved.")
    portal.button("← Individual enrollments").click()
    expect(portal.button("from-a-cell")).to_be_visible()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_axe_finds_nothing(portal: OnScreen, axe: str, theme: str) -> None:
    """In a list, a conflict with its explanation and a warning below it, a dialog, a certificate,
    a device."""
    page = portal.page
    page.evaluate(axe)
    themed(page, theme)
    found = {}
    portal.go("lab-dps", "Manage enrollments")
    portal.root.get_by_role("tab", name="Individual enrollments").click()
    expect(portal.button("looked-at")).to_be_visible()
    found["list"] = page.evaluate(AXE, ".lk-portal")
    portal.open("looked-at")
    portal.root.get_by_label("Remove or replace primary certificate").check()
    new = upload(forge.device("looked-at", None).certificate)
    portal.slot("Secondary certificate").locator("input[type=file]").set_input_files(new)
    expect(portal.slot("Secondary certificate").locator(".lk-taken")).to_be_visible()
    portal.python(CHANGE.replace("contested", "looked-at"))
    portal.button("Save").click()
    expect(portal.root.get_by_role("region", name="Conflict")).to_be_visible()
    portal.slot("Primary certificate").locator("input[type=file]").set_input_files(new)
    expect(portal.root.get_by_role("note")).to_contain_text("the same certificate")
    portal.root.screenshot(path=shots(f"portal-conflict-{theme.split()[1].lower()}"))
    found["conflict"] = page.evaluate(AXE, ".lk-portal")
    portal.button("Delete…").click()
    found["dialog"] = page.evaluate(AXE, ".lk-portal")
    page.keyboard.press("Escape")
    portal.go("lab-dps", "Certificates")
    portal.button("company-x").click()
    expect(portal.heading("company-x")).to_be_visible()
    found["certificate"] = page.evaluate(AXE, ".lk-portal")
    portal.go("contoso-hub", "Devices")
    portal.button("smart-x-widget-001").click()
    expect(portal.heading("smart-x-widget-001")).to_be_visible()
    portal.root.screenshot(path=shots(f"portal-device-{theme.split()[1].lower()}"))
    found["device"] = page.evaluate(AXE, ".lk-portal")
    themed(page, LIGHT)
    assert {where: wrong for where, wrong in found.items() if wrong} == {}


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def test_tables_stay_without_a_kernel(
    portal: OnScreen, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A committed notebook has no widget: then the state stands in plain tables."""
    (cell,) = portal.notebook.cells()
    (shown,) = cell["outputs"]
    assert shown["data"].pop(WIDGET_VIEW)
    source = nbformat.from_dict({**cell, "source": "# was run elsewhere", "metadata": {}})
    page = browser.new_page(viewport={"width": 1024, "height": 900})
    page.set_default_timeout(30_000)
    notebook = tools(request).Notebook(page, portal.notebook.server)
    notebook.open(written(tmp_path, source))
    output = page.locator(".jp-OutputArea-output")
    expect(output.get_by_role("rowheader", name="smart-x-widgets")).to_be_visible()
    expect(output.get_by_role("rowheader", name="looked-at")).to_be_visible()
    notebook.screenshot("portal-without-a-kernel")
    page.close()
    assert notebook.troubles == []


@pytest.mark.parametrize("width", [760, 1100, 1440])
def test_what_it_looks_like(portal: OnScreen, width: int) -> None:
    """Screenshots in both themes; nothing hangs over."""
    page = portal.page
    page.set_viewport_size({"width": width, "height": 1400})
    for theme in (DARK, LIGHT):
        themed(page, theme)
        shade = theme.split()[1].lower()
        portal.go("lab-dps", "Manage enrollments")
        portal.root.get_by_role("tab", name="Individual enrollments").click()
        expect(portal.button("looked-at")).to_be_visible()
        portal.root.screenshot(path=shots(f"portal-list-{width}-{shade}"))
        portal.open("looked-at")
        portal.root.get_by_label("Remove or replace primary certificate").check()
        portal.root.screenshot(path=shots(f"portal-entry-{width}-{shade}"))
        portal.go("contoso-hub", "Devices")
        expect(portal.heading("Devices")).to_be_visible()
        portal.root.screenshot(path=shots(f"portal-devices-{width}-{shade}"))
        assert portal.root.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.set_viewport_size({"width": 1440, "height": 1200})
