"""A machine with podman, and a registry in it that takes the place of ECR: its name, its TLS, its password.

    with Contained() as machine:
        machine.begin()
        machine.push("shop:1", image_of(1))
        machine.succeed(shop("shop:1"))

The registry is docker-registry behind a certificate of the harness; the password is the one that moto gives out.
"""

import json

from harness.agent import PATIENCE, document
from harness.aws.proxy import ACCOUNT, REGION
from harness.tls import Authority

from .deployed import LISTEN, Deployed
from .systemd import must

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PASSWORD = f"{ACCOUNT}-auth-token"
PUSHED_BY = ["--creds", f"AWS:{PASSWORD}"]

SERVE = f"""\
version: 0.1
log: {{ accesslog: {{ disabled: false }}, level: warn }}
storage: {{ filesystem: {{ rootdirectory: /srv/registry }}, delete: {{ enabled: true }} }}
http: {{ addr: "127.0.0.1:443", tls: {{ certificate: /etc/registry/cert.pem, key: /etc/registry/key.pem }} }}
auth: {{ htpasswd: {{ realm: ecr, path: /etc/registry/htpasswd }} }}
"""

UNIT = """\
[Service]
ExecStartPre=/bin/sh -c 'htpasswd -Bbn AWS {password} >/etc/registry/htpasswd'
ExecStart=/usr/bin/docker-registry serve /etc/registry/config.yml
[Install]
WantedBy=multi-user.target
"""

# What a container within a container may not do: raise limits, make keyrings, limit processes in a hybrid hierarchy.
ENGINE = """\
[engine]
runtime = "runc"
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""

# The root is an overlay, over which the overlay driver does not work.
STORAGE = '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n'

# For an ingot that is not static, as a debug build.
LIBRARIES = "ld-linux-x86-64.so.2 libc.so.6 libgcc_s.so.1 libm.so.6"

BUILD = f"""\
set -e
tree=$(mktemp -d)
chmod 755 $tree
mkdir -p $tree/bin $tree/www $tree/lib64 $tree/lib/x86_64-linux-gnu $tree/etc $tree/tmp
cp /bin/busybox $tree/bin/httpd
for name in {LIBRARIES}; do cp -L /lib/x86_64-linux-gnu/$name $tree/lib/x86_64-linux-gnu/; done
cp -L /lib64/ld-linux-x86-64.so.2 $tree/lib64/
printf 'root:x:0:0::/:/bin/sh\\nshop:x:1000:1000::/:/bin/sh\\n' >$tree/etc/passwd
echo "web gen=$1" >$tree/www/index.html
echo fine >$tree/www/health
if [ "$2" = shell ]; then cp /bin/busybox $tree/bin/sh; fi
name=$3
shift 3
tar -C $tree -c . | podman import --quiet "$@" - $name
rm -r $tree
"""

HTTPD = ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]


def shop(image: str, *, secrets: dict | None = None, **fields) -> str:
    """The document of one application, `shop`, whose release is an image."""
    name = image if "/" in image else f"{REGISTRY}/{image}"
    # The server of busybox does not end by itself.
    stop = {"grace": "1s"}
    application = {"image": name, "proxy": {"listen": LISTEN}, "ready": {"http": "/health", "timeout": "60s"}, "stop": stop}
    sections = {"secrets": secrets} if secrets else {}
    return document(applications={"shop": {**application, **fields}}, **sections)


class Contained(Deployed):
    packages = "podman,runc,busybox-static,docker-registry,iptables,apache2-utils"
    options = ("--capability=CAP_NET_ADMIN", "--system-call-filter=add_key keyctl bpf")
    environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}

    def begin(self) -> None:
        authority = Authority()
        certificate, key = authority.issue(REGISTRY)
        self.write("/etc/registry/cert.pem", certificate)
        self.write("/etc/registry/key.pem", key, 0o600)
        self.write("/etc/registry/config.yml", SERVE)
        self.write(f"/etc/containers/certs.d/{REGISTRY}/ca.crt", b"")
        authority.write(self.root / f"etc/containers/certs.d/{REGISTRY}/ca.crt")
        self.write("/etc/containers/containers.conf", ENGINE)
        self.write("/etc/containers/storage.conf", STORAGE)
        self.write("/etc/hosts", f"127.0.0.1 localhost {REGISTRY}\n")
        self.write("/etc/systemd/system/docker-registry.service", UNIT.format(password=PASSWORD))
        self.enable("docker-registry.service")
        super().begin()
        self.wait_until("curl -sk -o /dev/null https://127.0.0.1/v2/")

    def boot(self, timeout: float = PATIENCE) -> float:
        """The network namespace outlives a boot, and with it what an engine has set up in it."""
        forget = "iptables -t nat -F; iptables -t nat -X; ip link delete cni-podman0; :"
        must("ip", "netns", "exec", self.netns, "chroot", str(self.root), "sh", "-c", forget)
        return super().boot(timeout)

    def make_image(self, name: str, generation, *, command: list[str] = HTTPD, shell: bool = False, changes: tuple[str, ...] = ()) -> None:
        """An image of this machine: a server without anything else, or with a shell."""
        said = [f"CMD {json.dumps(command)}", "EXPOSE 8080/tcp", *changes]
        options = [word for change in said for word in ("--change", change)]
        self.must("sh", "-c", BUILD, "build", str(generation), "shell" if shell else "", name, *options)

    def push(self, name: str, generation, **image) -> str:
        """The same in the registry alone. Its digest."""
        whole = f"{REGISTRY}/{name}"
        self.make_image(whole, generation, **image)
        self.must("podman", "push", "--quiet", *PUSHED_BY, "--digestfile", "/run/digest", whole)
        self.must("podman", "rmi", "--force", whole)
        return self.must("cat", "/run/digest").strip()

    def pulls(self) -> int:
        """How many manifests the registry gave out."""
        return self.journal("-u", "docker-registry.service").count('"GET /v2/shop/manifests/')

    def containers(self) -> list[str]:
        return sorted(self.must("podman", "ps", "--all", "--format", "{{.Names}}").split())

    def inside(self, process: str = "web") -> str:
        """The process of the image, by its number on this machine."""
        [name] = [name for name in self.containers() if f".{process}-" in name]
        return self.must("podman", "inspect", "--format", "{{.State.Pid}}", name).strip()

    def push_foreign(self, name: str, architecture: str) -> None:
        """The same for another processor."""
        whole = f"{REGISTRY}/{name}"
        self.must("sh", "-c", f"printf 'FROM scratch\\nCMD [\"/x\"]\\n' | podman build --quiet --arch {architecture} --tag {whole} -")
        self.must("podman", "push", "--quiet", *PUSHED_BY, whole)
        self.must("podman", "rmi", "--force", whole)
