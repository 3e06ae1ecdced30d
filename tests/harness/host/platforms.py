"""Applications of several platforms, as source bundles of Elastic Beanstalk: their sources are in tests/machine/platforms.

    with Platform("flask") as machine:
        machine.begin()
        machine.upload_release(1)
        machine.succeed(machine.document(1))

The image has the runtimes of Debian. It reaches no network: what `pip`, `npm` and `bundle` install there was put into the
image before, by the ordinary clients outside or, for gems, from Debian's packages.
"""

import hashlib
import io
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from harness.agent import REPOSITORY, document

from .deployed import BUCKET, Deployed
from .systemd import must

SOURCES = REPOSITORY / "tests/machine/platforms"
CACHE = (REPOSITORY / ".cache").resolve() / "platforms"

# Python of the image, for which wheels are fetched.
PYTHON = "3.11"

# Makes gems of what Debian has installed, and the index that bundler reads them by.
GEMS = r"""
require "fileutils"
require "tmpdir"
require "rubygems/package"
names, found = %w[puma sinatra], {}
while (name = names.shift)
  next if found[name]
  found[name] = spec = Gem::Specification.find_by_name(name)
  names.concat spec.runtime_dependencies.map(&:name)
end
FileUtils.mkdir_p "/opt/gems/gems"
found.each do |name, spec|
  Dir.mktmpdir do |directory|
    package = [name, "ruby-#{name.tr("_", "-")}"].find { |package| system("dpkg-query", "-s", package, out: File::NULL, err: File::NULL) }
    `dpkg -L #{package}`.split.each do |path|
      within = path[%r{/(?:vendor_ruby(?:/\d[\d.]*)?|gems/[^/]+/lib|extensions/[^/]+/[^/]+/[^/]+)/(.+)}, 1] or next
      File.file?(path) or next
      FileUtils.mkdir_p File.dirname("#{directory}/lib/#{within}")
      FileUtils.cp path, "#{directory}/lib/#{within}"
    end
    if name == "puma"
      FileUtils.mkdir_p "#{directory}/bin"
      File.write "#{directory}/bin/puma", "require \"puma/cli\"\nPuma::CLI.new(ARGV).run\n"
    end
    Dir.chdir(directory) do
      gem = Gem::Specification.new(name, spec.version) do |gem|
        gem.summary, gem.authors, gem.files = name, ["Debian"], Dir["**/*"].select { |path| File.file?(path) }
        gem.bindir, gem.executables = "bin", (name == "puma" ? ["puma"] : [])
        spec.runtime_dependencies.each { |needed| gem.add_runtime_dependency needed.name, *needed.requirement.as_list }
      end
      FileUtils.mv Gem::Package.build(gem, true), "/opt/gems/gems/"
    end
  end
end
"""


RUNTIMES = (
    "python3,python3-venv,nodejs,npm,ruby,ruby-bundler,puma,ruby-sinatra,php-fpm,php-cli,composer,unzip,tomcat10,"
    "openjdk-17-jdk-headless"
)


