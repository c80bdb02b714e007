"""Deliveries by HTTPS: whose certificates are believed, and what is said of the others."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.webhooks.receiver import Receiver
from tests.webhooks.test_sender import send
from webhooks.targets import Allowed


@pytest.fixture(autouse=True)
def this_machine_is_allowed(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)


@pytest.fixture
def certified(tmp_path):
    """Makes a receiver's TLS, with a certificate for an address, that has ended where it is for no days; and its file."""

    def make(address: str = "127.0.0.1", *, days: int = 1):
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(
            now + timedelta(days=days, hours=-1)
        )
        certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        file = tmp_path / "receiver.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context, file

    return make


def test_a_receiver_with_a_certificate_of_a_trusted_authority_gets_its_delivery(certified, monkeypatch):
    tls, file = certified()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with Receiver(tls=tls) as receiver:
        (outcome,) = send(receiver.url)
    assert outcome.delivered
    assert [got.path for got in receiver.got] == ["/hook"]


@pytest.mark.parametrize(
    ("certificate", "trusted", "wrong"),
    [({}, False, "self-signed"), ({"address": "127.0.0.2"}, True, "not valid for"), ({"days": 0}, True, "expired")],
    ids=["nobody trusts", "is another's", "has expired"],
)
def test_a_receiver_whose_certificate(certified, monkeypatch, certificate, trusted, wrong):
    """Gets nothing, and its owner is told why."""
    tls, file = certified(**certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with Receiver(tls=tls) as receiver:
        (outcome,) = send(receiver.url)
    assert receiver.got == []
    assert "certificate" in outcome.error
    assert wrong in outcome.error
