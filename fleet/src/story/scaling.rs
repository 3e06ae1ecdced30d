//! Auto Scaling activities as sentences: what was launched or terminated and why, and what failed.
//!
//! Texts: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-capacity.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-ami.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-healthchecks.html>.

use std::sync::LazyLock;

use regex_lite::Regex;

use super::activity::Activity;
use super::words::on_one_line;

static CAPACITY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"do not have sufficient (?:(\S+) )?capacity in the Availability Zone you requested(?: \(([\w-]+)\))?"));
static QUOTA: LazyLock<Regex> = LazyLock::new(|| regex(r"current vCPU limit of (\d+)"));
static IMAGE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?:image id '\[?|AMI ID |AMI )(ami-[0-9a-f]+)\]?'?,? (does not exist|is disabled|is pending)"));
static REASON: LazyLock<Regex> = LazyLock::new(|| regex(r"Termination Reason: (?:(?:Client|Server)\.\w+: )?(.+)$"));
static CHANGE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?:increasing|decreasing|shrinking) the capacity from (\d+) to (\d+)"));

/// Why an instance did not come into service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// AWS launched none, for lack of capacity, because of a quota, a permission or an image. There may be an instance
    /// ID anyway.
    NotLaunched,
    /// AWS reclaimed it: a Spot interruption.
    TakenBack,
    /// The instance abandoned its own launch, as ingot does when a boot fails.
    OfBoot,
}

/// Returns why a launch failed, or `None` if it did not.
pub(super) fn trouble(activity: &Activity) -> Option<(Fault, String)> {
    if !activity.is_launch() || !activity.is_failed {
        return None;
    }
    let message = activity.message.as_deref().unwrap_or(&activity.description);
    let has = |words: &str| message.contains(words);
    let part = |pattern: &Regex, number: usize| pattern.captures(message).and_then(|found| Some(found.get(number)?.as_str().to_owned()));
    if has("Lifecycle Action Completed with ABANDON Result") {
        return Some((Fault::OfBoot, "its boot failed".to_owned()));
    }
    if has("SpotInstanceTermination") || has("Spot instance termination") {
        return Some((Fault::TakenBack, "AWS reclaimed the Spot instance".to_owned()));
    }
    if let Some(why) = part(&REASON, 1) {
        return Some((Fault::OfBoot, format!("it terminated before it was in service: {why}")));
    }
    let why = if CAPACITY.is_match(message) {
        let kind = part(&CAPACITY, 1).map(|kind| format!("{kind} ")).unwrap_or_default();
        let zone = part(&CAPACITY, 2).map(|zone| format!(" in {zone}")).unwrap_or_default();
        format!("AWS has no {kind}capacity{zone} now")
    } else if has("InsufficientInstanceCapacity") || has("UnfulfillableCapacity") {
        let spot = if has("Spot") { "Spot " } else { "" };
        format!("AWS has no {spot}capacity for these instance types now")
    } else if let Some(vcpus) = part(&QUOTA, 1) {
        format!("the account's quota of {vcpus} vCPUs for this family of instances is used up")
    } else if has("MaxSpotInstanceCountExceeded") {
        "the account's quota of Spot instances is used up".to_owned()
    } else if let Some(image) = part(&IMAGE, 1) {
        match part(&IMAGE, 2).as_deref() {
            Some("is pending") => format!("the image {image} is not available yet"),
            Some("is disabled") => format!("the image {image} is disabled"),
            _ => format!("the image {image} does not exist"),
        }
    } else {
        on_one_line(message.trim_end_matches(" Launching EC2 instance failed.").trim_end_matches('.'))
    };
    Some((Fault::NotLaunched, why))
}

