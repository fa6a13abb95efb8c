"""pkilint, which others wrote after RFC 5280, as an oracle for certificates."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import document, loader, validation
from pkilint.bin.lint_pkix_signer_signee_cert_chain import (
    create_decoder_validation_container,
    create_issuer_validation_container,
    create_subject_validation_container,
)
from pkilint.pkix import certificate, extension, name


def loaded(made: x509.Certificate, role: str = "certificate") -> document.PDUNode:
    load = loader.RFC5280CertificateDocumentLoader().load_der_document
    return load(made.public_bytes(Encoding.DER), role).root


def by_itself(made: x509.Certificate) -> list[str]:
    """What ``lint_pkix_cert`` finds, at ERROR or above."""
    validator = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return list(errors(validator.validate(loaded(made))))


def errors(results: list[validation.ValidationResult]) -> Iterator[str]:
    for result in results:
        for described in result.finding_descriptions:
            if described.finding.severity <= validation.ValidationFindingSeverity.ERROR:
                yield f"{described.finding!r}: {described.message or ''}"


def beside(issuer: x509.Certificate, made: x509.Certificate) -> list[str]:
    """What ``lint_pkix_signer_signee_cert_chain`` finds, at ERROR or above."""
    documents: dict[str, document.Document] = {}
    for role, found in (("issuer", issuer), ("subject", made)):
        documents[role] = loader.RFC5280CertificateDocumentLoader().load_der_document(
            found.public_bytes(Encoding.DER), role, role, documents
        )
        create_decoder_validation_container().validate(documents[role].root)
    return [
        *errors(create_issuer_validation_container().validate(documents["issuer"].root)),
        *errors(create_subject_validation_container().validate(documents["subject"].root)),
    ]
