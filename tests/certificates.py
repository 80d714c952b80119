"""Certificates for tests: an authority, and what it vouches for, written where a node can read it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from partisan_actors import TLS

__all__ = ["EXPIRED", "NOT_YET_VALID", "Authority", "write"]

_NOW = datetime.datetime.now(datetime.UTC)
_DAY = datetime.timedelta(days=1)
EXPIRED: dict[str, Any] = {"not_before": _NOW - 3 * _DAY, "not_after": _NOW - _DAY}
NOT_YET_VALID: dict[str, Any] = {"not_before": _NOW + _DAY, "not_after": _NOW + 3 * _DAY}


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "ca.pem"
        self._ca = trustme.CA()
        self._made = 0
        self._ca.cert_pem.write_to_path(str(self.path))

    def tls(self, *names: str, ca: Path | None = None, **validity: Any) -> TLS:
        """A certificate for names ("127.0.0.1", "partisan:a@127.0.0.1", "a@127.0.0.1"), its key, and this authority."""
        self._made += 1
        certificate, key = self.folder / f"{self._made}.pem", self.folder / f"{self._made}.key"
        write(certificate, key, *self.issue(*names, **validity))
        return TLS(certificate, key, ca or self.path)

    def issue(self, *names: str, **validity: Any) -> tuple[bytes, bytes]:
        """A certificate and its key in PEM."""
        if not any(":" in name and "@" in name for name in names):
            leaf = self._ca.issue_cert(*names, **validity)
            return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
        return self._with_uris(*names)

    def forged(self, *names: str, by: TLS) -> TLS:
        """A certificate that a node's certificate, no authority's, was used to issue, with the whole chain."""
        chain = Path(by.certificate).read_bytes()
        signer = serialization.load_pem_private_key(Path(by.key).read_bytes(), None)
        leaf, key = _issue(names, x509.load_pem_x509_certificate(chain), signer)
        self._made += 1
        paths = self.folder / f"{self._made}.pem", self.folder / f"{self._made}.key"
        write(*paths, leaf + chain, key)
        return TLS(*paths, self.path)

    def _with_uris(self, *names: str) -> tuple[bytes, bytes]:
        # Of trustme's authority, which has no way to ask for them.
        return _issue(names, self._ca._certificate, self._ca._private_key)


def _issue(names: Sequence[str], authority: x509.Certificate, signer: Any) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    general = [
        x509.UniformResourceIdentifier(name) if "@" in name else trustme._identity_string_to_x509(name)
        for name in names
    ]
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"node {os.urandom(8).hex()}")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - _DAY)
        .not_valid_after(_NOW + _DAY)
        .add_extension(x509.SubjectAlternativeName(general), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=True)
        .sign(signer, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def write(certificate: Path, key: Path, certificate_pem: bytes, key_pem: bytes) -> None:
    """Put new files in the place of what is there, each at once, as whoever renews certificates should."""
    for path, data in ((certificate, certificate_pem), (key, key_pem)):
        aside = path.with_suffix(path.suffix + ".new")
        aside.write_bytes(data)
        os.replace(aside, path)
