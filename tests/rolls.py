"""Rolls of certificates, as tests of fleets and of attackers need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stories import CA, Story, authority_of

from labkit.cloud.dps.entries import SIGNING, ReprovisionPolicy, X509Attestation
from labkit.device import Device
from labkit.hsm import KeyFolder
from labkit.pki import chain, profiles, request


def renewed_by(ca: CA) -> Callable[[Device], None]:
    """Gives a device a certificate of ``ca`` for the same name; one whose key is in a file gets a
    new key, too, for whoever has stolen that has the old one."""

    def renew(device: Device) -> None:
        key, holder = device.key, device.key.token
        if isinstance(holder, KeyFolder):
            holder.destroy_key("identity")
            key = holder.ensure_key("identity")
        csr = request.make(key, request.name(device.name))
        leaf = authority_of(ca).sign_request(csr, profiles.DEVICE)
        above = [issuer for issuer in ca.chain if not chain.is_self_signed(issuer)]
        device.install_chain([leaf, *above])

    return renew


def group_names(
    story: Story,
    group: str,
    primary: CA,
    secondary: CA | None = None,
    policy: ReprovisionPolicy | None = None,
) -> None:
    """The operator puts these CAs into an enrollment group, in place of those that it names."""
    groups = story.lab.dps.enrollment_groups
    other = secondary.certificate if secondary else None
    entry = groups.get(group)
    groups.update(
        replace(
            entry,
            attestation=X509Attestation(SIGNING, primary.certificate, other),
            reprovision_policy=policy or entry.reprovision_policy,
        )
    )
