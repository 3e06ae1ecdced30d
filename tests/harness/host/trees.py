"""Trees of real software, fetched from the registries and laid out as they are in images: what `ingot seal` must be silent
about. Each is made once and kept in .cache/trees; `rm -r .cache/trees/NAME*` has it made anew.

Python's packages are pinned one by one. npm's are pinned, and what they need is as it was on one day. Of Debian's packages an
archive has the newest only, so those are as its release has them today.

    root = trees.made("python")
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import agent

CACHE = agent.REPOSITORY / ".cache/trees"

# Installed as a person would on a server, so that postinst scripts have written what they write.
SERVERS = (
    "apache2 bind9 chrony dovecot-imapd freeradius haproxy mariadb-server memcached mosquitto munge nfs-kernel-server openssh-server "
    "openvpn postfix postgresql proftpd-core rabbitmq-server redis-server samba slapd snmpd squid strongswan tinyproxy"
).split()

# What these need is as it was then.
NPM_BEFORE = "2026-12-01T12:00:00Z"
NPM = """express@5.3.0 webpack@5.112.2 webpack-cli@7.3.1 jest@30.5.2 node-forge@1.4.3 ssh2@1.17.0 eslint@10.15.0 pg@8.23.1 mysql2@3.24.5
mongodb@7.8.0 passport@0.7.0 jsonwebtoken@9.0.3 request@2.88.2 mocha@12.0.3 socket.io@4.8.4 aws-sdk@2.1693.0 @babel/core@8.1.2
@babel/preset-env@8.0.7 sequelize@6.37.8 knex@3.3.0 nodemailer@10.6.0 winston@3.19.0 selfsigned@5.5.0 jwks-rsa@4.1.0
oidc-provider@9.13.3""".split()

# Django, Ansible, boto3, Twisted and Certbot, and all that they need.
PYTHON = """Django==5.2.19 ansible==12.3.0 boto3==1.44.5 Twisted==26.10.0 certbot==5.8.0 acme==5.9.0 ansible-core==2.19.14
asgiref==3.13.0 attrs==26.1.0 Automat==25.4.16 botocore==1.44.8 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.3
ConfigArgParse==1.9.0 configobj==5.0.9 constantly==23.10.4 cryptography==50.0.2 distro==1.9.0 hyperlink==21.0.0 idna==3.20
incremental==24.11.0 Jinja2==3.1.6 jmespath==1.1.0 josepy==2.2.0 MarkupSafe==3.0.4 packaging==26.4 parsedatetime==2.6
pycparser==3.12 pyOpenSSL==26.4.0 pyRFC3339==2.1.1 python-dateutil==2.9.0.post0 PyYAML==6.0.4 requests==2.34.2 resolvelib==1.2.1
s3transfer==0.19.3 six==1.17.0 sqlparse==0.6.1 typing_extensions==4.16.0 urllib3==2.8.0 zope.interface==8.7""".split()

AWS_CLI = "awscli==1.46.2 docutils==0.23 cryptography==50.0.2 prompt_toolkit==3.0.53 awscrt==0.38.1 ruamel.yaml==0.19.1".split()

JDK = "openjdk-17-jdk-headless openjdk-17-jre-headless openjdk-17-source openjdk-17-demo".split()
TOMCAT = "tomcat10 tomcat10-common libtomcat10-java tomcat10-admin tomcat10-docs tomcat10-examples".split()
LIBRARIES = """libspring-core-java libspring-beans-java libspring-context-java libspring-web-java libbcprov-java libbcpkix-java
libbcpg-java libnetty-java libpostgresql-jdbc-java libmariadb-java libjackson2-databind-java liblog4j2-java libguava-java
libhttpclient-java libhibernate-validator-java libcommons-lang3-java libh2-java""".split()

RUBY = "ruby-rails ruby-jwt ruby-net-ssh ruby-openid-connect ruby-devise ruby-httparty ruby-sinatra ruby-ruby2ruby puma ruby-omniauth".split()


def run(*command: object, **more: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr, **more)


def debian(root: Path) -> None:
    made = subprocess.run(
        [agent.REPOSITORY / "tests/harness/host/debian-root", ",".join(SERVERS)], check=True, stdout=subprocess.PIPE, text=True
    )
    run("cp", "--archive", "--reflink=auto", made.stdout.strip() + "/.", root)


def npm(root: Path) -> None:
    app = root / "opt/shop"
    app.mkdir(parents=True)
    (app / "package.json").write_text(json.dumps({"name": "shop", "version": "1.0.0", "private": True}))
    run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", "--before", NPM_BEFORE, *NPM, cwd=app)


def python(root: Path) -> None:
    environment = root / "opt/venv"
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin/pip", "install", "--quiet", "--no-deps", *PYTHON)


def aws_cli(root: Path) -> None:
    """As the installer of AWS lays it: the packages' data beside a frozen program, and nothing of what packaged them."""
    wheels = root / "wheels"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--target", wheels, *AWS_CLI)
    dist = root / "usr/local/aws-cli/v2/2.31.0/dist"
    dist.mkdir(parents=True)
    for name in ("awscli", "awscrt", "cryptography", "docutils", "prompt_toolkit", "ruamel"):
        shutil.move(wheels / name, dist / name)
    for source in dist.rglob("*.py"):
        source.unlink()
    shutil.rmtree(wheels)


def extracted(root: Path, at: str, packages: list[str]) -> None:
    """The content of Debian's packages, without what dpkg knows of them."""
    directory = root / at
    scratch = root / "scratch"
    scratch.mkdir(parents=True)
    directory.mkdir(parents=True)
    run("apt-get", "download", "--quiet", *packages, cwd=scratch)
    for package in scratch.glob("*.deb"):
        run("dpkg-deb", "--extract", package, directory)
    shutil.rmtree(scratch)


