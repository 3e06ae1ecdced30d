//! What `status` shows of an environment: one look at AWS, and what follows from it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::edge::slots::{Position, position};
use super::members::{Members, Now};
use super::operator::Operator;
use super::reader::Reader;
use crate::aws::alarms;
use crate::deployment::course::Standing;
use crate::deployment::freeze::Freeze;
use crate::deployment::record::{Capacity, Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Activity, Alarm, Evidence, Health, Part, Seen, View, health};

/// How far back the activities of groups and the evidence of instances are read.
const BACK: SignedDuration = SignedDuration::from_hours(1);

/// The alarms of the templates, after the name of the stack.
const ALARMS: [&str; 5] = ["5xx", "unhealthy", "launches", "queue-age", "dead-letters"];

/// The state of an environment at one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    pub(super) standing: Option<Standing>,
    pub(super) newest: Option<Record>,
    pub(super) in_force: Option<Record>,
    pub(super) freeze: Option<Freeze>,
    /// Its slot of an edge.
    pub(super) position: Option<Position>,
    /// Processes that are suspended in its groups.
    pub(super) suspended: Vec<String>,
    pub(super) capacity: Option<Capacity>,
    pub(super) seen: Vec<Seen>,
    pub(super) health: Health,
    /// What could not be read, and why. The rest is shown all the same.
    pub(super) unseen: Vec<String>,
    pub(super) blind: Blind,
}

/// What is unknown, as opposed to known to be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Blind {
    pub(super) stack: bool,
    pub(super) records: bool,
    pub(super) groups: bool,
    pub(super) freeze: bool,
}

/// Looks again and again. A look takes about ten calls, and more only if something is unhealthy.
#[derive(Debug)]
pub(super) struct Looker<'a> {
    pub(super) operator: &'a Operator,
    members: Members<'a>,
    /// Records of deployments that have ended: these never change.
    ended: RefCell<BTreeMap<u64, Record>>,
    /// Reads evidence, once its bucket is known; what was read is not read again.
    reader: OnceCell<Reader<'a>>,
}

impl<'a> Looker<'a> {
    pub(super) fn new(operator: &'a Operator) -> Self {
        Self { operator, members: Members::new(operator), ended: RefCell::default(), reader: OnceCell::new() }
    }

    pub(super) async fn look(&self) -> Result<Look, Failure> {
        let freezes = self.operator.freezes();
        let looks = tokio::join!(self.operator.standing(), self.records(), self.members.now(), freezes.in_force());
        let (mut unseen, mut blind) = (Unseen::default(), Blind::default());
        let (standing, records, now, freeze) = match looks {
            // AWS does not answer, or nothing may be read.
            (Err(failure), Err(_), Err(_), Err(_)) => return Err(failure),
            // What failed now may succeed at the next look.
            (Err(failure), ..) | (_, Err(failure), ..) | (.., Err(failure), _) | (.., Err(failure))
                if matches!(failure.exit, Exit::Unreachable | Exit::Usage) =>
            {
                return Err(failure);
            }
            found => found,
        };
        let standing = unseen.of(standing, &mut blind.stack);
        let (newest, in_force) = unseen.of(records, &mut blind.records);
        let Now { groups, instances, untold, unchecked } = unseen.of(now, &mut blind.groups);
        let freeze = unseen.of(freeze, &mut blind.freeze);
        unchecked.iter().for_each(|failure| unseen.heavy(failure));
        untold.iter().for_each(|failure| unseen.light(failure));
        let at = Timestamp::now();
        let since = at.checked_sub(BACK).unwrap_or(at);
        let mut activities = Vec::new();
        for group in &groups {
            activities.extend(unseen.without(self.operator.groups.activities(&group.name, since).await));
        }
        activities.sort_by_key(|activity: &Activity| activity.begun);
        let position = match &standing {
            Some(standing) => unseen.without(self.position(standing).await).pop(),
            None => None,
        };
        let alarms = if standing.is_some() { unseen.without(self.alarms(position.as_ref()).await) } else { Vec::new() };
        // Instances that serve have not failed.
        let suspects: Vec<&str> = instances.iter().filter(|one| one.state().part() != Part::Well).map(|one| one.id.as_str()).collect();
        let evidence = if suspects.is_empty() { Vec::new() } else { unseen.without(self.evidence(&suspects, since).await) };
        let seen: Vec<Seen> = instances.into_iter().map(|one| Seen::of(one, &activities, &evidence)).collect();
        // While one group replaces another, either of them may be empty.
        let capacity = groups.iter().map(|group| group.capacity).max_by_key(|capacity| capacity.desired);
        let view = View {
            standing: standing.as_ref(),
            newest: newest.as_ref(),
            capacity,
            instances: &seen,
            activities: &activities,
            alarms: &alarms,
            unseen: &unseen.sentences,
            has_no_sight: blind.stack,
        };
        let health = health(&view, &self.operator.limits(), at);
        let suspended = groups.into_iter().flat_map(|group| group.suspended).collect();
        let unseen = unseen.all;
        Ok(Look { at, standing, newest, in_force, freeze, position, suspended, capacity, seen, health, unseen, blind })
    }

