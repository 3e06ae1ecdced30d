//! CloudWatch's alarms: which ones are in ALARM.

use ingot::desk::Element;

use super::Aws;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::failure::Failure;
use crate::story::Alarm;

/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/Welcome.html>
const CLOUDWATCH: Api = Api { service: "monitoring", variable: "AWS_ENDPOINT_URL_CLOUDWATCH", version: "2010-08-01" };

/// Those of these names that are in ALARM, 100 names at the most. A name that no alarm has is passed over.
pub(crate) async fn raised(aws: &Aws, names: &[String]) -> Result<Vec<Alarm>, Failure> {
    let call =
        Call { action: "cloudwatch:DescribeAlarms", doing: "look at", on: format!("the alarms {}", names.join(", ")), region: &aws.region };
    let members: Vec<String> = (1..=names.len()).map(|number| format!("AlarmNames.member.{number}")).collect();
    let mut parameters = vec![
        ("StateValue", "ALARM"),
        ("AlarmTypes.member.1", "MetricAlarm"),
        ("AlarmTypes.member.2", "CompositeAlarm"),
        ("MaxRecords", "100"),
    ];
    parameters.extend(members.iter().map(String::as_str).zip(names.iter().map(String::as_str)));
    let answer = signed::query(aws, &CLOUDWATCH, "DescribeAlarms", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    Ok(answer.child("DescribeAlarmsResult").into_iter().flat_map(of_result).collect())
}

fn of_result(result: &Element) -> impl Iterator<Item = Alarm> {
    let all = result.items("MetricAlarms").chain(result.items("CompositeAlarms"));
    all.filter(|alarm| alarm.text("StateValue") == Some("ALARM")).map(|alarm| Alarm {
        name: alarm.text("AlarmName").unwrap_or_default().to_owned(),
        why: alarm.text("StateReason").unwrap_or("CloudWatch does not say why").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_in_alarm_are_told() {
        let answer = Element::parse(
            b"<r><DescribeAlarmsResult><MetricAlarms><member><AlarmName>a</AlarmName><StateValue>OK</StateValue></member>\
              <member><AlarmName>b</AlarmName><StateValue>ALARM</StateValue><StateReason>Threshold Crossed</StateReason></member></MetricAlarms>\
              <CompositeAlarms><member><AlarmName>c</AlarmName><StateValue>ALARM</StateValue></member></CompositeAlarms></DescribeAlarmsResult></r>",
        );
        let found: Vec<Alarm> = answer.unwrap().child("DescribeAlarmsResult").into_iter().flat_map(of_result).collect();
        let told: Vec<String> = found.iter().map(|alarm| format!("{}: {}", alarm.name, alarm.why)).collect();
        assert_eq!(told, ["b: Threshold Crossed", "c: CloudWatch does not say why"]);
    }
}
