//! Makes workers take no more messages, and finish those in hand or give them back.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use super::asked::{Ask, Asked};
use super::course::Stage;
use super::leave::{LOOK_EVERY, Leaving};
use super::outlook::Outlook;
use super::sign::Sign;
use super::told::Told;
use crate::failure::Explanation;
use crate::host::state::EntryState;
use crate::host::{HostError, Unit};
use crate::steps::application::leave::stop_unit;
use crate::steps::worker;

/// How long workers may take to give messages back once their time is over.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(15);

/// How long systemd may take to stop a worker that is not up and so has no messages in hand.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

impl Leaving<'_> {
    /// Asks workers to take no more messages, and waits until they have finished those in hand or given them back.
    /// Returns whether they have. Never returns unless it is `settled` that no boot can start more workers.
    pub(super) async fn workers(&self, outlook: &Outlook, asked: &RefCell<Asked>, settled: bool) -> bool {
        let (clock, mut told, mut until) = (&self.ground.host.clock, Told::default(), None);
        loop {
            let (mut up, left) = (self.workers_up().await, outlook.left_for_work(clock.elapsed()));
            if let (Ok(up), Sign::Shutdown) = (&mut up, outlook.sign) {
                // systemd has a stop job for it, and so will not restart it.
                up.retain(|unit| !unit.sub.starts_with("auto-restart"));
            }
            let why = match &up {
                Ok(up) if up.is_empty() && settled => return true,
                Ok(up) => {
                    for unit in up {
                        self.ask(unit, left.is_zero(), outlook.sign, asked, &mut told).await;
                    }
                    let names: Vec<&str> = up.iter().map(|unit| unit.id.as_str()).collect();
                    names.join(", ")
                }
                Err(error) => {
                    told.warn(format!("cannot read the state of workers: {}", Explanation::of(error)));
                    String::new()
                }
            };
            if settled && asked.borrow().is_new {
                asked.borrow_mut().is_new = false;
                let runs = asked.borrow().to_record();
                self.note(Stage::Workers.name(), EntryState::Started, clock.now(), runs).await;
            }
            let now = clock.elapsed();
            if settled && left.is_zero() && now >= *until.get_or_insert(now + GIVEN_BACK_WITHIN) {
                log::warn!("workers did not return their messages within {GIVEN_BACK_WITHIN:?}: {why}");
                return false;
            }
            if !why.is_empty() {
                told.waiting(&format!("{why} to finish the messages in progress"));
            }
            clock.sleep(left.clamp(LOOK_EVERY / 5, LOOK_EVERY)).await;
        }
    }

    async fn ask(&self, unit: &Unit, is_late: bool, sign: Sign, asked: &RefCell<Asked>, told: &mut Told) {
        let host = &self.ground.host;
        let ask = asked.borrow_mut().turn(unit, is_late, sign);
        let done = match ask {
            Ask::Nothing => Ok(()),
            Ask::Terminate => host.units.terminate(&unit.id).await,
            Ask::Stop => stop_unit(&unit.id, STOPPED_WITHIN, host).await,
        };
        if let Err(error) = done {
            told.warn(format!("{} was not asked to stop: {}", unit.id, Explanation::of(&error)));
        }
    }

    /// The workers that have not ended.
    pub(super) async fn workers_up(&self) -> Result<Vec<Unit>, HostError> {
        let host = &self.ground.host;
        let names = host.files.list(Path::new(worker::settings::DIRECTORY)).await?;
        let units: Vec<String> = names.iter().filter_map(|name| name.strip_suffix(".json")).map(worker::unit).collect();
        let shown = host.units.show(&units).await?;
        let named = units.into_iter().zip(shown).map(|(id, unit)| Unit { id, ..unit });
        Ok(named.filter(|unit| !matches!(unit.active.as_str(), "inactive" | "failed")).collect())
    }
}
