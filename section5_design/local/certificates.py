"""Create a certificate authority for development and tests, and certificates for a server and a client.

A hospital uses its own CA; this one is for trying out TLS, and its key is stored beside it.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 397


def make(folder: Path, hosts: list[str]) -> list[Path]:
    """Create ca.pem, server.pem and client.pem with their keys, unless they exist; return the files."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = folder / "ca.pem"
    if authority.exists():
        ca = x509.load_pem_x509_certificate(authority.read_bytes())
        loaded = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{folder / 'ca.key'} not a key of this command")
        ca_key = loaded
    else:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _sign("section 5 development CA", ca_key, None, ca_key, ca=True)
        _write(authority, ca, ca_key)
    names = [_name(host) for host in hosts]
    for name, subject, alternative in (("server", hosts[0], names), ("client", "client", None)):
        path = folder / f"{name}.pem"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(path, _sign(subject, key, ca, ca_key, names=alternative), key)
    return [folder / f"{name}.{kind}" for name in ("ca", "server", "client") for kind in ("pem", "key")]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _sign(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    """Issue a certificate (RFC 5280)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    off = dict.fromkeys(("content_commitment", "data_encipherment", "encipher_only", "decipher_only"), False)
    off |= {"key_encipherment": False, "key_agreement": False, "crl_sign": ca, "key_cert_sign": ca}
    builder = builder.add_extension(x509.KeyUsage(digital_signature=not ca, **off), critical=True)
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = path.with_suffix(".key")
    secret.touch(mode=0o600)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
