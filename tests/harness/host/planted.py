"""Secrets of nearly a hundred kinds, as people leave them in images. They are made up at each run, so that no scanner takes this file,
or a tree that was kept, for a leak.

    where = plant(root)        # kind: path below root, as the image names it
"""

import base64
import gzip
import hashlib
import io
import json
import random
import string
import subprocess
import tarfile
import zipfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import pkcs12 as pkcs_12

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, OLD, OPENSSH = (
    serialization.PrivateFormat.PKCS8,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.PrivateFormat.OpenSSH,
)
OPEN = serialization.NoEncryption()


class Maker:
    def __init__(self, seed: int = 20):
        self.random = random.Random(seed)

    def word(self, length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
        return "".join(self.random.choices(alphabet, k=length))

    def hex(self, length: int) -> str:
        return self.word(length, "0123456789abcdef")

    def bytes(self, length: int) -> bytes:
        return self.random.randbytes(length)

    def base64(self, length: int) -> str:
        return base64.b64encode(self.bytes(length)).decode()

    def person(self) -> str:
        """As people choose them."""
        word = self.random.choice(("Summer", "dragon", "Tr0ub4dor", "monkey", "Passw0rt", "winter"))
        return word + self.random.choice(("!", "#1", "2024!", "@77", "&3", "-x9"))


def java_keystore(maker: Maker, magic: bytes, kind: int) -> bytes:
    """A certificate first, and then an entry of `kind`: 1 is a key, 3 a secret."""
    head = lambda number, name: number.to_bytes(4, "big") + len(name).to_bytes(2, "big") + name + bytes(8)  # noqa: E731
    certificate = b"\0\x05X.509" + (300).to_bytes(4, "big") + maker.bytes(300)
    entry = head(kind, b"app") + (64).to_bytes(4, "big") + maker.bytes(64) + bytes(4)
    body = magic + (2).to_bytes(4, "big") + (2).to_bytes(4, "big") + head(2, b"ca") + certificate + entry
    return body + hashlib.sha1(body).digest()


def keys(maker: Maker) -> dict[str, tuple[str, bytes]]:
    numbers = rsa.generate_private_key(65537, 2048)
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    encrypted = serialization.BestAvailableEncryption(maker.word(12).encode())
    jwk = {"kty": "EC", "crv": "P-256", "x": maker.word(43), "y": maker.word(43), "d": maker.word(43)}
    pkcs12 = pkcs_12.serialize_key_and_certificates(b"app", numbers, None, None, encrypted)
    return {
        "RSA key, PEM": ("/etc/ssl/private/app.pem", numbers.private_bytes(PEM, PKCS8, OPEN)),
        "RSA key of old": ("/opt/app/server.key", numbers.private_bytes(PEM, OLD, OPEN)),
        "encrypted key": ("/opt/app/locked.key", numbers.private_bytes(PEM, PKCS8, encrypted)),
        "EC key": ("/etc/nginx/tls.key", curve.private_bytes(PEM, OLD, OPEN)),
        "Ed25519 key of OpenSSH": ("/home/ops/.ssh/id_ed25519", edwards.private_bytes(PEM, OPENSSH, OPEN)),
        "X25519 key": ("/opt/app/x25519.pem", x25519.X25519PrivateKey.generate().private_bytes(PEM, PKCS8, OPEN)),
        "X25519 key, DER": ("/opt/app/x25519.der", x25519.X25519PrivateKey.generate().private_bytes(DER, PKCS8, OPEN)),
        "Ed448 key, DER": ("/opt/app/ed448.der", ed448.Ed448PrivateKey.generate().private_bytes(DER, PKCS8, OPEN)),
        "PKCS #12": ("/opt/app/app.pfx", pkcs12),
        "JKS, second entry": ("/opt/app/app.jks", java_keystore(maker, b"\xfe\xed\xfe\xed", 1)),
        "JCEKS, secret key": ("/opt/app/secrets.store", java_keystore(maker, b"\xce\xce\xce\xce", 3)),
        "JWK": ("/opt/app/jwk.json", json.dumps(jwk).encode()),
        "key in JSON": (
            "/opt/app/service-account.json",
            json.dumps({"type": "service_account", "private_key": numbers.private_bytes(PEM, PKCS8, OPEN).decode()}).encode(),
        ),
    }


def by_path(maker: Maker) -> dict[str, tuple[str, str | bytes]]:
    return {
        "rndc.key": ("/etc/bind/rndc.key", f'key "rndc-key" {{\n\talgorithm hmac-sha256;\n\tsecret "{maker.base64(32)}";\n}};\n'),
        "munge.key": ("/etc/munge/munge.key", maker.bytes(128)),
        "Erlang cookie": ("/var/lib/rabbitmq/.erlang.cookie", maker.word(20, string.ascii_uppercase)),
        "keytab": ("/etc/krb5.keytab", b"\x05\x02\0\0\0\x39\0\x02\0\x0bEXAMPLE.COM" + maker.bytes(64)),
        "GnuPG key": (f"/root/.gnupg/private-keys-v1.d/{maker.hex(40).upper()}.key", b"(21:protected-private-key" + maker.bytes(200)),
        "credstore": ("/etc/credstore/shop.token", maker.word(20)),
        "htpasswd": ("/etc/nginx/.htpasswd", f"admin:$apr1${maker.word(8)}${maker.word(22)}\n"),
        "Ansible vault password": ("/opt/deploy/.vault_pass", maker.person() + "\n"),
        "k3s token": ("/var/lib/rancher/k3s/server/token", f"K10{maker.hex(64)}::server:{maker.hex(32)}\n"),
        "cfn-init metadata": ("/var/lib/cfn-init/data/metadata.json", json.dumps({"Config": {"DBPassword": maker.person()}})),
        "cloud.cfg.d": ("/etc/cloud/cloud.cfg.d/90-ops.cfg", f"users:\n  - name: ops\n    plain_text_passwd: {maker.person()}\n"),
        "shadow": ("/etc/shadow", f"root:*:19000::::::\nops:$y$j9T${maker.word(22)}${maker.word(43)}:19000::::::\n"),
        "netrc": ("/home/ops/.netrc", f"machine git.internal login ops password {maker.person()}\n"),
        "pgpass": ("/var/lib/app/.pgpass", f"db.internal:5432:shop:shop:{maker.person()}\n"),
        "my.cnf": ("/root/.my.cnf", f"[client]\nuser=root\npassword={maker.person()}\n"),
        "npmrc": ("/root/.npmrc", f"//npm.internal/:_authToken={maker.hex(32)}\n"),
        "docker login": ("/root/.docker/config.json", json.dumps({"auths": {"r.internal": {"auth": maker.base64(18)}}})),
        "kubeconfig": ("/root/.kube/config", f"users:\n- name: admin\n  user:\n    token: {maker.word(24)}\n"),
        "WireGuard": ("/etc/wireguard/wg0.conf", f"[Interface]\nPrivateKey = {maker.base64(32)}\n"),
        "ipsec.secrets": ("/etc/ipsec.secrets", f'%any %any : PSK "{maker.person()}"\n'),
        "Redis": ("/etc/redis/redis.conf", f"bind 127.0.0.1\nrequirepass {maker.person()}\n"),
        "Postfix relay": ("/etc/postfix/sasl_passwd", f"[smtp.internal]:587 shop:{maker.person()}\n"),
    }


def in_settings(maker: Maker) -> dict[str, tuple[str, str | bytes]]:
    own = maker.person
    login = base64.b64encode(b"ci:" + maker.word(20).encode()).decode()
    return {
        "YAML, plain": ("/opt/shop/config.yaml", f"database:\n  user: shop\n  password: {own()}\n"),
        "YAML, quoted": ("/opt/shop/quoted.yml", f'smtp:\n  password: "{own()}"   # of the relay\n'),
        "YAML, flow": ("/opt/shop/flow.yaml", f"db: {{ user: shop, password: '{own()}' }}\n"),
        "YAML, a word": ("/opt/shop/word.yaml", "ldap:\n  bind_password: swordfish\n"),
        "TOML": ("/opt/shop/shop.toml", f'[database]\npassword = "{own()}"\n'),
        "properties": ("/opt/spring/application.properties", f"spring.datasource.password={own()}\n"),
        "Spring YAML": ("/opt/spring/application-prod.yml", f"spring:\n  datasource:\n    password: {own()}\n"),
        "XML element": ("/root/.m2/settings.xml", f"<settings><servers><server>\n<password>{own()}</password>\n</server></servers></settings>\n"),
        "XML attribute": ("/etc/tomcat10/tomcat-users.xml", f'<tomcat-users>\n<user username="a" password="{own()}" roles="x"/>\n</tomcat-users>\n'),
        "PHP": ("/srv/www/wp-config.php", f"<?php\ndefine( 'DB_PASSWORD', '{own()}' );\n"),
        ".NET": ("/opt/net/appsettings.json", json.dumps({"ConnectionStrings": {"Default": f"Server=db;User Id=sa;Password={own()};"}})),
        "web.config": ("/opt/net/web.config", f'<add key="SmtpPassword" value="{own()}" />\n'),
        "compose": ("/opt/compose/docker-compose.yml", f"services:\n  db:\n    environment:\n      MYSQL_ROOT_PASSWORD: {own()}\n"),
        "tfstate": ("/opt/infra/terraform.tfstate", json.dumps({"resources": [{"instances": [{"attributes": {"password": own()}}]}]}, indent=1)),
        "git extraheader": ("/opt/app/.git/config", f'[http "https://git.internal/"]\n\textraheader = AUTHORIZATION: basic {login}\n'),
        "Django": ("/opt/django/settings.py", f"SECRET_KEY = 'django-insecure-{maker.word(50)}'\n"),
        "dotenv": ("/srv/shop/.env", f"DB_PASSWORD={maker.word(10)}\n"),
        "unit": ("/etc/systemd/system/shop.service", f"[Service]\nEnvironment=SHOP_TOKEN={maker.word(20)}\n"),
        "UTF-16": ("/opt/net/app.ini", f"[db]\r\nuser=sa\r\npassword={own()}\r\n".encode("utf-16")),
        "URL": ("/opt/shop/settings.ini", f"url = postgres://shop:{maker.word(12)}@db.internal/shop\n"),
        "script": ("/opt/deploy/backup.sh", f"#!/bin/sh\nmysqldump -u root -p{maker.word(10)} shop\n"),
        "AWS key": ("/root/.aws/credentials", f"[default]\naws_secret_access_key = {maker.base64(30)}\n"),
        "GitHub token": ("/opt/app/notes.txt", "gh" + f"p_{maker.word(36)}\n"),
        "layer of a container": (
            "/var/lib/docker/overlay2/0a1b2c/diff/etc/shadow",
            f"root:$6${maker.word(16)}${maker.word(86)}:19000::::::\n",
        ),
    }


def of_servers(maker: Maker) -> dict[str, tuple[str, str | bytes]]:
    """Each program's own way to write down a password."""
    own = maker.person
    login = base64.b64encode(b"shop:" + maker.word(18).encode()).decode()
    msal = {"RefreshToken": {"a-b": {"secret": maker.word(200), "client_id": "c"}}, "AccessToken": {"a": {"secret": maker.word(200)}}}
    return {
        "sssd": ("/etc/sssd/sssd.conf", f"[domain/x]\nldap_default_bind_dn = cn=a\nldap_default_authtok = {own()}\n"),
        "nslcd": ("/etc/nslcd.conf", f"uri ldap://ldap.internal\nbindpw {own()}\n"),
        "HAProxy, user": ("/etc/haproxy/haproxy.cfg", f"userlist ops\n  user admin insecure-password {own()}\n"),
        "HAProxy, statistics": ("/etc/haproxy/stats.cfg", f"listen stats\n  stats auth admin:{own()}\n"),
        "FreeRADIUS": ("/etc/freeradius/3.0/clients.conf", f"client nas {{\n  ipaddr = 10.0.0.1\n  secret = {own()}\n}}\n"),
        "msmtp": ("/home/ops/.msmtprc", f"account relay\nuser shop\npassword {own()}\n"),
        "fetchmail": ("/etc/fetchmailrc", f'poll mail.internal user "shop" there with password "{own()}"\n'),
        "Exim relay": ("/etc/exim4/passwd.client", f"# relay\nsmtp.internal:shop:{own()}\n"),
        "nginx, upstream": ("/etc/nginx/conf.d/api.conf", f'location / {{\n  proxy_set_header Authorization "Basic {login}";\n}}\n'),
        "Zabbix": ("/etc/zabbix/zabbix_agentd.psk", maker.hex(64) + "\n"),
        "OpenVPN login": ("/etc/openvpn/auth.txt", f"shop\n{own()}\n"),
        "MSAL cache": ("/root/.azure/msal_token_cache.json", json.dumps(msal, indent=1)),
        "KeePass": ("/home/ops/team.kdbx", b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\x01\0\x04\0" + maker.bytes(200)),
        "Maven master password": (
            "/root/.m2/settings-security.xml",
            f"<settingsSecurity>\n<master>{{{maker.base64(32)}}}</master>\n</settingsSecurity>\n",
        ),
    }


def of_applications(maker: Maker) -> dict[str, tuple[str, str | bytes]]:
    own = maker.person
    state = lambda **what: json.dumps({"version": 4, **what}, indent=1)  # noqa: E731
    random_password = {"type": "random_password", "name": "db", "instances": [{"attributes": {"length": 20, "result": own()}}]}
    return {
        ".NET, at the end": ("/opt/net/appsettings.Production.json", json.dumps({"ConnectionStrings": {"Shop": f"Server=db;User Id=sa;Password={own()}"}})),
        ".NET, Pwd": ("/opt/net/connections.config", f'<add name="Shop" connectionString="Server=db;Uid=sa;Pwd={own()}" />\n'),
        ".NET, SigningKey": ("/opt/net/appsettings.Staging.json", json.dumps({"Jwt": {"Issuer": "shop", "SigningKey": f"Sign-{own()}"}})),
        "PHP, array": ("/srv/www/inc/db.php", f"<?php return [\n  'user' => 'shop',\n  'password' => '{maker.word(6)}7!',\n];\n"),
        "tfstate, output": ("/opt/infra/a/terraform.tfstate", state(outputs={"x": {"value": own(), "type": "string", "sensitive": True}})),
        "tfstate, random_password": ("/opt/infra/b/terraform.tfstate", state(resources=[random_password])),
        "YAML, token": ("/opt/bot/token.yaml", f"chat:\n  token: {maker.word(24)}\n"),
        "YAML, secret": ("/opt/bot/secret.yml", f'session:\n  secret: "S3cret-{own()}"\n'),
        "YAML, client_secret": ("/opt/bot/oauth.yaml", f"oauth:\n  client_id: shop\n  client_secret: {maker.word(12)}~9\n"),
        "YAML, api_key": ("/opt/bot/mail.yaml", f"mail:\n  api_key: '{maker.hex(12)}'\n"),
        "YAML, encryption_key": ("/opt/bot/crypt.yaml", f"app:\n  encryption_key: Crypt2-{own()}\n"),
        "Python, connect": ("/opt/jobs/report.py", f'import psycopg2\n\nx = psycopg2.connect(host="db", user="shop", password="{maker.word(6)}7!")\n'),
        "shell variable": ("/opt/jobs/dump.sh", f"#!/bin/sh\nDB_PASSWORD={maker.word(10)}\n"),
        "SQL, PASSWORD": ("/opt/shop/init.sql", f"CREATE ROLE shop LOGIN PASSWORD '{own()}';\n"),
        "SQL, IDENTIFIED BY": ("/opt/shop/grants.sql", f"CREATE USER 'shop'@'%' IDENTIFIED BY '{own()}';\n"),
    }


def packed(maker: Maker) -> dict[str, tuple[str, bytes]]:
    """What has to be unpacked before it can be read."""
    token = lambda: ("gh" + f"p_{maker.word(36)}\n").encode()  # noqa: E731
    jar, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BOOT-INF/classes/application.properties", f"spring.datasource.password={maker.person()}\n")
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        member = tarfile.TarInfo("backup/.env")
        content = token()
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return {
        "jar": ("/opt/spring/app.jar", jar.getvalue()),
        "tar.gz": ("/root/backup.tar.gz", tar.getvalue()),
        "gz": ("/opt/shop/dump.sql.gz", gzip.compress(b"INSERT INTO tokens VALUES\n" + token())),
    }


def history(maker: Maker, root: Path) -> tuple[str, str]:
    """A token that was committed, and taken out again."""
    tree = root / "srv/repository"
    tree.mkdir(parents=True)
    git = lambda *words: subprocess.run(  # noqa: E731
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tree, check=True, capture_output=True
    )
    git("init")
    settings = "".join(f"line {number} of many\n" for number in range(200))
    for content in (settings + "gh" + f"p_{maker.word(36)}\n", settings):
        (tree / "settings").write_text(content)
        git("add", "settings")
        git("commit", "-m", "x")
    git("gc", "--aggressive")
    return "history of git", "/srv/repository/.git"


def plant(root: Path) -> dict[str, str]:
    maker = Maker()
    where = {}
    files = {**keys(maker), **by_path(maker), **in_settings(maker), **packed(maker), **of_servers(maker), **of_applications(maker)}
    for kind, (path, content) in files.items():
        at = root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
        where[kind] = path
    kind, path = history(maker, root)
    where[kind] = path
    return where
