"""Each mutation of the account's template breaks the rule that is there for it."""

import pytest
from harness.templates import account, buckets, people, protection, rights, template
from harness.templates.change import drop, put

SERVICE = ("Resources", "ServiceRole", "Properties", "Policies", 0, "PolicyDocument", "Statement")
SERVICE_RIGHTS = ("Resources", "ServiceRights", "Properties", "PolicyDocument", "Statement")
READER = ("Resources", "Reader", "Properties", "PolicyDocument", "Statement")
DEPLOYER = ("Resources", "Deployer", "Properties", "PolicyDocument", "Statement")
BOUNDARY = ("Resources", "Boundary", "Properties", "PolicyDocument", "Statement")
NETWORK = ("Resources", "ServiceRole", "Properties", "Policies", 1, "PolicyDocument", "Statement")
TRUST = ("Resources", "ServiceRole", "Properties", "AssumeRolePolicyDocument", "Statement")
RELEASES = ("Resources", "ReleasesPolicy", "Properties", "PolicyDocument", "Statement")
ARGUMENT = ("Resources", "BootCommand", "Properties", "Content", "parameters", "release")

# What is changed, and the rule that finds it.
MUTATIONS = {
    "roles without the boundary": (drop(*SERVICE, 0, "Condition"), account.roles_are_made_with_the_boundary),
    "roles anywhere": (
        put({"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}, *SERVICE, 0, "Resource"),
        account.roles_are_made_with_the_boundary,
    ),
    "a policy that is attached": (
        put("iam:AttachRolePolicy", *SERVICE, 1, "Action", 0),
        account.roles_are_made_with_the_boundary,
    ),
    "a service role that changes itself": (
        put("/ingot/", "Resources", "ServiceRole", "Properties", "Path"),
        account.roles_are_made_with_the_boundary,
    ),
    "a role for any service": (drop(*SERVICE, 3, "Condition"), account.roles_are_passed_to_one_service),
    "databases of others": (
        drop(*SERVICE_RIGHTS, 1, "Condition"),
        account.only_environments_are_taken_away,
    ),
    "a boundary with IAM in it": (
        put("iam:*", *BOUNDARY, 0, "Action", 0),
        account.the_boundary_is_wide_enough_and_no_wider,
    ),
    "a boundary with everybody's objects": (
        put("*", *BOUNDARY, 1, "Resource"),
        account.the_boundary_is_wide_enough_and_no_wider,
    ),
    "a boundary that is not said": (
        put("s3:GetObject", *BOUNDARY, 0, "Action", 0),
        account.the_boundary_is_wide_enough_and_no_wider,
    ),
    "a service role for everybody": (
        put({"AWS": "*"}, *TRUST, 0, "Principal"),
        account.nobody_else_is_the_service_role,
    ),
    "databases without their keys": (
        put("kms:Verify", *SERVICE_RIGHTS, 3, "Action"),
        account.cloudformation_may_make_what_the_templates_have,
    ),
    "databases that are not looked at": (
        put("rds:DescribeDBInstances", *NETWORK, 0, "Action", 5),
        account.cloudformation_may_make_what_the_templates_have,
    ),
    "an action of the service role with a wildcard": (
        put("rds:*", *SERVICE_RIGHTS, 0, "Action", 0),
        rights.actions_are_named,
    ),
    "everything for the service role": (
        put("*", *SERVICE_RIGHTS, 0, "Resource"),
        rights.resources_are_named,
    ),
    "everything for the service role, as plain text": (
        put("arn:aws:rds:*:*:db:*", *SERVICE_RIGHTS, 0, "Resource"),
        rights.resources_are_named,
    ),
    "somebody else's stacks": (drop(*DEPLOYER, 2, "Condition"), people.what_is_updated_is_tagged),
    "somebody else's groups": (drop(*DEPLOYER, 8, "Condition"), people.people_stay_with_their_application),
    "somebody else's tags": (
        drop(*DEPLOYER, 10, "Condition", "StringEquals"),
        people.people_stay_with_their_application,
    ),
    "somebody else's releases": (
        put([{"Fn::Sub": "${Releases.Arn}/*"}], *READER, 6, "Resource"),
        people.people_stay_with_their_application,
    ),
    "names of somebody else's releases": (
        drop(*READER, 7, "Condition"),
        people.people_stay_with_their_application,
    ),
    "user data": (
        put("ec2:DescribeLaunchTemplateVersions", *READER, 0, "Action", 0),
        people.people_see_no_secrets,
    ),
    "all that can be described": (put("ec2:Describe*", *READER, 0, "Action", 0), people.people_see_no_secrets),
    "parameters of every stack": (
        put("cloudformation:DescribeStacks", *READER, 0, "Action", 0),
        people.people_see_no_secrets,
    ),
    "templates of anybody": (
        drop(*DEPLOYER, 1, "Condition", "StringLike"),
        people.stacks_are_made_with_the_service_role,
    ),
    "claims that begin with nothing": (
        put({"s3:if-match": "true"}, *RELEASES, 2, "Condition", "Null"),
        buckets.releases_never_change,
    ),
    "claims with the name of documents": (
        put({"Fn::Sub": "${Releases.Arn}/*/documents/*"}, *RELEASES, 1, "Resource"),
        buckets.releases_never_change,
    ),
    "parts of uploads": (drop(*RELEASES, 1, "Condition", "Bool"), buckets.releases_never_change),
    "releases that are overwritten": (drop(*RELEASES, 1), buckets.releases_never_change),
    "releases that are overwritten in parts": (
        put({"Null": {"s3:if-none-match": "false"}}, *RELEASES, 1, "Condition"),
        buckets.releases_never_change,
    ),
    "documents that are deleted": (drop(*RELEASES, 3, "Resource", 1), buckets.releases_never_change),
    "releases that go with the stack": (drop("Resources", "Releases", "DeletionPolicy"), protection.data_stays),
    "releases without versions": (
        drop("Resources", "Releases", "Properties", "VersioningConfiguration"),
        buckets.buckets_are_private_and_versioned,
    ),
    "evidence for ever": (
        drop("Resources", "Evidence", "Properties", "LifecycleConfiguration"),
        buckets.buckets_are_private_and_versioned,
    ),
    "any argument": (
        put(".*", *ARGUMENT, "allowedPattern"),
        account.commands_take_checked_arguments,
    ),
    "an argument that only begins well": (
        put("^(launched|v)", *ARGUMENT, "allowedPattern"),
        account.commands_take_checked_arguments,
    ),
    "commands for everybody's instances": (
        drop("Resources", "Deployer", "Properties", "PolicyDocument", "Statement", 7, "Condition"),
        people.deployers_send_one_document_to_their_own,
    ),
    "stacks with the rights of the caller": (
        drop("Resources", "Deployer", "Properties", "PolicyDocument", "Statement", 1, "Condition"),
        people.stacks_are_made_with_the_service_role,
    ),
    "glass that breaks by itself": (
        drop("Resources", "BreakGlass", "Properties", "PolicyDocument", "Statement", 2, "Condition", "Bool"),
        people.glass_is_broken_with_mfa,
    ),
    "a policy that IAM refuses for its size": (
        put(["cloudformation:DescribeStacks"] * 300, *READER, 0, "Action"),
        account.policies_fit_into_iam,
    ),
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.values(), ids=list(MUTATIONS))
def test_a_mutation_of_the_account_is_found(mutate, rule):
    tree = template("account")
    assert rule(tree) == []
    mutate(tree)
    assert rule(tree)


def test_every_rule_of_the_account_has_a_mutation():
    rules = {*rights.NAMED, *account.RULES, *buckets.RULES, *people.RULES}
    assert rules <= {rule for _, rule in MUTATIONS.values()}
