//! `ingot restore-mounts`: restores what the last boot mounted, before there is a network.
//!
//! For `ingot-mounts.service`, which runs before `local-fs.target`. `ingot boot` does the same when it starts.

use std::time::Duration;

use crate::cli::restore::{Remembered, told};
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::steps::mount::remembered;

/// How long to wait for a disk. The kernel finds its disks within seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Restore the mounts of this instance's last boot, without network or document
///
/// Volumes are identified by the ID that each disk reports. No volume is restored, attached or created.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args) -> Exit {
    match Remembered::open(args.root.root).await {
        Ok(None) => Exit::Done,
        Ok(Some(Remembered { host, record, .. })) => told(&remembered::bring_back(&record, &host, PATIENCE).await),
        Err(error) => told(&[error.to_string()]),
    }
}
