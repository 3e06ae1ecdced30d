//! Observations, and the health derived from them.

use super::*;
use crate::deployment::record::Record;
use crate::deployment::record::tests::{beginner, goal};
use crate::story::activity::tests::activity;
use crate::story::instance::tests::instance;

const NOW: &str = "2026-11-30T23:02:00Z";
const LIMITS: Limits = Limits { warning: 1, degraded: 50, severe: 75, slow_after: 3600 };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seen(number: u32, words: &str) -> Seen {
    let instance = instance(number, words);
    let cause = (instance.state().part() == Part::Unwell).then(|| "Health checks failed with these codes: [503]".to_owned());
    Seen { instance, since: None, cause }
}

/// A web environment whose four instances serve v2 from deployment 7.
#[derive(Clone)]
struct Case {
    standing: Option<Standing>,
    newest: Option<Record>,
    capacity: Option<Capacity>,
    instances: Vec<Seen>,
    activities: Vec<Activity>,
    alarms: Vec<Alarm>,
    unseen: Vec<String>,
    has_no_sight: bool,
    now: &'static str,
}

fn fine() -> Case {
    let parameters = [("Release", "v2"), ("Policy", "rolling"), ("MinInService", "3"), ("Capacity", "4"), ("Deployment", "7")];
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let newest = Record::begin("shop", "prod", 7, goal("v2"), beginner("ann"));
    Case {
        standing: Some(Standing { status: "UPDATE_COMPLETE".into(), parameters, ..Standing::default() }),
        newest: Some(newest.end(Stage::Good, at("2026-11-30T23:01:30Z"), None)),
        capacity: Some(Capacity { min: 2, desired: 4, max: 8 }),
        instances: (1..=4).map(|number| seen(number, "InService healthy")).collect(),
        activities: Vec::new(),
        alarms: Vec::new(),
        unseen: Vec::new(),
        has_no_sight: false,
        now: "2026-12-01T09:00:00Z",
    }
}

impl Case {
    fn stack(mut self, status: &str) -> Self {
        self.standing.as_mut().unwrap().status = status.into();
        self
    }

    fn says(mut self, name: &str, value: &str) -> Self {
        self.standing.as_mut().unwrap().parameters.insert(name.into(), value.into());
        self
    }

    fn sizes(mut self, min: u32, desired: u32) -> Self {
        self.capacity = Some(Capacity { min, desired, max: 8 });
        self
    }

    /// Two minutes into deployment 8.
    fn deploying(mut self) -> Self {
        self.newest = Some(Record::begin("shop", "prod", 8, goal("v3"), beginner("ann")));
        self.now = NOW;
        self.stack("UPDATE_IN_PROGRESS")
    }

    /// Replaces the instances from this one on.
    fn from(mut self, first: usize, words: &[&str]) -> Self {
        self.instances.truncate(first);
        let more = words.iter().enumerate().map(|(at, words)| seen(u32::try_from(first + at + 1).unwrap(), words));
        self.instances.extend(more);
        self
    }

