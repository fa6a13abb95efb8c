"""A lab whose DPS is linked to a certificate authority of another company, and what devices of any
make send to it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from textwrap import wrap

from issuance_stories import csr_der, new_key
from stories import Story

from labkit.thirdparty import Account
from labkit.wire.certificate_service import ThirdPartyCa

GROUP, AUTHORITY, PROFILE, BUNDLE, DAYS = (
    "smart-x-widgets",
    "digital-trust",
    "first-boot",
    "smart-x-roots",
    30,
)
VERSION = "2021-11-01-preview"
USER = "{}/registrations/{}/api-version=" + VERSION
ACCOUNT = "Company-X"


@dataclass(frozen=True)
class FirstBoot:
    """The first lesson, and Digital-Trust beside it: everything is set up and linked."""

    story: Story
    ca: ThirdPartyCa

    @property
    def account(self) -> Account:
        return self.ca.account(ACCOUNT)


def linked(story: Story) -> FirstBoot:
    """Account, profile and API key; the authority in DPS, the enrollment group that names it."""
    dps, ca = story.lab.dps, story.lab.third_party_ca()
    account = ca.account(ACCOUNT)
    account.profile(PROFILE, common_names="widget-*", days=DAYS)
    dps.certificate_authorities.create(AUTHORITY, profile=PROFILE, api_key=account.new_api_key())
    set_authority(story, AUTHORITY)
    return FirstBoot(story, ca)


def set_authority(story: Story, authority: str, bundle: str = "") -> None:
    """The enrollment group of the story names this authority, and this trust bundle."""
    groups = story.lab.dps.enrollment_groups
    entry = groups.get(GROUP)
    groups.update(replace(entry, certificate_authority=authority, trust_bundle=bundle))


def csr_pem(name: str, key: object = None) -> str:
    """As the field ``clientCertificateCsr`` holds it, made by a foreign builder."""
    return armoured(csr_der(name, key or new_key()))


def armoured(der: bytes) -> str:
    """DER between the lines of PEM."""
    body = "\n".join(wrap(b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
