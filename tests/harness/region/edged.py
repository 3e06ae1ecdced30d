"""Two environments behind one edge, as their operator has them: `blue` in slot a, which serves at first, and `green` in slot b.

    operator = Edged(tmp_path, region, stickiness="1h")
    operator.both("v1", "v2")
    assert operator("swap", "main", "--yes").code == DONE
    assert operator.serving() == "b"
"""

import json
import subprocess

import yaml
from harness.agent import DONE

from .operated import Operator, address

EDGE = "edge-main"
STACK = f"shop-{EDGE}"


class Edged(Operator):
    def __init__(self, directory, region, count: int = 2, **edge):
        """`edge`: what the edge says in fleet.yaml."""
        size = {"instances": {"min": count, "max": 2 * count}, "deployment": {"policy": "rolling_with_batch"}}
        slots = {"blue": "a", "green": "b"}
        joined = {name: {**size, "load_balancer": {"edge": "main", "slot": slot}} for name, slot in slots.items()}
        super().__init__(directory, region, **joined)
        self.describe(**edge)

    def describe(self, **edge) -> None:
        """Has the edge say this in fleet.yaml."""
        path = self.directory / "fleet.yaml"
        content = yaml.safe_load(path.read_text())
        network = content["environments"]["blue"]["network"]
        content["edges"] = {"main": {"network": network, **edge}}
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def made(self, *args: str) -> None:
        done = self(*args)
        assert done.code == DONE, (done, self.region.told())

    def both(self, blue: str, green: str) -> None:
        """The edge, with a release in each slot."""
        for release in {blue, green}:
            self.release(release)
        self.made("edge", "main", "--yes")
        self.made("create", "blue", "--release", blue)
        self.made("create", "green", "--release", green)

    @property
    def stack(self):
        return self.region.stack(STACK)

    def parameters(self) -> dict[str, str]:
        """Those of the edge's stack, as CloudFormation describes them."""
        (stack,) = self.region.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}

    def output(self, name: str) -> str:
        (stack,) = self.region.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == name)

    def serving(self) -> str:
        """The slot with all weight."""
        given = self.parameters()
        return {("100", "0"): "a", ("0", "100"): "b"}[given["WeightA"], given["WeightB"]]

    @property
    def url(self) -> str:
        return f"http://{address(self.region, EDGE)}"

    def get(self, path: str = "/", *headers: str) -> str:
        """What the edge answers: status and body."""
        given = [word for header in headers for word in ("-H", header)]
        curl = ["curl", "-sS", "--max-time", "10", "-w", " %{http_code}", *given, f"{self.url}{path}"]
        return subprocess.run([*self.region.network.prefix, *curl], capture_output=True, text=True).stdout

    def swaps(self) -> list[dict]:
        """Their records, the first one first."""
        prefix = f"shop/environments/{EDGE}/deployments/swap-"
        found = [json.loads(self.read(key)) for key in self.keys() if key.startswith(prefix)]
        return sorted(found, key=lambda record: record["number"])
