//! Health of an environment: a status, a color and causes, in Elastic Beanstalk's words where they fit. Pure.
//!
//! Elastic Beanstalk does not publish its thresholds; ours are in docs/fleet/health.md.

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::activity::Activity;
use super::age::age;
use super::instance::{Part, Seen};
use super::scaling::trouble;
use super::words::on_one_line;
use crate::deployment::course::{Phase, Standing, Stuck};
use crate::deployment::record::{Capacity, Record, State as Stage};

/// How long a successful deployment or a failed launch is mentioned.
const NEWS: SignedDuration = SignedDuration::from_mins(10);

/// Maximum number of instances named per cause.
const NAMED: usize = 3;

/// Status of an environment, from best to worst.
///
/// Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/health-enhanced-status.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Ok,
    /// An operation is running, and everything that should serve does.
    Info,
    /// It is being created or deleted.
    Pending,
    /// AWS does not provide enough information.
    Unknown,
    /// The environment does not exist.
    NoData,
    Warning,
    Degraded,
    Severe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Green,
    Grey,
    Yellow,
    Red,
}

impl Status {
    pub(crate) fn color(self) -> Color {
        match self {
            Self::Ok | Self::Info => Color::Green,
            Self::Pending | Self::Unknown | Self::NoData => Color::Grey,
            Self::Warning => Color::Yellow,
            Self::Degraded | Self::Severe => Color::Red,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "Ok",
            Self::Info => "Info",
            Self::Pending => "Pending",
            Self::Unknown => "Unknown",
            Self::NoData => "NoData",
            Self::Warning => "Warning",
            Self::Degraded => "Degraded",
            Self::Severe => "Severe",
        })
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Grey => "grey",
            Self::Yellow => "yellow",
            Self::Red => "red",
        })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Thresholds, from `health:` of fleet.yaml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Shares of instances that should serve but do not, in percent.
    pub(crate) warning: u32,
    pub(crate) degraded: u32,
    pub(crate) severe: u32,
    /// Duration after which a deployment is slow, in seconds.
    pub(crate) slow_after: u64,
}

/// An alarm in state ALARM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// Everything observed about an environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) standing: Option<&'a Standing>,
    /// The newest record.
    pub(crate) newest: Option<&'a Record>,
    /// Capacity of its group, or of the larger group while one replaces the other.
    pub(crate) capacity: Option<Capacity>,
    pub(crate) instances: &'a [Seen],
    /// Activities of its groups, oldest first.
    pub(crate) activities: &'a [Activity],
    pub(crate) alarms: &'a [Alarm],
    /// Messages about information that is unavailable but needed.
    pub(crate) unseen: &'a [String],
    /// Whether the stack itself is unavailable.
    pub(crate) has_no_sight: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    pub(crate) status: Status,
    pub(crate) color: Color,
    /// Sentences, worst first.
    pub(crate) causes: Vec<String>,
}

/// Determines the health of an environment.
pub(crate) fn health(view: &View<'_>, limits: &Limits, now: Timestamp) -> Health {
    let mut found = Findings::default();
    view.unseen.iter().for_each(|why| found.add(Status::Unknown, why));
    match view.standing {
        None if view.has_no_sight => {}
        None => found.add(Status::NoData, "it has not been created yet"),
        Some(standing) => {
            found.of_the_stack(standing, view);
            found.of_the_deployment(view, limits, now);
            if !matches!(standing.phase(), Phase::Stuck(Stuck::NeverCreated | Stuck::OnlyReviewed)) {
                found.of_the_instances(view, standing, limits, now);
            }
            for Alarm { name, why } in view.alarms {
                found.add(Status::Warning, format!("the alarm {name} is in ALARM: {}", on_one_line(why)));
            }
        }
    }
    found.health()
}

/// Counts the serving instances that a deployment launched.
pub(crate) fn serving(seen: &[Seen], deployment: u64) -> usize {
    seen.iter().filter(|one| one.state().part() == Part::Well && one.instance.deployment == Some(deployment)).count()
}

/// Returns the health of an environment that AWS gives no answer about.
pub(crate) fn unknown(why: &str) -> Health {
    let mut found = Findings::default();
    found.add(Status::Unknown, why);
    found.health()
}

/// Findings, each with its status.
#[derive(Debug, Default)]
struct Findings(Vec<(Status, String)>);

