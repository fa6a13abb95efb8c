"""The Device Registry's CAs on the board, and what devices have of a policy that was deleted."""

from __future__ import annotations

import pytest
from issuance_stories import DAYS, POLICY, managed, set_policy
from stories import Story

from labkit.cloud.adr.namespaces import Namespace
from labkit.graph import Picture
from labkit.graph.model import of_lab
from labkit.ui.inspector import inspect_all

NAME = "smart-x-widget-001"
LEAF, ROOT, PRESENT = f"operational {NAME}", "credential contoso", f"policy contoso/{POLICY}"
DELETED, IN_HUB = f"{PRESENT}/2", f"hub ca contoso-hub/adr-{POLICY}-2"


@pytest.fixture
def namespace(story: Story) -> Namespace:
    """Its policy has signed for the widget."""
    found = managed(story)
    story.widget.renew_operational("dps")
    return found


def test_a_certificate_stands_below_the_ca_of_its_policy(
    story: Story, namespace: Namespace
) -> None:
    graph = of_lab(story.lab)
    assert graph.has_edge(ROOT, PRESENT)
    assert graph.has_edge(PRESENT, LEAF)
    assert graph.nodes[LEAF]["state"] == "trusted"
    assert DELETED not in graph


def test_what_a_deleted_policy_has_signed_stays_below_its_ca(
    story: Story, namespace: Namespace
) -> None:
    """It is valid still, and the hub goes on taking it."""
    namespace.policies.delete(POLICY)
    graph = of_lab(story.lab)
    assert graph.nodes[DELETED]["state"] == "removed"
    assert graph.nodes[DELETED]["detail"] == "policy deleted"
    assert graph.edges[ROOT, DELETED]["kind"] == graph.edges[DELETED, LEAF]["kind"] == "signed"
    assert graph.nodes[LEAF]["state"] == "trusted"
    assert graph.edges[DELETED, IN_HUB]["label"] == graph.nodes[IN_HUB]["detail"] == "synchronised"
    assert graph.nodes[ROOT]["state"] == "trusted", "the hub takes what is below it"
    told = f"{POLICY} Issuing CA, intermediate CA certificate, removed, policy deleted; "
    assert told in Picture.of(graph).text


def test_its_last_day_is_its_last_day_all_the_same(story: Story, namespace: Namespace) -> None:
    namespace.policies.delete(POLICY)
    story.lab.clock.advance(days=DAYS + 1)
    assert of_lab(story.lab).nodes[LEAF]["state"] == "expired"


def test_a_new_policy_of_that_name_is_another_ca(story: Story, namespace: Namespace) -> None:
    namespace.policies.delete(POLICY)
    namespace.policies.create(POLICY, validity_days=DAYS)
    graph = of_lab(story.lab)
    assert graph.has_edge(DELETED, LEAF)
    assert not graph.has_edge(PRESENT, LEAF)
    assert graph.nodes[PRESENT]["label"] == f"{POLICY} Issuing CA 2"


def test_a_deleted_policy_leaves_the_board_when_nobody_has_anything_of_it(
    story: Story, namespace: Namespace
) -> None:
    namespace.policies.delete(POLICY)
    namespace.policies.create("long", validity_days=90)
    set_policy(story, "long")
    story.widget.renew_operational("dps")
    graph = of_lab(story.lab)
    assert DELETED not in graph
    assert graph.has_edge("policy contoso/long", LEAF)


@pytest.mark.parametrize("is_gone", [False, True], ids=["a new credential", "no namespace"])
def test_a_deleted_credential_stays_above_and_no_hub_takes_what_is_below(
    story: Story, namespace: Namespace, is_gone: bool
) -> None:
    namespace.policies.delete(POLICY)
    namespace.delete_credential()
    if is_gone:
        for service in namespace.links:
            namespace.unlink(service)
        story.lab.registry.namespaces.delete(namespace)
    else:
        namespace.create_credential()
    graph, root = of_lab(story.lab), f"{ROOT}/1"
    assert (ROOT in graph) is not is_gone
    assert (graph.nodes[root]["state"], graph.nodes[root]["detail"]) == (
        "removed",
        "credential deleted",
    )
    assert graph.has_edge(root, DELETED)
    assert graph.nodes[LEAF]["state"] == "untrusted issuer"


def test_each_of_these_nodes_can_be_looked_into(story: Story, namespace: Namespace) -> None:
    present = inspect_all(story.lab)
    assert {ROOT, PRESENT, LEAF} <= set(present)
    namespace.policies.delete(POLICY)
    found = inspect_all(story.lab)
    assert PRESENT not in found
    assert found[LEAF] == present[LEAF]
    facts = dict(found[DELETED].facts)
    assert facts["policy"].startswith("deleted ")
    assert facts["signs"] == "nothing more; what it has signed is valid to its last day"
    namespace.delete_credential()
    assert dict(inspect_all(story.lab)[f"{ROOT}/1"].facts)["credential"].startswith("deleted ")
