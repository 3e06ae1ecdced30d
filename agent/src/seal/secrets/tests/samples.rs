//! What must be found, and what must not be found.
//!
//! Secrets are composed here, so that no scanner takes this file for a leak: `{hex:40}` stands for 40 hexadecimal
//! digits, `{word:40}` for letters and digits, `{upper:16}` for capitals and `2` to `7`, and `§` for nothing.

use base64::Engine as _;

use super::*;

/// A pseudo-random text of `length` characters of `alphabet`, the same each time.
fn random(alphabet: &[u8], length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        alphabet[(state >> 33) as usize % alphabet.len()] as char
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn letters(length: usize) -> String {
    random(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
}

pub(super) fn mixed(length: usize) -> String {
    letters(length)
}

/// A text that looks like a key of that kind, as far as its first bytes and its length go: `length` letters of base64.
pub(super) fn pem(kind: &str, length: usize) -> String {
    let rest = (length / 4 * 3 - 4) as u16;
    let der = |begin: &[u8]| [&[0x30, 0x82], &rest.to_be_bytes()[..], begin].concat();
    let mut key = match kind {
        "PRIVATE KEY" => der(b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"),
        "ENCRYPTED PRIVATE KEY" => der(b"\x30\x57\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"),
        "OPENSSH PRIVATE KEY" => b"openssh-key-v1\0".to_vec(),
        "SSH2 ENCRYPTED PRIVATE KEY" => vec![0x3f, 0x6f, 0xf9, 0xeb],
        "PGP PRIVATE KEY BLOCK" => vec![0x95],
        _ => der(b"\x02\x01\x00\x02\x82\x01\x01"),
    };
    key.extend(letters(length / 4 * 3 - key.len()).into_bytes());
    let text = base64::engine::general_purpose::STANDARD.encode(key);
    let lines: Vec<String> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
    let head = if kind.starts_with("PGP") { "\n" } else { "" };
    format!("-----BEGIN {kind}-----\n{head}{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Replaces the placeholders of a sample.
fn made(sample: &str) -> String {
    let mut made = String::new();
    let mut rest = sample;
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        made.push_str(before);
        let filled = after.find('}').and_then(|end| {
            let (kind, length) = after[1..end].split_once(':')?;
            let length = length.parse().ok()?;
            let text = match kind {
                "hex" => random(b"0123456789abcdef", length),
                "word" => letters(length),
                "lower" => random(b"abcdefghijklmnopqrstuvwxyz0123456789", length),
                "alpha" => random(b"abcdefghijklmnopqrstuvwxyz", length),
                "upper" => random(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length),
                "digit" => random(b"123456789", length),
                "base64" => random(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", length),
                _ => return None,
            };
            Some((text, end + 1))
        });
        match filled {
            Some((text, end)) => {
                made.push_str(&text);
                rest = &after[end..];
            }
            None => {
                made.push('{');
                rest = &after[1..];
            }
        }
    }
    made.push_str(rest);
    made.replace('§', "")
}

/// Rule, path, content. Each is found by its rule, in the last line.
const FOUND: &[(&str, &str, &str)] = &[
    ("aws-access-token", "/opt/x", "id = AK§IA{upper:16}\n"),
    ("aws-access-token", "/root/.aws/credentials", "[default]\naws_access_key_id = AS§IA{upper:16}"),
    ("aws-secret-access-key", "/root/.aws/credentials", "aws_secret_access_key = {base64:40}"),
    ("aws-secret-access-key", "/opt/a.json", "\"SecretAccessKey\": \"{base64:40}\","),
    ("aws-session-token", "/root/.aws/credentials", "aws_session_token = {base64:356}"),
    ("aws-amazon-bedrock-api-key-long-lived", "/opt/x", "AB§SK{word:120}"),
    ("github-pat", "/opt/x", "gh§p_{word:36}"),
    ("github-oauth", "/opt/x", "gh§o_{word:36}"),
    ("github-app-token", "/opt/x", "gh§s_{word:36}"),
    ("github-refresh-token", "/opt/x", "gh§r_{word:36}"),
    ("github-fine-grained-pat", "/opt/x", "github§_pat_{word:82}"),
    ("gitlab-pat", "/opt/x", "gl§pat-{word:20}"),
    ("gitlab-deploy-token", "/opt/x", "gl§dt-{word:20}"),
    ("gitlab-runner-authentication-token", "/opt/x", "gl§rt-{word:20}"),
    ("gitlab-ptt", "/opt/x", "gl§ptt-{hex:40}"),
    ("gitlab-rrt", "/opt/x", "GR§1348941{word:20}"),
    ("slack-bot-token", "/opt/x", "xo§xb-{digit:12}-{digit:12}-{word:24}"),
    ("slack-user-token", "/opt/x", "xo§xp-{digit:12}-{digit:12}-{digit:12}-{lower:32}"),
    ("slack-app-token", "/opt/x", "xa§pp-1-A{digit:10}-{digit:13}-{lower:64}"),
    ("slack-webhook-url", "/opt/x", "https://hooks.slack§.com/services/{word:44}"),
    ("stripe-access-token", "/opt/x", "sk_§live_{word:24}"),
    ("stripe-access-token", "/opt/x", "rk_§prod_{word:99}"),
    ("gcp-api-key", "/opt/x", "key: AI§za{word:35}"),
    ("azure-ad-client-secret", "/opt/x", "secret = {word:3}8Q~{word:34}"),
    ("azure-storage-key", "/opt/x", "AccountName=shop;Account§Key={base64:86}==;"),
    ("npm-access-token", "/opt/x", "np§m_{lower:36}"),
    ("npm-auth", "/root/.npmrc", "//npm.internal/:_auth§Token={hex:32}"),
    ("pypi-upload-token", "/opt/x", "pypi§-AgEIcHlwaS5vcmc{word:80}"),
    ("pypirc-password", "/root/.pypirc", "[pypi]\nusername = shop\npassword = {word:12}"),
    ("rubygems-api-token", "/opt/x", "rubygems§_{hex:48}"),
    ("openai-api-key", "/opt/x", "sk§-{word:20}T3Blbk§FJ{word:20}"),
    ("anthropic-api-key", "/opt/x", "sk§-ant-api03-{word:93}AA"),
    ("huggingface-access-token", "/opt/x", "hf§_{alpha:34}"),
    ("sendgrid-api-token", "/opt/x", "SG§.{word:66}"),
    ("twilio-api-key", "/opt/x", "SK§{hex:32}"),
    ("digitalocean-pat", "/opt/x", "dop§_v1_{hex:64}"),
    ("databricks-api-token", "/opt/x", "da§pi{hex:32}"),
    ("heroku-api-key-v2", "/opt/x", "HRKU§-AA{word:58}"),
    ("vault-service-token", "/opt/x", "VAULT=hv§s.{word:95}"),
    ("vault-batch-token", "/opt/x", "hv§b.{word:150}"),
    ("hashicorp-tf-api-token", "/opt/x", "{lower:14}.atlas§v1.{lower:64}"),
    ("doppler-api-token", "/opt/x", "dp§.pt.{lower:43}"),
    ("dynatrace-api-token", "/opt/x", "dt0§c01.{upper:24}.{upper:64}"),
    ("grafana-service-account-token", "/opt/x", "gl§sa_{word:32}_{hex:8}"),
    ("grafana-cloud-api-token", "/opt/x", "gl§c_{word:80}"),
    ("linear-api-key", "/opt/x", "lin§_api_{lower:40}"),
    ("postman-api-token", "/opt/x", "PM§AK-{hex:24}-{hex:34}"),
    ("pulumi-api-token", "/opt/x", "pu§l-{hex:40}"),
    ("planetscale-password", "/opt/x", "pscale§_pw_{word:43}"),
    ("shopify-access-token", "/opt/x", "shp§at_{hex:32}"),
    ("sentry-user-token", "/opt/x", "sn§tryu_{hex:64}"),
    ("square-access-token", "/opt/x", "sq0§atp-{word:22}"),
    ("age-secret-key", "/opt/x", "AGE-SECRET-KEY§-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE"),
    ("1password-service-account-token", "/opt/x", "ops§_eyJ{base64:260}"),
    ("jwt", "/opt/x", "cookie ey§JhbGciOiJIUzI1NiJ9{word:12}.ey§J{word:60}.{word:43}"),
    ("datadog-access-token", "/opt/x", "datadog_api: {lower:40}"),
    ("cloudflare-api-key", "/opt/x", "cloudflare_api_key = \"{lower:40}\""),
    ("telegram-bot-api-token", "/opt/x", "telegram_token = {digit:9}:A{word:34}"),
    ("generic-api-key", "/opt/app/shop.txt", "shop:\n  api_key: {word:24}"),
    ("generic-api-key", "/opt/app/config.py", "API_KEY =\n  '{word:32}'"),
    ("kubeconfig-credential", "/root/.kube/config", "users:\n- user:\n    token: {lower:16}"),
    (
        "private-key-putty",
        "/root/keys.json",
        "{\n\"ppk\": \"PuTTY-User-Key§-File-3: ssh-ed25519\\r\\nEncryption: none\\r\\nComment: x\\r\\nPublic-Lines: 1\\r\\nAAAA\\r\\nPrivate-Lines: 1\\r\\n{base64:48}\"}",
    ),
    ("openvpn-static-key", "/etc/x", "-----BEGIN OpenVPN§ Static key V1-----\n{hex:32}"),
    ("docker-auth", "/root/.docker/config.json", "{\"auths\":{\"r.internal\":{\n\"auth\": \"{word:24}\"}}}"),
    ("netrc-password", "/root/.netrc", "machine git.internal login shop password {word:8}"),
    ("netrc-password", "/etc/apt/auth.conf.d/shop.conf", "machine apt.internal login shop password {word:8}"),
    ("pgpass-password", "/var/lib/app/.pgpass", "# host\ndb.internal:5432:shop:shop:{word:8}"),
    ("mysql-password", "/root/.my.cnf", "[client]\nuser=shop\npassword = {word:8}"),
    ("network-key", "/etc/NetworkManager/system-connections/w.nmconnection", "[wifi-security]\npsk={word:12}"),
    ("shadow-password", "/etc/shadow", "daemon:*:19000:::::\nroot:$§y$j9T${word:22}${word:43}:19000::::::"),
    ("shadow-password", "/etc/shadow", "root:!:19000::::::\nshop:$§6${word:16}${word:86}:19000::::::"),
    ("url-password", "/opt/app/.git/config", "[remote \"origin\"]\n\turl = https§://shop:{word:12}@git.internal/shop.git"),
    ("url-password", "/root/.git-credentials", "https§://shop:{word:12}@git.internal"),
    ("url-password", "/etc/pip.conf", "[global]\nindex-url = https§://shop:{word:12}@pypi.internal/simple"),
    ("url-password", "/etc/apt/sources.list.d/shop.list", "deb https§://shop:{word:12}@apt.internal/ bookworm main"),
    ("url-password", "/opt/app/.env2", "DATABASE_URL=postgres§://shop:{word:12}@db.internal:5432/shop"),
    ("environment-secret", "/etc/systemd/system/shop.service", "[Service]\nEnvironment=DB_PASSWORD={word:9}"),
    ("environment-secret", "/etc/systemd/system/shop.service.d/x.conf", "[Service]\nEnvironment=\"SHOP_TOKEN={word:9}\""),
    ("url-password", "/opt/app/.env3", "DATABASE_URL=postgres§://shop:%40{word:12}@db.internal:5432/shop"),
    ("environment-secret", "/opt/app/.env", "SMTP_PASS={word:9}"),
    ("environment-secret", "/opt/app/.env", "DB_PASSWORD=P@$${word:9}%1"),
    ("environment-secret", "/opt/app/.env", "X=1\nSHOP_SECRET={word:9}"),
    ("environment-secret", "/home/ops/.bash_history", "ls\nexport SHOP_SECRET={word:9}"),
    ("mysql-command-password", "/root/.bash_history", "cd /srv\nmysql -u root -p{word:9} shop"),
    ("command-password", "/opt/app/backup", "PGPASSWORD={word:9} pg_dump shop"),
    ("curl-auth-user", "/root/.bash_history", "cd\ncurl -u shop:9{word:12} https://api.internal/"),
    ("openvpn-profile", "/etc/openvpn/shop.ovpn", "client\n"),
    ("secret-file", "/etc/munge/munge.key", "{word:128}"),
    ("secret-file", "/var/lib/rabbitmq/.erlang.cookie", "{upper:20}"),
    ("secret-file", "/opt/deploy/.vault_pass.txt", "{word:9}"),
    ("secret-file", "/var/lib/rancher/k3s/server/token", "K10{hex:64}::server:{hex:32}"),
    ("secret-file", "/etc/credstore/shop.token", "{word:9}"),
    ("secret-file", "/root/.gnupg/private-keys-v1.d/{hex:40}.key", "(11:private-key"),
    ("bind-key", "/etc/bind/rndc.key", "key \"rndc-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"{base64:43}=\";"),
    ("password-hash", "/etc/nginx/.htpasswd", "# users\nadmin:$ap§r1${word:8}${word:22}"),
    ("password-hash", "/etc/app/users", "admin:$2§y$10${word:53}"),
    ("password-hash", "/etc/cloud/cloud.cfg.d/90.cfg", "users:\n- name: ops\n  passwd: $6§${word:16}${word:86}"),
    ("jwk", "/opt/app/key.json", "{\"kty\":\"EC\",\"crv\":\"P-256\",\n\"d\":\"{word:43}\"}"),
    ("jwk", "/opt/app/hmac.json", "{\"kty\":\"oct\",\"alg\":\"HS256\",\n\"k\":\"{word:43}\"}"),
    ("wireguard-key", "/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = {base64:43}=\n"),
    ("git-extraheader", "/opt/app/.git/config", "[http \"https://git.internal/\"]\n\textraheader = AUTHORIZATION: basic {word:24}"),
    ("chpasswd", "/etc/cloud/cloud.cfg.d/91.cfg", "chpasswd:\n  list: |\n    root:{word:9}"),
    ("chpasswd", "/opt/setup.sh", "set -e\necho 'root:{word:9}' | chpasswd"),
    ("redis-password", "/etc/redis/redis.conf", "bind 127.0.0.1\nrequirepass {word:9}"),
    ("ipsec-secret", "/etc/ipsec.secrets", "# vpn\n%any : PSK \"{word:9}\""),
    ("snmp-password", "/etc/snmp/snmpd.conf", "createUser monitor SHA {word:9} AES"),
    ("mail-password", "/etc/postfix/sasl_passwd", "# relay\n[smtp.internal]:587 shop:{word:9}"),
    ("ppp-password", "/etc/ppp/chap-secrets", "# client\nshop * {word:9} *"),
    ("pgbouncer-password", "/etc/pgbouncer/userlist.txt", "\"shop\" \"{word:9}\""),
    ("ceph-key", "/etc/ceph/ceph.client.admin.keyring", "[client.admin]\n\tkey = AQ{base64:36}=="),
    ("gossip-key", "/etc/consul.d/consul.hcl", "encrypt = \"{base64:43}=\""),
    ("application-key", "/opt/shop/shop/settings.py", "SECRET_KEY = 'django-insecure-^%{word:40}'"),
    ("application-key", "/srv/shop/.env", "APP_KEY=base64:{base64:43}="),
    ("option-password", "/opt/deploy.sh", "set -e\ntool login --password {word:9}"),
    ("command-password", "/opt/deploy.sh", "set -e\nsshpass -p {word:9} ssh shop@host"),
    ("password", "/opt/app/config.yaml", "db:\n  password: Summ§er2024!"),
    ("password", "/opt/app/config.yaml", "db:\n  password: \"p@ss§:w0rd,#1\""),
    ("password", "/opt/app/config.yaml", "db: {user: shop, password: tr0ub§4dor}"),
    ("password", "/opt/app/config.yaml", "db:\n  password: '@dm1n§99'"),
    ("password", "/opt/app/app.toml", "[db]\npassword = 'sword§fish'"),
    ("password", "/opt/app/application.properties", "spring.datasource.password=s3cr§3t"),
    ("password", "/opt/app/applicationContext.xml", "<bean>\n<property name=\"password\" value=\"s3cr§3t\"/>"),
    ("password", "/opt/app/hibernate.cfg.xml", "<hibernate>\n<property name=\"connection.password\">s3cr§3t</property>"),
    ("password", "/root/.m2/settings.xml", "<server>\n<password>s3cr§3t</password>"),
    ("defined-password", "/srv/www/wp-config.php", "<?php\ndefine( 'DB_PASSWORD', 's3cr§3t' );"),
    ("password", "/srv/www/config/database.php", "<?php return [\n'password' => 's3cr§3t',"),
    ("password", "/opt/net/appsettings.json", "{\n\"Default\": \"Server=db;User Id=sa;Password=s3cr§3t;Encrypt=true\""),
    ("password", "/opt/net/Web.config", "<add>\n<add key=\"SmtpPassword\" value=\"s3cr§3t\" />"),
    ("password", "/opt/compose.yml", "environment:\n  - POSTGRES_PASSWORD=s3cr§3t"),
    ("password", "/opt/compose.yaml", "environment:\n  MYSQL_ROOT_PASSWORD: s3cr§3t"),
    ("password", "/opt/infra/terraform.tfstate", "{\n\"password\": \"s3cr§3t\","),
    ("password", "/etc/tomcat10/tomcat-users.xml", "<x>\n<user username=\"admin\" password=\"s3cr§3t\" roles=\"manager-gui\"/>"),
    ("password", "/opt/django/settings.py", "DATABASES = {\n'PASSWORD': 's3cr§3t',"),
    ("password", "/opt/app/app.conf", "[db]\ndsn = host=db.internal user=shop password=s3cr§3t dbname=shop"),
    ("password", "/etc/fstab", "UUID=1 / ext4 defaults 0 1\n//nas.internal/shop /srv cifs username=shop,password=s3cr§3t 0 0"),
    ("password", "/etc/ansible/hosts", "[db]\nhost1 ansible_become_pass=s3cr§3t"),
    ("rails-key", "/opt/app/config/master.key", "{hex:32}"),
];

/// Each kind of private key in text form.
const KEYS: [&str; 8] = [
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "SSH2 ENCRYPTED PRIVATE KEY",
    "PGP PRIVATE KEY BLOCK",
];

/// Path and content without a finding.
const CLEAN: &[(&str, &str)] = &[
    ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{word:43} root@shop\n"),
    ("/etc/ssl/ca.pem", "-----BEGIN CERTIFICATE-----\n{base64:64}\n{base64:64}\n-----END CERTIFICATE-----\n"),
    ("/opt/key.pub", "-----BEGIN PUBLIC KEY-----\n{base64:64}\n-----END PUBLIC KEY-----\n"),
    ("/opt/app/ids", "id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301\nkey_id=6ba7b810-9dad-11d1-80b4-00c04fd430c8\n"),
    (
        "/opt/app/ppk.js",
        "const key = /^PuTTY-User-Key§-File-2: (ssh-(?:rsa|dss))\\r?\\nEncryption: (none)/;\nlines.unshift('PuTTY-User-Key§-File-2: ' + alg);\n",
    ),
    ("/opt/app/.git/packed-refs", "{hex:40} refs/heads/main\n{hex:40} refs/tags/v1\n"),
    ("/opt/app/MD5SUMS", "{hex:32}  usr/share/doc/secret/copyright\n{hex:32}  usr/bin/token\n"),
    ("/opt/app/package-lock.json", "\"integrity\": \"sha512-{base64:86}==\", \"key\": \"{word:40}\"\n"),
    ("/opt/app/Cargo.lock", "name = \"keyring\"\nchecksum = \"{hex:64}\"\n"),
    ("/opt/app/min.js", "var a=this.key,b=e.token||n.auth;function s(t){return t.secret===void 0?t.api:e.access.key(t,n)}\n"),
    ("/opt/app/page.html", "<img src=\"data:image/png;base64,{base64:800}\">\n"),
    ("/opt/app/README", "AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"),
    ("/opt/app/README.md", "postgres://user:password@localhost/db or https://${USER}:${TOKEN}@host, http://[::1]:80/x@y\n"),
    ("/etc/shadow", "root:*:19000:0:99999:7:::\nshop:!:19000::::::\nops:!$6$abcdefgh$ijklmnopqrstuvwxyz:19000::::::\n"),
    ("/etc/systemd/system/shop.service", "[Service]\nEnvironment=TOKEN_FILE=/run/credentials/token DB_PASSWORD=${DB_PASSWORD}\n"),
    ("/etc/default/shop", "#SHOP_SECRET=changeit-please\nSECRET_ARN=arn:aws:secretsmanager:eu-west-1:1:secret:x\n"),
    ("/etc/ingot/boot.d/shop.yaml", "secrets:\n  db: { secrets_manager: \"prod/shop/db\" }\n  password: \"{{secrets.db.password}}\"\n"),
    ("/root/.bash_history", "mysql -u root -p shop\ncurl -u \"$USER:$PASSWORD\" https://api.internal/\n"),
    (
        "/opt/app/config.yml",
        "password: ${DB_PASSWORD}\npassword: !vault |\npassword: '{{ db_password }}'\npassword: <%= ENV['X'] %>\npassword: null\n",
    ),
    (
        "/opt/app/config.toml",
        "password_file = '/run/credentials/db'\npassword = \"%d/db\"\npassword = ''\npassword = 'changeme'\n#password = 's3cret!'\n",
    ),
    ("/opt/app/application.properties", "db.password=${DB_PASSWORD}\ndb.password=\ndb.password=ENC(abcdef)\npassword.encoder=bcrypt\n"),
    ("/opt/app/locale/en.json", "{\"password\": \"Password\", \"Password\": \"Enter your password\"}\n"),
    ("/opt/app/schema.json", "{\"password\": {\"type\": \"string\"}, \"passwd\": \"string\", \"pwd\": true}\n"),
    (
        "/opt/k8s/deployment.yaml",
        "env:\n- name: DB_PASSWORD\n  valueFrom: {secretKeyRef: {name: shop-db, key: password}}\npasswordSecret: prod/shop/db\n",
    ),
    ("/opt/compose.yml", "environment:\n  POSTGRES_PASSWORD_FILE: /run/secrets/db\n  PASSWORD: ${PASSWORD:?}\n"),
    ("/etc/nsswitch.conf", "passwd:         files systemd\nshadow:         files\n"),
    (
        "/etc/systemd/system/shop.service",
        "[Service]\nEnvironment=DB_PASSWORD_FILE=%d/db TOKEN=%t/shop/token SHOP_SECRET=prod/shop/database\n",
    ),
    (
        "/opt/app/README",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAexample\n...\nand so on until the end of the key is reached\n-----END RSA PRIVATE KEY-----\n",
    ),
    ("/opt/app/hpke.pyi", "def open(\n    private_key: x25519.X25519PrivateKey\n    | None,\n) -> bytes: ...\n"),
    ("/srv/www/constants.php", "<?php\ndefine( 'PASS_COOKIE', 'wordpresspass_' . COOKIEHASH );\n"),
    ("/opt/app/examples/app.yaml", "password: s3cr§3t\nurl: postgres§://shop:s3cr§3t@db/shop\n"),
    ("/opt/app/data.json", "{\"d\": \"M0 0h24v24H0z\", \"d\": \"{hex:64}\"}\n"),
    ("/usr/share/info", "The password = something that is long and secret, the key: see below.\n"),
];

#[test]
fn each_sample_is_found_by_its_rule_in_its_line() {
    let mut missed = Vec::new();
    for (rule, path, sample) in FOUND.iter().chain(kinds::FOUND) {
        let content = made(sample);
        let line = content.trim_end().lines().count() as u64;
        let found = found_in(&made(path), content.as_bytes());
        // A finding that spans lines is reported in its first line; a file itself has no line.
        let is_there = |at: Option<u64>| at.is_none() || at == Some(line) || at == Some(line - 1);
        if !found.iter().any(|(at, name)| name == rule && is_there(*at)) {
            missed.push(format!("{rule} in {path}: {sample}: {found:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
    assert!(FOUND.iter().chain(kinds::FOUND).map(|(rule, ..)| rule).collect::<std::collections::BTreeSet<_>>().len() >= 60);
}

#[test]
fn each_kind_of_private_key_is_found() {
    for kind in KEYS {
        let found = found_in("/etc/ssl/private/shop.key", pem(kind, 1_600).as_bytes());
        assert_eq!(found, [(Some(1), "private-key".to_string())], "{kind}");
        let in_json = format!("{{\"private_key\": \"{}\"}}", pem(kind, 1_600).replace('\n', "\\n"));
        assert_eq!(found_in("/opt/account.json", in_json.as_bytes()), [(Some(1), "private-key".to_string())], "{kind}");
    }
    let lines = format!("{0}\n{0}\n", "QUJD".repeat(16));
    let putty = format!(
        "PuTTY-User-{}: ssh-rsa\r\nEncryption: aes256-cbc\r\nComment: shop\r\nPublic-Lines: 2\r\n{lines}Private-Lines: 2\r\n{lines}Private-MAC: 00\r\n",
        "Key-File-2"
    );
    assert_eq!(found_in("/root/shop.ppk", putty.as_bytes()), [(Some(1), "private-key-putty".to_string())]);
    let der = [&b"\x30\x82\x04\xbe\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0"[..], &[7; 99]].concat();
    assert_eq!(found_in("/etc/shop", &der), [(None, "keystore".to_string())]);
}

/// As in the documentation of AWS IoT.
#[test]
fn a_key_that_says_to_be_an_example_is_none() {
    let key = pem("RSA PRIVATE KEY", 1_600);
    let (before, after) = key.split_at(400);
    assert_eq!(found_in("/opt/claim.rst", format!("{before}{}{after}", "ABCDEFGH").as_bytes()).len(), 1);
    assert_eq!(found_in("/opt/claim.rst", format!("{before}{}{after}", "AEXAMPLEH").as_bytes()), []);
}

#[test]
fn nothing_is_found_in_what_is_no_secret() {
    let mut wrong = Vec::new();
    for (path, sample) in CLEAN.iter().chain(kinds::CLEAN) {
        let found = found_in(path, made(sample).as_bytes());
        wrong.extend((!found.is_empty()).then(|| format!("{path}: {sample}: {found:?}")));
    }
    assert_eq!(wrong, [""; 0]);
}

/// Six consecutive characters would be enough to tell which of several secrets it is.
#[test]
fn no_finding_holds_any_of_a_secret() {
    for (rule, path, sample) in FOUND.iter().chain(kinds::FOUND) {
        let content = made(sample);
        let root = root(&[(&made(path), content.as_bytes())]);
        let secrets: Vec<String> = random_parts(sample);
        for finding in scan(root.path(), 1).findings {
            let said = format!("{finding} {}", serde_json::to_string(&finding).unwrap());
            for secret in &secrets {
                let held = secret.as_bytes().windows(6).find(|run| said.contains(std::str::from_utf8(run).unwrap()));
                assert_eq!(held, None, "{rule}: {said}");
            }
        }
    }
}

/// The text with which [`made`] replaces the placeholders.
fn random_parts(sample: &str) -> Vec<String> {
    let parts = sample.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.map(|(kind, _)| made(&format!("{{{kind}}}"))).filter(|made| !made.contains(':')).collect()
}