impl Findings {
    fn add(&mut self, status: Status, cause: impl Into<String>) {
        self.0.push((status, cause.into()));
    }

    fn health(mut self) -> Health {
        // The sort is stable: equally bad findings keep their order.
        self.0.sort_by(|(a, _), (b, _)| b.cmp(a));
        let status = self.0.first().map_or(Status::Ok, |(status, _)| *status);
        Health { status, color: status.color(), causes: self.0.into_iter().map(|(_, cause)| cause).collect() }
    }

    fn of_the_stack(&mut self, standing: &Standing, view: &View<'_>) {
        let status = &standing.status;
        let is_deployed = view.newest.is_some_and(|record| record.state == Stage::UnderWay);
        match standing.phase() {
            Phase::Stuck(Stuck::NeverCreated) => self.add(Status::Severe, "its creation failed, and nothing in it serves"),
            Phase::Stuck(Stuck::OnlyReviewed) => self.add(Status::NoData, "it contains only a change set that was never executed"),
            Phase::Stuck(_) => self.add(Status::Degraded, format!("its stack is in {status} and needs manual intervention")),
            Phase::Busy => match status.as_str() {
                "CREATE_IN_PROGRESS" => self.add(Status::Pending, "it is being created"),
                "DELETE_IN_PROGRESS" => self.add(Status::Pending, "it is being deleted"),
                "ROLLBACK_IN_PROGRESS" => self.add(Status::Severe, "its creation failed and is being rolled back"),
                "UPDATE_ROLLBACK_IN_PROGRESS" => self.add(Status::Warning, "an update failed or was canceled and is being rolled back"),
                // The deployment is reported instead.
                _ if is_deployed => {}
                _ => self.add(Status::Info, "its stack is being updated"),
            },
            Phase::Ready | Phase::WentBack => {}
        }
    }

    fn of_the_deployment(&mut self, view: &View<'_>, limits: &Limits, now: Timestamp) {
        let Some(record) = view.newest else { return };
        let which = format!("application deployment {} ({})", record.number, record.goal.release.name);
        match (record.state, record.ended) {
            (Stage::UnderWay, _) => {
                let runs = age(record.began, now);
                let is_slow =
                    now.duration_since(record.began) > SignedDuration::from_secs(i64::try_from(limits.slow_after).unwrap_or(i64::MAX));
                let (on_it, wanted) = (serving(view.instances, record.number), view.capacity.map_or(0, |capacity| capacity.desired));
                let status = if is_slow { Status::Warning } else { Status::Info };
                self.add(status, format!("performing {which}, running for {runs}: {on_it} of {wanted} instances serve it"));
            }
            (Stage::Good, Some(ended)) if now.duration_since(ended) < NEWS => {
                self.add(Status::Ok, format!("{which} completed {} ago and took {}", age(ended, now), age(record.began, ended)));
            }
            _ => {}
        }
    }

    fn of_the_instances(&mut self, view: &View<'_>, standing: &Standing, limits: &Limits, now: Timestamp) {
        let Some(capacity) = view.capacity else {
            if !standing.is_busy() && view.unseen.is_empty() {
                self.add(Status::Unknown, "its Auto Scaling group was not found");
            }
            return;
        };
        let (count, failed_launch) = (Count::of(view.instances), failed_launch(view.activities, now));
        let is_replacing = standing.is_busy() && standing.status != "DELETE_IN_PROGRESS";
        // During a replacement, the benchmark is what the policy keeps in service.
        let wanted = if is_replacing { kept(standing).min(capacity.desired) } else { capacity.desired };
        let out = match is_replacing {
            true => wanted.saturating_sub(count.well),
            // Instances not launched yet count as starting, unless launching fails.
            false if failed_launch.is_some() => wanted.saturating_sub(count.well),
            false => count.unwell.min(wanted),
        };
        if let Some(status) = limits.status(out, wanted) {
            self.add(status, format!("{out} of {} {} not serve", instances(wanted), if out == 1 { "does" } else { "do" }));
        }
        if !is_replacing {
            self.of_a_group_at_rest(&count, capacity, standing, view.instances, failed_launch.is_none());
        }
        self.of_the_unwell(view.instances);
        if let Some(why) = failed_launch {
            self.add(Status::Warning, format!("launching instances fails: {why}"));
        }
    }

