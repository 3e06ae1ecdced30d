"""EventBridge Scheduler, as far as a schedule of a stack calls an API.

The target's ARN names a service of the AWS SDK and one of its actions, its input is what the call gives:
<https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html>

Not here: when a schedule is due, its role, and retries.
"""

import json
import re

from botocore import xform_name


def due(region, stack: str, logical: str = "Refreshes") -> dict:
    """What the API answers to a schedule that is due now."""
    with region.engine.lock:
        target = region.stack(stack).resources[logical].properties["Target"]
    service, action = re.fullmatch(r"arn:aws:scheduler:::aws-sdk:(\w+):(\w+)", target["Arn"]).groups()
    return getattr(region.client(service), xform_name(action))(**json.loads(target["Input"]))
