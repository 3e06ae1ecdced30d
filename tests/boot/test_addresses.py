"""An elastic IP address moves to the instance that serves, by moto's EC2."""

import re

import pytest
from harness.agent import DONE, FAILED, document, until, waits_for
from harness.aws.account import INSTANCE

OTHER = "i-0fedcba9876543210"


def wanted(allocation: str, **sections) -> str:
    return document(addresses={"public": {"elastic_ip": allocation}}, **sections)


def primary(aws) -> dict:
    """The primary interface of this instance."""
    [reservation] = aws.client("ec2").describe_instances(InstanceIds=[INSTANCE])["Reservations"]
    return reservation["Instances"][0]["NetworkInterfaces"][0]


@pytest.fixture
def allocation(agent, aws, imds):
    """An address that another instance has; IMDS knows this one's primary interface."""
    aws.instance()
    aws.instance(OTHER)
    interface = primary(aws)
    imds.configure(instance={"interface": interface["NetworkInterfaceId"], "private_ip": interface["PrivateIpAddress"]})
    return aws.elastic_ip(OTHER)


def test_it_is_taken_from_its_holder_and_stays(agent, aws, allocation):
    result = agent.boot(wanted(allocation))
    assert result.code == DONE and aws.holder(allocation) == INSTANCE, result
    [change] = result.step("addresses.public")["changes"]
    assert change.startswith("move ") and change.endswith(f"({allocation}) from {OTHER} to this instance"), change
    again = agent.boot(wanted(allocation))
    assert again.outcomes() == {"addresses.public": "unchanged"}, again
    assert (aws.count("AssociateAddress"), aws.count("DescribeAddresses")) == (1, 2)


def test_from_a_secondary_private_address_it_moves_to_the_primary_one(agent, aws, imds, allocation):
    assert agent.boot(wanted(allocation)).code == DONE
    # To moto, an interface has one private address.
    imds.configure(instance={"interface": primary(aws)["NetworkInterfaceId"], "private_ip": "10.0.1.99"})
    result = agent.boot(wanted(allocation))
    assert result.code == DONE, result
    [change] = result.step("addresses.public")["changes"]
    assert re.search(r"from its address [0-9.]+ to this instance$", change), change
    assert aws.count("AssociateAddress") == 2


def test_its_holder_keeps_it_until_the_last_step_is_done(agent, aws, allocation, tmp_path):
    over = tmp_path / "over"
    running = agent.start_boot(wanted(allocation, commands={"slow": {"run": waits_for(over)}}))
    assert running.wait_for_line("commands.slow: run"), running.lines
    assert aws.count("DescribeAddresses") == 0 and aws.holder(allocation) == OTHER
    over.touch()
    assert running.wait().code == DONE
    assert aws.holder(allocation) == INSTANCE


def test_a_boot_that_fails_leaves_it(agent, aws, allocation):
    result = agent.boot(wanted(allocation, commands={"a": {"run": ["/bin/false"]}}))
    assert result.code == FAILED and result.step("addresses.public")["outcome"] == "skipped", result
    assert aws.holder(allocation) == OTHER


@pytest.mark.parametrize("operation", ["DescribeAddresses", "AssociateAddress"])
def test_a_denied_call_changes_nothing_and_says_what_to_allow(agent, aws, allocation, operation):
    aws.fault("denied", operation=operation)
    result = agent.boot(wanted(allocation))
    assert result.code == FAILED and aws.holder(allocation) == OTHER, result
    assert f"allow ec2:{operation} on" in result.failure("addresses.public")
    assert aws.count(operation) == 1


def test_one_that_is_not_there_or_of_another_account(agent, aws, allocation):
    result = agent.boot(wanted("eipalloc-0123456789abcdef0"))
    assert result.code == FAILED, result
    assert "name an elastic IP address of this account and region" in result.failure("addresses.public")
    aws.fault("error", operation="AssociateAddress", type="AuthFailure", message=f"The address '{allocation}' does not belong to you.")
    result = agent.boot(wanted(allocation))
    assert result.code == FAILED and aws.holder(allocation) == OTHER, result
    assert "name an elastic IP address of this account" in result.failure("addresses.public")


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "internal", "reset", "truncate"])
@pytest.mark.parametrize("operation", ["DescribeAddresses", "AssociateAddress"])
def test_a_call_is_made_again(agent, aws, allocation, operation, fault):
    aws.fault(fault, operation=operation, times=2)
    result = agent.boot(wanted(allocation))
    assert result.code == DONE and aws.holder(allocation) == INSTANCE, result


@pytest.mark.parametrize("operation", ["DescribeAddresses", "AssociateAddress"])
@pytest.mark.parametrize("fault", ["hang", "trickle"], ids=["not-carried-out", "carried-out"])
def test_killed_at_any_exchange_it_ends_here(agent, aws, allocation, operation, fault):
    aws.fault(fault, operation=operation, times=1, **({"bytes_per_second": 1} if fault == "trickle" else {}))
    running = agent.start_boot(wanted(allocation))
    until("the call", lambda: aws.count(operation) == 1, running)
    running.kill()
    running.wait()
    result = agent.boot(wanted(allocation))
    assert result.code == DONE and aws.holder(allocation) == INSTANCE, result
