"""Alarms of templates: CloudWatch has them, in the state OK, and nobody evaluates them. SetAlarmState changes the state.

<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html>. Metric math is left out.
"""

from harness.aws.proxy import ACCOUNT, REGION
from moto.cloudwatch.models import Alarm, cloudwatch_backends

ALARM = "AWS::CloudWatch::Alarm"


class StackAlarm:
    def __init__(self, name: str, given: dict):
        self.physical_resource_id = given.get("AlarmName", name)
        self.put(given)

    @property
    def alarm(self) -> Alarm:
        return cloudwatch_backends[ACCOUNT][REGION].alarms[self.physical_resource_id]

    def put(self, given: dict) -> None:
        """Makes it, or changes it; its state stays."""
        alarms = cloudwatch_backends[ACCOUNT][REGION]
        state = alarms.alarms[self.physical_resource_id].state_value if self.exists() else "OK"
        alarms.put_metric_alarm(
            name=self.physical_resource_id,
            namespace=given.get("Namespace", ""),
            metric_name=given.get("MetricName", ""),
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            period=int(given.get("Period", 60)),
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
