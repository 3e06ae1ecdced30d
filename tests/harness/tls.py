"""TLS on loopback, by authorities that nobody knows unless told: whoever needs a certificate has it from here.

    authority = Authority()
    authority.write(tmp_path / "ca.pem")                    # what to trust
    certificate, key = authority.issue("db.example.com")    # what to show, in PEM
    context = authority.context()                           # or as a server on loopback needs it

    tls = Tls(tmp_path, aws.port)  # in front of another port
    run(env={"AWS_ENDPOINT_URL": f"https://127.0.0.1:{tls.port}", "AWS_CA_BUNDLE": str(tls.certificate)})
    tls.close()

    with Impostor("expired") as impostor:  # who answers in place of AWS, and is not to be trusted
        run(env={"AWS_ENDPOINT_URL_SSM": impostor.url, "AWS_CA_BUNDLE": str(impostor.authority)})

    stranger   a certificate of an authority that is not the trusted one
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

from harness import wire

PEM = serialization.Encoding.PEM
HERE = "127.0.0.1"


class Authority:
    """A certificate authority that nobody knows."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
        self.certificate = self.sign(self.name, self.key, (-1000, 1000), x509.BasicConstraints(True, None))

    def sign(self, subject: x509.Name, key, days: tuple[int, int], *extensions: x509.ExtensionType) -> x509.Certificate:
        now, (begun, ended) = datetime.datetime.now(datetime.UTC), days
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=begun))
            .not_valid_after(now + datetime.timedelta(days=ended))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str = HERE, days: tuple[int, int] = (-1, 300)) -> tuple[bytes, bytes]:
        """A certificate for a name or an address, from and until so many days from now, and its key."""
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extensions = x509.BasicConstraints(False, None), x509.SubjectAlternativeName([alternative])
        certificate = self.sign(subject, key, days, *extensions)
        form, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return certificate.public_bytes(PEM), key.private_bytes(PEM, form, unencrypted)

    def context(self, days: tuple[int, int] = (-1, 300)) -> ssl.SSLContext:
        """That of a server on loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as chain:
            chain.write(b"".join(self.issue(days=days)))
            chain.flush()
            context.load_cert_chain(chain.name)
        return context

    def write(self, path: Path) -> Path:
        """For whoever is to trust it."""
        path.write_bytes(self.certificate.public_bytes(PEM))
        return path


def credulous() -> ssl.SSLContext:
    """That of a client that encrypts, and trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Tls:
    def __init__(self, directory: Path, port: int):
        authority = Authority()
        self.certificate = authority.write(directory / "ca.pem")
        self.behind = port
        self.context = authority.context()
        self.listener = wire.bound()
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.greet, args=[client], daemon=True).start()

    def greet(self, client: socket.socket) -> None:
        """Whoever goes away in the middle of the handshake keeps nobody else from theirs."""
        try:
            client.settimeout(10)
            secured = self.context.wrap_socket(client, server_side=True)
            secured.settimeout(None)
            behind = socket.create_connection(("127.0.0.1", self.behind))
        except OSError:
            client.close()
            return
        for pair in ((secured, behind), (behind, secured)):
            threading.Thread(target=forward, args=pair, daemon=True).start()

    def close(self) -> None:
        self.listener.close()


def forward(source: socket.socket, to: socket.socket) -> None:
    """Until one of them ends, however it does: then both have."""
    try:
        while data := source.recv(65536):
            to.sendall(data)
    except OSError:
        pass
    for end in (source, to):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Impostor:
    def __init__(self, kind: str):
        self.kind = kind
        self.directory = tempfile.TemporaryDirectory(prefix="impostor.")
        trusted = Authority()
        self.authority = trusted.write(Path(self.directory.name) / "authority.pem")
        self.context = trusted.context(days=(-400, -30)) if kind == "expired" else Authority().context()

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
