//! Counts the requests to a target group, and sends a request to an edge.

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::alarms::CLOUDWATCH;
use super::signed;
use super::trouble::Call;
use super::{ANSWER, Aws};
use crate::failure::{Failure, chain};

/// The header that selects a slot of an edge, as in the template.
const HEADER: &str = "x-ingot-slot";

/// How much of an answer is read, in bytes.
const LARGEST: usize = 1 << 20;

/// Returns how many requests a target group received in the last `minutes`, according to CloudWatch. `label` names load
/// balancer and target group, as scaling by requests does: `app/NAME/ID/targetgroup/NAME/ID`.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>:
/// health checks do not count.
pub(crate) async fn requests(aws: &Aws, label: &str, minutes: i64) -> Result<u64, Failure> {
    let at = label.find("/targetgroup/").unwrap_or(label.len());
    let (balancer, targets) = (&label[..at], label[at..].trim_start_matches('/'));
    let now = Timestamp::now();
    let since = now.checked_sub(SignedDuration::from_mins(minutes)).unwrap_or(now);
    let (since, until) = (format!("{since:.0}"), format!("{now:.0}"));
    let stat = |field: &str| format!("MetricDataQueries.member.1.MetricStat.{field}");
    let names = ["Namespace", "MetricName"].map(|field| stat(&format!("Metric.{field}")));
    let dimension = |number: u32, field: &str| stat(&format!("Metric.Dimensions.member.{number}.{field}"));
    let dimensions = [dimension(1, "Name"), dimension(1, "Value"), dimension(2, "Name"), dimension(2, "Value")];
    let (period, sum) = (stat("Period"), stat("Stat"));
    let parameters = [
        ("StartTime", since.as_str()),
        ("EndTime", until.as_str()),
        ("MetricDataQueries.member.1.Id", "requests"),
        (names[0].as_str(), "AWS/ApplicationELB"),
        (names[1].as_str(), "RequestCount"),
        (dimensions[0].as_str(), "LoadBalancer"),
        (dimensions[1].as_str(), balancer),
        (dimensions[2].as_str(), "TargetGroup"),
        (dimensions[3].as_str(), targets),
        (period.as_str(), "60"),
        (sum.as_str(), "Sum"),
    ];
    let call = Call { action: "cloudwatch:GetMetricData", doing: "count", on: format!("the requests of {targets}"), region: &aws.region };
    let answer = signed::query(aws, &CLOUDWATCH, "GetMetricData", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    let results = answer.child("GetMetricDataResult").into_iter().flat_map(|result| result.items("MetricDataResults"));
    let values = results.flat_map(|result| result.items("Values"));
    Ok(values.filter_map(|value| value.text.trim().parse::<f64>().ok()).sum::<f64>() as u64)
}

/// Answer of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Requests `url` from one slot of an edge. The error is a phrase for users.
pub(crate) async fn ask(aws: &Aws, url: &str, slot: &str) -> Result<Answered, String> {
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(url).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HEADER, slot.to_owned());
    request.headers_mut().insert("user-agent", concat!("ingot-fleet/", env!("CARGO_PKG_VERSION")));
    let answer = async {
        let answer = aws.connector.call(request).await.map_err(|error| chain(&error))?;
        let status = answer.status().as_u16();
        let body = ByteStream::new(answer.into_body()).collect().await.map_err(|error| chain(&error))?.into_bytes();
        Ok(Answered { status, text: String::from_utf8_lossy(&body[..body.len().min(LARGEST)]).into_owned() })
    };
    timeout(ANSWER, answer).await.map_err(|_| format!("no response within {} s", ANSWER.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};
    use crate::exit::Exit;

    const LABEL: &str = "app/shop/0a1b/targetgroup/blue/0c2d";

    #[tokio::test(start_paused = true)]
    async fn requests_are_summed() {
        let values: Answer = Some((
            200,
            &[],
            "<GetMetricDataResponse><GetMetricDataResult><MetricDataResults><member><Id>requests</Id><Values><member>3.0</member>\
             <member>4.0</member></Values></member></MetricDataResults></GetMetricDataResult></GetMetricDataResponse>",
        ));
        let none: Answer = Some((
            200,
            &[],
            "<GetMetricDataResponse><GetMetricDataResult><MetricDataResults><member><Id>requests</Id><Values/></member>\
             </MetricDataResults></GetMetricDataResult></GetMetricDataResponse>",
        ));
        let denied: Answer =
            Some((403, &[], "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"));
        let script = Script::of(&[values, none, denied]);
        assert_eq!(requests(&script.aws(), LABEL, 5).await.unwrap(), 7);
        assert_eq!(requests(&script.aws(), LABEL, 5).await.unwrap(), 0);
        let failure = requests(&script.aws(), LABEL, 5).await.unwrap_err();
        assert!(failure.exit == Exit::Failed && failure.to_string().contains("allow cloudwatch:GetMetricData"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_answers_or_does_not() {
        let script = Script::of(&[Some((503, &[], "busy")), None]);
        let answered = ask(&script.aws(), "http://shop.example/health", "b").await.unwrap();
        assert_eq!((answered.status, answered.text.as_str()), (503, "busy"));
        assert!(ask(&script.aws(), "http://shop.example/health", "b").await.unwrap_err().contains("connection reset by peer"));
        assert!(ask(&script.aws(), "http://no url/", "b").await.is_err());
    }
}
