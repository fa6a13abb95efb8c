"""Microsoft's azure-iot-device, unmodified but for one seam: the TLS key is in a token.

The SDK reads a private key from a file. Ours is in no file. So where it has built its own TLS
context (its own checks of the server, its own ciphers), and only for an identity of this
module, the key in the token is put in place of the file.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sslcontext
from azure.iot.device import (
    X509,
    IoTHubDeviceClient,
    Message,
    ProvisioningDeviceClient,
    exceptions,
)
from azure.iot.device.common import http_transport, mqtt_transport, transport_exceptions
from azure.iot.device.common.pipeline import pipeline_exceptions
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.device import polling
from labkit.device.distrust import causes, found_in
from labkit.device.handlers import Handlers
from labkit.device.network import Network
from labkit.device.registration import Registered
from labkit.errors import ConnectionFailed, LabError, ProvisioningFailed
from labkit.hsm import TokenEcKey, TokenKey
from labkit.hsm.key_folder import FILE_KEYS
from labkit.pki import reading

_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_PLACE = re.compile(r" \(_ssl\.c:\d+\)$")  # a line of Python's own source
_SHUTDOWN_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""For the hub to acknowledge or to answer. The SDK itself waits without an end, for instance where
a line breaks that its hub does not let it make again."""
_LARGEST_MESSAGE = "256 KB"
_REFUSALS = (exceptions.ServiceError, exceptions.CredentialError)
_FAILURES = (
    exceptions.ClientError,
    exceptions.OperationTimeout,
    exceptions.OperationCancelled,
    # Not translated by the SDK where it subscribes before it asks, as for the first twin.
    pipeline_exceptions.PipelineException,
    transport_exceptions.ConnectionFailedError,
    transport_exceptions.ConnectionDroppedError,
    transport_exceptions.NoConnectionError,
    transport_exceptions.UnauthorizedError,
    transport_exceptions.ProtocolClientError,
    transport_exceptions.TlsExchangeAuthError,
)

