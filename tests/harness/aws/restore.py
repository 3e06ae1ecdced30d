"""What tests ask of a boot that restores a volume: as far as EC2 goes, for the disk itself never comes here.

    attaches(agent, data(size_gib=4))
    assert one_volume(aws)["Size"] == 4
"""

import json

from harness.agent import FAILED, Agent, Result, Running, document, until

from .account import INSTANCE, Aws

# Those of the snapshot of the fixture `instance`.
TAGS = {"app": "shop", "role": "data"}
RESTORED = {"from": {"snapshot": {"newest_with_tags": TAGS}}, "reuse": {"with_tags": TAGS}, "size_gib": 4}
OTHER = "i-0fedcba9876543210"


def data(**fields) -> str:
    """A document that restores the newest of these, or reuses one that is there."""
    return document(volumes={"data": {**RESTORED, **fields}})


def from_(source: dict, **fields) -> str:
    """A document with a volume from elsewhere."""
    return document(volumes={"data": {"from": source, "timeout": "2s", **fields}})


def report(agent: Agent) -> dict:
    """What it has reported so far, or an earlier boot in the end."""
    path = agent.root / "run/ingot/report.json"
    return json.loads(path.read_bytes()) if path.exists() else {"pid": None, "steps": []}


def waits_for_disk(agent: Agent, running: Running) -> bool:
    """Whether EC2 has done all that it is asked for."""
    found = report(agent)
    waiting = [step["waiting"] or "" for step in found["steps"]]
    return found["pid"] == running.process.pid and any(reason.startswith("for the disk of") for reason in waiting)


def attaches(agent: Agent, text: str) -> Result:
    """Boots until a disk is waited for; then the power fails."""
    running = agent.start_boot(text)
    until("the wait for a disk", lambda: waits_for_disk(agent, running), running)
    running.kill()
    return running.wait()


def fails(agent: Agent, text: str, step: str = "volumes.data") -> str:
    """Boots, and fails. Why."""
    result = agent.boot(text)
    assert result.code == FAILED, result
    said = result.failure(step)
    assert "hint: None" not in said, said
    return said


def own(aws: Aws, instance: str = INSTANCE) -> tuple[str, dict]:
    """The one volume that is attached to an instance, but for its root: its device name, and what EC2 says of it."""
    [(device, volume)] = [(d, v) for d, v in aws.attached(instance).items() if d != "/dev/xvda"]
    return device, aws.volumes(volume)[0]


def made(aws: Aws) -> list[dict]:
    """The volumes that were made for `volumes.data` of whatever instance, attached or not."""
    return aws.volumes(**{"ingot:address": "volumes.data"})


def one_volume(aws: Aws) -> dict:
    """Nothing was made twice, nor attached twice: the volume."""
    [volume] = made(aws)
    [attachment] = volume["Attachments"]
    assert (attachment["InstanceId"], volume["Tags"]["ingot:instance"]) == (INSTANCE, INSTANCE)
    forms = {json.dumps(call["form"], sort_keys=True) for call in aws.calls("CreateVolume")}
    assert len(forms) <= 1, "what is asked for again is asked for in the same words"
    attached = [call for call in aws.calls("AttachVolume") if call.get("status") == 200 and not call["fault"]]
    assert len(attached) <= 1
    assert [event["event"] for event in aws.events()] == ["attach"]
    return volume
