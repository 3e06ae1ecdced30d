"""An instance that a stack and a launch hook wait for, and the signals of its document.

    waits_for_instance(aws, imds)
    agent.boot(document(signals=SIGNALS))
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]
"""

STACK, RESOURCE, GROUP, HOOK = "shop", "WebGroup", "web", "ready"
TAGS = {
    "aws:cloudformation:stack-name": STACK,
    "aws:cloudformation:logical-id": RESOURCE,
    "aws:autoscaling:groupName": GROUP,
}
SIGNALS = {"stack": {"cloudformation": {}}, "hook": {"lifecycle_hook": {"name": HOOK}}}


def waits_for_instance(aws, imds=None) -> None:
    """Has both wait. An IMDS, if given, has the tags that lead to them."""
    if imds:
        imds.configure(tags=TAGS, lifecycle="InService")
    aws.stack(STACK, RESOURCE)
    aws.group(GROUP, {HOOK: 300})
