"""packer/: what Packer makes of it, and what it would make of the half that only runs on AWS.

Debian's Packer 1.6.6 really reads the qemu source. The amazon-ebs source has options that are younger: it is parsed, and
each name compared with those that the plugin documents (packer/amazon-ebs-options.txt, which says where they are from).
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hcl2
import pytest
from harness.agent import PATIENCE

PACKER = Path(__file__).parents[2] / "packer"
OPTIONS = Path(__file__).parent / "packer" / "amazon-ebs-options.txt"
SCRIPTS = sorted(PACKER.glob("scripts/*.sh")) + [PACKER / "files" / "ssh-host-key"]
SCRIPTS += sorted(PACKER.glob("application/*.sh"))

# One of few values.
CLOSED = {"os", "architecture", "connect_with", "accelerator"}

# What Packer refuses, before anything is started.
WRONG = [
    ("ingot_binary", ""),
    ("ingot_sha256", ""),
    ("ingot_sha256", "0" * 63),
    ("ingot_sha256", "g" * 64),
    ("image_name", "a"),
    ("image_name", "shop; reboot"),
    ("git_revision", "$(id)"),
    ("output_directory", ""),
    ("http_proxy", "proxy:3128"),
    ("http_proxy", "http://user:password@proxy:3128"),
    ("os", "debian-11"),
    ("architecture", "aarch64"),
    ("region", "Frankfurt"),
    ("root_volume_gib", "4"),
    ("connect_with", "telnet"),
    ("deprecate_after_days", "-1"),
    ("deprecate_after_days", "4000"),
    ("base_image_checksum", "sha256:1234"),
    ("accelerator", "hax"),
    ("cpus", "0"),
    ("memory_mib", "128"),
    ("disk_size", "8"),
    ("ssh_username", ""),
]


BLOCK = object()


def read(text: str) -> dict:
    """HCL as dictionaries, names and literal strings without the quotes that the library leaves on."""

    def plain(value):
        match value:
            case dict():
                return {plain(key): plain(inner) for key, inner in value.items() if key != "__is_block__"} | (
                    {BLOCK: True} if value.get("__is_block__") else {}
                )
            case list():
                return [plain(inner) for inner in value]
            case str():
                return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        return value

    return plain(hcl2.loads(text))


def file(name: str) -> dict:
    return read((PACKER / name).read_text())


def options(body: dict, path: str = "") -> set[str]:
    """Every option that a source uses, as amazon-ebs-options.txt writes them."""
    found = set()
    for name, value in body.items():
        if name is BLOCK or name == "__comments__":
            continue
        if name == "dynamic":
            for block in value:
                for label, dynamic in block.items():
                    if label is not BLOCK:
                        found |= {f"{path}{label} {{"} | options(dynamic["content"][0], f"{path}{label}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict) and value[0].get(BLOCK):
            found.add(f"{path}{name} {{")
            for block in value:
                found |= options(block, f"{path}{name}.")
        else:
            found.add(f"{path}{name} =")
    return found


def unknown(text: str) -> set[str]:
    """What an amazon-ebs source uses and its plugin does not know."""
    known = {line for line in OPTIONS.read_text().splitlines() if line and not line.startswith("#")}
    return options(read(text)["source"][0]["amazon-ebs"]["golden"]) - known


def source() -> dict:
    return file("amazon-ebs.pkr.hcl")["source"][0]["amazon-ebs"]["golden"]


def variables() -> dict[str, dict]:
    return {name: body for block in file("variables.pkr.hcl")["variable"] for name, body in block.items()}


@pytest.fixture
def packer(tmp_path):
    """Packer with these variables: exit code and what it says. It validates the qemu source unless told otherwise."""
    if not shutil.which("packer"):
        pytest.skip("not installed: packer")
    shutil.copytree(PACKER, tmp_path / "packer")
    (tmp_path / "packer" / "plugins.pkr.hcl").unlink()
    (tmp_path / "systemd").symlink_to(PACKER.parent / "systemd")
    (tmp_path / "ingot").touch()
    given = {"ingot_binary": "ingot", "ingot_sha256": "0" * 64, "base_image": "disk.qcow2"}

    def run(*command: str, stdin: str = "", **more: str | None) -> tuple[int, str]:
        arguments = [f"-var={name}={value}" for name, value in (given | more).items() if value is not None]
        done = subprocess.run(
            ["packer", *(command or ("validate", "-only=qemu.golden")), *arguments, "packer"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def table(name: str) -> dict[str, list[str]]:
    """A table of the README, between its marks: the first column, without its quotes, to the others."""
    text = (PACKER / "README.md").read_text().split(f"<!-- {name} -->")[1]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `|"): [cell.strip(" |") for cell in row[1:]] for row in rows}


def test_the_qemu_source_is_valid(packer):
    code, said = packer()
    assert code == 0, said


def test_packer_would_write_the_files_in_the_same_way(packer):
    done = subprocess.run(["packer", "fmt", "-check", "-diff", PACKER], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused(packer, name, value):
    code, said = packer(**{name: value})
    assert code != 0
    assert " ".join(variables()[name]["validation"][0]["error_message"].split()) in " ".join(said.split())


def test_a_missing_checksum_is_named(packer):
    code, said = packer(ingot_sha256=None)
    assert code != 0
    assert "ingot_sha256" in said


def test_every_validation_is_tried():
    assert {name for name, _ in WRONG} == {name for name, body in variables().items() if "validation" in body}


def test_every_variable_is_described():
    for name, body in variables().items():
        assert body.get("type"), name
        assert body.get("description", "").endswith((".", "…")), name
        for validation in body.get("validation", []):
            assert name in validation["error_message"], name
        if name in CLOSED:
            assert "contains" in body["validation"][0]["condition"], name


def test_the_readme_has_every_variable():
    rows = table("variables")
    for name, body in variables().items():
        assert name in rows, name
        assert rows[name][0] == body["description"], name
    assert set(rows) == set(variables())


def test_the_readme_has_every_unit_that_is_trimmed():
    wanted = {}
    for line in (PACKER / "files" / "units-to-trim").read_text().splitlines():
        if line and not line.startswith("#"):
            action, unit, reason = line.split(maxsplit=2)
            wanted[unit] = [action, reason]
    assert table("units") == wanted


def test_every_option_of_the_amazon_source_is_documented():
    assert unknown((PACKER / "amazon-ebs.pkr.hcl").read_text()) == set()


@pytest.mark.parametrize(
    ("right", "wrong", "seen"),
    [
        ("imds_support ", "imds_suport ", {"imds_suport ="}),
        ("metadata_options {", "metadata_options = {", {"metadata_options ="}),
        ("http_tokens ", "http_token ", {"metadata_options.http_token ="}),
        ("aws_polling {", "aws_poling {", {"aws_poling {", "aws_poling.delay_seconds =", "aws_poling.max_attempts ="}),
        ("      most_free ", "      most_fre ", {"subnet_filter.most_fre ="}),
        ('dynamic "subnet_filter"', 'dynamic "filter"', {"filter {", "filter.filters =", "filter.most_free ="}),
        ("Statement {", "Statements {", None),
    ],
)
def test_a_misspelt_option_is_seen(right, wrong, seen):
    text = (PACKER / "amazon-ebs.pkr.hcl").read_text()
    assert right in text
    found = unknown(text.replace(right, wrong))
    assert found == seen if seen else found


def test_the_old_packer_knows_all_but_the_young_options(packer):
    """The other half of the check: 1.6.6 decodes the amazon-ebs source, and stumbles over nothing else."""
    _, said = packer("validate")
    young = {"imds_support", "ami_org_arns", "deprecate_at", "metadata_options", "deregistration_protection"}
    complaints = [line for line in said.splitlines() if "expected here" in line]
    assert {line.split('"')[1] for line in complaints} <= young
    assert complaints


def test_times_are_what_ec2_reads(packer):
    """Packer takes 'Z' in quotes at the end of a format for nothing at all."""
    (expression,) = re.findall(r"deprecate_at .*?: (formatdate.*)", (PACKER / "amazon-ebs.pkr.hcl").read_text())
    for asked in (expression, 'local.tags["ingot:build-time"]'):
        _, said = packer("console", stdin=asked + "\n")
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", said.strip()), said


def test_debian_gets_an_agent_for_session_manager(packer):
    _, said = packer("console", stdin="local.install_agent\n", architecture="arm64", region="eu-west-1")
    assert said.startswith("#!/bin/sh\n")
    assert "https://s3.eu-west-1.amazonaws.com/amazon-ssm-eu-west-1/latest/debian_arm64/amazon-ssm-agent.deb" in said
    assert subprocess.run(["dash", "-n"], input=said, text=True).returncode == 0


@pytest.mark.parametrize(
    ("given", "copies"),
    [
        ({}, "false"),
        ({"share_with_accounts": '["123456789012"]'}, "true"),
        ({"share_with_accounts": '["123456789012"]', "kms_key_id": "alias/golden"}, "false"),
        ({"copy_to_regions": '["eu-west-1"]'}, "false"),
        ({"copy_to_regions": '["eu-west-1"]', "copy_kms_key_ids": '{eu-west-1="alias/golden"}'}, "true"),
        (
            {"share_with_accounts": '["123456789012"]', "kms_key_id": "alias/a", "copy_to_regions": '["eu-west-1"]'},
            "true",
        ),
    ],
)
def test_packer_is_asked_about_keys_where_one_may_be_missing(packer, given, copies):
    """With `encrypt_boot` it refuses to share what is encrypted by a key that nobody else may use."""
    _, said = packer("console", stdin="local.encrypts_copy\n", **given)
    assert said.strip() == copies


def test_builder_and_image_speak_imdsv2_only():
    assert source()["metadata_options"][0]["http_tokens"] == "required"
    assert source()["metadata_options"][0]["http_put_response_hop_limit"] == 1
    assert source()["imds_support"] == "v2.0"


def test_the_volume_is_encrypted_from_the_first_write_on():
    (device,) = source()["launch_block_device_mappings"]
    assert device["encrypted"] is True
    assert device["volume_type"] == "gp3"
    assert device["delete_on_termination"] is True


def test_every_system_has_a_source_for_every_architecture():
    images = next(block["base_images"] for block in file("amazon-ebs.pkr.hcl")["locals"])
    assert set(images) == {"amazon-linux-2023", "debian-12", "ubuntu-24.04"}
    for image in images.values():
        assert image["owner"].isdigit() and len(image["owner"]) == 12
        assert "architecture}" in image["name"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script):
    first = script.read_text().splitlines()
    assert first[0] == "#!/bin/sh" and first[1].startswith("# ")
    assert script.stat().st_mode & 0o777 == 0o755
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--shell=sh", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert subprocess.run(["dash", "-n", script]).returncode == 0


def test_every_script_is_run_and_the_seal_comes_last():
    scripts = next(
        provisioner["shell"]["scripts"]
        for provisioner in file("golden.pkr.hcl")["build"][0]["provisioner"]
        if "scripts" in provisioner.get("shell", {})
    )
    names = [Path(script).name for script in scripts]
    assert set(names) == {path.name for path in PACKER.glob("scripts/*.sh")}
    assert names[-1] == "seal.sh"


def test_the_attestation_goes_into_the_last_build_of_the_manifest(tmp_path):
    manifest, attestation = tmp_path / "manifest.json", tmp_path / "attestation.json"
    manifest.write_text(json.dumps({"builds": [{"name": "old"}, {"name": "golden"}], "last_run_uuid": "x"}))
    manifest.chmod(0o600)
    attestation.write_text('{"ingot": "0.1.0"}')
    join = [sys.executable, PACKER / "scripts" / "attest-manifest.py", manifest, attestation]
    subprocess.run(join, check=True)
    joined = json.loads(manifest.read_text())
    assert joined["builds"] == [{"name": "old"}, {"name": "golden", "attestation": {"ingot": "0.1.0"}}]
    assert joined["last_run_uuid"] == "x"
    assert manifest.stat().st_mode & 0o777 == 0o644

    before = manifest.read_text()
    attestation.write_text("{")
    failed = subprocess.run(join, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "attestation.json" in failed.stderr
    assert manifest.read_text() == before
