//! `ingot contained`: the first program in an application's container. Not for people.
//!
//! Reads variables from standard input, in the format that `environment:` is written in for systemd, and then executes
//! the program of the image. So neither the engine's configuration nor a command line ever contains them.

use std::collections::BTreeMap;

use crate::cli::output::talk;
use crate::exit::Exit;
use crate::gather::Gather as _;
use crate::host::successor;
use crate::steps::application::container::words::expanded;
use crate::template::environment_variables;

/// Run an image's program with the environment given on standard input
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PORT inside the container
    #[arg(long)]
    port: u16,
    /// The program and its arguments, with `$NAME` for variables
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Exit {
    let text = match successor::input() {
        Ok(text) => text,
        Err(error) => {
            talk(&format!("cannot read the environment on standard input: {error}"));
            return Exit::Failed;
        }
    };
    let mut variables: BTreeMap<String, String> = environment_variables(&text).into_iter().gather();
    variables.insert("PORT".to_owned(), args.port.to_string());
    let value = |name: &str| variables.get(name).cloned().or_else(|| successor::variable(name));
    let argv: Vec<String> = args.command.iter().map(|word| expanded(word, &value)).collect();
    let Err(error) = successor::become_program(&argv, &variables);
    talk(&format!("cannot run {}: {error}", argv[0]));
    Exit::Failed
}
