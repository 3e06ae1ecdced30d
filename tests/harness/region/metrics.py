"""What CloudWatch knows of load balancers, a data point for each minute; and metric math, as far as alarms use it.

- RequestCount, HTTPCode_Target_5XX_Count, HTTPCode_ELB_5XX_Count (Sum), and UnHealthyHostCount (Maximum, Minimum, Average),
  by their dimensions. A minute without a request has no data point of requests, one without a 5xx none of these, and one
  without a target none of targets ("Reporting criteria"):
  <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>
- FILL and IF, with numbers and ids of metrics:
  <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>

A minute is shortened by the region's pace, as everything that AWS does by its own schedule. Not here: every other metric,
whose data points are missing; zones; metrics that come late (on AWS a minute or two).
"""

import ast
import operator
from collections import defaultdict

from .balancing.balancer import OF_TARGETS, OWN, REQUESTS
from .balancing.targets import targets_of

MINUTE = 60
BALANCED = "AWS/ApplicationELB"
UNHEALTHY = "UnHealthyHostCount"

# How often targets are looked at within a minute.
LOOKS = 6

# Namespace, name, and values of dimensions.
Metric = tuple[str, str, frozenset]


def metric(namespace: str, name: str, dimensions: list[dict]) -> Metric:
    return namespace, name, frozenset(str(one["Value"]) for one in dimensions)


class Metrics:
    """`points` has what was measured in each minute, by statistic; the last one is that of the last whole minute."""

    def __init__(self, engine):
        self.engine = engine
        self.points: dict[Metric, list[dict]] = defaultdict(list)
        self.minutes = 0
        self.counted: dict[str, dict] = {}

    def measure(self) -> None:
        """Measures for a minute."""
        unhealthy: dict[Metric, list[int]] = defaultdict(list)
        for _ in range(LOOKS):
            self.engine.sleep(MINUTE / LOOKS / self.engine.pace.schedule)
            with self.engine.lock:
                for one, count in self.unhealthy():
                    unhealthy[one].append(count)
        with self.engine.lock:
            sums = dict(self.requests())
            for one, counts in unhealthy.items():
                said = {"Maximum": max(counts), "Minimum": min(counts), "Average": sum(counts) / len(counts)}
                self.keep(one, said)
            for one, count in sums.items():
                self.keep(one, {"Sum": count})
            self.minutes += 1

    def keep(self, one: Metric, said: dict) -> None:
        points = self.points[one]
        # Minutes before, of which there is nothing.
        points.extend({} for _ in range(self.minutes - len(points)))
        points.append(said)

    def unhealthy(self):
        engine = self.engine
        for group in engine.elb.target_groups.values():
            targets = [one for one in targets_of(engine, group.arn).targets.values() if one.registered]
            for balancer in set(group.load_balancer_arns) if targets else ():
                count = len([one for one in targets if one.state == "unhealthy"])
                names = [{"Value": balancer.partition(":loadbalancer/")[2]}, {"Value": group.arn.rpartition(":")[2]}]
                yield metric(BALANCED, UNHEALTHY, names), count

    def requests(self):
        counts = self.engine.network.balancer.counts()
        for balancer in self.engine.elb.load_balancers.values():
            address = self.engine.network.balancer_address(balancer.arn)
            now, before = counts.get(address, {}), self.counted.get(address, {})
            for name in (REQUESTS, OF_TARGETS, OWN):
                if count := now.get(name, 0) - before.get(name, 0):
                    names = [{"Value": balancer.arn.partition(":loadbalancer/")[2]}]
                    yield metric(BALANCED, name, names), count
        self.counted = counts

    def last(self, one: Metric, statistic: str, periods: int, period: int) -> list[float | None]:
        """Of so many periods, the newest last; None where nothing was measured."""
        length = max(period // MINUTE, 1)
        together = {"Sum": sum, "Maximum": max, "Minimum": min, "Average": lambda found: sum(found) / len(found)}[statistic]
        points, found = self.points.get(one, []), []
        for end in range(self.minutes, self.minutes - periods * length, -length):
            span = points[max(end - length, 0) : max(end, 0)]
            said = [point[statistic] for point in span if statistic in point]
            found.append(together(said) if said else None)
        return found[::-1]


# Metric math.

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}


def computed(expression: str, values: dict[str, float | None]) -> float | None:
    """One data point of an expression; None where one that it needs is missing."""
    return value(ast.parse(expression, mode="eval").body, values)


def value(node: ast.expr, values: dict) -> float | None:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.BinOp():
            return both(node.op, node.left, node.right, values)
        case ast.Compare(ops=[one], comparators=[right]):
            return both(one, node.left, right, values)
        case ast.Call(func=ast.Name(id="FILL"), args=[what, instead]):
            found = value(what, values)
            return value(instead, values) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            found = value(condition, values)
            return None if found is None else value(then if found else otherwise, values)
    raise ValueError(f"metric math that is not here: {ast.unparse(node)}")


def both(what, left: ast.expr, right: ast.expr, values: dict) -> float | None:
    pair = value(left, values), value(right, values)
    return None if None in pair else OPERATORS[type(what)](*pair)
