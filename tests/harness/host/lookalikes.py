"""Sixty files that look as if there were a secret in them, and hold none."""

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from .planted import Maker


def public(maker: Maker) -> dict[str, str | bytes]:
    """What is public, or says whom to trust."""
    key, edwards = rsa.generate_private_key(65537, 2048).public_key(), ed25519.Ed25519PrivateKey.generate().public_key()
    encoding, shape = serialization.Encoding, serialization.PublicFormat
    certificate = b"\0\0\0\x02\0\x02ca" + bytes(8) + b"\0\x05X.509" + (300).to_bytes(4, "big") + maker.bytes(300)
    return {
        "/etc/ssl/app.pub": key.public_bytes(encoding.PEM, shape.SubjectPublicKeyInfo),
        "/opt/app/key.der": key.public_bytes(encoding.DER, shape.SubjectPublicKeyInfo),
        "/opt/app/id_ed25519.pub": edwards.public_bytes(encoding.OpenSSH, shape.OpenSSH),
        "/opt/jdk/lib/security/cacerts": b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x02" + certificate * 2 + bytes(20),
        "/opt/app/jwks.json": json.dumps({"keys": [{"kty": "RSA", "kid": maker.word(43), "e": "AQAB", "n": maker.word(342)}]}),
        "/opt/app/ca.pem": f"-----BEGIN CERTIFICATE-----\n{maker.base64(600)}\n-----END CERTIFICATE-----\n",
        "/etc/ssl/dhparam.pem": f"-----BEGIN DH PARAMETERS-----\n{maker.base64(260)}\n-----END DH PARAMETERS-----\n",
        "/etc/shadow": "root:*:19000:0:99999:7:::\nops:!:19000::::::\napp:!$6$abcdefgh$ijklmnop:19000::::::\n",
    }


def named(maker: Maker) -> dict[str, str]:
    """Where a secret is, and not what it is."""
    return {
        "/etc/systemd/system/a.service": "[Service]\nLoadCredential=shop-token:/run/shop/token\nEnvironment=TOKEN_FILE=%d/shop-token\n",
        "/etc/systemd/system/b.service": "[Service]\nEnvironment=SHOP_TOKEN=%t/shop/token DB_PASSWORD=%d/db SECRET_DIR=%S/shop\n",
        "/etc/default/shop": "SECRET_ID=prod/shop/database\nSECRET_ARN=arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-x1Y2z3\n",
        "/opt/shop/compose.yml": "environment:\n  POSTGRES_PASSWORD_FILE: /run/secrets/db\n  SMTP_PASSWORD: ${SMTP_PASSWORD:?}\n",
        "/opt/k8s/deployment.yaml": "env:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: { name: shop-database-credentials, key: password }\n",
        "/opt/k8s/values.yaml": "auth:\n  existingSecret: shop-database-credentials\n  secretName: shop-tls-certificate-2026\n  password: ''\n",
        "/opt/shop/vault.yml": "db_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3331663935326538\nother_password: '{{ vault_other }}'\n",
        "/opt/shop/settings.py": "import os\nSECRET_KEY = os.environ['SECRET_KEY']\nPASSWORD = config.get('database', 'password')\n",
        "/opt/spring/application.yml": "spring:\n  datasource:\n    password: ${DB_PASSWORD}\n    hikari:\n      password: ENC(x1y2z3)\n",
        "/opt/net/appsettings.json": '{"ConnectionStrings": {"Default": "Server=db;Integrated Security=true;Password=#{DbPassword}#;"}}\n',
        "/opt/infra/main.tf": 'variable "db_password" {\n  sensitive = true\n}\nresource "x" "y" {\n  password = var.db_password\n}\n',
        "/etc/ingot/boot.d/x.yaml": 'version: 1\nsecrets:\n  db: { secrets_manager: "prod/shop/database" }\n',
        "/root/.bash_history": 'mysql -u root -p shop\ncurl -u "$USER:$PASSWORD" https://api.internal/\nexport TOKEN=$(cat /run/token)\n',
        "/opt/shop/nginx.conf": "location / {\n  proxy_pass http://127.0.0.1:8080;\n  auth_basic_user_file /etc/nginx/.htpasswd;\n}\n",
        "/opt/shop/pg.conf": "password_encryption = scram-sha-256\nssl_passphrase_command = ''\n",
        "/opt/shop/pam.conf": "password required pam_unix.so sha512\npasswd: files systemd\npassword: files\n",
    }


def shown(maker: Maker) -> dict[str, str]:
    """What shows how a secret looks."""
    return {
        "/opt/app/README.md": "Set `password: s3cr3t-value!` or postgres://shop:s3cr3t9@db/shop, AKIAIOSFODNN7EXAMPLE.\n",
        "/opt/app/docs/tls.txt": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAwL5x\n" + "...\n" * 30 + "-----END RSA PRIVATE KEY-----\n",
        "/opt/app/lib/parser.js": 'const begin = "-----BEGIN PRIVATE KEY-----";\nconst end = "-----END PRIVATE KEY-----";\n' + "// x\n" * 40,
        "/srv/shop/.env.example": "DB_PASSWORD=change-me-please-now\nAPI_TOKEN=0123456789abcdef0123\n",
        "/srv/shop/config/database.yml.sample": "password: s3cr3t-value!\n",
        "/opt/app/src/__tests__/login.json": '{"password": "Tr0ub4dor&3"}\n',
        "/opt/app/locale/en.json": '{"password": "Password", "token": "Token", "confirmPassword": "Confirm"}\n',
        "/opt/app/placeholder.yaml": "password: changeme\npassword: <password>\ntoken: YOUR_TOKEN_HERE_PLEASE\npasswd: xxxxxxxx\npwd: '********'\n",
        "/opt/app/schema.json": '{"properties": {"password": {"type": "string", "format": "password"}, "token": {"type": "string"}}}\n',
        "/opt/app/comment.ini": "; password = s3cr3t!\n# password = s3cr3t!\npassword =\n",
    }


