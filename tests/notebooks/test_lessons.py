"""The lessons as a trainee lives them: solved, and run more than once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
import pytest
import trainee

from labkit.notebooks import normalise, refresh, written

FOLDER = Path(__file__).parents[2] / "notebooks"
SOLUTIONS = {
    "01-first-device": {
        "exercise-second-widget": """\
second = technician.make_device("smart-x-widget-002")
second.provision()
second.connect().send({"temperature": 19.0})""",
    },
    "02-keys-that-never-leave": {
        "exercise-signed-release": """\
text = b"Smart-X-Widget, firmware 2.0: approved"
release = lab.custodian("Inspector-I").make_key("release", algorithm="P-384")
handed_in = release.sign(text, ec.ECDSA(hashes.SHA384())), release.public_key()""",
    },
    "03-acquire-a-ca": {
        "exercise-bought-ca": """\
company_n = lab.custodian("Company-N")
asked = company_n.request_ca("Company-N CA", algorithm="P-384")
ordered = vendor.vet(vendor.order(asked, organization="Company-N", path_length=1))
newcomer = company_n.accept_ca(asked, vendor.issue(ordered))""",
    },
    "04-prove-you-own-it": {
        "exercise-proven-intermediate": """\
registered = lab.dps.certificates.upload("factory-y", factory.certificate)
answer = factory.prove_possession(registered.verification_code)
lab.dps.certificates.verify(registered, answer)""",
    },
    "05-supply-chain": {
        "exercise-own-line": """\
west = company.sign_intermediate(lab.custodian("Region-West"), path_length=2)
pumps = west.sign_intermediate(lab.custodian("Product-Pumps"), path_length=1)
line_1 = pumps.sign_intermediate(lab.custodian("Line-1"), path_length=0)
mine = [line_1.make_device("pump-001"), pumps.make_device("pump-002")]
for pump in mine:
    pump.provision()""",
    },
    "06-manufacturing-line": {
        "exercise-smallest-buffer": """\
shift = {
    "minutes": 240,
    "devices_per_minute": 12,
    "signatures_per_minute": 15,
    "outages": [(60, 20), (90, 15)],
}
places = 1
while simulate(**shift, buffer=places).minutes_stopped:
    places += 1""",
    },
    "07-first-connection": {
        "exercise-both-ways": """\
newcomer.inject(first, "all").provision()
entry = lab.dps.certificates.upload("technician-w", newcomer.certificate)
lab.dps.certificates.verify(entry, newcomer.prove_possession(entry.verification_code))
lab.dps.enrollment_groups.create("widgets-of-w", signing=newcomer.certificate)
second.provision()
mine = [first, second]""",
    },
    "08-individual-enrollment": {
        "exercise-two-certificates": """\
ninth = lab.self_signed_device("smart-x-prototype-009")
first, spare = lab.issued_chain(ninth.name)[0], lab.spare_certificate(ninth)
lab.dps.enrollments.create(
    ninth.name,
    certificate=first,
    secondary=spare,
    device_id="desk-9",
    initial_twin=InitialTwin(tags={"room": "attic"}, desired={"interval": 30}),
)
ninth.provision()
ninth.install_chain([spare])
ninth.connect().send({"temperature": 21.5})""",
    },
    "09-enrollment-groups": {
        "exercise-workshop": """\
workshop = factory.sign_intermediate(lab.custodian("Workshop-W"))
repaired = workshop.make_devices([f"repaired-{number}" for number in range(1, 7)]).devices
forget("workshop-w")
allowed = ("contoso-asia.azure-devices.net", "contoso-europe.azure-devices.net")
groups.create("workshop-w", signing=workshop.certificate, hubs=allowed)
register(repaired)""",
    },
    "10-talking-to-the-hub": {
        "exercise-by-its-ca": """\
uploaded = hub.certificates.upload("company-w", partner.certificate)
hub.certificates.verify(uploaded, partner.prove_possession(uploaded.verification_code))
sensors = [first, second]
for sensor in sensors:
    hub.devices.update(sensor.name, ca=True)
    sensor.install_chain(renewed(sensor, partner))
    sensor.disconnect()
    sensor.connect().send({"humidity": 40})""",
    },
    "11-server-root-migration": {
        "exercise-next-root": """\
