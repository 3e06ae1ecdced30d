//! Units that read files when they start, so that a law can check with which content a unit runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::fake::machine::FakeMachine;
use crate::host::units::Log;
use crate::host::{HostError, Launch, Unit, Units};
use crate::laws::example::Example;

/// Contents by path; `None` if there was no file.
type Contents = BTreeMap<String, Option<String>>;

/// The units of a machine, each of which reads the files that its service watches: all of them at a start, and some
/// also at a reload.
#[derive(Clone)]
pub(super) struct ReadingUnits {
    machine: FakeMachine,
    at_start: Rc<BTreeMap<String, Vec<String>>>,
    at_reload: Rc<BTreeMap<String, Vec<String>>>,
    read: Rc<RefCell<BTreeMap<String, Contents>>>,
}

impl ReadingUnits {
    pub(super) fn of(example: &Example, machine: &FakeMachine) -> Self {
        let watched = |field: &str| example.steps("services").map(|(unit, _)| (unit.clone(), example.files_of(unit, field))).collect();
        let at_reload: BTreeMap<String, Vec<String>> = watched("reload_on");
        let mut at_start: BTreeMap<String, Vec<String>> = watched("restart_on");
        at_start.iter_mut().for_each(|(unit, files)| files.extend_from_slice(&at_reload[unit]));
        Self { machine: machine.clone(), at_start: Rc::new(at_start), at_reload: Rc::new(at_reload), read: Rc::default() }
    }

    /// Fails if a unit does not run, if one of its files is missing, or if it runs with an earlier content.
    pub(super) fn assert_run_with_present_files(&self, what: &str) {
        for (unit, files) in &*self.at_start {
            let read = self.read.borrow().get(unit).cloned().unwrap_or_default();
            assert!(self.machine.snapshot().to_string().contains(&format!("{unit}  active (running)")), "{what}: {unit} does not run");
            for file in files {
                let present = content(&self.machine, file);
                assert!(present.is_some(), "{what}: {file} is not there");
                assert!(read.get(file) == Some(&present), "{what}: {unit} runs with another {file}");
            }
        }
    }

    /// Records what a unit reads now, in case the verb turns out to have an effect.
    fn reading<'a>(&'a self, unit: &'a str, files: &BTreeMap<String, Vec<String>>) -> Reading<'a> {
        let contents = files.get(unit).into_iter().flatten().map(|path| (path.clone(), content(&self.machine, path))).collect();
        Reading { units: self, unit, before: self.machine.starts_and_reloads(unit), contents }
    }
}

fn content(machine: &FakeMachine, path: &str) -> Option<String> {
    machine.file(path).map(|(content, _)| content)
}

/// A verb in progress. Dropped at its end, or when the process is killed during it.
struct Reading<'a> {
    units: &'a ReadingUnits,
    unit: &'a str,
    before: (u32, u32),
    contents: Contents,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.units.machine.starts_and_reloads(self.unit) != self.before {
            self.units.read.borrow_mut().entry(self.unit.to_owned()).or_default().append(&mut self.contents);
        }
    }
}

#[async_trait(?Send)]
impl Units for ReadingUnits {
    async fn show(&self, units: &[String]) -> Result<Vec<Unit>, HostError> {
        self.machine.show(units).await
    }

    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        let _reading = self.reading(unit, &self.at_start);
        self.machine.start(unit, timeout).await
    }

    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        let _reading = self.reading(unit, &self.at_start);
        self.machine.restart(unit, timeout).await
    }

    async fn reload(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        let _reading = self.reading(unit, &self.at_reload);
        self.machine.reload(unit, timeout).await
    }

    async fn stop(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.machine.stop(unit, timeout).await
    }

    async fn terminate(&self, unit: &str) -> Result<(), HostError> {
        self.machine.terminate(unit).await
    }

    async fn launch(&self, launch: &Launch, timeout: Duration) -> Result<(), HostError> {
        self.machine.launch(launch, timeout).await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), HostError> {
        self.machine.reset_failed(unit).await
    }

    async fn reload_definitions(&self) -> Result<(), HostError> {
        self.machine.reload_definitions().await
    }

    async fn journal(&self, unit: &str, lines: usize) -> Vec<String> {
        self.machine.journal(unit, lines).await
    }

    async fn output(&self, unit: &str, lines: usize) -> Vec<String> {
        self.machine.output(unit, lines).await
    }

    async fn log(&self, unit: &str, most: usize, within: Duration) -> Log {
        self.machine.log(unit, most, within).await
    }

    async fn rest(&self) {}

    fn own(&self) -> Option<String> {
        self.machine.own()
    }
}
