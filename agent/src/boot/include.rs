//! Reads the documents that layers include.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::include;
use crate::document::source::Layers;
use crate::failure::Failure;

/// How long the boot waits for an included document: as long as for a secret.
const PATIENCE: Duration = Duration::from_secs(600);

impl Boot {
    /// Reads the documents that layers include, with retries. Returns whether there were any.
    pub(super) async fn include(&self, layers: &mut Layers) -> Result<bool, Stop> {
        if !layers.nodes.iter().any(|node| node.get(include::KEY).is_some()) {
            return Ok(false);
        }
        let (aws, clock) = (self.cloud().aws(), self.clock());
        let begun = clock.elapsed();
        self.including.set(true);
        self.waiting.replace(Some(("for the included documents".into(), true)));
        for attempt in 1.. {
            let mut tried = Layers { nodes: layers.nodes.clone(), ..Layers::default() };
            let Err(error) = include::resolve(&mut tried, &aws.parameters, &*aws.documents).await else {
                layers.nodes = tried.nodes;
                layers.sources.append(&mut tried.sources);
                layers.mistakes.append(&mut tried.mistakes);
                self.waiting.take();
                self.including.set(false);
                self.recorder.amend(|report| report.waiting = None);
                return Ok(true);
            };
            let pause = Backoff::CALL.pause(attempt, error.retry_after());
            if !error.is_transient() || clock.elapsed() + pause > begun + PATIENCE {
                return Err(error.into());
            }
            let reason = format!("for an included document: {error}");
            log::info!("waiting {reason}");
            self.waiting.replace(Some((reason.clone(), error.is_unreachable())));
            self.recorder.amend(|report| report.waiting = Some(reason));
            clock.sleep(pause).await;
        }
        Ok(true)
    }
}
