"""A breach, played over the wire: several right ways, and the wrong ones, each with its price."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused

from labkit import Lab
from labkit.drill import Act, Deed, Incident
from labkit.errors import NotFound
from labkit.scenarios import breach_drill
from labkit.scenarios.breach_drill import (
    BLOCK,
    CARELESS,
    DELETE,
    DISABLE,
    NAME,
    NAME_AND_DELETE,
    NAME_AND_PROVISION,
    REVOKE,
    ROLL,
    VICTIM,
    WAIT,
)

ACTS = breach_drill._DECISION.acts
IT = (VICTIM,)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The drill's own lab, with the third widget robbed."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    with breach_drill.begin() as opened:
        yield opened


def play(lab: Lab, *decisions: str) -> Incident:
    """A round after each decision."""
    incident = lab.incident()
    for decision in decisions:
        ACTS[decision](lab)
        incident.round()
    return incident


@pytest.mark.parametrize("way", [NAME_AND_PROVISION, NAME_AND_DELETE, ROLL])
def test_there_are_several_right_ways(lab: Lab, way: str) -> None:
    """Nobody gets in from the first round on, nobody is lost, and it lasts."""
    score = play(lab, way, WAIT).score
    assert (score.points, score.containment, score.costs) == (100, 0, ())
    assert lab.hub().messages(VICTIM), "and the true widget has spoken"


def test_what_another_attacker_does_is_no_deed_of_the_operator(lab: Lab) -> None:
    trudy = lab.attacker("Trudy")
    trudy.steal(lab.device(VICTIM))
    assert trudy.try_dps().got_in
    assert lab.incident().round().deeds == frozenset()


def test_without_an_answer_the_attacker_stays(lab: Lab) -> None:
    incident = play(lab, WAIT, REVOKE)
    assert [(one.dps, one.hub) for one in incident.rounds] == [(IT, IT), (IT, IT)]
    assert [one.acts for one in incident.rounds] == [frozenset(), {Act.REVOKED}]
    assert not incident.score.contained


def test_dps_alone_leaves_the_hole_and_the_hub_alone_loses_the_device(lab: Lab) -> None:
    blocked, disabled, cured = play(lab, BLOCK, DISABLE, NAME_AND_PROVISION).rounds
    assert (blocked.dps, blocked.hub, blocked.lost) == ((), IT, ())
    assert blocked.turned_away == (VICTIM,)
    assert (disabled.got_in, disabled.lost) == (0, IT)
    assert (cured.got_in, cured.lost, cured.turned_away) == (0, (), ())
    assert Act.RENEWED in cured.acts


def test_the_order_matters(lab: Lab) -> None:
    """Deleted first, the identity is made again for the thief; named without a visit to DPS, the
    hub still has the stolen thumbprint until the widget has come."""
    deleted, named, after = play(lab, DELETE, NAME, WAIT).rounds
    assert (deleted.dps, deleted.hub) == (IT, IT)
    assert (named.dps, named.hub) == ((), IT)
    assert after.got_in == 0


def test_the_lab_has_one_incident_for_each_attacker(lab: Lab) -> None:
    assert lab.incident() is lab.incident("Mallory")
    assert lab.incident("Trudy") is not lab.incident()
    with refused(NotFound, "Whom shall they play?"):
        lab.incident("Trudy").round()


def test_of_two_victims_each_is_judged_by_what_was_done_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is switched off, the other named anew: neither has the other's reason."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    with breach_drill.begin(*CARELESS) as lab:
        off, named = (lab.device(name) for name in CARELESS)
        lab.hub().devices.disable(off.name)
        named.renew(lab.custodian("Technician-Z").authorities()[0])
        lab.dps.enrollments.create(named.name, certificate=named.certificate)
        one = lab.incident().round()
        assert one.deeds == {
            Deed(Act.DISABLED, off.name),
            Deed(Act.RENEWED, named.name),
            Deed(Act.ENTRY, named.name),
        }
        assert (one.robbed, one.dps, one.hub) == (CARELESS, (off.name,), (named.name,))
        reasons = {cost.what.partition(",")[0]: cost.why for cost in lab.incident().score.costs}
    assert "DPS knows better" in reasons[f"the hub took an attacker for {named.name}"]
    assert "enabled entry takes" in reasons[f"DPS took an attacker for {off.name}"]
    assert "A disabled identity" in reasons[f"{off.name} could not send"]
