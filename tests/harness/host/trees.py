"""Trees of real software, fetched from the registries and laid out as they are in images: what `ingot seal` must be silent
about. What is asked for is pinned, and what that needs is not; Debian has what its release has. Each is made once and kept in
.cache/trees.

    root = trees.made("python")
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .. import agent

CACHE = agent.REPOSITORY / ".cache/trees"

# Installed as a person would on a server, so that postinst scripts have written what they write.
SERVERS = (
    "apache2 bind9 chrony dovecot-imapd freeradius haproxy mariadb-server memcached mosquitto munge nfs-kernel-server openssh-server "
    "openvpn postfix postgresql proftpd-core rabbitmq-server redis-server samba slapd snmpd squid strongswan tinyproxy"
).split()

NPM = """express@5.3.0 webpack@5.112.2 webpack-cli@7.3.1 jest@30.5.2 node-forge@1.4.3 ssh2@1.17.0 eslint@10.15.0 pg@8.23.1 mysql2@3.24.5
mongodb@7.8.0 passport@0.7.0 jsonwebtoken@9.0.3 request@2.88.2 mocha@12.0.3 socket.io@4.8.4 aws-sdk@2.1693.0 @babel/core@8.1.2
@babel/preset-env@8.0.7 sequelize@6.37.8 knex@3.3.0 nodemailer@10.6.0 winston@3.19.0 selfsigned@5.5.0 jwks-rsa@4.1.0
oidc-provider@9.13.3""".split()

PYTHON = "Django==5.2.19 ansible==12.3.0 boto3==1.44.5 Twisted==26.10.0 certbot==5.8.0".split()

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
    run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", *NPM, cwd=app)


def python(root: Path) -> None:
    environment = root / "opt/venv"
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin/pip", "install", "--quiet", *PYTHON)


def aws_cli(root: Path) -> None:
    """As the installer of AWS lays it: the packages' data beside a frozen program, and nothing of what packaged them."""
    wheels = root / "wheels"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", wheels, "awscli==1.46.2")
    dist = root / "usr/local/aws-cli/v2/2.31.0/dist"
    dist.mkdir(parents=True)
    for name in ("awscli", "botocore", "docutils", "cryptography", "prompt_toolkit"):
        if (wheels / name).is_dir():
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
    home = next(path for path in Path("/usr/lib/jvm").iterdir() if path.name.startswith("temurin"))
    shutil.copytree(home, root / "opt/jdk", symlinks=True)
    extracted(root, "opt/tomcat", ["tomcat10", "tomcat10-common", "libtomcat10-java", "tomcat10-admin", "tomcat10-docs", "tomcat10-examples"])


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
