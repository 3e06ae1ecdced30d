//! How a document names a queue: by its name, its URL or its ARN.

use std::net::SocketAddr;

use crate::aws::arn::Arn;
use crate::failure::Objection;

/// Whether an emulator runs on this machine, so that requests to it are not visible to anyone else.
pub(super) fn is_of_this_machine(authority: &str) -> bool {
    let is_loopback = |at: SocketAddr| at.ip().is_loopback();
    authority.split(':').next() == Some("localhost") || authority.parse().is_ok_and(is_loopback)
}

/// A queue as the document names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueName {
    /// The text in the document.
    pub(crate) written: String,
    pub(crate) name: String,
    /// The region in an ARN or URL.
    pub(super) region: Option<String>,
    /// The account in an ARN.
    pub(super) account: Option<String>,
    /// The queue's URL, if the document gives it.
    pub(super) url: Option<String>,
}

impl QueueName {
    /// # Errors
    ///
    /// If the text cannot name a queue.
    pub(crate) fn parse(written: &str) -> Result<Self, Objection> {
        let parsed = match (written.strip_prefix("arn:"), written.strip_prefix("https://").or_else(|| written.strip_prefix("http://"))) {
            (Some(_), _) => of_arn(written),
            (None, Some(rest)) => of_url(written, rest),
            (None, None) => Some(Self { written: written.into(), name: written.into(), region: None, account: None, url: None }),
        };
        parsed.filter(|queue| is_name(&queue.name)).ok_or_else(|| {
            Objection::new(
                format!("`{written}` is not the name, the URL or the ARN of a queue"),
                "write it as in shop-jobs, https://sqs.eu-central-1.amazonaws.com/123456789012/shop-jobs or \
                 arn:aws:sqs:eu-central-1:123456789012:shop-jobs",
            )
        })
    }

    /// Whether its messages are ordered. Only names of FIFO queues end in `.fifo`.
    ///
    /// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>.
    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }
}

impl QueueName {
    /// The host of its URL, if it is not the default SQS endpoint of a region: a VPC endpoint, FIPS, dual stack, an
    /// emulator.
    pub(super) fn endpoint(&self) -> Option<String> {
        let (scheme, rest) = self.url.as_deref()?.split_once("://")?;
        let host = rest.split('/').next()?;
        let is_ordinary = host.contains(".amazonaws.com") && (host.starts_with("sqs.") || host.contains("queue."));
        (!is_ordinary).then(|| format!("{scheme}://{host}"))
    }
}

fn of_arn(written: &str) -> Option<QueueName> {
    let arn = Arn::parse(written).filter(|arn| arn.service == "sqs" && is_account(arn.account))?;
    Some(QueueName {
        written: written.into(),
        name: arn.resource.into(),
        region: Some(arn.region.into()),
        account: Some(arn.account.into()),
        url: None,
    })
}

fn of_url(written: &str, rest: &str) -> Option<QueueName> {
    let (host, path) = rest.split_once('/')?;
    let (account, name) = path.trim_end_matches('/').rsplit_once('/')?;
    // Some emulators put `queue/` before the account in their URLs.
    is_account(account.rsplit('/').next().unwrap_or_default()).then(|| QueueName {
        written: written.into(),
        name: name.into(),
        region: region_of(host).map(str::to_owned),
        account: None,
        url: Some(written.trim_end_matches('/').into()),
    })
}

/// The region in the host of a URL: `sqs.REGION.…`, `REGION.queue.amazonaws.com`,
/// `vpce-….sqs.REGION.vpce.amazonaws.com`.
pub(super) fn region_of(host: &str) -> Option<&str> {
    if host == "queue.amazonaws.com" {
        return Some("us-east-1");
    }
    let labels: Vec<&str> = host.split('.').collect();
    if let Some(at) = labels.iter().position(|label| matches!(*label, "sqs" | "sqs-fips")) {
        return labels.get(at + 1).copied().filter(|region| region.contains('-'));
    }
    labels.first().copied().filter(|region| region.contains('-') && labels.get(1) == Some(&"queue"))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>.
fn is_name(name: &str) -> bool {
    let bare = name.strip_suffix(".fifo").unwrap_or(name);
    !bare.is_empty() && name.len() <= 80 && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_known_by_name_url_and_arn() {
        let table = [
            ("shop-jobs", "shop-jobs", None),
            ("shop-jobs.fifo", "shop-jobs.fifo", None),
            ("arn:aws:sqs:eu-west-1:123456789012:jobs", "jobs", Some("eu-west-1")),
            ("arn:aws-cn:sqs:cn-north-1:123456789012:jobs.fifo", "jobs.fifo", Some("cn-north-1")),
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs", "jobs", Some("eu-central-1")),
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs/", "jobs", Some("eu-central-1")),
            ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/jobs", "jobs", Some("us-gov-west-1")),
            ("https://us-east-1.queue.amazonaws.com/123456789012/jobs", "jobs", Some("us-east-1")),
            ("https://queue.amazonaws.com/123456789012/jobs", "jobs", Some("us-east-1")),
            ("https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/jobs", "jobs", Some("eu-west-1")),
            ("http://127.0.0.1:5000/123456789012/jobs", "jobs", None),
        ];
        for (written, name, region) in table {
            let queue = QueueName::parse(written).unwrap();
            assert_eq!((queue.name.as_str(), queue.region.as_deref()), (name, region), "{written}");
            assert_eq!(queue.is_fifo(), name.ends_with(".fifo"));
        }
    }

    #[test]
    fn a_url_says_where_its_queue_is_called() {
        let table = [
            ("shop-jobs", None),
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs", None),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs", None),
            ("https://us-east-1.queue.amazonaws.com/123456789012/jobs", None),
            ("https://queue.amazonaws.com/123456789012/jobs", None),
            ("https://sqs-fips.us-east-1.amazonaws.com/123456789012/jobs", Some("https://sqs-fips.us-east-1.amazonaws.com")),
            ("https://sqs.eu-west-1.api.aws/123456789012/jobs", Some("https://sqs.eu-west-1.api.aws")),
            (
                "https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/jobs/",
                Some("https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com"),
            ),
            ("http://127.0.0.1:5000/queue/123456789012/jobs", Some("http://127.0.0.1:5000")),
        ];
        for (written, endpoint) in table {
            assert_eq!(QueueName::parse(written).unwrap().endpoint().as_deref(), endpoint, "{written}");
        }
    }

    #[test]
    fn what_can_be_no_queue_is_refused() {
        for written in
            ["", "shop jobs", ".fifo", "a.b", "arn:aws:sns:eu-west-1:123456789012:jobs", "arn:aws:sqs:eu-west-1:1:jobs", "https://x"]
        {
            assert!(QueueName::parse(written).is_err(), "{written}");
        }
        assert!(QueueName::parse(&"a".repeat(81)).is_err());
    }
}
