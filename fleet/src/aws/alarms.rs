//! States of the alarms that watch a deployment.

use std::collections::BTreeMap;

use super::Aws;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>
pub(super) const CLOUDWATCH: Api = Api { service: "monitoring", id: "CloudWatch", version: "2010-08-01", is_global: false };

/// Existing alarms by name.
pub(crate) type Alarms = BTreeMap<String, Alarm>;

/// An alarm that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub(crate) state: String,
    /// Why it is in that state, in CloudWatch's words.
    pub(crate) why: Option<String>,
    /// Whether it is a composite alarm; CloudFormation needs to know.
    pub(crate) is_composite: bool,
}

impl Alarm {
    pub(crate) fn is_raised(&self) -> bool {
        self.state == "ALARM"
    }
}

/// Looks up alarms, composite ones included, and leaves out those that do not exist. `names` must fit in one page.
pub(crate) async fn named(aws: &Aws, names: &[&str]) -> Result<Alarms, Failure> {
    if names.is_empty() {
        // Without names, CloudWatch describes all alarms.
        return Ok(Alarms::new());
    }
    let keys: Vec<String> = (1..=names.len()).map(|number| format!("AlarmNames.member.{number}")).collect();
    let types = [("AlarmTypes.member.1", "MetricAlarm"), ("AlarmTypes.member.2", "CompositeAlarm")];
    let parameters: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(names.iter().copied()).chain(types).collect();
    let on = format!("the alarms {}", names.join(", "));
    let call = Call { action: "cloudwatch:DescribeAlarms", doing: "read", on, region: &aws.region };
    let answer = signed::query(aws, &CLOUDWATCH, "DescribeAlarms", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    let kinds = [("MetricAlarms", false), ("CompositeAlarms", true)];
    let result = answer.child("DescribeAlarmsResult").into_iter();
    let alarms =
        result.flat_map(|result| kinds.into_iter().flat_map(|(list, is_composite)| result.items(list).map(move |one| (one, is_composite))));
    let read = alarms.filter_map(|(alarm, is_composite)| {
        let (state, why) = (alarm.text("StateValue")?.to_owned(), alarm.text("StateReason").map(str::to_owned));
        Some((alarm.text("AlarmName")?.to_owned(), Alarm { state, why, is_composite }))
    });
    Ok(read.collect())
}
