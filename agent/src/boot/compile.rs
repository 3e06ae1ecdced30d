//! Stage 3: compile the plan. Every mistake of the document is found here or earlier.

use tokio::task::yield_now;

use crate::aws::Identity;
use crate::boot::state::Boot;
use crate::boot::stop::{Stop, unfilled};
use crate::document::BootDocument;
use crate::document::source::{self, Layers};
use crate::plan::{Facts, Known, Plan, due, tags};
use crate::step::Phase;

impl Boot {
    /// Returns the plan of what is due now, and the phase that the instance is in. Reads `identity`
    /// if the plan needs it.
    pub(super) async fn compile(&self, layers: Layers, identity: &mut Option<Identity>) -> Result<(Plan, Phase), Stop> {
        let mut document = BootDocument::of(layers);
        let known = self.request.release.as_ref().map(|_| Known::of(&document)).unwrap_or_default();
        let undecided = self.leave_out(&mut document, identity).await?;
        self.needs_disk("the templates of the document");
        let templates = source::read_templates(&document.template_paths(), &[], &*self.ground.host.files).await;
        self.has_it();
        yield_now().await;
        let mut plan = Plan::compile(document, &templates).map_err(Stop::Document)?;
        // Checked only now: if the document has mistakes, the boot reports all of them at once.
        undecided?;
        yield_now().await;
        let phase = self.phase(&plan).await?;
        if self.request.is_whole() {
            plan.in_phase(phase);
        } else {
            plan.only(&self.request.only).map_err(Stop::Refused)?;
        }
        self.put_release_first(&mut plan, known)?;
        self.recorder.amend(|report| report.not_due.clone_from(&plan.not_due));
        self.recorder.phase("plan");
        Ok((plan, phase))
    }

    /// Leaves out the steps that are not due on this instance. Reads facts only if a `when:` or a value needs one. The
    /// inner result says why nothing could be decided: a value could not be rendered.
    pub(super) async fn leave_out(&self, document: &mut BootDocument, identity: &mut Option<Identity>) -> Result<Result<(), Stop>, Stop> {
        let references = due::references(document);
        if references.iter().any(|reference| reference.root() == "instance") && identity.is_none() {
            *identity = Some(self.cloud().metadata().identity().await?);
        }
        let instance = self.facts_of(tags(&references), identity.as_ref()).await?;
        Ok(due::settle(document, Facts::All(&instance)).map_err(|(place, error)| unfilled(&place, &error)))
    }
}
