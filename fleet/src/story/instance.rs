//! One instance as an operator sees it: its state, since when, and why it is not well. Pure.

use std::fmt;

use jiff::Timestamp;

use super::activity::Activity;
use super::happened::Evidence;

/// What a target group says about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Such as `healthy`, `initial`, `draining`.
    pub(crate) state: String,
    pub(crate) why: Option<String>,
}

/// What is known about an instance of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) zone: String,
    /// LifecycleState, such as `InService` or `Pending:Wait`.
    pub(crate) lifecycle: String,
    /// Whether its group considers it healthy.
    pub(crate) is_healthy: bool,
    /// Whether it should be in a target group.
    pub(crate) is_balanced: bool,
    /// What the target group says about it.
    pub(crate) target: Option<Target>,
    /// Release it was launched with.
    pub(crate) release: Option<String>,
    pub(crate) deployment: Option<u64>,
    pub(crate) image: Option<String>,
    pub(crate) launched: Option<Timestamp>,
}

/// State of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// EC2 is starting it.
    Launching,
    /// ingot is booting it.
    Booting,
    /// It is being registered as a target, or checked for the first time.
    Joining,
    /// It receives requests.
    Serving,
    /// It is in service without health checks of a load balancer.
    InService,
    /// Its group or the load balancer considers it unhealthy.
    Unhealthy,
    /// It is in service but not registered with the load balancer.
    Unregistered,
    /// It receives no new requests and finishes the running ones.
    Draining,
    /// It is shutting down.
    Leaving,
    Standby,
    /// It is stopped until the group scales out.
    InPool,
    Detached,
    /// A state that this version does not know.
    Unknown,
}

/// What a state means for the environment's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It serves.
    Well,
    /// It will serve soon.
    Starting,
    /// It should serve but does not.
    Unwell,
    /// It is not counted.
    Away,
}

impl State {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Serving | Self::InService => Part::Well,
            Self::Launching | Self::Booting | Self::Joining => Part::Starting,
            Self::Unhealthy | Self::Unregistered => Part::Unwell,
            Self::Draining | Self::Leaving | Self::Standby | Self::InPool | Self::Detached | Self::Unknown => Part::Away,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Booting => "booting",
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::InService => "in service",
            Self::Unhealthy => "unhealthy",
            Self::Unregistered => "unregistered",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Standby => "standby",
            Self::InPool => "in the pool",
            Self::Detached => "detached",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// An instance, with what other sources know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) instance: Instance,
    /// Since when it has been in its state.
    pub(crate) since: Option<Timestamp>,
    /// Why it is unhealthy or leaves.
    pub(crate) cause: Option<String>,
}

impl Seen {
    /// Combines an instance with the activities of its group, oldest first, and with evidence.
    pub(crate) fn of(instance: Instance, activities: &[Activity], evidence: &[Evidence]) -> Self {
        let newest = activities.iter().rfind(|activity| activity.instance() == Some(&instance.id));
        let (since, cause) = (instance.since(newest), instance.cause(newest, evidence));
        Self { instance, since, cause }
    }

    pub(crate) fn state(&self) -> State {
        self.instance.state()
    }
}

impl Instance {
    /// Returns the state of the instance.
    ///
    /// Sources: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html> and
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
    pub(crate) fn state(&self) -> State {
        let target = self.target.as_ref().map(|target| target.state.as_str());
        match self.lifecycle.as_str() {
            "Pending" => State::Launching,
            "Pending:Wait" => State::Booting,
            "Pending:Proceed" => State::Joining,
            "InService" if !self.is_healthy => State::Unhealthy,
            "InService" if !self.is_balanced => State::InService,
            "InService" => match target {
                Some("healthy") => State::Serving,
                Some("initial") => State::Joining,
                Some("draining" | "unhealthy.draining") => State::Draining,
                Some("unused") | None => State::Unregistered,
                Some("unavailable") => State::InService,
                Some(_) => State::Unhealthy,
            },
            "Terminating" if target == Some("draining") => State::Draining,
            "Standby" | "EnteringStandby" => State::Standby,
            "Detaching" | "Detached" => State::Detached,
            other if other.starts_with("Terminat") => State::Leaving,
            other if other.starts_with("Warmed:") => State::InPool,
            _ => State::Unknown,
        }
    }

    /// Returns since when it has been in its state, by its group's newest activity about it. If the group no longer has
    /// one, the answer is its launch.
    fn since(&self, newest: Option<&Activity>) -> Option<Timestamp> {
        let is_up = self.lifecycle == "InService";
        let of_group = newest.map(|activity| if is_up { activity.ended.unwrap_or(activity.begun) } else { activity.begun });
        of_group.or(self.launched)
    }

