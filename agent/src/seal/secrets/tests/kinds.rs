//! More of what must be found, and beside each kind what only looks like it, in the form of [`samples`](super::samples).

/// Rule, path, content. Each is found by its rule, in the last line.
pub(super) const FOUND: &[(&str, &str, &str)] = &[
    ("password", "/opt/net/appsettings.json", "{\n\"Default\": \"Server=db;User Id=sa;Password=s3cr§3t!\""),
    ("password", "/opt/net/appsettings.Production.json", "{\n\"Default\": \"Server=db;Uid=sa;Pwd=s3cr§3t!\""),
    ("password", "/opt/net/web.config", "<x>\n<add name=\"Shop\" connectionString=\"Data Source=db;Pwd=s3cr§3t!\"/>"),
    ("password", "/opt/app/settings.py", "# db\nDSN = 'host=db.internal user=shop password=s3cr§3t'"),
    ("setting-secret", "/opt/net/appsettings.json", "{\n\"SigningKey\": \"Sup3rSigning§Key!\","),
    ("setting-secret", "/opt/net/appsettings.json", "{\n\"ClientSecret\": \"s3cr§3t!\","),
    ("setting-secret", "/opt/app/config.yaml", "bot:\n  token: s3cr§3t-t0ken"),
    ("setting-secret", "/opt/app/config.yaml", "app:\n  secret: \"s3cr§3t!\""),
    ("setting-secret", "/opt/app/config.yaml", "oauth:\n  client_secret: 's3cr§3t~value'"),
    ("setting-secret", "/opt/app/config.yaml", "mail:\n  api_key: k3y§-Abc9"),
    ("setting-secret", "/opt/app/config.yaml", "app:\n  encryption_key: Encrypt§Me99!"),
    ("setting-secret", "/opt/app/config.yaml", "app: {name: shop, api_key: k3y§-Abc9}"),
    ("setting-secret", "/opt/app/app.toml", "[hook]\nwebhook_secret = \"s3cr§3t!\""),
    ("setting-secret", "/opt/app/app.properties", "# jwt\napp.jwt.secret=Sign§Me2026!"),
    ("setting-secret", "/opt/app/settings.xml", "<x>\n<ApiKey>k3y§-Abc9</ApiKey>"),
    ("setting-secret", "/opt/net/Web.config", "<x>\n<add key=\"ApiKey\" value=\"k3y§-Abc9\" />"),
    ("code-password", "/srv/www/inc/db.php", "<?php return [\n'password' => 's3cr§3t!',"),
    ("code-password", "/srv/www/inc/mail.php", "<?php\n$smtp_password = \"s3cr§3t!\";"),
    ("code-password", "/opt/app/report.py", "import psycopg2\nx = psycopg2.connect(host=\"db\", password=\"s3cr§3t!\")"),
    ("code-password", "/opt/app/job.rb", "# job\nclient = Client.new(password: 's3cr§3t!')"),
    ("code-password", "/opt/app/server.js", "// db\nconst pool = new Pool({ user: 'shop', password: 's3cr§3t!' });"),
    ("environment-secret", "/opt/deploy/backup.sh", "set -e\nDB_PASSWORD=s3cr§3t-9"),
    (
        "terraform-output",
        "/opt/i/terraform.tfstate",
        "{\"outputs\": {\"x\": {\n\"value\": \"s3cr§3t\",\"type\": \"string\",\"sensitive\": true",
    ),
    ("terraform-output", "/opt/i/terraform.tfstate", "{\"outputs\": {\"db_password\": {\n\"value\": \"s3cr§3t\""),
    (
        "terraform-state",
        "/opt/i/terraform.tfstate.backup",
        "{\"type\": \"random_password\", \"name\": \"db\", \"instances\": [{\"attributes\": {\"keepers\": null,\n\"result\": \"s3cr§3t\"",
    ),
    (
        "terraform-state",
        "/opt/i/terraform.tfstate",
        "{\"bcrypt_hash\": \"x\", \"keepers\": {\"a\": \"b\"}, \"override_special\": \"{}\",\n\"result\": \"s3cr§3t\"",
    ),
    ("terraform-state", "/opt/i/terraform.tfstate", "{\"type\": \"SecureString\",\n\"value\": \"s3cr§3t\""),
    ("maven-master-password", "/root/.m2/settings-security.xml", "<settingsSecurity>\n<master>{{base64:44}}</master>"),
    ("ldap-password", "/etc/sssd/sssd.conf", "[domain/x]\nldap_default_authtok = s3cr§3t"),
    ("ldap-password", "/etc/nslcd.conf", "# x\nbindpw s3cr§3t"),
    ("haproxy-password", "/etc/haproxy/haproxy.cfg", "userlist x\n  user admin insecure-password s3cr§3t"),
    ("haproxy-password", "/etc/haproxy/haproxy.cfg", "listen x\n  stats auth admin:s3cr§3t"),
    ("radius-secret", "/etc/freeradius/3.0/clients.conf", "client nas {\n  secret = s3cr§3t"),
    ("mail-client-password", "/home/ops/.msmtprc", "account x\npassword s3cr§3t"),
    ("mail-client-password", "/etc/fetchmailrc", "# x\npoll m user \"a\" there with password \"s3cr§3t\""),
    ("exim-password", "/etc/exim4/passwd.client", "# x\nsmtp.internal:shop:s3cr§3t"),
    ("openvpn-login", "/etc/openvpn/auth.txt", "shop\ns3cr§3t!\n"),
    ("authorization", "/etc/nginx/conf.d/api.conf", "location / {\n  proxy_set_header Authorization \"Basic {word:24}\";"),
    ("authorization", "/opt/app/fetch.py", "# x\nheaders = {'Authorization': 'Bearer {word:32}'}"),
    ("sql-password", "/docker-entrypoint-initdb.d/init.sql", "-- x\nCREATE USER shop WITH PASSWORD 's3cr§3t!';"),
    ("sql-password", "/opt/app/init.sql", "-- x\nALTER ROLE shop LOGIN ENCRYPTED PASSWORD 's3cr§3t!';"),
    ("sql-password", "/opt/app/grant.sql", "-- x\nCREATE USER 'shop'@'%' IDENTIFIED BY 's3cr§3t!';"),
    ("sql-password", "/root/.mysql_history", "use x\nALTER USER a IDENTIFIED WITH mysql_native_password BY 's3cr§3t!';"),
    ("secret-file", "/root/.azure/msal_token_cache.json", "{\"RefreshToken\": {\"x\": {\"secret\": \"{word:60}\"}}}"),
    ("secret-file", "/etc/zabbix/zabbix_agentd.psk", "{hex:64}"),
    ("password-database", "/home/ops/team.kdbx", "x"),
];

