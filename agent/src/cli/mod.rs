//! The command line. Results go to stdout, messages to stderr.

mod account;
mod analyze;
mod boot;
mod check;
mod contained;
mod drain;
mod dry_run;
mod generate;
mod get_config;
mod logging;
mod manual;
mod output;
mod record_preload;
mod restore;
mod restore_applications;
mod restore_mounts;
mod root;
mod seal;
mod show;
mod status;
mod watch_application;
mod worker;
mod worker_status;

use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use self::output::{note, talk, written};
use crate::exit::Exit;
use crate::failure::nearest;
use crate::host::environment::{self, Environment};
use crate::host::outlet;

/// Turn a golden image into a running, health-checked EC2 instance
#[derive(Debug, Parser)]
#[command(name = "ingot", version, propagate_version = true)]
struct Cli {
    /// Print JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Configure this machine as its boot document says
    Boot(boot::Args),
    /// Rehearse a boot: needs no root and no network, and changes nothing outside --out
    DryRun(dry_run::Args),
    /// Report every mistake in a document
    Check(check::Args),
    /// Show the merged document, each key with the layer it is from
    Show(show::Args),
    /// Show the status of the current or last boot
    Status(status::Args),
    /// Show where the time of a boot was spent
    Analyze(analyze::Args),
    /// List the files of a mount as they are opened or read, for `preload: { list: FILE }`
    RecordPreload(record_preload::Args),
    /// Restore the mounts of this instance's last boot, without network or document
    RestoreMounts(restore_mounts::Args),
    RestoreApplications(restore_applications::Args),
    /// Take messages from a queue and post them to an application, until SIGTERM
    Worker(worker::Args),
    /// Watch for the end of this machine, and finish its work in order
    Drain(drain::Args),
    #[command(hide = true)]
    WatchApplication(watch_application::Args),
    #[command(hide = true)]
    GetConfig(get_config::Args),
    /// Check that this machine is fit to be imaged: no secrets, no machine-specific state, and a working boot setup
    Seal(seal::Args),
    #[command(hide = true)]
    Contained(contained::Args),
    /// Print the JSON Schema of boot documents, for editors
    Schema,
    /// Print shell completions
    Completions {
        /// Shell to generate completions for
        shell: generate::Shell,
    },
    /// Print the manual page
    Man,
}

impl Command {
    /// Whether this works only on a machine that ingot can boot. The others read and write files, and rehearse on a
    /// machine in memory: they also run on a developer's Mac.
    fn needs_linux(&self) -> bool {
        match self {
            Self::DryRun(_) | Self::Check(_) | Self::Show(_) | Self::Analyze(_) => false,
            Self::Schema | Self::Completions { .. } | Self::Man => false,
            Self::Boot(_) | Self::Status(_) | Self::RecordPreload(_) | Self::Seal(_) | Self::Worker(_) | Self::Drain(_) => true,
            Self::RestoreMounts(_) | Self::RestoreApplications(_) | Self::WatchApplication(_) => true,
            Self::GetConfig(_) | Self::Contained(_) => true,
        }
    }
}

/// How many files a boot must be able to open at the same time: at least those of a single step.
const FILES: usize = 32;

/// Runs the command that this process was started with.
pub(crate) fn run() -> Exit {
    report_bugs();
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    if !cfg!(target_os = "linux") && cli.command.needs_linux() {
        let system = std::env::consts::OS;
        talk(&format!("this command works only on Linux, and this is {system}\n  hint: rehearse the boot with `ingot dry-run`"));
        return Exit::Usage;
    }
    // Comes first: the program that this process becomes inherits the limits and the memory.
    if let Command::Contained(args) = &cli.command {
        return contained::run(args);
    }
    if !environment::can_open(FILES) {
        talk(&format!("cannot start: {FILES} more files cannot be opened\n  hint: raise `ulimit -n`, or `LimitNOFILE=` of the unit"));
        return Exit::Failed;
    }
    environment::harden();
    let environment = Environment::read();
    // One thread: a boot mostly waits, and a second thread would only delay the first packet.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            talk(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Boot(args) => boot::run(args, cli.json, &environment).await,
            Command::DryRun(args) => dry_run::run(args, cli.json, &environment).await,
            Command::Check(args) => check::run(args, cli.json).await,
            Command::Show(args) => show::run(args, cli.json, &environment).await,
            Command::Status(args) => status::run(args, cli.json, &environment).await,
            Command::Analyze(args) => analyze::run(args, cli.json).await,
            Command::RecordPreload(args) => record_preload::run(args, cli.json).await,
            Command::RestoreMounts(args) => restore_mounts::run(args).await,
            Command::RestoreApplications(args) => restore_applications::run(args).await,
            Command::WatchApplication(args) => watch_application::run(args, &environment).await,
            Command::Worker(args) => worker::run(args, &environment).await,
            Command::Drain(args) => drain::run(args, &environment).await,
            Command::GetConfig(args) => get_config::run(args).await,
            Command::Contained(args) => contained::run(&args),
            Command::Seal(args) => seal::run(args, cli.json, &environment).await,
            Command::Schema => generate::schema(),
            Command::Completions { shell } => generate::completions(shell, Cli::command()),
            Command::Man => generate::man(Cli::command()),
        }
    });
    // Closing a resolver or a connection must not hold up the exit.
    runtime.shutdown_background();
    let exit = written(exit);
    outlet::finish();
    exit
}

