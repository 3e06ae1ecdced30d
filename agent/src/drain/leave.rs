//! Executes one drain, stage by stage, as its [`Course`] says. Other files decide what to do, and when a wait is over.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use jiff::Timestamp;

use super::asked::Asked;
use super::course::{Course, Stage};
use super::hook::{Completion, Waiting};
use super::outlook::Outlook;
use super::sign::Sign;
use super::trouble::DrainError;
use crate::boot::{Cloud, Ground};
use crate::failure::Explanation;
use crate::host::HostError;
use crate::host::clock::moment;
use crate::host::state::{Entry, EntryState, Record};
use crate::steps::application::leave::is_up;
use crate::steps::drain::settings::Settings;
use crate::steps::drain::{BEGAN, NOTICED};

/// How often units and connections are checked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long completing the hook may take at a shutdown, whatever does not answer.
const COMPLETED_WITHIN: Duration = Duration::from_secs(30);

/// How long a disk may take to write an entry of the record. A stage that could not be recorded may be repeated.
const RECORDED_WITHIN: Duration = Duration::from_secs(3);

/// How often ingot retries while another process writes to the record.
const TURN_EVERY: Duration = Duration::from_millis(20);

/// A drain of this machine, with everything around it.
pub(super) struct Leaving<'a> {
    pub(super) settings: &'a Settings,
    pub(super) ground: &'a Ground,
    pub(super) boot_id: &'a str,
    record: Record,
    pub(super) cloud: Rc<dyn Cloud>,
}

impl<'a> Leaving<'a> {
    pub(super) async fn new(settings: &'a Settings, ground: &'a Ground, boot_id: &'a str) -> Result<Self, Explanation> {
        let record = record(settings, ground).await?;
        Ok(Self { settings, ground, boot_id, record, cloud: ground.cloud.connect().await? })
    }

    /// Reads the record again, because another process may have drained in the meantime.
    pub(super) async fn read_again(&self) -> Result<(), Explanation> {
        self.record.refresh().await.map_err(|error| Explanation::of(&error))
    }

    /// The sign and the start of the drain that began in this boot of the machine.
    pub(super) fn known(&self) -> Option<(Sign, Timestamp)> {
        let began = self.of_this_boot(BEGAN)?;
        Some((began.detail?.parse().ok()?, moment(&began.at)?))
    }

    /// The last EC2 notice for which this machine was drained, whatever the result. Only a later rebalance
    /// recommendation counts as a new sign.
    pub(super) fn noticed(&self) -> Option<Sign> {
        self.record.get(NOTICED)?.detail?.parse().ok()
    }

    /// What is left of the drain, according to the record.
    pub(super) fn left(&self, sign: Sign) -> Course {
        Course::new(self.settings, sign, |stage| self.is_on_record(stage))
    }

    fn of_this_boot(&self, name: &str) -> Option<Entry> {
        self.record.get(name).filter(|entry| entry.boot_id == self.boot_id)
    }

    fn is_on_record(&self, stage: Stage) -> bool {
        self.of_this_boot(stage.name()).is_some_and(|entry| entry.state == EntryState::Done)
    }

    /// When the drain on record began, if it is a drain by `origin` that this one continues.
    fn continued(&self, origin: Sign) -> Option<Timestamp> {
        self.known().filter(|(known, _)| *known == origin && origin.lasts()).map(|(_, began)| began)
    }

    /// The outlook of a drain by `sign` that began by `origin`.
    pub(super) fn outlook(&self, sign: Sign, origin: Sign) -> Outlook {
        let (clock, grace) = (&self.ground.host.clock, self.settings.grace());
        let now = clock.now();
        let began = self.continued(origin).unwrap_or(now);
        let passed = Duration::try_from(now.duration_since(began)).unwrap_or_default();
        let time = sign.time(began, grace).min(origin.time(began, grace));
        let outlook = Outlook::new(sign, began, clock.elapsed() + time.saturating_sub(passed));
        [sign, origin].into_iter().for_each(|sign| outlook.ends_by(sign, now, clock.elapsed()));
        outlook
    }

    /// Whether the hook waited for this machine before a drain was interrupted.
    pub(super) fn has_seen_hook(&self) -> bool {
        self.of_this_boot(Stage::Hook.name()).is_some()
    }

    /// The workers that were asked to stop, according to the record.
    pub(super) fn asked(&self) -> Asked {
        Asked::of_record(&self.of_this_boot(Stage::Workers.name()).and_then(|entry| entry.detail).unwrap_or_default())
    }

