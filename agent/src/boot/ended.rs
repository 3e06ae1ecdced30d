//! A boot that ends before its first step: report it, and send its signals if they can be read.

use std::collections::BTreeMap;

use crate::boot::audience::Ending;
use crate::boot::state::Boot;
use crate::boot::stop::{Asked, Stop, enough};
use crate::document::BootDocument;
use crate::document::error::{DocumentError, Entry};
use crate::document::source::Layers;
use crate::execute::Execution;
use crate::failure::Explanation;
use crate::host::state::Record;
use crate::plan::Plan;
use crate::report::Trouble;
use crate::step::{Verdict, World};

impl Boot {
    /// Reports a boot that ended before its first step, and sends its signals.
    pub(super) async fn ended(&self, stop: Stop, asked: Asked<'_>) -> Ending {
        match stop {
            Stop::Refused(message) => Ending::Refused(message),
            Stop::AlreadyDone => Ending::AlreadyDone,
            Stop::Document(error) => {
                self.audience.mistakes(&error);
                let trouble = document_trouble(&error);
                self.send_signals(&trouble, asked).await;
                self.recorder.amend(|report| report.error = Some(trouble));
                self.close().await;
                Ending::Document
            }
            Stop::Failed(error) => {
                if !error.unreachable {
                    self.send_signals(&Trouble::from(&error), asked).await;
                }
                self.failed(&error).await
            }
            Stop::Asked(error) => self.failed(&error).await,
        }
    }

    async fn failed(&self, error: &Explanation) -> Ending {
        self.audience.failed(error);
        self.recorder.amend(|report| report.error = Some(Trouble::from(error)));
        self.close().await
    }

    /// Sends the signals that can be read, within a limited time.
    async fn send_signals(&self, trouble: &Trouble, mut asked: Asked<'_>) {
        let Some(layers) = self.layers.take() else { return };
        let found = tokio::select! {
            biased;
            found = self.signals_of(layers) => found,
            _ = enough(self.clock(), asked.as_mut()) => None,
        };
        let Some((plan, world)) = found else { return };
        let reason = std::iter::once(&trouble.message).chain(trouble.causes.first()).cloned().collect::<Vec<_>>().join(": ");
        world.known.set_verdict(|| Verdict::failed(None, &reason, &world.redactor));
        Execution::new(&plan, &world, &self.recorder).boot(enough(self.clock(), asked)).await;
    }

    /// Compiles the signals of layers, and the world for them. `None` if that fails.
    async fn signals_of(&self, layers: Layers) -> Option<(Plan, World)> {
        let metadata = self.cloud.get()?.metadata();
        let mut plan = Plan::compile(BootDocument::signals_of(layers), &BTreeMap::new()).ok()?;
        let made = async {
            let phase = self.phase(&plan).await?;
            plan.in_phase(phase);
            let identity = Some(metadata.identity().await?);
            let id = self.id(identity.as_ref()).await;
            let host = &self.ground.host;
            let record = Record::load(host.files.clone(), host.users.own(), &id).await?;
            let world = self.new_world(record, phase);
            let facts = self.facts_of(&plan, identity.as_ref()).await?;
            // A value may be the reason of the failure. Signals that refer to one then fail, and the others are sent.
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
        _ => "run `ingot check` on it where it is written, before it is launched".to_owned(),
    };
    let causes = entries.into_iter().map(|entry| match (entry.file, entry.line, entry.column) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: {}", entry.message),
        _ => entry.message,
    });
    Trouble { message: format!("the boot document has {count}"), causes: causes.collect(), hint: Some(hint), unreachable: false }
}