/// Parses the command line, or returns the exit code if there is nothing to run.
fn parsed() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|mut error| {
        suggest(&mut error);
        // clap sends help and version to stdout and exits with 0; errors go to stderr.
        if error.use_stderr() {
            // The message quotes the arguments, which may contain terminal control characters.
            talk(error.render().to_string().trim_end());
            return Exit::Usage;
        }
        note(error.print().and_then(|()| std::io::stdout().flush()));
        written(Exit::Done)
    })
}

/// Commands of other tools, each with the command of ingot that corresponds to it.
const ELSEWHERE: [(&str, &str); 24] = [
    ("rehearse", "dry-run"),
    ("try", "dry-run"),
    ("plan", "dry-run"),
    ("render", "dry-run"),
    ("preview", "dry-run"),
    ("diff", "dry-run"),
    ("simulate", "dry-run"),
    ("validate", "check"),
    ("verify", "check"),
    ("lint", "check"),
    ("test", "check"),
    ("doctor", "check"),
    ("apply", "boot"),
    ("run", "boot"),
    ("start", "boot"),
    ("up", "boot"),
    ("log", "status"),
    ("logs", "status"),
    ("info", "status"),
    ("report", "status"),
    ("timeline", "analyze"),
    ("config", "show"),
    ("clean", "seal"),
    ("bake", "seal"),
];

/// Words that are no command but part of one.
const FORMS: [(&str, &str); 2] = [("scrub", "ingot seal --scrub"), ("version", "ingot --version")];

/// Suggests the command of ingot for one of another tool, or else the nearest one, and the option by which `boot` takes
/// its document. clap orders its own suggestions by another measure, and has none after `help`.
fn suggest(error: &mut clap::Error) {
    let write = |what: &str| ContextValue::StyledStrs(vec![format!("write `{what}`").into()]);
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) {
        let given = given.clone();
        error.remove(ContextKind::SuggestedSubcommand);
        if let Some((_, form)) = FORMS.iter().find(|(word, _)| *word == given) {
            error.insert(ContextKind::Suggested, write(form));
        } else if let Some(command) = command_meant(&given) {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![command]));
        }
        return;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return };
    let is_of_boot = error.get(ContextKind::Usage).is_some_and(|usage| usage.to_string().contains("ingot boot "));
    if given.starts_with('-') && error.kind() == ErrorKind::UnknownArgument {
        // clap suggests how to pass it as a document, which is never what was meant.
        let (is_of_ingot, word) = (is_before_command(error), given.trim_start_matches('-').to_owned());
        error.remove(ContextKind::Suggested);
        if let Some(command) = Cli::command().get_subcommands().find(|command| is_of_ingot && command.get_name() == word) {
            error.insert(ContextKind::Suggested, write(&format!("ingot {}", command.get_name())));
        }
    } else if is_of_boot && error.kind() == ErrorKind::UnknownArgument {
        let hint = format!("write `--user-data {given}`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
}

/// The command that a word is meant as.
fn command_meant(word: &str) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == word).map(|(_, command)| (*command).to_owned());
    elsewhere.or_else(|| {
        let command = Cli::command();
        let known = command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
        nearest(word, known).map(str::to_owned)
    })
}

/// Whether an unknown argument comes before any command.
fn is_before_command(error: &clap::Error) -> bool {
    error.get(ContextKind::Usage).is_some_and(|usage| usage.to_string().contains("<COMMAND>"))
}

/// Makes a panic print a message and exit with its own code. The panic's payload is not
/// printed, since it may contain a secret.
fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let what = panic.payload().downcast_ref::<&'static str>().map_or_else(String::new, |what| format!(": {what}"));
        talk(&format!("this is a bug in ingot{place}{what}\n  hint: run `ingot status`, and report it with the line above"));
        outlet::finish();
        std::process::exit(Exit::Bug.code().into());
    }));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser as _};

    use super::Cli;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Nothing that a document is written with needs Linux, and everything that touches the machine does.
    #[test]
    fn only_commands_that_need_no_machine_run_on_another_system() {
        let anywhere = ["dry-run x", "check x", "show x", "analyze", "schema", "completions zsh", "man"];
        let on_linux = [
            "boot",
            "status",
            "record-preload /srv",
            "restore-mounts",
            "restore-applications",
            "worker jobs",
            "drain",
            "watch-application shop",
            "get-config --from /x environment",
            "seal",
            "contained --port 1 -- x",
        ];
        let commands = anywhere.map(|line| (line, false)).into_iter().chain(on_linux.map(|line| (line, true)));
        let mut named = BTreeSet::new();
        for (line, needs_linux) in commands {
            let cli = Cli::try_parse_from(["ingot"].into_iter().chain(line.split(' '))).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(cli.command.needs_linux(), needs_linux, "{line}");
            named.extend(line.split(' ').next());
        }
        let command = Cli::command();
        let all: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(named, all);
    }
}