third = lab.server.new_root("Lab Service Root CA G3")
prepared.install_roots(lab.server.trust_bundle)
prepared.provision()
lab.server.switch_root(third)
prepared.provision()
survivor = prepared""",
    },
    "12-roll-a-device-certificate": {
        "exercise-without-a-gap": """\
made = factory.issue(newcomer.request_certificate())
name_in_entry(newcomer, primary=newcomer.certificate, secondary=made[0])
newcomer.accept_certificate(made)
newcomer.provision()
newcomer.disconnect()
newcomer.connect().send({"temperature": 20.0})
rolled = newcomer""",
    },
    "13-roll-a-ca": {
        "exercise-nobody-left-behind": """\
workshop_2 = factory_3.sign_intermediate(lab.custodian("Workshop-W"), "Workshop-W CA 2")
trust("workshop-w", workshop, workshop_2)
for device in (first, second):
    device.renew(workshop_2)
    start(device)
trust("workshop-w", workshop_2)
moved = [first, second]""",
    },
    "14-reprovision": {
        "exercise-moved-fleet": """\
group = groups.get("delivery")
groups.update(replace(group, iot_hub_host_name=west.host_name, reprovision_policy=MIGRATE))
east.jobs.invoke_method("STARTSWITH(deviceId, 'smart-x-widget-02')", "reprovision")
for widget in delivery:
    widget.disconnect()
    an_hour_later(widget)
moved = delivery""",
    },
    "15-disallow": {
        "exercise-one-stolen": """\
stopped = delivery[1]
enrollments.create(stopped.name, certificate=stopped.certificate, status="disabled")
hub.devices.disable(stopped.name, "stolen")
let_mallory_try(stopped)""",
    },
    "16-breach-drill": {
        "exercise-contained": """\
for robbed in (third, fourth):
    entry_for(robbed, robbed.renew(technician))
    robbed.provision()
mine = lab.incident()
mine.round()
mine.round()""",
    },
    "17-certificate-at-first-boot": {
        "exercise-own-profile": """\
account.profile("fair", common_names="smart-x-widget-011", days=7)
key = account.new_api_key()
lab.dps.certificate_authorities.create("fair", profile="fair", api_key=key)
if lab.dps.enrollments.find("smart-x-widget-011") is None:
    lab.dps.enrollments.create(
        "smart-x-widget-011", certificate=fair.certificate, certificate_authority="fair"
    )
visitor = fair
boot(visitor)
visitor.disconnect()
visitor.connect().send({"visitors": 1})""",
    },
    "18-certificate-management": {
        "exercise-kept-valid": """\
name_policy("weekly")
namespace.synchronize()
for widget in delivery:
    widget.firmware.configure(keep_operational=True)
    widget.firmware.run()
