//! What the release of an application would run: as judged from its files alone, and on a machine.

use std::collections::BTreeMap;
use std::path::Path;

use super::fields::Application;
use super::judge::{Asked, Examined, examine};
use super::procfile::Process;
use super::programs;
use super::release::Release;
use super::trouble::ApplicationError;
use crate::gather::Gather as _;
use crate::step::Context;

impl Application {
    /// What a release would run, with the document's commands unrendered.
    pub(crate) fn judged(&self, release: &Release) -> Examined {
        let run: BTreeMap<String, String> = self.run.iter().map(|(name, text)| (name.clone(), text.raw().to_owned())).gather();
        let mut examined = examine(release, self.asked(&run));
        examined.port = self.port.unwrap_or(examined.port);
        if !self.build.is_empty() {
            examined.build = self.build.iter().map(|argv| Process::new("build", argv.join(" "))).collect();
        }
        examined
    }

    /// What an image runs; an image has no release to examine.
    pub(super) fn of_an_image(&self, processes: &BTreeMap<String, String>) -> Examined {
        examine(&Release::default(), self.asked(processes))
    }

    fn asked<'r>(&self, run: &'r BTreeMap<String, String>) -> Asked<'r> {
        Asked {
            run: (!run.is_empty()).then_some(run),
            builds: !self.build.is_empty(),
            ignores_hooks: !self.hooks,
            reads_nginx: self.is_for_beanstalk(),
            without: &[],
        }
    }

    /// What the release runs; an error if it cannot run.
    pub(super) async fn examined(&self, release: &Path, version: &str, cx: &Context<'_>) -> Result<Examined, ApplicationError> {
        let mut run = BTreeMap::new();
        for (name, command) in &self.run {
            let line = cx.render(command).map_err(|source| ApplicationError::Render { what: format!("run.{name}"), source })?;
            run.insert(name.clone(), line.expose().to_owned());
        }
        let shown = Release::read(release, &*cx.host().files).await.map_err(ApplicationError::Host)?;
        let environment = |examined: &Examined| self.plain_variables(examined, release, cx);
        let mut examined = programs::fitting(&shown, self.asked(&run), &environment, cx.host()).await?;
        match examined.mistakes.is_empty() {
            true => Ok(examined),
            false => {
                Err(ApplicationError::Release { version: version.to_owned(), remarks: std::mem::take(&mut examined.mistakes), kept: None })
            }
        }
    }
}
