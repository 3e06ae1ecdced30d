//! The leader: the one instance of a fleet that does what has to be done once per release.
//!
//! `EB_IS_COMMAND_LEADER` tells hooks and container commands whether they run on it, and `leader_only` commands run
//! only there.
//!
//! With `claims:` in the document, a claim chooses the leader, separately for each moment; the other instances wait
//! until it is done. Without `claims:`, every instance leads.

use super::fields::Application;
use super::generation::Placed;
use super::ground::Ground;
use super::hooks::{Moment, Occasion};
use super::trouble::ApplicationError;
use crate::digest::Sha256;
use crate::host::Lease;
use crate::step::fields::Excerpt;
use crate::step::{Claiming, Context};
use crate::steps::claiming::{self, OF_A_RELEASE, Scope};
use crate::text::SecretText;

/// Tells a program of a release whether to do what one instance of a fleet does for all.
const LEADER: &str = "EB_IS_COMMAND_LEADER";

/// Whether this instance leads.
#[derive(Debug, Clone)]
pub(super) enum Led {
    /// With a lease if it acts for other instances as well.
    Leads(Option<Lease>),
    Follows,
}

impl Led {
    /// The variable passed to programs of the release.
    pub(super) fn variable(&self) -> (String, SecretText) {
        (LEADER.to_owned(), if matches!(self, Self::Leads(_)) { "true".into() } else { "false".into() })
    }

    pub(super) fn lease(&self) -> Option<Lease> {
        match self {
            Self::Leads(lease) => lease.clone(),
            Self::Follows => None,
        }
    }
}

impl Application {
    /// Hooks and container commands are claimed if that is possible.
    pub(super) fn claiming(&self) -> Option<Claiming> {
        self.hooks.then_some(Claiming { says: None, values: OF_A_RELEASE })
    }

    /// Does the leader's work if this instance leads; otherwise waits until that is done. Returns whether it leads.
    pub(super) async fn lead(
        &self,
        what: &str,
        cx: &Context<'_>,
        work: impl AsyncFnOnce(Led) -> Result<(), ApplicationError>,
    ) -> Result<bool, ApplicationError> {
        if cx.siblings.claims().is_none() {
            return work(Led::Leads(None)).await.map(|()| true);
        }
        let work = async |lease| work(Led::Leads(Some(lease))).await;
        claiming::once(&format!("{}/{what}", cx.address), Scope::Release, cx, work, said).await
    }

    /// Runs the hooks of a moment, as the leader or after it.
    pub(super) async fn lead_hooks(
        &self,
        placed: &Placed,
        moment: Moment,
        hooks: &[String],
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let what = match placed.occasion {
            Occasion::Release => format!("hooks/{}", moment.name()),
            // One release can have several configurations, and each is a claim of its own.
            Occasion::Configuration => {
                let environment = serde_json::json!(placed.generation.environment).to_string();
                format!("confighooks/{}/{}", moment.name(), Sha256::of(environment.as_bytes()).short(8))
            }
        };
        let leads = self.lead(&what, cx, async |led| self.run_hooks(placed, moment, hooks, led, cx).await).await?;
        if !leads {
            self.run_hooks(placed, moment, hooks, Led::Follows, cx).await?;
        }
        match moment {
            Moment::Postdeploy => ground.memory.set_hooked(placed.number).await.map_err(ApplicationError::Host),
            Moment::Prebuild | Moment::Predeploy => Ok(()),
        }
    }
}

/// The output of a failed program of the release.
fn said(error: &ApplicationError) -> (Option<i32>, Option<&Excerpt>) {
    match error {
        ApplicationError::Program { said, .. } => (None, Some(said)),
        _ => (None, None),
    }
}
