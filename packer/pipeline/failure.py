"""The error with which the programs here exit: what failed, and what to do about it.

    raise Failure("no build in packer-manifest.json", "run packer build first", cause=error)

It is printed like ingot's own errors: message, cause, hint. A traceback is always a bug.
"""

import signal
import sys
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError


class Failure(Exception):
    """A lowercase message that names the operation and the object, with an imperative sentence as its hint."""

    def __init__(self, message: str, hint: str, cause: BaseException | None = None):
        super().__init__(message)
        self.hint = hint
        self.cause = cause

    def explanation(self) -> str:
        lines = [f"error: {self}"]
        if self.cause is not None:
            lines.append(f"cause: {self.cause}")
        return "\n".join([*lines, f"hint: {self.hint}"])


def code_of(error: ClientError) -> str:
    """The error code of AWS."""
    return error.response["Error"]["Code"]


def talk(line: str) -> None:
    """Prints a line for people. Stdout is for data."""
    print(line, file=sys.stderr, flush=True)


def end_with(main: Callable[[], None]) -> int:
    """Runs a program and returns its exit code. SIGTERM, which a canceled build gets, ends it like any failure."""
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except Failure as failure:
        talk(failure.explanation())
        return 1
    except (ClientError, BotoCoreError) as error:
        hint = "allow the call in the role of the pipeline (permissions.yaml), or check the region and the credentials"
        talk(Failure("an AWS call failed", hint, error).explanation())
        return 1
    return 0


def stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)
