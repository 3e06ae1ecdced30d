"""Deletes versions of launch templates, and records the marks of the others in one tag of each template."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .decide import Decision, Verdict
from .facts import VERSIONS, Facts, Kind, Marks, Thing
from .references import batches
from .versions import write_marks

# DeleteLaunchTemplateVersions accepts 200 versions.
DELETED_AT_ONCE = 200


def carry_out_versions(facts: Facts, decisions: list[Decision], ec2: Any) -> dict[str, str]:
    """The versions that could not be changed, with the cause."""
    templates: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.thing.kind is Kind.TEMPLATE_VERSION:
            templates.setdefault(decision.thing.id.partition(":")[0], []).append(decision)
    failed: dict[str, str] = {}
    for template, of_template in templates.items():
        try:
            failed |= carry_out_template(facts, template, of_template, ec2)
        except (ClientError, BotoCoreError) as error:
            failed |= {one.thing.key: str(error) for one in of_template if one.verdict is not Verdict.KEEP}
    return failed


def carry_out_template(facts: Facts, template: str, decisions: list[Decision], ec2: Any) -> dict[str, str]:
    doomed = [str(number(one.thing)) for one in decisions if one.verdict is Verdict.DELETE]
    failed: dict[str, str] = {}
    for versions in batches(doomed, DELETED_AT_ONCE):
        answer = ec2.delete_launch_template_versions(LaunchTemplateId=template, Versions=versions)
        for one in answer.get("UnsuccessfullyDeletedLaunchTemplateVersions", []):
            failed[f"{template}:{one['VersionNumber']}"] = one.get("ResponseError", {}).get("Message", "")
    before = write_marks({number(one.thing): one.thing.marks for one in decisions})
    after = write_marks({number(one.thing): marks_after(one, facts, failed) for one in decisions})
    if after and after != before:
        ec2.create_tags(Resources=[template], Tags=[{"Key": VERSIONS, "Value": after}])
    elif before and not after:
        ec2.delete_tags(Resources=[template], Tags=[{"Key": VERSIONS}])
    return failed


def marks_after(decision: Decision, facts: Facts, failed: dict[str, str]) -> Marks:
    marks = decision.thing.marks
    if decision.verdict is Verdict.MARK:
        return Marks(facts.now)
    if decision.verdict is Verdict.SEE:
        return Marks(marks.since, facts.now)
    stays = decision.verdict is Verdict.WAIT or decision.thing.key in failed
    return marks if stays else Marks()


def number(version: Thing) -> int:
    return int(version.id.partition(":")[2])
