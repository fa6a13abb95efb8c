"""Microsoft's azure-iot-device, unmodified, against the emulated cloud."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import (
    X509,
    IoTHubDeviceClient,
    Message,
    ProvisioningDeviceClient,
    exceptions,
)
from complaints import refused
from foreign_tools import openssl_verify, pkcs11_tool
from stories import PemDevice, Story, enroll, failed_check, pem_device

from labkit.cloud.hub import authentication
from labkit.errors import ConnectionFailed, ProvisioningFailed
from labkit.hsm import Algorithm
from labkit.pki import verdict

NAME = "smart-x-widget-001"


# ---- the first story


def test_a_widget_provisions_connects_sends_and_reads_its_twin(story: Story) -> None:
    assigned = story.widget.provision()
    assert (assigned.hub, assigned.device_id) == ("contoso-hub.azure-devices.net", NAME)
    assert (assigned.status, assigned.substatus) == ("assigned", "initialAssignment")
    story.widget.connect().send({"temperature": 21.5}, alert="no")
    (message,) = story.lab.hub().messages(NAME)
    assert json.loads(message.body) == {"temperature": 21.5}
    assert message.properties == {"alert": "no"}
    assert (message.system["ct"], message.system["ce"]) == ("application/json", "utf-8")
    assert story.widget.twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    story.widget.report(firmware="1.0")
    assert story.widget.twin()["reported"] == {"firmware": "1.0", "$version": 2}


def test_openssl_accepts_the_chain_that_the_device_sends(story: Story, tmp_path: Path) -> None:
    root = story.company.certificate
    assert openssl_verify(tmp_path, story.widget.chain, [root], story.lab.clock.now()) == ""
    complaint = openssl_verify(tmp_path, story.widget.chain[:1], [root], story.lab.clock.now())
    assert "unable to get local issuer certificate" in complaint, "and the leaf alone it does not"


def test_the_key_that_spoke_tls_is_sensitive_and_never_extractable(story: Story) -> None:
    story.widget.provision()
    tokens = story.lab._supply_chain.tokens
    for ca_or_device in (story.company, story.factory, story.technician, story.widget):
        is_ca = ca_or_device is not story.widget
        token = ca_or_device.custodian.token if is_ca else story.widget.key.token  # type: ignore[union-attr]
        shown = pkcs11_tool(tokens.configuration, token.label, token.pin, "-O", "--type", "privkey")
        access = [line for line in shown.splitlines() if "Access:" in line]
        assert access, shown
        for line in access:
            assert "sensitive, always sensitive, never extractable, local" in line


def test_an_rsa_key_in_a_token_speaks_tls_too(story: Story) -> None:
    """PSS, and PKCS#1 v1.5 where the SDK's TLS 1.2 asks for it."""
    from stories import authority_of

    from labkit.device import Device
    from labkit.device.flash import Flash
    from labkit.pki import profiles, request
    from labkit.pki.identity import Identity

    lab, name = story.lab, "rsa-widget"
    key = lab._supply_chain.tokens.token(name).generate_key("identity", Algorithm.RSA2048)
    csr = request.make(key, request.name(name))
    leaf = authority_of(story.technician).sign_request(csr, profiles.DEVICE)
    identity = Identity(key, (leaf, *story.technician.chain[:2]))
    flash = Flash(lab.path / "devices", name)
    widget = Device(identity, flash, lambda: lab.network, lab.events)
    assert widget.provision().device_id == name
    widget.connect().send(1)
    widget.disconnect()


# ---- the first refusal, and its two cures


def test_leaf_only_is_refused_and_the_explanation_names_the_ca_and_two_cures(
    story: Story,
) -> None:
    story.widget.install_chain(story.widget.chain[:1])
    with refused(ProvisioningFailed, "401", "lab.explain()"):
        story.widget.provision()
    text = str(story.lab.explain(story.widget))
    assert "CN=Technician-Z CA" in text
    assert "(any one)" in text
    assert len(story.lab.explain(story.widget).cures) == 2


def test_the_first_cure_works_send_the_whole_chain(story: Story) -> None:
    whole = story.widget.chain
    story.widget.install_chain(whole[:1])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    story.widget.install_chain(whole)
    assert story.widget.provision().status == "assigned"


def test_the_second_cure_works_upload_the_ca_itself(story: Story) -> None:
    story.widget.install_chain(story.widget.chain[:1])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    enroll(story.lab, story.technician, "technician-z", "technician-z-widgets")
    assert story.widget.provision().status == "assigned"
    assert story.lab.dps.registrations.get(NAME).group_id == "technician-z-widgets"


def test_uploading_without_a_group_that_names_it_is_no_cure(story: Story) -> None:
    """That is why the second cure has three parts."""
    story.widget.install_chain(story.widget.chain[:1])
    uploaded = story.lab.dps.certificates.upload("technician-z", story.technician.certificate)
    proof = story.technician.prove_possession(uploaded.verification_code)
    story.lab.dps.certificates.verify(uploaded, proof)
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    assert "names a certificate" in failed_check(story.lab, story.widget)