/// Path and content without a finding.
pub(super) const CLEAN: &[(&str, &str)] = &[
    (
        "/opt/net/appsettings.json",
        "{\"Default\": \"Server=db;Integrated Security=true;Password=\",\n\"Other\": \"Server=db;Password=#{DbPassword}#\",\n\"SigningKey\": \"\",\n\
         \"ClientSecret\": \"<client-secret>\", \"ApiKey\": \"changeme\", \"TokenUrl\": \"https://login.internal/token\", \"Token\": \"{{ token }}\"}\n",
    ),
    (
        "/opt/k8s/values.yaml",
        "secret: shop-tls-2026\ntoken: ${TOKEN}\ntoken: !vault |\nclient_secret: <client-secret>\napi_key: your-api-key-1\nsecret: true\n\
         api_key: \"{{ api_key }}\"\nencryption_key: /run/credentials/key1\nsecretName: shop-9x8\ntoken_ttl: 3600s\ntoken: 123456\n\
         api_key:\nsigning_key: arn:aws:kms:eu-west-1:111122223333:key/1a2b3c\n",
    ),
    (
        "/opt/app/tokenizer.json",
        "{\"pad_token\": \"[PAD0]\", \"bos_token\": \"begin_0\", \"token\": \"keyword.operator\", \"max_token\": 4096}\n",
    ),
    (
        "/opt/app/service.json",
        "{\"output_token\": \"Shards[-1].ShardId\", \"x\": \"arn:aws:secretsmanager:eu-west-1:1:secret:Shop-1a2b3c\",\n\"jsonwebtoken\": \"^9.0.3\",\n\
         \"doc\": \"use <code>secret:Shop1a2b3c</code>\"}\n",
    ),
    ("/srv/www/inc/config.php", "<?php\n$token = base64_encode(random_bytes(32));\n$password = $cfg['Server']['password1'];\n"),
    ("/opt/app/i18n_zh.properties", "err.is_token=Cookie2\\u662f\\u4e00\nerr.secret=a1\u{662f}\u{4e00}xyz\n"),
    ("/opt/app/i18n.properties", "login.token=Token\nlogin.secret=Geheimnis\napi.key=API_KEY_1\n"),
    (
        "/srv/www/inc/form.php",
        "<?php return ['password' => 'required|min:8', 'passwd' => $password, 'pwd' => 'Passwort', 'token' => csrf()];\n",
    ),
    ("/srv/www/inc/fields.php", "<?php\n$password = $_POST['password1'];\n$password = \"{$x}1\";\n$map = ['password' => 'user_pass'];\n"),
    (
        "/opt/app/report.py",
        "connect(password=os.environ['PASSWORD1'])\nconnect(password=password)\nif password == 'x1y2z3': pass\nconnect(password=\"%s\" % x)\n",
    ),
    ("/opt/app/server.js", "new Pool({ password: process.env.PASSWORD1 })\nconst label = { password: 'Your password' }\n"),
    ("/opt/deploy/backup.sh", "DB_PASSWORD=$(cat /run/x)\nDB_PASSWORD=${1:?}\nTOKEN_FILE=/run/token1\nAPI_TOKEN=\"$TOKEN1\"\n"),
    (
        "/opt/i/terraform.tfstate",
        "{\"outputs\": {\"name\": {\"value\": \"shop-1a2b\", \"type\": \"string\"}}, \"type\": \"random_id\", \"result\": \"shop-9\",\n\
         \"type\": \"String\", \"value\": \"plain1\", \"dependencies\": [\"random_password.db\"]}\n",
    ),
    ("/etc/sssd/sssd.conf", "# ldap_default_authtok = s3cr§3t\nldap_default_authtok_type = password\nldap_default_bind_dn = cn=a1\n"),
    ("/etc/haproxy/haproxy.cfg", "# stats auth admin:s3cr§3t\nstats enable\nstats uri /haproxy1\nuserlist users1\n"),
    (
        "/etc/freeradius/3.0/clients.conf",
        "client localhost {\n  # secret = s3cr§3t\n  secret = testing123\n  require_message_authenticator = no\n}\n",
    ),
    ("/etc/msmtprc", "account x\nuser shop1\npasswordeval \"cat /run/credentials/mail1\"\n# password s3cr§3t\n"),
    ("/etc/exim4/passwd.client", "# smtp.internal:shop:s3cr§3t\n\n"),
    ("/etc/openvpn/client.conf", "client\nremote vpn1.internal\nauth-user-pass /run/credentials/vpn1\n"),
    ("/etc/openvpn/ipp.txt", "client1,10.8.0.2\nclient2,10.8.0.3\n"),
    (
        "/etc/nginx/conf.d/api.conf",
        "proxy_set_header Authorization $http_authorization;\nproxy_set_header Authorization \"Basic ${LOGIN1}\";\nproxy_set_header Authorization \"\";\n",
    ),
    (
        "/opt/app/fetch.py",
        "headers = {'Authorization': f'Bearer {token1}'}\nx = 'Authorization: Bearer accessToken'\ny = 'Authorization: Basic dXNlcjpwYXNzd29yZA=='\n",
    ),
    (
        "/opt/app/schema.sql",
        "CREATE TABLE users (password VARCHAR(60) DEFAULT '', token CHAR(40));\nCREATE USER shop IDENTIFIED BY '<password>';\n\
         ALTER ROLE shop PASSWORD :'password';\n-- CREATE USER a IDENTIFIED BY 's3cr§3t!';\nCREATE USER b WITH PASSWORD '${PASSWORD}';\n",
    ),
    ("/root/.azure/msal_token_cache.json", "{}\n"),
    ("/etc/zabbix/zabbix_agentd.conf", "TLSPSKFile=/run/credentials/zabbix1\nTLSPSKIdentity=shop1\n"),
    ("/opt/app/docs/settings.yaml", "token: s3cr§3t-t0ken\nclient_secret: s3cr§3t!\n"),
    ("/opt/app/config/app.yml.example", "api_key: k3y§-Abc9\n"),
];
