"""Alarms of templates. CloudWatch has them; whether they are raised is found out here, where a region evaluates them
(`Region(alarms=True)`). Otherwise they stay in the state OK, and SetAlarmState changes it.

- An alarm compares the newest data points, EvaluationPeriods of them, with its threshold, once a minute. It is in ALARM
  while DatapointsToAlarm of these are breaching (all, if it does not say):
  <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>
- TreatMissingData of `notBreaching` and `breaching`; `missing` is INSUFFICIENT_DATA where nothing was measured at all, and
  `ignore` keeps the state then:
  <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>. CloudWatch also looks at
  older data points if some are missing; that is not here.
- SetAlarmState holds until the next evaluation:
  <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html>

Not here: INSUFFICIENT_DATA of a new alarm, actions, composite alarms, anomaly detection.
"""

import operator

from harness.aws.proxy import ACCOUNT, REGION
from moto.cloudwatch.models import Alarm, cloudwatch_backends

from ..metrics import MINUTE, Metrics, computed, metric

ALARM = "AWS::CloudWatch::Alarm"

COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class StackAlarm:
    def __init__(self, name: str, given: dict):
        self.physical_resource_id = given.get("AlarmName", name)
        self.put(given)

    @property
    def alarm(self) -> Alarm:
        return cloudwatch_backends[ACCOUNT][REGION].alarms[self.physical_resource_id]

    def put(self, given: dict) -> None:
        """Makes it, or changes it; its state stays."""
        alarms, self.given = cloudwatch_backends[ACCOUNT][REGION], given
        state = alarms.alarms[self.physical_resource_id].state_value if self.exists() else "OK"
        alarms.put_metric_alarm(
            name=self.physical_resource_id,
            namespace=given.get("Namespace", ""),
            metric_name=given.get("MetricName", ""),
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            period=int(given.get("Period", MINUTE)),
            threshold=float(given.get("Threshold", 0)),
            statistic=given.get("Statistic", ""),
            description=given.get("AlarmDescription", ""),
            dimensions=given.get("Dimensions", []),
            alarm_actions=given.get("AlarmActions", []),
            ok_actions=given.get("OKActions", []),
            treat_missing_data=given.get("TreatMissingData"),
        )
        self.alarm.state_value = state

    def exists(self) -> bool:
        return self.physical_resource_id in cloudwatch_backends[ACCOUNT][REGION].alarms

    def get_cfn_attribute(self, name: str) -> str:
        return self.alarm.alarm_arn

    def delete(self, *_) -> None:
        cloudwatch_backends[ACCOUNT][REGION].delete_alarms([self.physical_resource_id])

    # Evaluation.

    def evaluate(self, metrics: Metrics) -> None:
        points = self.points(metrics)
        missing = self.given.get("TreatMissingData", "missing")
        breaching = [self.breaches(point) if point is not None else missing == "breaching" for point in points]
        if set(points) == {None} and missing in ("ignore", "missing"):
            return self.becomes("INSUFFICIENT_DATA", points) if missing == "missing" else None
        enough = int(self.given.get("DatapointsToAlarm", self.given["EvaluationPeriods"]))
        return self.becomes("ALARM" if sum(breaching) >= enough else "OK", points)

    def points(self, metrics: Metrics) -> list[float | None]:
        given, periods = self.given, int(self.given["EvaluationPeriods"])
        if "Metrics" not in given:
            return of_metric(metrics, given, given["Statistic"], int(given["Period"]), periods)
        values = {}
        for one in given["Metrics"]:
            if said := one.get("MetricStat"):
                values[one["Id"]] = of_metric(metrics, said["Metric"], said["Stat"], int(said["Period"]), periods)
        (expression,) = [one["Expression"] for one in given["Metrics"] if "Expression" in one]
        each = [dict(zip(values, points)) for points in zip(*values.values())]
        return [computed(expression, of_a_period) for of_a_period in each]

    def breaches(self, point: float) -> bool:
        return COMPARISONS[self.given["ComparisonOperator"]](point, float(self.given["Threshold"]))

    def becomes(self, state: str, points: list) -> None:
        if self.alarm.state_value != state:
            told = ", ".join("missing" if point is None else f"{point:g}" for point in points)
            self.alarm.update_state(f"Threshold Crossed: the last datapoints were [{told}].", "{}", state)


def of_metric(metrics: Metrics, said: dict, statistic: str, period: int, periods: int) -> list[float | None]:
    one = metric(said["Namespace"], said["MetricName"], said.get("Dimensions", []))
    return metrics.last(one, statistic, periods, period)


def evaluate(engine) -> None:
    """Measures and evaluates, a minute at a time, as long as the region is there."""
    metrics = Metrics(engine)
    while not engine.over:
        metrics.measure()
        with engine.lock:
            models = [one.model for stack in engine.stacks for one in stack.resources.values()]
            for alarm in [one for one in models if isinstance(one, StackAlarm) and one.exists()]:
                alarm.evaluate(metrics)
            engine.changed()
