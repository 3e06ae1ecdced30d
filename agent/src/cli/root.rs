//! `--root`, an option of several commands.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser as _};

use crate::host::environment::absolute;

/// A directory that stands for `/`.
#[derive(Debug, clap::Args)]
pub(super) struct Root {
    // Made absolute, because programs that are given a path below it run in other directories.
    /// Treat DIR as the root of every path
    #[arg(long, value_name = "DIR", value_parser = PathBufValueParser::new().map(|root| absolute(&root)))]
    pub(super) root: Option<PathBuf>,
}