def dependencies(packages: list[str], prefix: tuple[str, ...]) -> list[str]:
    command = ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces",
               "--no-enhances", *packages]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({name for name in listed if name.startswith(prefix)} | set(packages))


def java(root: Path) -> None:
    """A JDK with its sources, Tomcat, and an application with what such have in WEB-INF/lib, as archives are unpacked in /opt."""
    extracted(root, "unpacked", JDK)
    jvm = root / "unpacked/usr/lib/jvm"
    (root / "opt").mkdir()
    shutil.move(jvm / "java-17-openjdk-amd64", root / "opt/jdk")
    sources = root / "opt/jdk/lib/src.zip"
    sources.unlink(missing_ok=True)
    shutil.move(jvm / "openjdk-17/lib/src.zip", sources)
    shutil.move(root / "unpacked/etc/java-17-openjdk", root / "opt/jdk/conf-of-debian")
    shutil.rmtree(root / "unpacked")
    extracted(root, "opt/tomcat", TOMCAT)
    extracted(root, "unpacked", LIBRARIES)
    application = root / "opt/tomcat/webapps/shop/WEB-INF"
    application.mkdir(parents=True)
    shutil.move(root / "unpacked/usr/share/java", application / "lib")
    shutil.rmtree(root / "unpacked")


def ruby(root: Path) -> None:
    """Gems with their specifications, as `bundle install --deployment` has them below vendor/bundle."""
    extracted(root, "unpacked", dependencies(RUBY, ("ruby-",)))
    bundle = root / "srv/shop/vendor/bundle/ruby/3.1.0"
    bundle.parent.mkdir(parents=True)
    shutil.move(root / "unpacked/usr/share/rubygems-integration/all", bundle)
    shutil.move(root / "unpacked/usr/lib/ruby", root / "srv/shop/lib")
    shutil.rmtree(root / "unpacked")


def php(root: Path) -> None:
    extracted(root, "unpacked", ["wordpress", "phpmyadmin", *dependencies(["php-symfony"], ("php-symfony", "php-guzzle"))[:40]])
    (root / "srv").mkdir(exist_ok=True)
    shutil.move(root / "unpacked/usr/share", root / "srv/www")
    shutil.rmtree(root / "unpacked")


def layer(root: Path) -> None:
    """A container of Debian with an application in Python, as Docker keeps it."""
    layers = root / "var/lib/docker/overlay2"
    lower, upper = layers / "0a1b/diff", layers / "2c3d/diff"
    lower.mkdir(parents=True)
    base = subprocess.run([agent.REPOSITORY / "tests/harness/host/debian-root"], check=True, stdout=subprocess.PIPE, text=True)
    run("cp", "--archive", "--reflink=auto", base.stdout.strip() + "/.", lower)
    packages = upper / "usr/local/lib/python3.11/site-packages"
    packages.parent.mkdir(parents=True)
    run("cp", "--archive", "--reflink=auto", made("python") / "opt/venv/lib/python3.11/site-packages", packages)


TREES: dict[str, Callable[[Path], None]] = {
    "debian": debian,
    "npm": npm,
    "python": python,
    "aws-cli": aws_cli,
    "java": java,
    "ruby": ruby,
    "php": php,
    "layer": layer,
}


# Whoever adds a line has looked at the file, and says what it is.
VERDICTS: dict[str, tuple[bool, str]] = {
    "/etc/bind/rndc.key": (True, "made up when BIND was installed: each instance would have it"),
    "/etc/munge/munge.key": (True, "made up when Munge was installed"),
    "/etc/ssl/private/ssl-cert-snakeoil.key": (True, "made up when `ssl-cert` was installed"),
    "/var/lib/rabbitmq/.erlang.cookie": (True, "made up when RabbitMQ was installed"),
    "/opt/tomcat/webapps/shop/WEB-INF/lib/netty-handler.jar": (False, "a key by which Netty tries OpenSSL, in a class"),
    "/opt/shop/node_modules/ssh2/lib/protocol/constants.js": (False, "a key by which it tries whether Node.js knows Ed25519"),
}


@dataclass
class Judged:
    """What was found in a tree, each with its verdict."""

    files: int
    size: int
    # Path with line, rule, whether it is a secret, and why.
    findings: list[tuple[str, str, bool, str]]

    @property
    def false(self) -> list[tuple[str, str, bool, str]]:
        return [one for one in self.findings if not one[2]]

    def row(self, name: str) -> list[str]:
        """Of the table: tree, files, MB, findings, true, false."""
        many, false = len(self.findings), len(self.false)
        return [name, f"{self.files:,}", f"{self.size / 1e6:,.0f}", str(many), str(many - false), str(false)]


def judged(root: Path, findings: list[dict]) -> Judged:
    """What `ingot seal --json` says of a tree. A finding without a verdict is false until somebody has looked at it."""
    regular = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    place = lambda one: one["path"] + (f":{one['line']}" if one.get("line") else "")  # noqa: E731
    verdict = lambda one: VERDICTS.get(one["path"], (False, "nobody has looked at it"))  # noqa: E731
    rows = [(place(one), one["rule"], *verdict(one)) for one in findings]
    return Judged(len(regular), sum(path.stat().st_size for path in regular), rows)


def made(name: str) -> Path:
    """The tree of that name, made if it is not there yet."""
    root = CACHE / name
    done = CACHE / f"{name}.made"
    if not done.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        os.umask(0o022)
        TREES[name](root)
        done.touch()
    return root