    fn edited(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    fn told(&self) -> String {
        let view = View {
            standing: self.standing.as_ref(),
            newest: self.newest.as_ref(),
            capacity: self.capacity,
            instances: &self.instances,
            activities: &self.activities,
            alarms: &self.alarms,
            unseen: &self.unseen,
            has_no_sight: self.has_no_sight,
        };
        let Health { status, color, causes } = health(&view, &LIMITS, at(self.now));
        [format!("{status} {color}")].into_iter().chain(causes).collect::<Vec<_>>().join("; ")
    }
}

#[test]
fn a_healthy_environment_is_green() {
    assert_eq!(fine().told(), "Ok green");
    let just_now = fine().edited(|case| case.now = NOW);
    assert_eq!(just_now.told(), "Ok green; application deployment 7 (v2) completed 30s ago and took 1m");
    assert_eq!(fine().from(0, &[]).sizes(0, 0).told(), "Ok green; the desired capacity is 0");
    let leaving = fine().from(4, &["Terminating draining", "Standby", "Warmed:Stopped"]);
    assert_eq!(leaving.told(), "Ok green", "these are not counted");
}

/// If one source is denied, the rest is reported, but not that all is well.
#[test]
fn missing_information_is_not_healthy() {
    let unseen = |case: &mut Case| case.unseen = vec!["cannot read the target group: not authorized".into()];
    assert_eq!(fine().edited(unseen).told(), "Unknown grey; cannot read the target group: not authorized");
    let told = fine().from(2, &["InService unhealthy", "InService unhealthy"]).edited(unseen).told();
    assert!(told.contains(" red; 2 of 4") && told.contains("cannot read the target group"), "{told}");
    let no_group = fine().edited(unseen).edited(|case| case.capacity = None).told();
    assert_eq!(no_group, "Unknown grey; cannot read the target group: not authorized", "once");
    let no_stack = fine().edited(unseen).edited(|case| (case.standing, case.has_no_sight) = (None, true)).told();
    assert_eq!(no_stack, "Unknown grey; cannot read the target group: not authorized", "it may well be there");
}

#[test]
fn a_growing_group_is_green() {
    assert_eq!(fine().from(3, &["Pending:Wait"]).told(), "Info green; 1 of 4 instances is starting");
    assert_eq!(fine().from(3, &["InService initial"]).told(), "Info green; 1 of 4 instances is starting");
    assert_eq!(fine().from(2, &[]).told(), "Info green; 2 of 4 instances are starting", "not launched yet");
    assert_eq!(fine().sizes(0, 1).from(0, &["Pending"]).told(), "Info green; 1 of 1 instance is starting", "a worker from 0");
    assert_eq!(fine().stack("UPDATE_IN_PROGRESS").told(), "Info green; its stack is being updated");
}

#[test]
fn the_share_of_instances_not_serving_decides() {
    let one = "1 of 4 instances does not serve; i-4 is unhealthy: Health checks failed with these codes: [503]";
    assert_eq!(fine().from(3, &["InService unhealthy"]).told(), format!("Warning yellow; {one}"));
    let two = fine().from(2, &["InService unhealthy"; 2]).told();
    assert_eq!(two, "Degraded red; 2 of 4 instances do not serve; i-3, i-4 are unhealthy: Health checks failed with these codes: [503]");
    let three = fine().from(1, &["InService unhealthy"; 3]).told();
    assert!(three.starts_with("Severe red; 3 of 4 instances do not serve; i-2, i-3, i-4 are unhealthy"), "{three}");
    let all = fine().from(0, &["InService unhealthy"; 4]).told();
    assert!(all.starts_with("Severe red; 4 of 4 instances do not serve; none of the instances serves; i-1, i-2, i-3 and 1 more"), "{all}");
    let unknown = fine().from(3, &["InService unused"]).told();
    assert!(unknown.starts_with("Warning yellow; 1 of 4"), "{unknown}");
    let worker = fine().edited(|case| {
        case.instances.iter_mut().for_each(|one| one.instance.is_balanced = false);
        case.instances[0].instance.is_healthy = false;
    });
    assert_eq!(worker.told(), "Warning yellow; 1 of 4 instances does not serve; i-1 is unhealthy: no cause is reported");
}

#[test]
fn below_the_minimum_is_degraded() {
    let below = fine().sizes(4, 4).from(3, &["Pending:Wait"]).told();
    assert_eq!(below, "Degraded red; 3 active instances are below the group's minimum size 4; 1 of 4 instances is starting");
    let none = fine().sizes(1, 1).from(0, &["Pending"]).told();
    assert_eq!(
        none,
        "Severe red; none of the instances serves; 0 active instances are below the group's minimum size 1; 1 of 1 instance is starting"
    );
}

#[test]
fn failing_launches_are_reported() {
    let ends = |began: &str, ended: &str, message: Option<&str>| Activity {
        ended: ended.parse().ok(),
        is_failed: message.is_some(),
        message: message.map(str::to_owned),
        ..activity(began, "Launching a new EC2 instance", "")
    };
    let failed = ends("2026-12-01T08:55:00Z", "2026-12-01T08:55:02Z", Some("there is no capacity in eu-central-1a"));
    let said = "We currently do not have sufficient m7g.large capacity in the Availability Zone you requested (eu-central-1a). Our system \
                will be working on provisioning additional capacity. Launching EC2 instance failed.";
    let lacks = ends("2026-12-01T08:55:00Z", "2026-12-01T08:55:02Z", Some(said));
    let in_words = fine().from(3, &[]).edited(|case| case.activities = vec![lacks]).told();
    assert!(in_words.ends_with("launching instances fails: AWS has no m7g.large capacity in eu-central-1a now"), "{in_words}");
    let again = Activity { ended: None, ..ends("2026-12-01T08:59:59Z", "", None) };
    let launches = |activities: &[Activity]| fine().from(3, &[]).edited(|case| case.activities = activities.to_vec()).told();
    let fails = launches(&[failed.clone(), again]);
    assert_eq!(fails, "Warning yellow; 1 of 4 instances does not serve; launching instances fails: there is no capacity in eu-central-1a");
    let starting = "Info green; 1 of 4 instances is starting";
    assert_eq!(launches(&[failed, ends("2026-12-01T08:56:00Z", "2026-12-01T08:56:40Z", None)]), starting, "one was launched since");
    assert_eq!(launches(&[ends("2026-12-01T08:00:00Z", "2026-12-01T08:00:10Z", Some("no capacity"))]), starting, "long ago");
}

#[test]
fn instances_taken_out_by_the_policy_do_not_lower_the_health() {
    let told = "Info green; performing application deployment 8 (v3), running for 2m: 1 of 4 instances serve it";
    let new = |case: &mut Case| case.instances[3].instance.deployment = Some(8);
    let goes = |words: &str| fine().from(3, &[words]).deploying().edited(new);
    assert_eq!(goes("InService healthy").told(), told);
    let booting = goes("Pending:Wait").told();
    assert!(booting.starts_with("Info green; performing") && booting.ends_with("0 of 4 instances serve it"), "{booting}");
    // One more is out than the policy allows.
    let more = fine().from(2, &["InService unhealthy", "Pending:Wait"]).deploying().told();
    assert!(more.starts_with("Warning yellow; 1 of 3 instances does not serve; performing"), "{more}");
    let at_once = fine().from(0, &["Pending:Wait"; 4]).deploying().says("Policy", "all_at_once").told();
    assert!(at_once.starts_with("Info green; performing"), "{at_once}");
    let with_batch = fine().from(3, &["Pending:Wait"; 2]).deploying().says("Policy", "rolling_with_batch").told();
    assert!(with_batch.starts_with("Warning yellow; 1 of 4 instances does not serve"), "{with_batch}");
    let single = fine().sizes(1, 1).from(0, &["Pending:Wait"]).deploying().says("Mode", "single_instance").told();
    assert!(single.starts_with("Info green"), "{single}");
}

#[test]
fn a_slow_or_rolled_back_deployment_is_yellow() {
    let slow = fine().deploying().edited(|case| case.now = "2026-12-01T00:00:01Z").told();
    assert_eq!(slow, "Warning yellow; performing application deployment 8 (v3), running for 1h: 0 of 4 instances serve it");
    let back = fine().deploying().stack("UPDATE_ROLLBACK_IN_PROGRESS").told();
    assert!(back.starts_with("Warning yellow; an update failed or was canceled and is being rolled back; performing"), "{back}");
}

#[test]
fn instances_of_another_release_are_degraded() {
    let mixed = fine().edited(|case| case.instances[0].instance.release = Some("v1".into())).told();
    assert_eq!(mixed, "Degraded red; incorrect application version found on 1 of 4 instances. Expected version v2");
    let untagged = fine().edited(|case| case.instances[0].instance.release = None).told();
    assert_eq!(untagged, "Ok green", "its release is not known");
}

#[test]
fn environments_created_or_deleted_are_grey() {
    assert_eq!(fine().edited(|case| case.standing = None).told(), "NoData grey; it has not been created yet");
    let created = fine().deploying().stack("CREATE_IN_PROGRESS").from(0, &["Pending"; 4]).told();
    let told = "Pending grey; it is being created; performing application deployment 8 (v3), running for 2m: 0 of 4 instances serve it";
    assert_eq!(created, told);
    assert_eq!(fine().stack("DELETE_IN_PROGRESS").told(), "Pending grey; it is being deleted");
    assert_eq!(fine().stack("REVIEW_IN_PROGRESS").told(), "NoData grey; it contains only a change set that was never executed");
    assert_eq!(fine().edited(|case| case.capacity = None).told(), "Unknown grey; its Auto Scaling group was not found");
    let silent = unknown("AWS gives no answer");
    assert_eq!((silent.status, silent.color, silent.causes), (Status::Unknown, Color::Grey, vec!["AWS gives no answer".to_owned()]));
}

#[test]
fn a_stuck_stack_is_red() {
    assert_eq!(
        fine().stack("UPDATE_ROLLBACK_FAILED").told(),
        "Degraded red; its stack is in UPDATE_ROLLBACK_FAILED and needs manual intervention"
    );
    let failed = fine().stack("ROLLBACK_COMPLETE").from(0, &[]).told();
    assert_eq!(failed, "Severe red; its creation failed, and nothing in it serves");
    assert_eq!(fine().stack("UPDATE_ROLLBACK_COMPLETE").told(), "Ok green", "it went back, and everything is as before");
}

#[test]
fn an_alarm_is_yellow() {
    let alarm = Alarm { name: "shop-prod-5xx".into(), why: "Threshold Crossed".into() };
    assert_eq!(
        fine().edited(|case| case.alarms = vec![alarm]).told(),
        "Warning yellow; the alarm shop-prod-5xx is in ALARM: Threshold Crossed"
    );
}

#[test]
fn limits_are_inclusive() {
    let wide = Limits { warning: 10, degraded: 50, severe: 100, slow_after: 60 };
    let told = |out| wide.status(out, 20);
    assert_eq!((told(0), told(1), told(2)), (None, None, Some(Status::Warning)));
    assert_eq!(
        (told(9), told(10), told(19), told(20)),
        (Some(Status::Warning), Some(Status::Degraded), Some(Status::Degraded), Some(Status::Severe))
    );
    assert_eq!(wide.status(0, 0), None);
    assert_eq!(wide.status(u32::MAX, u32::MAX), Some(Status::Severe));
}

#[test]
fn a_cause_is_on_one_line() {
    let many = "services.a: it ended\nOk (green)";
    let told = fine().from(3, &["InService unhealthy"]).edited(|case| case.instances[3].cause = Some(many.into())).told();
    assert!(told.ends_with("i-4 is unhealthy: services.a: it ended | Ok (green)"), "{told}");
}
