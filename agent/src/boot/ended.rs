//! A boot that ends before its first step: report it, and send its signals if they can be read.
//! Evidence is one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::boot::audience::Ending;
use crate::boot::state::Boot;
use crate::boot::stop::{Asked, Stop, enough};
use crate::document::BootDocument;
use crate::document::error::{DocumentError, Entry};
use crate::document::source::Layers;
use crate::execute::{Execution, LAST_WORDS, testify};
use crate::failure::Explanation;
use crate::host::state::Record;
use crate::plan::Plan;
use crate::report::Trouble;
use crate::step::{Verdict, World};

/// How long the disk may take to return the record of this instance. Signals to those who wait
/// for the instance are not held up longer.
const READ_WITHIN: Duration = Duration::from_secs(3);

impl Boot {
    /// Reports a boot that ended before its first step, and sends its signals.
    pub(super) async fn ended(&self, stop: Stop, asked: Asked<'_>) -> Ending {
        match stop {
            Stop::Refused(message) => Ending::Refused(message),
            Stop::AlreadyDone => Ending::AlreadyDone,
            Stop::Superseded(why) => Ending::Superseded(why.to_string()),
            Stop::Document(error) => {
                self.audience.mistakes(&error);
                let sent = self.send_signals(document_trouble(&error), asked).await;
                self.close().await;
                self.testify_of(sent).await;
                Ending::Document
            }
            Stop::Release(error) => {
                self.audience.mistakes(&error);
                self.recorder.amend(|report| report.error = Some(document_trouble(&error)));
                self.close().await;
                Ending::Document
            }
            Stop::Failed(error) if error.unreachable && !self.including.get() => self.failed(&error).await,
            Stop::Failed(error) => {
                let sent = self.send_signals(Trouble::from(&error), asked).await;
                let ending = self.failed(&error).await;
                self.testify_of(sent).await;
                ending
            }
            Stop::Asked(error) => self.failed(&error).await,
        }
    }

    async fn failed(&self, error: &Explanation) -> Ending {
        self.audience.failed(error);
        self.recorder.amend(|report| report.error = Some(Trouble::from(error)));
        self.close().await
    }

    /// Sends the signals that can be read, within a limited time. Returns them with their world, if there are any.
    async fn send_signals(&self, trouble: Trouble, mut asked: Asked<'_>) -> Option<(Plan, World)> {
        let reason = std::iter::once(&trouble.message).chain(trouble.causes.first()).cloned().collect::<Vec<_>>().join(": ");
        // Set before the signals are sent, because evidence contains it.
        self.recorder.amend(|report| report.error = Some(trouble));
        let found = async {
            let layers = match self.layers.take() {
                Some(layers) => layers,
                // Otherwise the process that holds the lock, or the request for another release, sends the signals.
                None if self.hangs.get() && self.request.release.is_none() => self.user_data_alone().await?,
                None => return None,
            };
            self.signals_of(layers).await
        };
        let (plan, world) = tokio::select! {
            biased;
            found = found => found?,
            _ = enough(LAST_WORDS, self.clock(), asked.as_mut()) => return None,
        };
        world.known.set_verdict(|| Verdict::failed(None, &reason, &world.redactor));
        let mut execution = Execution::new(&plan, &world, &self.recorder);
        let within = LAST_WORDS + execution.held_for();
        execution.boot(enough(within, self.clock(), asked)).await;
        drop(execution);
        Some((plan, world))
    }

    async fn testify_of(&self, sent: Option<(Plan, World)>) {
        if let Some((plan, world)) = sent {
            testify(&plan, &world, &self.recorder, &*self.ground.lock).await;
        }
    }

    /// Compiles the signals of layers, and the world for them. `None` if that fails.
    async fn signals_of(&self, layers: Layers) -> Option<(Plan, World)> {
        let metadata = self.cloud.get()?.metadata();
        let mut document = BootDocument::signals_of(layers);
        let mut identity = None;
        // If it cannot be decided whether a signal is due, the signal is sent: someone may be waiting for it.
        let _ = self.leave_out(&mut document, &mut identity).await;
        document.mistakes.clear();
        let mut plan = Plan::compile(document, &BTreeMap::new()).ok()?;
        let made = async {
            let phase = self.phase(&plan).await?;
            plan.in_phase(phase);
            if identity.is_none() {
                identity = Some(metadata.identity().await?);
            }
            let id = self.id(identity.as_ref()).await;
            self.recorder.amend(|report| report.instance = Some(id.clone()));
            let host = &self.ground.host;
            let (files, own) = (host.files.clone(), host.users.own());
            let record = tokio::select! {
                biased;
                record = Record::load(files.clone(), own, &id) => record.unwrap_or_else(|_| Record::unread(files, own, &id)),
                () = self.clock().sleep(READ_WITHIN) => Record::unread(files, own, &id),
            };
            let world = self.new_world(record, phase, Some("the boot ended before it had read any secret"));
            let facts = self.facts_of(plan.tags(), identity.as_ref()).await?;
            // A value may be what failed. Then the signals that refer to it fail, and the others are sent.
            world.known.set_root("values", plan.values.resolve(&facts).unwrap_or_default());
            world.known.set_root("instance", facts);
            Ok::<World, Stop>(world)
        };
        let world = made.await.ok()?;
        Some((plan, world))
    }
}

fn document_trouble(error: &DocumentError) -> Trouble {
    let entries = error.entries();
    let count = match entries.len() {
        1 => "a mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    let hint = match entries.as_slice() {
        [Entry { hint: Some(hint), .. }] => hint.clone(),
        _ => "run `ingot check` on the document before you launch an instance with it".to_owned(),
    };
    let causes = entries.into_iter().map(|entry| match (entry.file, entry.line, entry.column) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: {}", entry.message),
        _ => entry.message,
    });
    Trouble { message: format!("the boot document has {count}"), causes: causes.collect(), hint: Some(hint), unreachable: false }
}
