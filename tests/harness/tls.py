"""TLS on loopback, by authorities that nobody knows unless told.

    tls = Tls(tmp_path, aws.port)  # in front of another port
    run(env={"AWS_ENDPOINT_URL": f"https://127.0.0.1:{tls.port}", "AWS_CA_BUNDLE": str(tls.certificate)})
    tls.close()

    with Impostor("expired") as impostor:  # who answers in place of AWS, and is not to be trusted
        run(env={"AWS_ENDPOINT_URL_SSM": impostor.url, "AWS_CA_BUNDLE": str(impostor.authority)})

    stranger   a certificate that nobody has signed but its owner
    expired    one of an authority that is trusted, of last year
    mute       no handshake: the connection is cut off
"""

import datetime
import ipaddress
import socket
import ssl
import tempfile
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import wire


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def signed(subject: str, key, issuer: str, by, begun: int, ended: int, authority: bool = False) -> x509.Certificate:
    """A certificate; `begun` and `ended` in days from now."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begun))
        .not_valid_after(now + datetime.timedelta(days=ended))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(address, critical=False)
    return builder.sign(by, hashes.SHA256())


def pem(*parts) -> bytes:
    return b"".join(part.public_bytes(serialization.Encoding.PEM) for part in parts)


def private(key) -> bytes:
    form, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, unencrypted)


class Tls:
    def __init__(self, directory: Path, port: int):
        self.certificate = directory / "ca.pem"
        key, chain = ec.generate_private_key(ec.SECP256R1()), directory / "chain.pem"
        own = signed("a private authority", key, "a private authority", key, -1, 1)
        self.certificate.write_bytes(pem(own))
        chain.write_bytes(private(key) + pem(own))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.behind = port
        self.listener = context.wrap_socket(wire.bound(), server_side=True)
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            behind = socket.create_connection(("127.0.0.1", self.behind))
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=forward, args=pair, daemon=True).start()

    def close(self) -> None:
        self.listener.close()


def forward(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.close()
    except OSError:
        pass


class Impostor:
    def __init__(self, kind: str):
        self.kind = kind
        self.directory = tempfile.TemporaryDirectory(prefix="impostor.")
        self.authority = Path(self.directory.name) / "authority.pem"
        own, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.authority.write_bytes(pem(signed("authority", own, "authority", own, -1000, 1000, authority=True)))
        if kind == "expired":
            certificate = signed("aws", key, "authority", own, -400, -30)
        else:
            certificate = signed("aws", key, "aws", key, -1, 300)
        chain = Path(self.directory.name) / "chain.pem"
        chain.write_bytes(private(key) + pem(certificate))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)

    def __enter__(self) -> "Impostor":
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()
        self.directory.cleanup()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.greet, args=[connection], daemon=True).start()

    def greet(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                if self.kind == "mute":
                    connection.recv(1)
                    return
                with self.context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                pass
