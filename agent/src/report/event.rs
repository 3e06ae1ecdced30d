//! The events of a boot as they happen: [`Recorder`] keeps the report and notifies the listeners.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::address::Address;
use crate::failure::Explanation;
use crate::host::Clock;
use crate::report::{Idle, IdleKind, Outcome, Report, StepReport, Trouble, milliseconds};
use crate::step::amount::Amount;
use crate::step::{Account, Progress};

/// An event of one step.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Started,
    Changing(&'a str),
    Waiting(&'a str),
    /// With the time since the start of the process.
    Advanced(&'a Amount, Duration),
    /// A line that a program printed, without secrets.
    Output(&'a str),
    Warning(&'a str),
    Retrying {
        error: &'a Explanation,
        pause: Duration,
        attempt: u32,
    },
    /// Ended or skipped: the step's report has the outcome.
    Finished,
}

/// Receives the events of a boot.
pub(crate) trait Listener {
    fn event(&self, step: &StepReport, event: &Event<'_>);
    /// The boot is over.
    fn ended(&self, report: &Report);
}

/// Keeps the report up to date and notifies the listeners.
pub(crate) struct Recorder {
    report: RefCell<Report>,
    changes: Cell<u64>,
    listeners: Vec<Box<dyn Listener>>,
    clock: Rc<dyn Clock>,
}

impl Recorder {
    pub(crate) fn new(report: Report, listeners: Vec<Box<dyn Listener>>, clock: Rc<dyn Clock>) -> Self {
        Self { report: RefCell::new(report), changes: Cell::new(0), listeners, clock }
    }

    pub(crate) fn report(&self) -> Ref<'_, Report> {
        self.report.borrow()
    }

    /// The boot as it is now, for steps.
    pub(crate) fn account(&self) -> Account {
        let report = self.report.borrow();
        let json = serde_json::to_string(&*report).expect("a report is plain data");
        let instance = report.instance.clone().unwrap_or_else(|| "local".into());
        let is_read = |step: &&StepReport| matches!(step.outcome, Outcome::Unchanged | Outcome::Changed);
        let mut secrets = report.steps.iter().filter(|step| step.address.kind() == "secrets");
        let unread = secrets.find(|step| !is_read(step)).map(|step| format!("{} was not read", step.address));
        let failure = report.first_failure().filter(|_| report.has_failed()).map(|(at, trouble)| {
            let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
            at.map_or_else(String::new, |address| format!("{address}: ")) + &trouble.message + &causes
        });
        Account { began: report.started_at.clone(), instance, report: json, failure, unread }
    }

    /// The number of changes of the report so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Changes parts of the report that are about the whole boot.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut Report)) {
        self.changes.set(self.changes.get() + 1);
        let mut report = self.report.borrow_mut();
        if report.finished_at.is_none() {
            report.elapsed_ms = milliseconds(self.clock.elapsed());
        }
        change(&mut report);
    }

    /// Records when a phase before the steps ended.
    pub(crate) fn phase(&self, name: &str) {
        let now = milliseconds(self.clock.elapsed());
        self.amend(|report| {
            report.phases_ms.insert(name.to_owned(), now);
        });
    }

    pub(crate) fn started(&self, at: usize) {
        self.change(at, |step, now| {
            step.outcome = Outcome::Running;
            step.started_ms = Some(now);
            step.attempts = 1;
        });
        self.tell(at, &Event::Started);
    }

    /// Records the changes that are about to be made, in addition to those of earlier rounds and tries.
    pub(crate) fn changing(&self, at: usize, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.change(at, |step, now| {
            goes_on(step, now);
            step.unreachable = false;
            let new: Vec<String> = lines.iter().filter(|line| !step.changes.contains(line)).cloned().collect();
            step.changes.extend(new);
        });
        for line in lines {
            self.tell(at, &Event::Changing(line));
        }
    }

    pub(crate) fn progress(&self, at: usize, progress: &Progress) {
        match progress {
            Progress::Waiting(reason) | Progress::Asking(reason) => {
                self.change(at, |step, now| {
                    // A refusal of something else does not explain this wait.
                    if last_wait(step).is_some_and(|last| last != reason) {
                        step.refusal = None;
                    }
                    step.waiting = Some(reason.clone());
                    step.unreachable = matches!(progress, Progress::Asking(_));
                    rests(step, now, IdleKind::Waiting, reason);
                });
                self.tell(at, &Event::Waiting(reason));
            }
            Progress::Refused(error) => {
                let reason = format!("to try again: {}", error.message);
                self.change(at, |step, now| {
                    rests(step, now, IdleKind::Retrying, &error.message);
                    step.waiting = Some(reason.clone());
                    step.unreachable = error.unreachable;
                    step.refusal = Some((*error).clone());
                });
                self.tell(at, &Event::Waiting(&reason));
            }
            Progress::Advanced(amount) => {
                self.change(at, |step, now| {
                    step.unreachable = false;
                    step.refusal = None;
                    step.progress = Some(amount.clone());
                    goes_on(step, now);
                });
                self.tell(at, &Event::Advanced(amount, self.clock.elapsed()));
            }
            Progress::Answered => self.change(at, |step, now| {
                // A wait that took no time is not worth a line.
                step.idle.pop_if(|idle| idle.to_ms.is_none() && now - idle.from_ms < NOTHING);
                goes_on(step, now);
                step.waiting = None;
                step.unreachable = false;
            }),
            Progress::Output(line) => self.tell(at, &Event::Output(line)),
            Progress::Warning(text) => {
                // A step that is inspected again or retried repeats its warnings.
                let warning = format!("{}: {text}", self.report.borrow().steps[at].address);
                if !self.report.borrow().warnings.contains(&warning) {
                    self.amend(|report| report.warnings.push(warning));
                    self.tell(at, &Event::Warning(text));
                }
            }
        }
    }

    pub(crate) fn retrying(&self, at: usize, error: &Explanation, pause: Duration, attempt: u32) {
        self.change(at, |step, now| {
            rests(step, now, IdleKind::Retrying, &error.message);
            step.attempts = attempt + 1;
            step.waiting = Some(format!("to try again: {}", error.message));
            step.unreachable = error.unreachable;
            step.refusal = Some((*error).clone());
        });
        self.tell(at, &Event::Retrying { error, pause, attempt });
    }

    pub(crate) fn succeeded(&self, at: usize) {
        let unchanged = self.report.borrow().steps[at].changes.is_empty();
        self.finished(at, if unchanged { Outcome::Unchanged } else { Outcome::Changed }, None);
    }

    pub(crate) fn finished(&self, at: usize, outcome: Outcome, error: Option<&Explanation>) {
        self.change(at, |step, now| {
            step.outcome = outcome;
            step.finished_ms = Some(now);
            goes_on(step, now);
            step.error = error.map(Trouble::from);
            step.waiting = step.waiting.take().filter(|_| outcome == Outcome::Failed);
            step.progress = None;
        });
        self.tell(at, &Event::Finished);
    }

    /// Records that a finished step no longer waits for anything.
    pub(crate) fn rested(&self, at: usize) {
        if self.report.borrow().steps[at].waiting.is_some() {
            self.change(at, |step, now| {
                goes_on(step, now);
                step.waiting = None;
            });
        }
    }

    pub(crate) fn skipped(&self, at: usize, needs: Option<Address>) {
        self.change(at, |step, _| {
            step.outcome = Outcome::Skipped;
            step.skipped_for = needs;
        });
        self.tell(at, &Event::Finished);
    }

    /// Closes the report.
    pub(crate) fn end(&self) {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        self.amend(|report| report.end(now, elapsed));
        let report = self.report.borrow();
        self.listeners.iter().for_each(|listener| listener.ended(&report));
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut StepReport, f64)) {
        let elapsed = milliseconds(self.clock.elapsed());
        self.amend(|report| change(&mut report.steps[at], elapsed));
    }

    fn tell(&self, at: usize, event: &Event<'_>) {
        let step = &self.report.borrow().steps[at];
        self.listeners.iter().for_each(|listener| listener.event(step, event));
    }
}

/// What the step last waited for, before it was refused.
fn last_wait(step: &StepReport) -> Option<&String> {
    step.idle.iter().rev().find(|idle| idle.kind == IdleKind::Waiting).map(|idle| &idle.why)
}

/// The longest wait that counts as no time, in milliseconds.
const NOTHING: f64 = 0.05;

/// How many pauses of a step are kept: the first ones are enough to explain its time.
const PAUSES: usize = 200;

/// Records that a step is idle from now on. A repeated reason continues the same pause.
fn rests(step: &mut StepReport, now: f64, kind: IdleKind, why: &str) {
    if step.idle.last().is_some_and(|last| last.to_ms.is_none() && last.kind == kind && last.why == why) {
        return;
    }
    goes_on(step, now);
    if step.idle.len() < PAUSES {
        step.idle.push(Idle { from_ms: now, to_ms: None, kind, why: why.to_owned() });
    }
}

/// Records that a step is working again, if it was idle.
fn goes_on(step: &mut StepReport, now: f64) {
    if let Some(last) = step.idle.last_mut() {
        last.to_ms.get_or_insert(now);
    }
}
