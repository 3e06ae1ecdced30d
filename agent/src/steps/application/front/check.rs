//! Tests what a release adds to nginx's configuration before anything is stopped or started for it.

use super::super::facing::Facing;
use super::super::fields::Application;
use super::super::ground::Ground;
use super::super::proxy::origin;
use super::super::remark::Remark;
use super::super::trouble::ApplicationError;
use super::super::turn::{CONFIGURES, turn};
use super::files;
use super::machine::{nginx, version};
use crate::step::Context;

impl Application {
    /// Lets nginx check the configuration as it would become. Nothing that the running nginx reads is touched.
    pub(in super::super) async fn check(&self, site: &Facing, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let lock = cx.world.claims.proxy();
        let _alone = turn(&lock, CONFIGURES, cx).await?;
        let nginx = nginx(version(cx.host()).await?, cx.host()).await.map_err(ApplicationError::Host)?;
        let configured = self.configured(site, &nginx, None, ground, cx)?;
        let judged = files::accepted(&configured, &[], cx).await;
        let Err(ApplicationError::Rejected { said, .. }) = &judged else { return judged };
        let Some(mistake) = said.to_string().lines().find_map(|line| of_release(line, &configured.front.site)) else { return judged };
        let version = self.bundle.as_ref().and_then(|bundle| cx.world.known.text(bundle, "version")).unwrap_or_default();
        Err(ApplicationError::Release { version, remarks: vec![mistake], kept: None })
    }
}

/// The mistake in the release that an nginx error is about: `[emerg] 619#619: unknown directive "x" in FILE:LINE`.
fn of_release(line: &str, site: &str) -> Option<Remark> {
    let (_, why) = line.split_once("[emerg] ")?;
    // After the level, a worker identifies itself.
    let why = why.split_once(": ").filter(|(who, _)| who.contains('#')).map_or(why, |(_, why)| why);
    let (_, number) = why.rsplit_once(':')?;
    let (file, line) = origin(site, number.trim().parse().ok()?)?;
    let message = why.rsplit_once(" in ").map_or(why, |(message, _)| message);
    Some(Remark::at(file, line, format!("nginx: {message}"), "correct it, or remove the directive"))
}
