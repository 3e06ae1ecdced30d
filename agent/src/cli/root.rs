//! `--root`, which several commands take.

use std::path::PathBuf;

/// A directory that stands for `/`.
#[derive(Debug, clap::Args)]
pub(super) struct Root {
    /// Treat DIR as the root of every path
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
}