def random_looking(maker: Maker) -> dict[str, str]:
    return {
        "/opt/app/package-lock.json": f'{{"node_modules/keyv": {{"integrity": "sha512-{maker.base64(64)}", "key": "{maker.hex(40)}"}}}}\n',
        "/opt/app/Cargo.lock": f'name = "secrecy"\nchecksum = "{maker.hex(64)}"\n',
        "/opt/app/SHA256SUMS": f"{maker.hex(64)}  token\n{maker.hex(64)}  secret.key\n",
        "/opt/app/ids.yaml": f"key_id: {maker.hex(8)}-{maker.hex(4)}-4{maker.hex(3)}-a{maker.hex(3)}-{maker.hex(12)}\nuser_pool: eu-west-1_aB3dE5fG7\n",
        "/opt/app/page.html": f'<img src="data:image/png;base64,{maker.base64(900)}">\n<input type="password" value="">\n',
        "/opt/app/app.min.js": "var a=this.key,b=e.token||n.auth;function s(t){return t.password===void 0?t.api:e.access.key(t,n)}\n",
        "/opt/app/etag.json": f'{{"accessed": "{maker.hex(32)}", "d": "M0 0h24v24H0z", "author": "{maker.hex(40)}"}}\n',
        "/opt/app/.git/packed-refs": f"{maker.hex(40)} refs/heads/main\n{maker.hex(40)} refs/tags/token-1\n",
    }


def beside_kinds(maker: Maker) -> dict[str, str]:
    """What stands where a program's own passwords do."""
    return {
        "/etc/sssd/sssd.conf": "# ldap_default_authtok = s3cr3t!\nldap_default_authtok_type = password\nldap_uri = ldap://ldap1.internal\n",
        "/etc/haproxy/haproxy.cfg": "# stats auth admin:s3cr3t!\nlisten stats\n  stats enable\n  stats uri /haproxy1\nuserlist users1\n",
        "/etc/freeradius/3.0/clients.conf": "client localhost {\n  # secret = s3cr3t!\n  secret = testing123\n}\n",
        "/etc/msmtprc": 'account relay\nuser shop1\npasswordeval "cat /run/credentials/mail1"\n',
        "/etc/exim4/passwd.client": "# target.mail.server.example:login:password\n",
        "/etc/nginx/conf.d/api.conf": 'proxy_set_header Authorization $http_authorization;\nproxy_set_header Authorization "Basic ${LOGIN1}";\n',
        "/etc/zabbix/zabbix_agentd.conf": "TLSPSKFile=/run/credentials/zabbix1\nTLSPSKIdentity=shop1\n",
        "/etc/openvpn/client.conf": "client\nremote vpn1.internal\nauth-user-pass /run/credentials/vpn1\n",
        "/etc/openvpn/ipp.txt": "client1,10.8.0.2\nclient2,10.8.0.3\n",
        "/root/.azure/msal_token_cache.json": "{}\n",
        "/opt/net/appsettings.Production.json": '{"Shop": "Server=db;Password=", "SigningKey": "", "ClientSecret": "<client-secret>", "ApiKey": "changeme"}\n',
        "/srv/www/inc/form.php": "<?php return ['password' => 'required|min:8', 'passwd' => $password1, 'secret' => getenv('S3'), 'pass' => 'user_pass'];\n",
        "/opt/infra/a/terraform.tfstate": '{"outputs": {"name": {"value": "shop-1a2b", "type": "string"}}, "dependencies": ["random_password.db"]}\n',
        "/opt/bot/values.yaml": "token: ${TOKEN}\nsecret: shop-tls-2026\nclient_secret: <client-secret>\napi_key: '{{ api_key1 }}'\ntoken: 123456\n",
        "/opt/bot/names.yaml": "secretName: shop-9x8\ntoken_ttl: 3600s\napi_key: your-api-key-1\nencryption_key: /run/credentials/key1\n",
        "/opt/bot/tokenizer.json": '{"pad_token": "[PAD0]", "bos_token": "begin_0", "token": "keyword.operator", "max_token": 4096}\n',
        "/opt/jobs/report.py": "x = connect(password=os.environ['PASSWORD1'])\ny = connect(password=password1)\nif password == 'x1y2z3':\n    pass\n",
        "/opt/jobs/dump.sh": "#!/bin/sh\nDB_PASSWORD=$(cat /run/x1)\nAPI_TOKEN=${1:?}\nTOKEN_FILE=/run/token1\n",
        "/opt/shop/schema.sql": "CREATE TABLE u (password VARCHAR(60) DEFAULT '');\nCREATE USER a IDENTIFIED BY '<password>';\nALTER ROLE b PASSWORD :'pw1';\n",
        "/root/.m2/settings-security.xml": "<settingsSecurity>\n<relocation>/media/usb1/settings-security.xml</relocation>\n</settingsSecurity>\n",
    }


def lay(root: Path) -> list[str]:
    """Writes them, and says where."""
    maker = Maker(40)
    files = {**public(maker), **named(maker), **shown(maker), **random_looking(maker), **beside_kinds(maker)}
    for path, content in files.items():
        at = root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(files)