polling.install()
# Without a handler of their own, the SDK's warnings land in a notebook's output.
for _name in ("azure.iot.device", "paho"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class TokenX509(X509):
    """The SDK's X509 for a chain in a file and a key in a token."""

    def __init__(self, chain_file: Path, key: TokenKey) -> None:
        super().__init__(cert_file=str(chain_file), key_file="")  # type: ignore[no-untyped-call]
        self._key = key
        self._context: ssl.SSLContext | None = None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Puts the chain and the key into a context that the SDK has made for itself."""
        found = reading.read_certificates(Path(self.certificate_file).read_bytes())
        ders = [certificate.public_bytes(Encoding.DER) for certificate in found]
        identity = sslcontext.Identity(ders[0], _Signer(self._key), tuple(ders[1:]))
        sslcontext.load_identity(context, identity)
        self._context = context

    def trust_also(self, roots: str) -> None:
        """From its next handshake on, the client trusts these roots (PEM) as well: the SDK reads
        the trust store once, and connects again by itself with what it has read."""
        if self._context is not None:
            self._context.load_verify_locations(cadata=roots)


def operational(proof: tuple[Path, TokenKey] | None) -> TokenX509 | None:
    """What a service has issued to a device, as a client shows it; None where nothing was."""
    return TokenX509(*proof) if proof else None


def identity(chain_file: Path, key: TokenKey) -> X509:
    """What the SDK speaks TLS with: for a key in a file the SDK's own, which reads both files."""
    if isinstance(key, FILE_KEYS) and _belong_together(chain_file, key):
        return X509(cert_file=str(chain_file), key_file=str(key.file))  # type: ignore[no-untyped-call]
    return TokenX509(chain_file, key)


def _belong_together(chain_file: Path, key: TokenKey) -> bool:
    """OpenSSL takes no files that do not: who claims to be another speaks by the seam."""
    return reading.read_certificates(chain_file.read_bytes())[0].public_key() == key.public_key()


class _Signer:
    """Lets OpenSSL have a handshake's digest signed inside the token."""

    def __init__(self, key: TokenKey) -> None:
        self._key = key

    def sign(
        self,
        digest: bytes,
        *,
        hash: str,
        padding: sslcontext.Padding | None = None,
        salt_length: int | None = None,
    ) -> bytes:
        prehashed = Prehashed(_HASHES[hash]())
        if isinstance(self._key, TokenEcKey):
            return self._key.sign(digest, ec.ECDSA(prehashed))
        return self._key.sign(digest, _rsa_padding(hash, padding, salt_length), prehashed)


def _rsa_padding(
    hash_name: str, wanted: sslcontext.Padding | None, salt_length: int | None
) -> padding.AsymmetricPadding:
    if wanted is not sslcontext.Padding.PSS:
        return padding.PKCS1v15()
    mask = padding.MGF1(_HASHES[hash_name]())
    return padding.PSS(mask, salt_length or padding.PSS.DIGEST_LENGTH)


def _seam(transport: Any) -> None:
    """Teaches one of the SDK's transports to take a key from a token."""
    original: Callable[[Any], ssl.SSLContext] = transport._create_ssl_context

    def create(self: Any) -> ssl.SSLContext:
        identity = self._x509_cert
        if not isinstance(identity, TokenX509):
            return original(self)
        self._x509_cert = None
        try:
            context = original(self)
        finally:
            self._x509_cert = identity
        identity.load_into(context)
        return context

    transport._create_ssl_context = create


_seam(mqtt_transport.MQTTTransport)
_seam(http_transport.HTTPTransport)


class SdkRegistrar:
    """Microsoft's client of DPS: it registers, and can send no request to be signed."""

    def __init__(self, network: Network, registration_id: str, identity: X509) -> None:
        self._asked = network, registration_id, identity

    def register(self) -> Registered:
        """Raises ProvisioningFailed."""
        result = register(*self._asked)
        state = result.registration_state
        return Registered(state.assigned_hub, state.device_id, result.status, state.sub_status)


def register(network: Network, registration_id: str, identity: X509) -> Any:
    """Registers with DPS and returns the SDK's RegistrationResult. Raises ProvisioningFailed."""
    client = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=network.address,
        registration_id=registration_id,
        id_scope=network.id_scope,
        x509=identity,
        server_verification_cert=network.server_roots,
    )
    try:
        result = client.register()
    except _FAILURES as error:
        _shut_down(client)
        raise _told(
            ProvisioningFailed, f"DPS did not provision {registration_id}", error
        ) from error
    return result


def _shut_down(client: Any) -> None:
    """The SDK shuts a provisioning client down on success only: a refused one would go on
    reconnecting from a thread that outlives the notebook."""
    done = threading.Event()
    client._pipeline.shutdown(callback=lambda **_: done.set())
    done.wait(_SHUTDOWN_SECONDS)


def connect(
    network: Network, hub: str, device_id: str, identity: X509, *, reconnects: bool = True
) -> Any:
    """A connected IoTHubDeviceClient, which ``reconnects`` by itself when its line breaks. Raises
    ConnectionFailed."""
    client = IoTHubDeviceClient.create_from_x509_certificate(
        x509=identity,
        hostname=hub,
        device_id=device_id,
        gateway_hostname=network.address,
        server_verification_cert=network.server_roots,
        connection_retry=reconnects,
    )
    # What waits for the device comes with the CONNACK, before there is a handler. The SDK keeps it
    # for one only where it knows by then that handlers are to be used; else nobody ever sees it.
    client.on_message_received = None  # type: ignore[assignment]
    try:
        client.connect()
    except _FAILURES as error:
        leave(client)
        raise _told(ConnectionFailed, f"{hub} did not take {device_id}", error) from error
    return client


@contextmanager
def staying_away(client: Any | None, afterwards: Callable[[], bool]) -> Iterator[None]:
    """A client whose line breaks meanwhile does not connect again by itself; ``afterwards`` says
    whether it does so from the end on. The SDK asks for that where the client is made, and looks
    it up where the line breaks."""
    if client is None:
        yield
        return
    settings = client._mqtt_pipeline.pipeline_configuration
    settings.connection_retry = False
    try:
        yield
    finally:
        settings.connection_retry = afterwards()


