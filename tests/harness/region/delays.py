"""How fast AWS answers, and how honestly: late, stale and lost answers, drawn from a seed.

EC2, Auto Scaling and CloudFormation are eventually consistent: a describe may show what was true a moment ago. And an
answer may be lost although the call was carried out: who retries has to bear that.

Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
"""

import random
import threading
from dataclasses import dataclass, field


@dataclass
class Delays:
    """Ranges are in seconds, the others are probabilities. By default AWS answers at once and is always right."""

    api: tuple[float, float] = (0, 0)
    launch: tuple[float, float] = (0, 0)
    stale: float = 0
    lost: float = 0
    seed: int = 0
    lots: random.Random = field(init=False, repr=False)
    drawing: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)

    # A stale answer is at most so old, in seconds.
    OLDEST = 2.0

    def __post_init__(self) -> None:
        self.lots = random.Random(self.seed)

    @classmethod
    def as_aws(cls, seed: int) -> "Delays":
        return cls(api=(0.1, 2), launch=(1, 8), stale=0.1, lost=0.02, seed=seed)

    def seconds(self, span: tuple[float, float]) -> float:
        with self.drawing:
            return self.lots.uniform(*span)

    def happens(self, probability: float) -> bool:
        with self.drawing:
            return self.lots.random() < probability


@dataclass(frozen=True)
class Pace:
    """How many seconds of AWS are one second here: of what AWS does by its own schedule (health checks, grace periods),
    and of how long it waits for others (hooks, signals, requests in flight)."""

    schedule: float = 1
    patience: float = 1
