//! `schema`, `completions` and `man`: what is generated from ingot-fleet's own definitions.

use clap::ValueEnum;
use clap_complete::{generate, shells};

use crate::cli::output::data;
use crate::exit::Exit;
use crate::fleet;

const NAME: &str = "ingot-fleet";

pub(crate) fn schema() -> Exit {
    data(&serde_json::to_string_pretty(&fleet::schema::schema()).expect("a schema is JSON"));
    Exit::Done
}

/// Print shell completions
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Shell to generate completions for
    shell: Shell,
}

/// The shells that there are completions for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(crate) fn completions(args: &Completions, mut command: clap::Command) -> Exit {
    let mut out = Vec::new();
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut command, NAME, &mut out),
        Shell::Fish => generate(shells::Fish, &mut command, NAME, &mut out),
        Shell::Zsh => generate(shells::Zsh, &mut command, NAME, &mut out),
    }
    data(&String::from_utf8_lossy(&out));
    Exit::Done
}

pub(crate) fn man(mut command: clap::Command) -> Exit {
    let mut out = Vec::new();
    command.build();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut out);
    let pages = command.get_subcommands().filter(|command| command.get_name() != "help");
    let rendered = pages.fold(rendered, |done, command| done.and_then(|()| clap_mangen::Man::new(command.clone()).render(&mut out)));
    rendered.expect("writing to memory does not fail");
    data(&String::from_utf8_lossy(&out));
    Exit::Done
}
