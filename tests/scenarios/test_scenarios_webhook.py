"""The lessons' webhook: DPS asks it over a real connection, and lives with what it says."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from stories import Story

from labkit.errors import ProvisioningFailed
from labkit.scenarios.webhook import Webhook

HUB = "contoso-hub.azure-devices.net"


def ask(story: Story, choose: Callable[[dict[str, Any]], str]) -> Webhook:
    with Webhook(choose) as webhook:
        register(story, webhook)
    return webhook


def register(story: Story, webhook: Webhook) -> None:
    groups = story.lab.dps.enrollment_groups
    groups.delete("smart-x-widgets")
    groups.create(
        "smart-x-widgets",
        signing=story.company.certificate,
        allocation="custom",
        webhook=webhook.definition,
    )
    story.widget.provision()


def test_it_is_asked_with_the_device_and_the_linked_hubs(story: Story) -> None:
    seen: list[dict[str, Any]] = []
    webhook = ask(story, lambda request: (seen.append(request), HUB)[1])
    assert webhook.asked == 1
    assert seen[0]["deviceRuntimeContext"]["registrationId"] == story.widget.name
    assert seen[0]["linkedHubs"] == [HUB]
    assert story.lab.dps.registrations.get(story.widget.name).assigned_hub == HUB


def test_a_function_that_raises_ends_the_registration_and_is_no_traceback(
    story: Story, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProvisioningFailed):
        ask(story, lambda request: request["no such key"])
    assert story.lab.explain().refusal.code == "400207"
    assert "it answered 400" in str(story.lab.explain())
    assert "Traceback" not in "".join(capfd.readouterr())


def test_after_its_block_nobody_answers(story: Story) -> None:
    ask(story, lambda _: HUB)
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    assert "could not be asked" in str(story.lab.explain())


def test_nonsense_is_answered_and_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with Webhook(lambda _: HUB) as webhook:
        host = urlsplit(webhook.definition.webhook_url).netloc
        for headers in ({"Content-Length": "many"}, {"Content-Length": "-1"}):
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.putrequest("POST", "/choose")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status == 400
            connection.close()
    assert "".join(capfd.readouterr()) == ""