# ---- time


def test_an_expired_certificate_is_refused_by_dps_and_by_the_hub(story: Story) -> None:
    story.widget.provision()
    story.lab.clock.advance(days=366)
    with refused(ProvisioningFailed, "401"):
        story.widget.provision()
    assert failed_check(story.lab, story.widget) == verdict.VALIDITY
    with refused(ConnectionFailed, "did not take"):
        story.widget.connect()
    assert failed_check(story.lab, story.widget) == authentication.VALIDITY


def test_a_connected_device_stays_connected_when_the_clock_moves(story: Story) -> None:
    """The hub looks at certificates when a device connects."""
    story.widget.provision()
    story.widget.connect()
    story.lab.clock.advance(days=366)
    story.widget.send({"temperature": 21.5})
    assert len(story.lab.hub().messages()) == 1


def test_a_device_made_after_the_move_is_good_again(story: Story) -> None:
    story.lab.clock.set(story.lab.clock.now() + timedelta(days=400))
    assert story.technician.make_device("later").provision().status == "assigned"


# ---- everybody else's SDK: nothing of ours in its hands


def provisioning_client(story: Story, device: PemDevice, **options: Any) -> Any:
    return ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=story.lab.listener.host,
        registration_id=device.name,
        id_scope=options.get("scope", story.lab.dps.id_scope),
        x509=X509(cert_file=str(device.chain_file), key_file=str(device.key_file)),
        server_verification_cert=options.get("trust", story.lab.server.root_pem),
    )


def hub_client(story: Story, device: PemDevice) -> Any:
    return IoTHubDeviceClient.create_from_x509_certificate(
        x509=X509(cert_file=str(device.chain_file), key_file=str(device.key_file)),
        hostname="contoso-hub.azure-devices.net",
        device_id=device.name,
        gateway_hostname=story.lab.listener.host,
        server_verification_cert=story.lab.server.root_pem,
    )


def test_the_sdk_with_an_ordinary_key_file_does_the_same(shared: Story, tmp_path: Path) -> None:
    """Our seam is for keys in tokens only: the SDK is unmodified for everybody else."""
    device = pem_device(shared, tmp_path / "pem", "pem-widget")
    result = provisioning_client(shared, device).register()
    assert result.status == "assigned"
    assert result.registration_state.assigned_hub == "contoso-hub.azure-devices.net"
    assert result.registration_state.sub_status == "initialAssignment"
    client = hub_client(shared, device)
    try:
        client.connect()
        client.send_message(Message('{"temperature": 21.5}'))
        client.patch_twin_reported_properties({"firmware": "2.0", "old": None})
        assert client.get_twin()["reported"] == {"firmware": "2.0", "$version": 2}
    finally:
        client.shutdown()
    (message,) = shared.lab.hub().messages("pem-widget")
    assert message.text == '{"temperature": 21.5}'


def shut_down(client: Any) -> None:
    """The SDK leaves a refused provisioning client's threads running."""
    from labkit.device import sdk

    sdk._shut_down(client)


def test_the_sdk_meets_the_leaf_only_refusal_as_it_does_with_azure(
    shared: Story, tmp_path: Path
) -> None:
    device = pem_device(shared, tmp_path / "pem", "pem-leaf-only", sends=1)
    client = provisioning_client(shared, device)
    with pytest.raises(exceptions.ClientError) as caught:
        client.register()
    shut_down(client)
    assert isinstance(caught.value.__cause__, exceptions.ServiceError)
    assert "401" in str(caught.value.__cause__)


def test_the_sdk_reads_connack_5_as_a_credential_error(shared: Story, tmp_path: Path) -> None:
    device = pem_device(shared, tmp_path / "pem", "pem-unknown")
    client = hub_client(shared, device)
    with pytest.raises(exceptions.CredentialError):
        client.connect()
    client.shutdown()


def test_the_sdk_refuses_a_cloud_that_it_does_not_trust(shared: Story, tmp_path: Path) -> None:
    """The lab's own root is needed: no check of the server is switched off anywhere."""
    device = pem_device(shared, tmp_path / "pem", "pem-distrusts")
    from labkit.pki import chain

    foreign = chain.to_pem([shared.company.certificate])
    client = provisioning_client(shared, device, trust=foreign)
    with pytest.raises(exceptions.ClientError):
        client.register()
    shut_down(client)


def test_a_wrong_scope_is_the_401_that_azure_gives(shared: Story, tmp_path: Path) -> None:
    device = pem_device(shared, tmp_path / "pem", "pem-scope")
    client = provisioning_client(shared, device, scope="0ne00000000")
    with pytest.raises(exceptions.ClientError):
        client.register()
    shut_down(client)
    assert "ID scope" in failed_check(shared.lab)
