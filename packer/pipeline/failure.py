"""What went wrong, and what to do about it: the one kind of error that the programs here end with.

    raise Failure("no build in packer-manifest.json", "run packer build first", cause=error)

It is printed as ingot prints its own: the message, the cause, a hint. A traceback means a mistake of ours.
"""

import signal
import sys
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError


class Failure(Exception):
    """A lower-case message that names the operation and the object, and an imperative sentence as a hint."""

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
    """AWS's own name for what it refused."""
    return error.response["Error"]["Code"]


def talk(line: str) -> None:
    """For people; stdout is for data."""
    print(line, file=sys.stderr, flush=True)


def end_with(main: Callable[[], None]) -> int:
    """Runs a program. A build that is stopped gets SIGTERM: it unwinds like any failure, and leaves nothing running."""
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except Failure as failure:
        talk(failure.explanation())
        return 1
    except (ClientError, BotoCoreError) as error:
        hint = "allow it to the role that runs the pipeline (permissions.yaml), or check the region and credentials"
        talk(Failure("a call of AWS failed", hint, error).explanation())
        return 1
    return 0


def stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)
