//! A scaling activity of a group.

use jiff::Timestamp;

/// One activity of a group.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) begun: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// Such as `Launching a new EC2 instance: i-0a1b2c3d`.
    pub(crate) description: String,
    /// Why it began, in sentences such as `At 2026-12-01T09:00:00Z an instance was started in response to …`.
    pub(crate) cause: String,
    /// Whether it failed, or was canceled.
    pub(crate) is_failed: bool,
    /// Why it failed.
    pub(crate) message: Option<String>,
}

impl Activity {
    /// Returns the instance that it is about, once it exists.
    pub(crate) fn instance(&self) -> Option<&str> {
        let (_, rest) = self.description.split_once(": i-")?;
        let end = rest.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let begin = self.description.len() - rest.len() - "i-".len();
        (end > 0).then(|| &self.description[begin..begin + "i-".len() + end])
    }

    pub(crate) fn is_launch(&self) -> bool {
        self.description.starts_with("Launching")
    }

    /// Returns why an instance leaves: the last sentence of the cause, without its time and the words common to all.
    pub(crate) fn why(&self) -> &str {
        let last = self.cause.rsplit_once("At ").map_or(self.cause.as_str(), |(_, last)| last);
        let said = last.split_once("an instance was ").map_or(last, |(_, said)| said);
        said.trim().trim_end_matches('.')
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn activity(begun: &str, description: &str, cause: &str) -> Activity {
        let (description, cause) = (description.to_owned(), cause.to_owned());
        Activity { begun: begun.parse().unwrap(), ended: None, description, cause, is_failed: false, message: None }
    }

    #[test]
    fn knows_its_instance() {
        let of = |description: &str| activity("2026-12-01T09:00:00Z", description, "").instance().map(str::to_owned);
        assert_eq!(of("Launching a new EC2 instance: i-0a1b2c3d"), Some("i-0a1b2c3d".into()));
        assert_eq!(of("Launching a new EC2 instance: i-0a1b.  Status Reason: was cancelled: i-9"), Some("i-0a1b".into()));
        assert_eq!(of("Launching a new EC2 instance.  Status Reason: There is no capacity"), None);
    }

    #[test]
    fn the_last_cause_counts() {
        let cause = "At 2026-12-01T09:00:00Z a user request update of AutoScalingGroup constraints.  At 2026-12-01T09:00:02Z an instance \
                     was taken out of service in response to an ELB system health check failure.";
        let why = activity("2026-12-01T09:00:00Z", "Terminating EC2 instance: i-1", cause);
        assert_eq!(why.why(), "taken out of service in response to an ELB system health check failure");
    }
}
