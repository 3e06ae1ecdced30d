//! Stage 3: compile the plan. Every mistake of the document is found here or earlier.

use tokio::task::yield_now;

use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::BootDocument;
use crate::document::source::{self, Layers};
use crate::plan::Plan;
use crate::step::Phase;

impl Boot {
    /// Returns the plan of what is due now, and the phase that the instance is in.
    pub(super) async fn compile(&self, layers: Layers) -> Result<(Plan, Phase), Stop> {
        let document = BootDocument::of(layers);
        let templates = source::read_templates(&document.template_paths(), &[], &*self.ground.host.files).await;
        yield_now().await;
        let mut plan = Plan::compile(document, &templates).map_err(Stop::Document)?;
        yield_now().await;
        let phase = self.phase(&plan).await?;
        if self.request.is_whole() {
            plan.in_phase(phase);
        } else {
            plan.only(&self.request.only).map_err(Stop::Refused)?;
        }
        self.recorder.phase("plan");
        Ok((plan, phase))
    }
}
