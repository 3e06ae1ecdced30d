"""Checks whether an instance serves: by `ingot status` through Systems Manager, or by a request over the network.

The method `ask(instance, within_s)` of a probe returns `None` once the check passes, and otherwise what it is waiting
for. It raises `Failure` if waiting longer is pointless. `try_image.py` calls it repeatedly.
"""

import http.client
import urllib.error
import urllib.request

from botocore.exceptions import ClientError

from failure import Failure, code_of

# States of the Run Command invocation.
SUCCEEDED = "Success"
RUNNING = ("Pending", "InProgress", "Delayed", "Cancelling")

# Least execution timeout of Run Command.
SHORTEST_COMMAND_S = 30


class Url:
    """Requests a URL until it answers with 200 to 399. Ignores proxies, so that the instance itself answers."""

    def __init__(self, url: str, timeout_s: float = 5):
        self.url = url
        self.timeout_s = timeout_s
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, instance: dict, _within_s: float) -> str | None:
        url = self.url.replace("{address}", instance.get("PrivateIpAddress", ""))
        try:
            with self.opener.open(url, timeout=self.timeout_s):
                return None
        except urllib.error.HTTPError as error:
            return f"{url} answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return f"{url} does not answer ({getattr(error, 'reason', error)})"


class Status:
    """Runs `ingot status --wait` on the instance, which succeeds once the boot has ended without a failed step."""

    def __init__(self, ssm):
        self.ssm = ssm
        self.command = None

    def ask(self, instance: dict, within_s: float) -> str | None:
        if self.command is None:
            return self.send(instance["InstanceId"], max(int(within_s), SHORTEST_COMMAND_S))
        return self.look(instance["InstanceId"])

    def send(self, instance: str, within_s: int) -> str:
        try:
            answer = self.ssm.send_command(
                InstanceIds=[instance],
                DocumentName="AWS-RunShellScript",
                Parameters={
                    "commands": [f"ingot status --wait --timeout {within_s}s --json"],
                    "executionTimeout": [str(within_s + SHORTEST_COMMAND_S)],
                },
                TimeoutSeconds=within_s,
            )
        except ClientError as error:
            if code_of(error) == "InvalidInstanceId":
                return "its Systems Manager agent to register"
            raise
        self.command = answer["Command"]["CommandId"]
        return "ingot status"

    def look(self, instance: str) -> str | None:
        try:
            found = self.ssm.get_command_invocation(CommandId=self.command, InstanceId=instance)
        except ClientError as error:
            if code_of(error) == "InvocationDoesNotExist":
                return "ingot status"
            raise
        if found["Status"] == SUCCEEDED:
            return None
        if found["Status"] in RUNNING:
            return "ingot status"
        said = (found.get("StandardOutputContent", "") + found.get("StandardErrorContent", "")).strip()
        hint = "correct the failed step: every instance of this image would fail in the same way"
        problem = f"{instance} did not boot as its document says ({found['Status']}, exit {found.get('ResponseCode')})"
        raise Failure(f"{problem}:\n{said}", hint)