    fn of_a_group_at_rest(&mut self, count: &Count, capacity: Capacity, standing: &Standing, seen: &[Seen], launches: bool) {
        let Capacity { min, desired, .. } = capacity;
        let active = count.well + count.unwell;
        if count.well == 0 && desired > 0 && min > 0 {
            self.add(Status::Severe, "none of the instances serves");
        }
        if active < min {
            let are = if active == 1 { "active instance is" } else { "active instances are" };
            self.add(Status::Degraded, format!("{active} {are} below the group's minimum size {min}"));
        }
        let starting = desired.saturating_sub(active);
        if starting > 0 && launches {
            self.add(Status::Info, format!("{starting} of {} {} starting", instances(desired), if starting == 1 { "is" } else { "are" }));
        }
        if desired == 0 && seen.is_empty() {
            self.add(Status::Ok, "the desired capacity is 0");
        }
        if let Some(expected) = standing.parameter("Release") {
            let in_service = seen.iter().filter(|one| matches!(one.state().part(), Part::Well | Part::Unwell));
            let others = in_service.filter(|one| one.instance.release.as_deref().is_some_and(|release| release != expected)).count();
            if others > 0 {
                let of = instances(active);
                self.add(Status::Degraded, format!("incorrect application version found on {others} of {of}. Expected version {expected}"));
            }
        }
    }

    /// Names the unhealthy instances by their cause.
    fn of_the_unwell(&mut self, seen: &[Seen]) {
        let mut by_cause: Vec<(&str, Vec<&str>)> = Vec::new();
        for one in seen.iter().filter(|one| one.state().part() == Part::Unwell) {
            let cause = one.cause.as_deref().unwrap_or("no cause is reported");
            match by_cause.iter_mut().find(|(other, _)| *other == cause) {
                Some((_, ids)) => ids.push(&one.instance.id),
                None => by_cause.push((cause, vec![&one.instance.id])),
            }
        }
        for (cause, ids) in by_cause {
            let more = ids.len().saturating_sub(NAMED);
            let named = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            let and = if more > 0 { format!(" and {more} more") } else { String::new() };
            let are = if ids.len() == 1 { "is" } else { "are" };
            // Info, since the share already determines the severity.
            self.add(Status::Info, format!("{named}{and} {are} unhealthy: {}", on_one_line(cause)));
        }
    }
}

impl Limits {
    /// Returns the status if `out` of `of` instances do not serve, or `None` if that is fine.
    fn status(&self, out: u32, of: u32) -> Option<Status> {
        let reaches = |limit: u32| out > 0 && u64::from(out) * 100 >= u64::from(limit) * u64::from(of);
        let by_limit = [(self.severe, Status::Severe), (self.degraded, Status::Degraded), (self.warning, Status::Warning)];
        by_limit.into_iter().find(|(limit, _)| reaches(*limit)).map(|(_, status)| status)
    }
}

/// Number of instances that serve, and that should but do not.
struct Count {
    well: u32,
    unwell: u32,
}

impl Count {
    fn of(instances: &[Seen]) -> Self {
        let count = |part: Part| {
            let found = instances.iter().filter(|one| one.state().part() == part).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        Self { well: count(Part::Well), unwell: count(Part::Unwell) }
    }
}

/// Returns how many instances an update keeps in service, by the policy of the stack.
fn kept(standing: &Standing) -> u32 {
    let number = |name: &str| standing.parameter(name).and_then(|number| number.parse().ok()).unwrap_or(0);
    match standing.parameter("Policy") {
        // No instance exists yet.
        _ if standing.status == "CREATE_IN_PROGRESS" => 0,
        Some("rolling_with_batch" | "immutable") => number("Capacity"),
        _ if standing.parameter("Mode") == Some("single_instance") => 0,
        Some("rolling") => number("MinInService"),
        _ => 0,
    }
}

/// Returns why launches fail, if the newest finished launch failed recently.
fn failed_launch(activities: &[Activity], now: Timestamp) -> Option<String> {
    let ended = activities.iter().filter(|one| one.is_launch() && one.ended.is_some()).max_by_key(|one| one.ended)?;
    let is_news = ended.ended.is_some_and(|at| now.duration_since(at) < NEWS);
    trouble(ended).filter(|_| is_news).map(|(_, why)| why)
}

fn instances(count: u32) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}