    /// The newest record, and the newest good one.
    async fn records(&self) -> Result<(Option<Record>, Option<Record>), Failure> {
        let records = self.operator.records();
        let (mut newest, mut in_force) = (None, None);
        for number in records.numbers().await? {
            let known = self.ended.borrow().get(&number).cloned();
            let record = match known {
                Some(record) => record,
                None => match records.read(number).await? {
                    Some(kept) => kept.record,
                    None => continue,
                },
            };
            if record.state != State::UnderWay {
                self.ended.borrow_mut().insert(number, record.clone());
            }
            newest.get_or_insert_with(|| record.clone());
            if record.state == State::Good {
                in_force = Some(record);
                break;
            }
        }
        Ok((newest, in_force))
    }

    async fn position(&self, standing: &Standing) -> Result<Vec<Position>, Failure> {
        let Operator { stacks, place, .. } = self.operator;
        Ok(Vec::from_iter(position(stacks, &place.application, standing).await?))
    }

    async fn alarms(&self, position: Option<&Position>) -> Result<Vec<Alarm>, Failure> {
        let stack = self.operator.stack();
        let own = ALARMS.iter().map(|name| format!("{stack}-{name}"));
        let of_edge = position.into_iter().flat_map(|position| position.alarms(&self.operator.place.application));
        let names: Vec<String> = own.chain(of_edge).chain(self.operator.alarms()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let raised = alarms::named(&self.operator.aws, &names).await?.into_iter().filter(|(_, alarm)| alarm.is_raised());
        let alarm = |(name, alarm): (String, alarms::Alarm)| {
            let why = alarm.why.unwrap_or_else(|| "CloudWatch gives no reason".into());
            Alarm { name, why }
        };
        Ok(raised.map(alarm).collect())
    }

    async fn evidence(&self, instances: &[&str], since: Timestamp) -> Result<Vec<Evidence>, Failure> {
        let reader = match self.reader.get() {
            Some(reader) => reader,
            None => {
                let account = self.operator.account("").await?;
                self.reader.get_or_init(|| Reader::new(self.operator, &account.evidence))
            }
        };
        reader.evidence_of(instances, since).await
    }
}

/// What could not be read.
#[derive(Debug, Default)]
struct Unseen {
    /// With hints.
    all: Vec<String>,
    /// The failures to read what the health depends on.
    sentences: Vec<String>,
}

impl Unseen {
    /// What was found, or an empty value.
    fn of<T: Default>(&mut self, found: Result<T, Failure>, is_blind: &mut bool) -> T {
        found.unwrap_or_else(|failure| {
            *is_blind = true;
            self.heavy(&failure);
            T::default()
        })
    }

    fn without<T>(&mut self, found: Result<Vec<T>, Failure>) -> Vec<T> {
        found.unwrap_or_else(|failure| {
            self.light(&failure);
            Vec::new()
        })
    }

    /// Records a failure that leaves the health of the environment unknown.
    fn heavy(&mut self, failure: &Failure) {
        self.sentences.push(failure.sentence());
        self.light(failure);
    }

    fn light(&mut self, failure: &Failure) {
        self.all.push(failure.to_string());
    }
}

impl Look {
    /// How many instances serve.
    pub(super) fn serving(&self) -> usize {
        self.seen.iter().filter(|one| one.state().part() == Part::Well).count()
    }

    pub(super) fn json(&self, environment: &str, stack: &str) -> Json {
        json!({
            "version": 1,
            "at": self.at,
            "environment": environment,
            "health": self.health,
            "stack": self.standing.as_ref().map(|standing| json!({ "name": stack, "status": standing.status })),
            "capacity": self.capacity,
            "in_force": self.in_force,
            "newest": self.newest,
            "frozen": self.freeze,
            "edge": self.position,
            "instances": self.seen.iter().map(instance).collect::<Vec<_>>(),
            "unseen": self.unseen,
        })
    }

    /// The state without values that change with time alone: two looks with the same gist need no report.
    pub(super) fn gist(&self) -> Json {
        let status = self.standing.as_ref().map(|standing| &standing.status);
        let newest = self.newest.as_ref().map(|record| (record.number, record.state));
        let one = |seen: &Seen| {
            json!([
                seen.instance.id,
                seen.instance.lifecycle,
                seen.state().word(),
                seen.cause,
                seen.instance.target.as_ref().map(|target| &target.state)
            ])
        };
        json!([
            self.health.status,
            status,
            newest,
            self.freeze,
            self.position,
            self.capacity,
            self.seen.iter().map(one).collect::<Vec<_>>()
        ])
    }
}

fn instance(seen: &Seen) -> Json {
    let one = &seen.instance;
    json!({
        "id": one.id, "zone": one.zone, "release": one.release, "deployment": one.deployment, "image": one.image,
        "state": seen.state().word(), "since": seen.since, "launched": one.launched, "cause": seen.cause,
        "lifecycle": one.lifecycle, "healthy": one.is_healthy,
        "target": one.target.as_ref().map(|target| json!({ "state": target.state, "why": target.why })),
    })
}