class Platform(Deployed):
    # Node.js and Tomcat have 8080 themselves.
    listen = 8088

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        # A binary needs none, so that its test is a cheap one.
        self.packages = "" if name == "binary" else RUNTIMES
        self.sources = SOURCES / name

    def make_root(self, base: str) -> None:
        super().make_root(base)
        # A golden image: they are there, and nobody starts them but ingot.
        for pattern in ("php*-fpm.service", "tomcat*.service"):
            for unit in (self.root / "usr/lib/systemd/system").glob(pattern):
                must("systemctl", "--quiet", f"--root={self.root}", "disable", unit.name)

    def begin(self) -> None:
        super().begin()
        self.must("useradd", "--system", "webapp")
        self.must("install", "-d", "--mode=1777", "/var/lib/hooks")
        getattr(self, f"prepare_{self.name}", lambda: None)()

    # What the image of each platform has beside its packages.

    def prepare_flask(self) -> None:
        wheels = cached("wheels", self.sources / "requirements.txt", fetch_wheels)
        shutil.copytree(wheels, self.root / "opt/wheels")
        self.write("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /opt/wheels\n")

    def prepare_express(self) -> None:
        packages = cached("npm", self.sources / "package.json", fetch_packages)
        shutil.copytree(packages / "cache", self.root / "opt/npm")
        self.must("chown", "-R", "webapp:", "/opt/npm")
        registry = must("npm", "config", "get", "registry").strip()
        self.write("/etc/npmrc", f"offline=true\ncache=/opt/npm\nupdate-notifier=false\nregistry={registry}\n")
        self.lock = (packages / "package-lock.json").read_bytes()

    def prepare_sinatra(self) -> None:
        self.must("ruby", "-e", GEMS)
        self.must("gem", "generate_index", "--directory=/opt/gems")
        self.write("/srv/lock/Gemfile", (self.sources / "Gemfile").read_text())
        self.must("sh", "-c", "cd /srv/lock && bundle lock")
        self.lock = (self.root / "srv/lock/Gemfile.lock").read_bytes()

    def prepare_tomcat(self) -> None:
        for path in (self.sources / "src").rglob("*.java"):
            self.write(f"/srv/build/{path.relative_to(self.sources / 'src')}", path.read_text())
        self.compile("/usr/share/tomcat10/lib/*", "shop/Echo.java", "shop/Talk.java")

    def prepare_java(self) -> None:
        self.write("/srv/build/Shop.java", (self.sources / "src/Shop.java").read_text())
        self.compile(".", "Shop.java")

    def compile(self, classpath: str, *files: str) -> None:
        self.must("sh", "-c", f"cd /srv/build && javac -cp '{classpath}' -d classes {' '.join(files)}")

    # Releases.

    def release(self, release) -> dict[str, tuple[bytes, int]]:
        """The files of a release with their permission bits: the sources, as they are bundled."""
        files = {}
        for path in self.sources.rglob("*"):
            within = str(path.relative_to(self.sources))
            if path.is_file() and not within.startswith("src/shop") and within not in ("src/main.rs", "src/Shop.java"):
                files[within] = path.read_bytes(), path.stat().st_mode & 0o777
        files["RELEASE"] = f"{release}\n".encode(), 0o644
        getattr(self, f"add_to_{self.name}", lambda files: None)(files)
        return files

    def add_to_express(self, files) -> None:
        files["package-lock.json"] = self.lock, 0o644

    def add_to_sinatra(self, files) -> None:
        files["Gemfile.lock"] = self.lock, 0o644

    def add_to_binary(self, files) -> None:
        program = cached("binary", self.sources / "src/main.rs", compile_binary) / "application"
        files["bin/application"] = program.read_bytes(), 0o755

    def add_to_tomcat(self, files) -> None:
        classes = {
            f"WEB-INF/classes/shop/{path.name}": (path.read_bytes(), 0o644)
            for path in (self.root / "srv/build/classes/shop").iterdir()
        }
        files["ROOT.war"] = zipped({**classes, "WEB-INF/RELEASE": files.pop("RELEASE")}), 0o644

    def add_to_java(self, files) -> None:
        manifest = b"Manifest-Version: 1.0\nMain-Class: Shop\n\n", 0o644
        classes = {path.name: (path.read_bytes(), 0o644) for path in (self.root / "srv/build/classes").iterdir()}
        files["shop-1.2.jar"] = zipped({"META-INF/MANIFEST.MF": manifest, **classes}), 0o644

    def upload_release(self, release) -> None:
        self.aws.client("s3").put_object(Bucket=BUCKET, Key=f"{release}.zip", Body=zipped(self.release(release)))

    def document(self, release, ready: str = "60s", **fields) -> str:
        source = {"s3": f"s3://{BUCKET}/{release}.zip", "into": "/opt/shop"}
        application = {
            "bundle": "bundles.app",
            "user": "webapp",
            "proxy": {"listen": self.listen},
            "ready": {"http": "/health", "timeout": ready},
            "environment": {"LOG_LEVEL": "info"},
        }
        return document(bundles={"app": source}, applications={"shop": {**application, **fields}})


def zipped(files: dict[str, tuple[bytes, int]]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in sorted(files.items()):
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return output.getvalue()


def cached(name: str, source: Path, make) -> Path:
    """A directory that `make(source, directory)` fills, once for each content of `source`."""
    directory = CACHE / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not directory.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            make(source, Path(made) / "made")
            (Path(made) / "made").rename(directory)
    return directory


def fetch_wheels(requirements: Path, directory: Path) -> None:
    target = [f"--python-version={PYTHON}", "--platform=manylinux2014_x86_64", "--only-binary=:all:"]
    must(sys.executable, "-m", "pip", "download", "--quiet", *target, f"--dest={directory}", f"--requirement={requirements}")


def fetch_packages(manifest: Path, directory: Path) -> None:
    directory.mkdir()
    shutil.copy(manifest, directory)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit-lockfile-registry-resolved=false"]
    must("env", f"--chdir={directory}", "npm", "install", f"--cache={directory}/cache", *options)
    shutil.rmtree(directory / "node_modules")


def compile_binary(source: Path, directory: Path) -> None:
    directory.mkdir()
    must("rustc", "-O", "-C", "target-feature=+crt-static", "-o", f"{directory}/application", str(source))