    /// Returns why it is unhealthy or leaves: from its own evidence, else from its target group, else from its group.
    fn cause(&self, newest: Option<&Activity>, evidence: &[Evidence]) -> Option<String> {
        let state = self.state();
        let is_leaving = matches!(state, State::Draining | State::Leaving);
        if state.part() != Part::Unwell && !is_leaving && !matches!(state, State::Booting | State::Joining) {
            return None;
        }
        let left = evidence.iter().filter(|one| one.instance == self.id).min_by_key(|one| one.at);
        if let Some(reason) = left.map(|one| one.reason.clone()) {
            return Some(reason);
        }
        let of_target = self.target.as_ref().and_then(|target| target.why.clone());
        match state {
            State::Unhealthy => of_target.or_else(|| Some("its group considers it unhealthy and replaces it".to_owned())),
            State::Unregistered => of_target.or_else(|| Some("it is not in the target group".to_owned())),
            // The state already says that it drains.
            _ if is_leaving => newest.filter(|activity| !activity.is_launch()).map(|activity| activity.why().to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::activity::tests::activity;
    use super::*;

    /// An instance behind a load balancer, from words such as `InService healthy`.
    pub(crate) fn instance(number: u32, words: &str) -> Instance {
        let (lifecycle, target) = words.split_once(' ').map_or((words, None), |(lifecycle, target)| (lifecycle, Some(target)));
        Instance {
            id: format!("i-{number}"),
            zone: "eu-central-1a".into(),
            lifecycle: lifecycle.into(),
            is_healthy: true,
            is_balanced: true,
            target: target.map(|state| Target { state: state.into(), why: None }),
            release: Some("v2".into()),
            deployment: Some(7),
            image: Some("ami-0123456789abcdef0".into()),
            launched: "2026-12-01T08:00:00Z".parse().ok(),
        }
    }

    #[test]
    fn has_a_word_for_each_state() {
        let table = [
            ("Pending", "launching"),
            ("Pending:Wait", "booting"),
            ("Pending:Proceed", "joining"),
            ("InService initial", "joining"),
            ("InService healthy", "serving"),
            ("InService unhealthy", "unhealthy"),
            ("InService draining", "draining"),
            ("InService unused", "unregistered"),
            ("InService", "unregistered"),
            ("InService unavailable", "in service"),
            ("Terminating draining", "draining"),
            ("Terminating", "leaving"),
            ("Terminating:Wait", "leaving"),
            ("Terminating:Proceed", "leaving"),
            ("Terminated", "leaving"),
            ("Standby", "standby"),
            ("EnteringStandby", "standby"),
            ("Warmed:Stopped", "in the pool"),
            ("Detaching", "detached"),
            ("Quantum", "unknown"),
        ];
        for (words, expected) in table {
            assert_eq!(instance(1, words).state().word(), expected, "{words}");
        }
        let alone = Instance { is_balanced: false, ..instance(1, "InService") };
        assert_eq!(alone.state(), State::InService);
        assert_eq!(Instance { is_healthy: false, ..alone }.state(), State::Unhealthy);
    }

    #[test]
    fn since_when_is_taken_from_the_group() {
        let launch = Activity { ended: "2026-12-01T09:02:00Z".parse().ok(), ..activity("2026-12-01T09:00:00Z", "Launching", "") };
        let since = |words: &str, newest: Option<&Activity>| instance(1, words).since(newest).unwrap().to_string();
        assert_eq!(since("InService healthy", Some(&launch)), "2026-12-01T09:02:00Z");
        assert_eq!(since("Pending:Wait", Some(&launch)), "2026-12-01T09:00:00Z");
        assert_eq!(since("InService healthy", None), "2026-12-01T08:00:00Z", "its launch");
    }

    #[test]
    fn evidence_of_the_instance_is_the_preferred_cause() {
        let left = Evidence {
            instance: "i-1".into(),
            began: "2026-12-01T09:00:00Z".parse().unwrap(),
            at: "2026-12-01T09:00:00Z".parse().unwrap(),
            reason: "applications.shop: exited with 1".into(),
            deployment: None,
            url: "s3://e/x".into(),
        };
        let mut sick = instance(1, "InService unhealthy");
        sick.target.as_mut().unwrap().why = Some("Health checks failed with these codes: [503]".into());
        assert_eq!(sick.cause(None, &[]).unwrap(), "Health checks failed with these codes: [503]");
        assert_eq!(sick.cause(None, std::slice::from_ref(&left)).unwrap(), "applications.shop: exited with 1");
        let other = Evidence { instance: "i-2".into(), ..left.clone() };
        assert_eq!(instance(1, "Pending:Wait").cause(None, &[other]), None);
        assert_eq!(instance(1, "Pending:Wait").cause(None, std::slice::from_ref(&left)).unwrap(), "applications.shop: exited with 1");
        assert_eq!(instance(1, "InService healthy").cause(None, &[left]), None, "it has got over it");
        let leaves = activity("2026-12-01T09:00:00Z", "Terminating EC2 instance: i-1", "At 9 an instance was taken out of service.");
        assert_eq!(instance(1, "Terminating:Wait").cause(Some(&leaves), &[]).unwrap(), "taken out of service");
        let seen = Seen::of(
            instance(1, "Terminating:Wait"),
            &[activity("2026-12-01T08:00:00Z", "Launching a new EC2 instance: i-1", ""), leaves],
            &[],
        );
        assert_eq!(
            (seen.since.unwrap().to_string().as_str(), seen.cause.as_deref()),
            ("2026-12-01T09:00:00Z", Some("taken out of service"))
        );
        let dead = Instance { is_healthy: false, is_balanced: false, ..instance(1, "InService") };
        assert!(dead.cause(None, &[]).unwrap().contains("its group considers it unhealthy"));
    }
}
