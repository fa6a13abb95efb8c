"""A refusal, told: what Azure says, what was looked at, and what would cure it."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pytest
from complaints import refused
from stories import Story, supply_chain

from labkit import Lab
from labkit.cloud import Presented, codes
from labkit.cloud.dps.caller import Caller
from labkit.errors import NotFound, ProvisioningFailed, ServiceRefusal
from labkit.explanation import Explanation
from labkit.trace import Check, failed, not_reached, passed


@pytest.fixture
def leaf_only(story: Story) -> Story:
    """The widget has sent its leaf alone, and was refused."""
    story.widget.install_chain(story.widget.chain[:1])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    return story


def test_leaf_only_names_the_missing_certificate_and_both_cures(leaf_only: Story) -> None:
    found = leaf_only.lab.explain(leaf_only.widget)
    assert found.failure is not None
    assert "CN=Technician-Z CA, which was not presented" in found.failure.why
    assert len(found.cures) == 2
    send, upload = found.cures
    assert "send CN=Technician-Z CA too" in send
    assert "upload CN=Technician-Z CA itself to DPS" in upload


def test_the_text_has_azures_answer_what_was_sent_and_every_check(leaf_only: Story) -> None:
    found = leaf_only.lab.explain()
    text = str(found)
    assert "401 401002: CA certificate not found." in text
    assert "It sent: CN=smart-x-widget-001\n" in text
    unwrapped = " ".join(text.split())
    assert [check.name for check in found.checks if check.name not in unwrapped] == []
    marks = [line.strip()[0] for line in text.splitlines() if line.strip()[:1] in set("✓✗·")]
    assert marks == ["✓", "✗", "·", "·"], "what is well in one line, what failed by itself"


def test_nothing_in_the_text_differs_from_run_to_run(leaf_only: Story) -> None:
    """It is committed in notebooks: the tracking ID is an attribute and not a part of it."""
    found = leaf_only.lab.explain()
    assert found.tracking_id not in str(found)
    assert found.at.isoformat()[:19] not in str(found)


def test_all_ways_of_asking_lead_to_the_same_refusal(leaf_only: Story) -> None:
    lab = leaf_only.lab
    last = lab.explain()
    assert lab.explain(last.tracking_id).checks == last.checks
    assert lab.explain(last.tracking_id.upper()).tracking_id == last.tracking_id
    assert lab.explain(leaf_only.widget).tracking_id == last.tracking_id


def test_the_refusal_of_another_device_is_not_taken(leaf_only: Story) -> None:
    other = leaf_only.technician.make_device("innocent")
    with pytest.raises(NotFound) as caught:
        leaf_only.lab.explain(other)
    text = str(caught.value)
    assert "innocent" in text
    assert "not" in text or "never" in text, f"this reads as its opposite: {text}"


def test_an_unknown_tracking_id_is_not_found(leaf_only: Story) -> None:
    with refused(NotFound, "tracking ID", "1 refusal"):
        leaf_only.lab.explain("00000000-0000-0000-0000-000000000000")


def test_nobody_was_refused_yet(lab: Lab) -> None:
    with pytest.raises(NotFound, match="Nobody"):
        lab.explain()


def test_explanations_outlive_the_lab(leaf_only: Story) -> None:
    tracking_id, path = leaf_only.lab.explain().tracking_id, leaf_only.lab.path
    text = str(leaf_only.lab.explain())
    leaf_only.lab.close()
    with Lab.open(path) as again:
        assert str(again.explain(tracking_id)) == text


def test_a_failed_proof_of_possession_does_not_claim_that_nothing_was_sent(lab: Lab) -> None:
    """A certificate was shown: the wrong one."""
    story = supply_chain(lab)
    uploaded = lab.dps.certificates.upload("company-x", story.company.certificate)
    wrong = story.factory.prove_possession(uploaded.verification_code)
    with pytest.raises(ServiceRefusal) as caught:
        lab.dps.certificates.verify(uploaded, wrong)
    found = lab.explain(caught.value)
    assert "IH400053" in str(found)
    assert "no certificate" not in str(found)
    assert found.about == "the proof for company-x"
    assert found.shown == "Shown was: a certificate that names CN=Factory-Y CA as its issuer"


# ---- in a notebook


class Tags(HTMLParser):
    """Collects the tags; a name out of a certificate must not be among them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_a_notebook_gets_text_and_html_of_the_same_checks(leaf_only: Story) -> None:
    found = leaf_only.lab.explain()
    shown = found._repr_mimebundle_()
    assert shown["text/plain"] == str(found)
    page = unescape(shown["text/html"])
    assert [check.name for check in found.checks if check.name not in page] == []


def test_names_out_of_certificates_are_not_taken_for_markup(lab: Lab) -> None:
    evil = "<script>alert(1)</script>"
    check = failed(evil, evil, evil, evil, source=evil)
    lab.cloud.refusals.refuse("dps", evil, codes.UNAUTHORIZED, (check,))
    page = lab.explain()._repr_mimebundle_()["text/html"]
    assert "script" not in Tags(page).seen


def test_the_outcome_is_told_by_mark_and_word_and_not_by_colour_alone(leaf_only: Story) -> None:
    page = leaf_only.lab.explain()._repr_mimebundle_()["text/html"]
    for mark, word in (("✓", "passed)"), ("✗", "(failed)"), ("·", "(not reached)")):
        assert mark in page
        assert word in page


# ---- the trace itself

CHECKS = (
    passed("the first", "CN=a", "seen", source="RFC 5280"),
    failed("the second", "CN=b", "not seen", "mend it", "or leave it", source="RFC 5280"),
    not_reached("the third"),
)


def test_a_check_survives_json() -> None:
    kept = json.loads(json.dumps([check.to_json() for check in CHECKS]))
    assert tuple(Check.from_json(item) for item in kept) == CHECKS


def test_a_service_refusal_carries_azures_words_and_the_first_failure(lab: Lab) -> None:
    refusal = lab.cloud.refusals.refuse("dps", "widget", codes.UNAUTHORIZED, CHECKS)
    text = str(refusal)
    for words in ("401 401002: Unauthorized", "not seen", "mend it Or: or leave it"):
        assert words in text
    assert isinstance(lab.explain(refusal), Explanation)


def a_device_with_a_token(lab: Lab) -> None:
    caller = Caller(lab.dps.id_scope, "widget", Presented(), "SharedAccessSignature no")
    lab.dps.register(caller)


def a_back_end(lab: Lab) -> None:
    lab.dps.enrollments.delete("nobody")


@pytest.mark.parametrize("who", [a_device_with_a_token, a_back_end])
def test_who_was_asked_for_no_certificate_is_not_told_that_none_was_sent(
    lab: Lab, who: Callable[[Lab], None]
) -> None:
    """Both are refused for something else."""
    with pytest.raises(ServiceRefusal):
        who(lab)
    found = lab.explain()
    assert found.shown == ""
    for text in (str(found), found._html()):
        assert "It sent" not in text
        assert "certificate" not in text


def test_a_device_that_should_have_sent_a_certificate_is_told_that_it_sent_none(lab: Lab) -> None:
    """By DPS and by the hub."""
    with pytest.raises(ServiceRefusal):
        lab.dps.register(Caller(lab.dps.id_scope, "widget", Presented()))
    assert lab.explain().shown == "It sent: no certificate"
    with pytest.raises(ServiceRefusal):
        lab.hub().connect("widget", "widget", Presented())
    assert "It sent: no certificate\n" in str(lab.explain())