    /// Drains this machine, resuming an interrupted drain. Returns whether nothing is left to be
    /// done, whatever sign follows.
    pub(super) async fn run(
        &self,
        outlook: &Outlook,
        origin: Sign,
        waiting: Option<&Waiting<'_>>,
        asked: &RefCell<Asked>,
    ) -> Result<bool, DrainError> {
        let continues = self.continued(origin).is_some();
        if !continues {
            self.note(BEGAN, EntryState::Started, outlook.began, origin.to_string()).await;
            if let Sign::Rebalance(at) | Sign::Interrupted(at) = origin {
                self.note(NOTICED, EntryState::Started, outlook.began, Sign::Rebalance(at).to_string()).await;
            }
        }
        // If something is running, it was started again without a note in the record. So an entry
        // that it was stopped does not count.
        let works = self.workers_up().await.map_or(true, |up| !up.is_empty());
        let serves = self.serves().await;
        let done = |stage: Stage| match stage {
            Stage::Workers => self.is_on_record(stage) && !works,
            Stage::Requests => (self.is_on_record(stage) && continues) || (self.settings.serves() && !serves),
            Stage::Units => self.is_on_record(stage) && !works && !serves,
            Stage::Evidence => self.is_on_record(stage) && continues,
            Stage::Hook => self.is_on_record(stage),
        };
        let mut course = Course::new(self.settings, outlook.sign, done);
        while let Some(stage) = course.next().first().copied() {
            match stage {
                Stage::Workers | Stage::Requests => {
                    let due = course.next().to_vec();
                    let workers = async {
                        if due.contains(&Stage::Workers) && self.workers(outlook, asked, true).await {
                            self.done(Stage::Workers).await;
                        }
                    };
                    let requests = async {
                        if due.contains(&Stage::Requests) {
                            self.requests(outlook).await;
                            self.done(Stage::Requests).await;
                        }
                    };
                    join(workers, requests).await;
                    due.into_iter().for_each(|stage| course.is_done(stage));
                    continue;
                }
                Stage::Units => self.units(outlook).await,
                Stage::Evidence => self.evidence(outlook).await,
                Stage::Hook => match self.hook(outlook.sign, waiting).await? {
                    Completion::Done | Completion::Gone => {}
                    Completion::NotYet => return Ok(outlook.sign.is_last()),
                },
            }
            self.done(stage).await;
            course.is_done(stage);
        }
        Ok(true)
    }

    async fn hook(&self, sign: Sign, waiting: Option<&Waiting<'_>>) -> Result<Completion, DrainError> {
        let Some(waiting) = waiting else { return Ok(Completion::Gone) };
        if waiting.seen.get() {
            self.note(Stage::Hook.name(), EntryState::Started, self.ground.host.clock.now(), String::new()).await;
        }
        let late = async {
            if sign != Sign::Shutdown {
                std::future::pending::<()>().await;
            }
            self.ground.host.clock.sleep(COMPLETED_WITHIN).await;
        };
        tokio::select! {
            biased;
            completion = waiting.complete() => completion,
            () = late => {
                log::warn!("the lifecycle hook was not completed within {COMPLETED_WITHIN:?}");
                Ok(Completion::NotYet)
            }
        }
    }

    /// Whether any service or application is running, as far as can be determined.
    async fn serves(&self) -> bool {
        let host = &self.ground.host;
        let services: Vec<String> = self.settings.services().map(str::to_owned).collect();
        let is_down = |state: &str| matches!(state, "inactive" | "failed");
        let mut serves = host.units.show(&services).await.map_or(true, |shown| shown.iter().any(|unit| !is_down(&unit.active)));
        let applications = self.settings.serving.iter().filter_map(|address| address.strip_prefix("applications."));
        for name in applications {
            serves = serves
                || match self.instance().await {
                    Ok(record) => is_up(name, &record, host).await.unwrap_or(true),
                    Err(_) => true,
                };
        }
        serves
    }

    /// The record of the instance, which includes the records of its applications.
    pub(super) async fn instance(&self) -> Result<Record, HostError> {
        let host = &self.ground.host;
        Record::load(host.files.clone(), host.users.own(), &self.settings.record).await
    }

    async fn done(&self, stage: Stage) {
        self.note(stage.name(), EntryState::Done, self.ground.host.clock.now(), String::new()).await;
    }

    pub(super) async fn note(&self, name: &str, state: EntryState, at: Timestamp, detail: String) {
        let entry = Entry { state, boot_id: self.boot_id.to_owned(), at: at.to_string(), detail: Some(detail).filter(|it| !it.is_empty()) };
        let trouble = tokio::select! {
            biased;
            written = self.remember(name, entry) => match written {
                Ok(()) => return,
                Err(error) => Explanation::of(&error).to_string(),
            },
            () = self.ground.host.clock.sleep(RECORDED_WITHIN) => format!("the disk has not answered for {RECORDED_WITHIN:?}"),
        };
        log::warn!("{name} is not recorded, so an interrupted drain may repeat it: {trouble}");
    }

    /// A manual drain and one of a shutdown may run at the same time. The lock keeps them from
    /// overwriting each other's entries.
    async fn remember(&self, name: &str, entry: Entry) -> Result<(), HostError> {
        let host = &self.ground.host;
        let _turn = loop {
            match host.reading.claim(&self.settings.address).await {
                Ok(None) => host.clock.sleep(TURN_EVERY).await,
                turn => break turn,
            }
        };
        self.record.refresh().await?;
        self.record.put(name, entry).await
    }
}

/// The record of drains.
async fn record(settings: &Settings, ground: &Ground) -> Result<Record, Explanation> {
    let host = &ground.host;
    let record = Record::load(host.files.clone(), host.users.own(), &settings.record).await;
    let record = match record {
        Ok(record) => record.apart(&settings.address).await,
        Err(error) => Err(error),
    };
    record.map_err(|error| Explanation::of(&error))
}