/// Describes an activity in a sentence.
pub(super) fn sentence(activity: &Activity) -> String {
    let instance = activity.instance();
    let id = instance.unwrap_or("an instance");
    if let Some((fault, why)) = trouble(activity) {
        return match (fault, instance) {
            (Fault::NotLaunched, _) => format!("no instance could be launched: {why}"),
            (_, Some(id)) => format!("{id}: launch abandoned: {why}"),
            (_, None) => format!("the launch of an instance was abandoned: {why}"),
        };
    }
    if activity.is_launch() {
        let why = because(activity).map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{id}: is launched{why}");
    }
    match activity.description.split_once(':').map(|(what, _)| what) {
        Some("Terminating EC2 instance") => {
            let why = because(activity).map(|why| format!(": {why}")).unwrap_or_default();
            format!("{id}: is terminated{why}")
        }
        Some("Moving EC2 instance to Standby") => format!("{id}: takes no requests for now"),
        Some("Moving EC2 instance out of Standby") => format!("{id}: takes requests again"),
        _ => on_one_line(&activity.description),
    }
}

/// Returns why Auto Scaling did it.
fn because(activity: &Activity) -> Option<String> {
    let cause = activity.why();
    let has = |words: &str| cause.contains(words);
    let said = if has("ELB system health check failure") {
        "the load balancer found it unhealthy"
    } else if has("EC2 health check") {
        "it was stopped or terminated, or AWS reclaimed a Spot instance"
    } else if has("user health-check") {
        "it was reported unhealthy"
    } else if has("rebalance recommendation") {
        "a Spot instance is likely to be interrupted"
    } else if has("unhealthy instance needing to be replaced") {
        "replaces an unhealthy instance"
    } else if has("instance refresh") {
        "an instance refresh"
    } else if has("user request") {
        "requested by a stack update or an operator"
    } else {
        let found = CHANGE.captures(cause)?;
        return Some(format!("{} instances instead of {}", &found[2], &found[1]));
    };
    Some(said.to_owned())
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

#[cfg(test)]
mod tests {
    use super::super::activity::tests::activity;
    use super::*;

    fn failed(message: &str) -> Option<(Fault, String)> {
        let launch = activity("2026-12-01T09:00:00Z", "Launching a new EC2 instance", "");
        trouble(&Activity { is_failed: true, message: Some(message.to_owned()), ..launch })
    }

    #[test]
    fn lack_of_capacity_is_not_a_failed_boot() {
        for (message, why) in [
            (
                "UnfulfillableCapacity - Unable to fulfill capacity due to your request configuration.",
                "AWS has no capacity for these instance types now",
            ),
            (
                "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded.",
                "the account's quota of Spot instances is used up",
            ),
            (
                "AMI ami-0a1b2c3d is pending, and cannot be run. Launching EC2 instance failed.",
                "the image ami-0a1b2c3d is not available yet",
            ),
            ("The AMI ID ami-0a1b2c3d does not exist. Launching EC2 instance failed.", "the image ami-0a1b2c3d does not exist"),
            ("The key pair 'x' does not exist. Launching EC2 instance failed.", "The key pair 'x' does not exist"),
        ] {
            assert_eq!(failed(message), Some((Fault::NotLaunched, why.to_owned())), "{message}");
        }
        let ended = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: \
                     Client.InstanceInitiatedShutdown: Instance initiated shutdown";
        let why = "it terminated before it was in service: Instance initiated shutdown";
        assert_eq!(failed(ended), Some((Fault::OfBoot, why.to_owned())));
        assert_eq!(trouble(&activity("2026-12-01T09:00:00Z", "Launching a new EC2 instance: i-0a", "")), None);
    }

    #[test]
    fn each_termination_has_its_cause() {
        let said = |cause: &str| {
            sentence(&activity(
                "2026-12-01T09:00:00Z",
                "Terminating EC2 instance: i-0a",
                &format!("At 2026-12-01T09:00:00Z an instance was {cause}."),
            ))
        };
        assert_eq!(
            said("taken out of service in response to an ELB system health check failure"),
            "i-0a: is terminated: the load balancer found it unhealthy"
        );
        assert_eq!(
            said(
                "taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from 3 to 2"
            ),
            "i-0a: is terminated: 2 instances instead of 3"
        );
        assert_eq!(said("ended for a reason of tomorrow"), "i-0a: is terminated");
    }
}
