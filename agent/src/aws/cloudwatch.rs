//! CloudWatch: publishing metrics.

use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::{AwsError, AwsErrorKind, Service};
use crate::aws::client::query::{Api, Parameters, Query};

/// CloudWatch's name in host names differs from its name in IAM.
const SERVICE: &Service = &Service {
    name: "monitoring",
    hint: |error| (error.kind == AwsErrorKind::Denied).then(|| format!("allow cloudwatch:{} in the instance's role", error.operation)),
    is_transient: |_| false,
};

const CLOUDWATCH: Api = Api { service: SERVICE, variable: "CLOUDWATCH", version: "2010-08-01" };

/// The current value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    /// The CloudWatch unit, such as `Count` or `Seconds`.
    pub(crate) unit: &'static str,
}

/// A client that publishes metrics.
pub(crate) struct CloudWatch(Query);

impl CloudWatch {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(Query::new(connection, CLOUDWATCH))
    }

    /// PutMetricData, with the same dimensions on each metric.
    pub(crate) async fn put(&self, namespace: &str, dimensions: &[(&str, &str)], metrics: &[Metric]) -> Result<(), AwsError> {
        let mut parameters = Parameters::default().with("Namespace", namespace);
        for (at, metric) in (1..).zip(metrics) {
            let member = format!("MetricData.member.{at}");
            parameters = parameters
                .with(format!("{member}.MetricName"), metric.name)
                .with(format!("{member}.Unit"), metric.unit)
                .with(format!("{member}.Value"), metric.value);
            for (number, (name, value)) in (1..).zip(dimensions) {
                parameters = parameters
                    .with(format!("{member}.Dimensions.member.{number}.Name"), name)
                    .with(format!("{member}.Dimensions.member.{number}.Value"), value);
            }
        }
        self.0.call(&Call::new(SERVICE, "PutMetricData", namespace), parameters).await.map(drop)
    }
}
