//! Stage 4: make the world that the steps see, from the record and the facts of this instance.

use std::collections::BTreeSet;

use crate::aws::Identity;
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::failure::Explanation;
use crate::host::state::{Record, STATE};
use crate::plan::Plan;
use crate::step::{Phase, Siblings as _};
use crate::steps::mount::remembered;
use crate::steps::{application, drain, worker};

impl Boot {
    /// Makes the world of the steps. `identity` and `record` are given if earlier stages have read them.
    pub(super) async fn remember(
        &self,
        plan: &Plan,
        phase: Phase,
        mut identity: Option<Identity>,
        record: Option<Record>,
    ) -> Result<(), Stop> {
        if identity.is_none() && (plan.needs_facts() || plan.needs_aws()) {
            identity = Some(self.cloud().metadata().identity().await?);
        }
        let id = self.id(identity.as_ref()).await;
        self.recorder.amend(|report| report.instance = Some(id.clone()));
        self.needs_disk(STATE);
        let record = match record {
            Some(record) => record,
            None => self.record_of(&id).await?,
        };
        let world = self.enter(record, phase, plan.hides.as_deref());
        // A boot of only some steps does not know every mount of the document.
        if self.request.is_whole() && phase == Phase::Serve {
            let mut kept: BTreeSet<&str> = BTreeSet::new();
            kept.extend(plan.nodes.iter().map(|node| node.address.as_str()));
            // A failure matters only at the next reboot, so this boot continues.
            if let Err(error) = remembered::forget_others(&world.record, &kept).await {
                self.note(&Explanation::of(&error).to_string());
            }
            if plan.listening(application::KIND).is_empty() {
                match application::left_behind(&world.record, &self.ground.host).await {
                    Ok(sentences) => sentences.iter().for_each(|sentence| self.note(sentence)),
                    Err(error) => self.note(&Explanation::of(&error).to_string()),
                }
            }
            if !plan.nodes.iter().any(|node| node.address.kind() == drain::KIND) {
                match drain::end(&self.ground.host).await {
                    Ok(true) => self.note(&format!("the document no longer has `drains`: {} is stopped", drain::UNIT)),
                    Ok(false) => {}
                    Err(error) => self.note(&Explanation::of(&error).to_string()),
                }
            }
            match worker::left_behind(&kept, &self.ground.host).await {
                Ok(sentences) => sentences.iter().for_each(|sentence| self.note(sentence)),
                Err(error) => self.note(&Explanation::of(&error).to_string()),
            }
        }
        self.has_it();
        self.learn_facts(plan, identity.as_ref()).await
    }
}
