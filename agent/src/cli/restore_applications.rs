//! `ingot restore-applications`: starts what ran before the reboot again, before there is a network.
//!
//! For `ingot-applications.service`, which runs before `multi-user.target`. `ingot boot` checks
//! the same applications later.

use crate::cli::output::talk;
use crate::cli::restore::{Remembered, told};
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::host::environment;
use crate::steps::application::bring_back;

/// Start this instance's applications again after a reboot, without network or document
///
/// Each application runs in the release that served last. One whose environment holds a secret is started by `ingot
/// boot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args) -> Exit {
    let Remembered { host, record, .. } = &match Remembered::open(args.root.root).await {
        Ok(None) => return Exit::Done,
        Ok(Some(remembered)) => remembered,
        Err(error) => return told(&[error.to_string()]),
    };
    let boot_id = environment::boot_id(&*host.files).await.unwrap_or_default();
    let missing = bring_back(record, host, &boot_id).await;
    missing.waiting.iter().for_each(|sentence| talk(sentence));
    told(&missing.failed)
}
