"""Certificates for tests: a CA made on the spot, and what it signs.

Invariant: nothing here outlives a folder of the test's own.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

VALID_FOR = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """`certificate` is the file that those name who trust it."""

    folder: Path
    certificate: Path
    _name: x509.Name
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, folder: Path) -> Self:
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named(f"CA of {folder.name}")
        signed = (
            _begun(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_may_sign(), critical=True)
            .sign(key, hashes.SHA256())
        )
        file = folder / "ca.pem"
        file.write_bytes(signed.public_bytes(Encoding.PEM))
        return cls(folder, file, name, key)

    def sign(self, name: str, *hosts: str) -> Pair:
        """For a server at these hosts, names or addresses; for a client called `name` without."""
        key = ec.generate_private_key(ec.SECP256R1())
        begun = _begun(_named(name), self._name, key)
        if hosts:
            begun = begun.add_extension(
                x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False
            )
        signed = begun.sign(self._key, hashes.SHA256())
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pair.key.chmod(0o600)
        return pair


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_FOR)
        .not_valid_after(now + VALID_FOR)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _may_sign() -> x509.KeyUsage:
    rest = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    more = ("key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(**dict.fromkeys((*rest, *more), False), key_cert_sign=True, crl_sign=True)
