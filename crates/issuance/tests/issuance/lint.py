"""Lints every certificate of a folder with pkilint, in one process: its command takes half a
second for each. Prints a line per finding of severity ERROR or FATAL: file, severity, code, message."""

import pathlib
import sys

from pkilint import loader
from pkilint.pkix import certificate, extension, name

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
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.der")):
    document = loader.load_certificate(path.read_bytes(), path.name)
    for result in validator.validate(document.root):
        for found in result.finding_descriptions:
            if found.finding.severity.name in ("ERROR", "FATAL"):
                print(path.name, found.finding.severity.name, found.finding.code, found.message)
