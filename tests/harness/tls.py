"""TLS on loopback, with a certificate of an authority that nobody knows unless it is told.

    tls = Tls(tmp_path, aws.port)
    run(env={"AWS_ENDPOINT_URL": f"https://127.0.0.1:{tls.port}", "AWS_CA_BUNDLE": str(tls.certificate)})
    tls.close()
"""

import datetime
import ipaddress
import socket
import ssl
import threading

from . import wire


class Tls:
    """TLS in front of another port, with a certificate of an authority nobody knows."""

    def __init__(self, directory, port: int):
        self.certificate, key = directory / "ca.pem", directory / "key.pem"
        make_certificate(self.certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
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


def make_certificate(certificate, key) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a private authority")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(private, hashes.SHA256())
    )
    pem, unencrypted = serialization.Encoding.PEM, serialization.NoEncryption()
    certificate.write_bytes(made.public_bytes(pem))
    key.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
