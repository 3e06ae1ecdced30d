//! `ingot schema`, `ingot completions`, `ingot man`: generated from the definitions of documents and commands.

use clap::ValueEnum;
use clap_complete::{generate, shells};

use crate::cli::manual::manual;
use crate::cli::output::data;
use crate::exit::Exit;

pub(crate) fn schema() -> Exit {
    data(&crate::document::schema::schema());
    Exit::Done
}

/// The shells of the systems that ingot runs on.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(crate) fn completions(shell: Shell, mut command: clap::Command) -> Exit {
    let mut out = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "ingot", &mut out),
        Shell::Fish => generate(shells::Fish, &mut command, "ingot", &mut out),
        Shell::Zsh => generate(shells::Zsh, &mut command, "ingot", &mut out),
    }
    data(&String::from_utf8_lossy(&out));
    Exit::Done
}

pub(crate) fn man(command: clap::Command) -> Exit {
    data(&manual(command));
    Exit::Done
}