def leave(client: Any) -> None:
    """Disconnects, and ends the client's threads. Where the line breaks at that very moment, the
    SDK stops half-way with an error: then it is asked once more."""
    for _ in range(2):
        try:
            client.shutdown()
        except exceptions.ClientError:
            continue
        except RuntimeError:  # at the end of a program its threads are gone before we are asked
            return
        return


def send(client: Any, body: str, properties: dict[str, str]) -> None:
    """Sends telemetry that says it is JSON in UTF-8; returns once the hub has acknowledged it.

    Raises ConnectionFailed, or LabError for what is too large.
    """
    made = Message(body, content_encoding="utf-8", content_type="application/json")  # type: ignore[no-untyped-call]
    made.custom_properties.update(properties)
    with _in_the_labs_words("The message did not reach the hub"):
        try:
            _in_time(client.send_message, made)
        except ValueError as error:  # the SDK weighs it before it sends
            raise LabError(
                "The message cannot be sent",
                expected=f"at most {_LARGEST_MESSAGE}, properties included",
                found=f"{len(body.encode()):,} bytes of JSON: {error}",
                cure="send less, or in several messages",
            ) from error


def twin(client: Any) -> dict[str, Any]:
    """The device's twin. Raises ConnectionFailed."""
    with _in_the_labs_words("The twin did not arrive"):
        found: dict[str, Any] = _in_time(client.get_twin)
        return found


def report(client: Any, properties: dict[str, Any]) -> None:
    """Patches the twin's reported properties. Raises ConnectionFailed, or LabError where the hub
    does not take them."""
    with _in_the_labs_words("The reported properties did not reach the hub"):
        _in_time(client.patch_twin_reported_properties, properties)


def listen(client: Any, handlers: Handlers) -> None:
    """Lets the client listen to what there are handlers for. Raises ConnectionFailed."""
    with _in_the_labs_words("The hub was not asked to tell the device"):
        handlers.attach(client)


def _in_time(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call of the SDK returns, or raises; after :data:`ANSWER_SECONDS` OperationTimeout."""
    done: Future[Any] = Future()

    def work() -> None:
        try:
            done.set_result(call(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="labkit waits for the SDK", daemon=True).start()
    try:
        return done.result(ANSWER_SECONDS)
    except TimeoutError as error:
        late = f"no answer within {ANSWER_SECONDS:g} s"
        raise exceptions.OperationTimeout(late) from error


@contextmanager
def _in_the_labs_words(what: str) -> Iterator[None]:
    """The SDK's own exceptions mean little to a trainee, and tell no cure."""
    try:
        yield
    except _FAILURES as error:
        if isinstance(error.__cause__, exceptions.ServiceError):  # it did arrive, and was refused
            raise LabError(
                "The hub refused the request",
                found=_in_words(error),
                cure="ask the lab why, the device learns no more: lab.explain()",
            ) from error
        if any(isinstance(cause, _REFUSALS) for cause in causes(error)):
            raise _told(ConnectionFailed, what, error) from error
        raise found_in(error) or ConnectionFailed(
            what,
            expected="a connection to the hub",
            found=_in_words(error),
            cure="see whether the lab still runs, then connect again: widget.connect(); and where "
            "the hub refuses that, ask the lab why: lab.explain()",
        ) from error


def _told(
    kind: type[ProvisioningFailed | ConnectionFailed], refused: str, error: Exception
) -> LabError:
    """Who said no: the device itself, which did not trust the server, or the other side."""
    if distrust := found_in(error):
        return distrust
    cure = "ask the lab why, the device learns no more: lab.explain()"
    told = kind(refused, found=_in_words(error), cure=cure)
    told.refused = any(isinstance(cause, _REFUSALS) for cause in causes(error))
    return told


def _in_words(error: BaseException) -> str:
    """The SDK's error and what it came from, in one line."""
    parts = []
    for cause in causes(error):
        text = _PLACE.sub("", str(cause).strip().split("\n")[0])
        parts.append(f"{type(cause).__name__}: {text}" if text else type(cause).__name__)
    return ", from ".join(dict.fromkeys(parts))