live_until((lab.clock.now() - parse_moment(start)).days + 30, delivery)
kept = delivery""",
    },
}
FEWER = {
    "05-supply-chain": {"range(1, 1001)": "range(1, 101)"},
    "06-manufacturing-line": {"range(50)": "range(5)", "run(300, ": "run(30, "},
    "09-enrollment-groups": {"names(100)": "names(8)", "75]": "6]", "[75:": "[6:", "[74]": "[5]"},
    "18-certificate-management": {"range(1, 11)": "range(1, 5)", ">= 5": ">= 2", "[5]": "[2]"},
}
"""What makes a lesson shorter, where it matters how often it is run, and not with how many."""
REPORT = re.compile(r": \d+ of \d+, (solved|not yet)")
"""In the first line of what an exercise says."""
COUNTED = """\
# Each renewal is another certificate of a device: they are counted by the devices.
from labkit.pki import chain
made = [entry.certificate for entry in lab.ledger().signatures]
print(len([c for c in made if chain.is_ca(c)]), len(lab.devices), len(list(lab.dps.certificates)),
      len(list(lab.dps.enrollment_groups)), len(lab.hub().devices))"""


def load(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def lesson(name: str, *, solved: bool = False) -> list[str]:
    """The code of a lesson, with fewer devices; with its exercises as they are, or solved."""
    solutions = SOLUTIONS[name] if solved else {}
    found = [
        next((solutions[tag] for tag in c.metadata.get("tags", []) if tag in solutions), c.source)
        for c in load(name).cells
        if c.cell_type == "code"
    ]
    for many, few in FEWER.get(name, {}).items():
        assert any(many in source for source in found), f"{name} has changed: {many}"
        found = [source.replace(many, few) for source in found]
    return found


def fault_of(name: str) -> int:
    """How many cells of code a trainee has run who leaves when the fault of *Break it* is made."""
    cells = load(name).cells
    broken = next(n for n, c in enumerate(cells) if "## Break it" in c.source)
    return sum(c.cell_type == "code" for c in cells[: broken + 2])


def twice_each(cells: list[str]) -> list[str]:
    return [cell for cell in cells for _ in range(2)]


def outputs_of(notebook: Any, start: str) -> list[str]:
    cells = (c for c in notebook.cells if c.cell_type == "code" and start in c.source)
    return [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in cells
        for output in cell.outputs
    ]


def test_every_exercise_has_a_solution() -> None:
    tags = {
        (path.stem, tag)
        for path in FOLDER.glob("*.ipynb")
        for cell in load(path.stem).cells
        for tag in cell.metadata.get("tags", [])
        if tag.startswith("exercise-")
    }
    assert tags == {(name, tag) for name, tags in SOLUTIONS.items() for tag in tags}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_exercises_are_committed_unsolved(name: str) -> None:
    assert all("not yet" in text for text in outputs_of(load(name), "check("))


@dataclass(frozen=True)
class Lived:
    """What the cells of a lesson have shown to a trainee: in the kernel that they ``left``, in a
    ``first`` run of all cells, in a second as far as the exercise (``again``), and from there on,
    where it was ``solved``. ``first`` and ``again`` end in what there is in the lab."""

    left: list[str]
    first: list[str]
    again: list[str]
    solved: list[str]


@pytest.fixture(scope="module", params=SOLUTIONS)
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """A trainee runs each cell twice in a row, up to the fault of *Break it*; then the kernel dies.
    In a new one they run all cells, and all once more: then each cell behind the fault twice in a
    row, and the reference solution in its place."""
    name, home = request.param, tmp_path_factory.mktemp("lesson")
    cells, solved, fault = lesson(name), lesson(name, solved=True), fault_of(name)
    exercise = next(n for n, cell in enumerate(solved) if cell in SOLUTIONS[name].values())
    left = trainee.run(twice_each(cells[:fault]), home, FOLDER)
    first = [*cells, COUNTED]
    again = [*cells[:fault], *twice_each(cells[fault:exercise]), COUNTED]
    shown = iter(trainee.run([*first, *again, *solved[exercise:]], home, FOLDER))
    return Lived(left, list(islice(shown, len(first))), list(islice(shown, len(again))), [*shown])


def test_a_lesson_that_was_left_at_its_fault_can_be_run_and_solved(lived: Lived) -> None:
    reports = "\n".join(lived.solved)
    assert set(REPORT.findall(reports)) == {"solved"}, reports


def test_running_all_cells_again_makes_nothing_twice(lived: Lived) -> None:
    assert lived.first[-1] == lived.again[-1] != ""


def test_running_a_cell_twice_in_a_row_is_harmless(lived: Lived) -> None:
    """Where one raises, the fixture says which; none may show what was caught either."""
    shown = (*lived.left, *lived.first, *lived.again, *lived.solved)
    assert not any("Traceback" in text for text in shown)


def test_a_refresh_changes_nothing_that_is_committed(tmp_path: Path) -> None:
    """Two runs give the same bytes: what is committed is what a run prints today. One lesson is
    enough for that; what the others show is compared by nbval, and how they are written below."""
    path = FOLDER / "01-first-device.ipynb"
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    assert refresh([copy]) == [], f"{path.name} is stale: ./lab run labkit notebooks refresh"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_committed_is_written_as_a_refresh_writes_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    normalise(notebook)
    assert path.read_text() == written(notebook), "./lab run labkit notebooks refresh"
