//! The command line. Results go to stdout, messages to stderr.

mod abort;
mod advice;
mod ahead;
mod alarms;
mod boots;
mod carry;
mod changes;
mod check;
mod config;
mod consent;
mod deploy;
mod during;
mod edge;
mod edit;
mod ending;
mod errand;
mod events;
mod foreseen;
mod freeze;
mod generate;
mod ground;
mod guards;
mod import;
mod in_place;
mod input;
mod keep;
mod layout;
mod list;
mod logs;
mod look;
mod members;
mod operator;
mod output;
mod overview;
mod paint;
mod patience;
mod plan;
mod progress;
mod prune;
mod reader;
mod release;
mod releases;
mod render;
mod scale;
mod set;
mod settle;
mod source;
mod status;
mod subject;
mod swap;
mod terminate;
mod uses;
mod watch;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::Exit;
use crate::failure::Failure;

/// Create environments from golden images, deploy to them, and make releases for them
#[derive(Debug, Parser)]
#[command(name = "ingot-fleet", version, about, propagate_version = true)]
struct Cli {
    /// Print JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    /// File that describes the application and its environments
    #[arg(long, global = true, value_name = "FILE", default_value = "fleet.yaml")]
    file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake in fleet.yaml and in the documents it names, offline
    Check,
    Import(import::Args),
    Render(render::Args),
    Config(config::Args),
    Release(release::Args),
    Releases(releases::Args),
    Plan(plan::Args),
    Create(deploy::Create),
    Deploy(deploy::Deploy),
    Rollback(deploy::Rollback),
    Abort(abort::Args),
    Freeze(freeze::Args),
    Scale(scale::Args),
    Set(set::Args),
    Edge(edge::Args),
    Swap(swap::Args),
    Status(status::Args),
    Events(events::Args),
    Logs(logs::Args),
    Boots(boots::Args),
    List(list::Args),
    Terminate(terminate::Args),
    /// Print the JSON Schema of fleet.yaml, for editors
    Schema,
    Completions(generate::Completions),
    /// Print the manual page
    Man,
}

/// Runs the command that this process was started with.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Check => check::run(&cli.file, cli.json).await,
            Command::Import(args) => ended(import::run(args, cli.json)),
            Command::Render(args) => render::run(&args, &cli.file, cli.json).await,
            Command::Config(args) => config::run(&args, &cli.file, cli.json),
            Command::Release(args) => match input::place(&cli.file) {
                Ok(place) => ended(release::run(args, &place, cli.json).await),
                Err(exit) => exit,
            },
            Command::Releases(args) => match input::place(&cli.file) {
                Ok(place) => ended(releases::run(args, &place, cli.json).await),
                Err(exit) => exit,
            },
            Command::Plan(args) => ended(plan::run(&args, &cli.file, cli.json).await),
            Command::Create(args) => ended(deploy::create(&args, &cli.file, cli.json).await),
            Command::Deploy(args) => ended(deploy::deploy(&args, &cli.file, cli.json).await),
            Command::Rollback(args) => ended(deploy::rollback(&args, &cli.file, cli.json).await),
            Command::Abort(args) => ended(abort::run(&args, &cli.file, cli.json).await),
            Command::Freeze(args) => ended(freeze::run(&args, &cli.file, cli.json).await),
            Command::Scale(args) => ended(scale::run(&args, &cli.file, cli.json).await),
            Command::Set(args) => ended(set::run(&args, &cli.file, cli.json).await),
            Command::Edge(args) => ended(edge::run(&args, &cli.file, cli.json).await),
            Command::Swap(args) => ended(swap::run(&args, &cli.file, cli.json).await),
            Command::Events(args) => ended(events::run(&args, &cli.file, cli.json).await),
            Command::Logs(args) => ended(logs::run(&args, &cli.file, cli.json).await),
            Command::Boots(args) => ended(boots::run(&args, &cli.file, cli.json).await),
            Command::List(args) => ended(list::run(&args, &cli.file, cli.json).await),
            Command::Status(args) => ended(status::run(&args, &cli.file, cli.json).await),
            Command::Terminate(args) => ended(terminate::run(&args, &cli.file, cli.json).await),
            Command::Schema => generate::schema(),
            Command::Completions(args) => generate::completions(&args, Cli::command()),
            Command::Man => generate::man(Cli::command()),
        }
    });
    // A connection that is still being closed must not hold up the exit.
    runtime.shutdown_background();
    output::written(exit)
}

fn ended(done: Result<(), Failure>) -> Exit {
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.is_silent() {
                output::talk(&failure.to_string());
            }
            failure.exit
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }

    /// A hint of `aws::trouble` leads there.
    #[test]
    fn the_help_of_each_verb_that_calls_aws_says_which_permissions_it_needs() {
        const OFFLINE: [&str; 7] = ["check", "import", "render", "config", "schema", "completions", "man"];
        for verb in super::Cli::command().get_subcommands() {
            let help = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
            let says = help.contains("Needs permission for ") || help.contains("Needs the permissions of the policies ");
            assert_eq!(says, !OFFLINE.contains(&verb.get_name()), "{}: {help}", verb.get_name());
        }
    }
}
