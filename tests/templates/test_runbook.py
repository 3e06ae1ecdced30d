"""The runbook has an entry for everything that can be: alarms, statuses of stacks, states of deployments; and it says what
`ingot-fleet` says."""

import re

import botocore.session
import pytest
from harness.templates import ROOT
from harness.templates.runbook import COURSE, PAGE, QUESTIONS, disagreements, entries, named_by_the_program, statuses, ways_out

RECORD = ROOT / "fleet" / "src" / "deployment" / "record.rs"
PARTS = ["Alarms", "Stacks", "Deployments"]

# A stack in one of these can be updated, and needs nobody.
SOUND = {"sound", "update_rollback_complete"}


@pytest.mark.parametrize("part", PARTS)
def test_each_entry_says_what_it_means_where_to_look_what_to_do_and_how_to_undo_it(part):
    for anchor, text in entries(part).items():
        assert re.findall(r"(?m)^\*\*([A-Z][a-z]+\.)\*\*", text)[: len(QUESTIONS)] == QUESTIONS, anchor


def test_every_status_of_a_stack_leads_to_an_entry():
    """Those that CloudFormation's own description lists."""
    model = botocore.session.get_session().get_service_model("cloudformation")
    assert statuses().keys() == set(model.shape_for("StackStatus").enum)
    assert set(statuses().values()) == entries("Stacks").keys()


def test_the_runbook_and_the_program_agree():
    assert len(named_by_the_program(COURSE.read_text())) >= 7 and all(ways_out(COURSE.read_text()).values())
    assert disagreements() == []


def test_whoever_works_on_a_stack_is_waited_for():
    """The program takes all of these for busy, but for the one that it names."""
    busy = {status for status, anchor in statuses().items() if anchor == "in-progress"}
    assert busy == {status for status in statuses() if status.endswith("_IN_PROGRESS")} - {"REVIEW_IN_PROGRESS"}


def test_a_status_that_the_program_takes_for_sound_is_told_of_as_such():
    named = named_by_the_program(COURSE.read_text()).keys()
    others = {status for status in statuses() if not status.endswith("_IN_PROGRESS")} - named
    assert {status for status in others if statuses()[status] not in SOUND} == {"DELETE_COMPLETE"}


def test_every_state_of_a_deployment_has_an_entry():
    (states,) = re.findall(r"impl fmt::Display for State \{(.+?)\n\}", RECORD.read_text(), re.DOTALL)
    words = re.findall(r'=> "(.+?)"', states)
    assert len(words) >= 4 and {word.replace(" ", "-") for word in words} <= entries("Deployments").keys()


@pytest.mark.parametrize(
    ("page", "course", "said"),
    [
        (("### UPDATE_FAILED", "### SOMETHING"), None, "UPDATE_FAILED has no entry"),
        (("](#delete_failed) |", "](#sound) |"), None, "the table does not lead from DELETE_FAILED to its entry"),
        (("aws cloudformation rollback-stack", "aws cloudformation start"), None, "UPDATE_FAILED has not: aws cloudformation rollback-stack"),
        (None, ('"DELETE_FAILED" =>', '"LOST" | "DELETE_FAILED" =>'), "LOST has no entry"),
        (None, ("`ingot-fleet terminate {environment}` again", "`ingot-fleet forget {environment}`"), "DELETE_FAILED has not: ingot-fleet forget prod"),
        (None, ("Stuck(Stuck::NotBack)", "Stuck(Stuck::Halfway)"), "nobody is sent to NotBack"),
    ],
)
def test_a_disagreement_is_found(page, course, said):
    def changed(text: str, change: tuple[str, str] | None) -> str:
        assert change is None or change[0] in text
        return text.replace(*change) if change else text

    found = disagreements(changed(PAGE.read_text(), page), changed(COURSE.read_text(), course))
    assert any(one.startswith(said) for one in found), found
