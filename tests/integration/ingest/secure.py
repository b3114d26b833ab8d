"""A real broker that requires TLS, and a password or a token."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from string import Template

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from include.local import broker
from tests import servers

USER, PASSWORD = "lake", "only-for-this-test"

LISTENERS = Template("""
listeners=PLAINTEXT://127.0.0.1:${inner},CONTROLLER://127.0.0.1:${controller},SECURE://127.0.0.1:${port}
advertised.listeners=PLAINTEXT://127.0.0.1:${inner},SECURE://127.0.0.1:${port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_${user}="${password}";
listener.name.secure.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.secure.oauthbearer.connections.max.reauth.ms=900000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
ssl.keystore.type=PEM
ssl.keystore.location=${keystore}
""")


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """`bootstrap` requires SASL_SSL. `inner` is the broker's own listener, for the test itself. `ca` is a file."""

    bootstrap: str
    inner: str
    ca: Path


@contextmanager
def secure_kafka(state: Path) -> Iterator[SecureKafka]:
    """A running broker. Its user exists for SCRAM-SHA-512 (metadata log) and for PLAIN (configuration)."""
    ca, keystore = certificates(state)
    port, inner, controller = servers.free_port(), servers.free_port(), servers.free_port()
    config = state / "server.properties"
    base = Template(broker.CONFIG.read_text()).substitute(port=inner, controller_port=controller, data=state / "data")
    config.write_text(
        base
        + LISTENERS.substitute(
            port=port, inner=inner, controller=controller, keystore=keystore, user=USER, password=PASSWORD
        )
    )
    program, *classes = broker.java_command()
    scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    subprocess.run(
        [program, *classes, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", broker.CLUSTER_ID,
         "-c", str(config), "--add-scram", scram],
        check=True, capture_output=True,
    )  # fmt: skip
    kafka = [program, *broker.JAVA_OPTIONS, *classes, "kafka.Kafka", str(config)]
    with servers.process(kafka, state / "log") as child:
        with servers.log_on_failure(state / "log", child):
            broker.wait_until_ready(f"127.0.0.1:{inner}", seconds=60)
        yield SecureKafka(f"127.0.0.1:{port}", f"127.0.0.1:{inner}", ca)


def certificates(folder: Path) -> tuple[Path, Path]:
    """The files of a CA's certificate and of a PEM key store, which has a key and a certificate for 127.0.0.1."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )

    ca = builder(ca_name, ca_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    ).sign(ca_key, hashes.SHA256())  # fmt: skip
    own = builder(name, key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
    ).sign(ca_key, hashes.SHA256())  # fmt: skip
    pem = serialization.Encoding.PEM
    ca_file, keystore = folder / "ca.pem", folder / "keystore.pem"
    ca_file.write_bytes(ca.public_bytes(pem))
    keystore.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + own.public_bytes(pem)
    )
    return ca_file, keystore
