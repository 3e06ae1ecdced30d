//! `ingot boot`: arguments and output. The boot itself is in [`boot`].

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio::signal::unix::{SignalKind, signal};

use crate::address::Address;
use crate::boot::{self, Asked, Audience, Ending, Ground, Request, UserData, Wanted};
use crate::cli::account::Account;
use crate::cli::logging;
use crate::cli::output::{self, talk};
use crate::cli::root::Root;
use crate::document::error::DocumentError;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::environment::{self, Environment, absolute};
use crate::host::outlet::{self, Stderr};
use crate::host::startup;
use crate::report::console::{Console, told};
use crate::report::event::Listener;
use crate::report::journal::{self, Journal};
use crate::report::{BootOutcome, Report};
use crate::step::fields::TimeLimit;
use crate::text::shown_on_a_line;

/// Configure this machine as its boot document says
///
/// Exits when everything is done, including volumes that are read ahead; the report, `ingot status` and systemd know
/// earlier that the boot is over. The exit code is that of the boot.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Source of the boot document: imds, none, a file, or - for standard input
    #[arg(long, value_name = "imds|none|FILE|-", default_value = "imds", value_parser = NonEmptyStringValueParser::new())]
    user_data: String,
    /// Directory of the image's layers [default: /etc/ingot/boot.d]
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
    /// Run this release from now on, or the one that the instance was launched with
    #[arg(long, value_name = "NAME@sha256:DIGEST|launched", conflicts_with = "only")]
    release: Option<Wanted>,
    /// Run only this step and what it needs; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    only: Vec<Address>,
    /// Time limit of the whole boot
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    deadline: TimeLimit,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    outlet::talk_beside();
    let in_journal = args.root.root.is_none() && logging::to_journal();
    if !in_journal {
        logging::to_stderr();
    }
    let started_by_systemd = environment.invocation_id.is_some() && args.root.root.is_none();
    let at = startup::process_began(Duration::ZERO).unwrap_or_default();
    let account = args.release.as_ref().map(|_| Account::default());
    let request = Request {
        user_data: user_data(args.user_data),
        layers: args.layers.as_deref().map(absolute),
        only: args.only,
        release: args.release.map(|wanted| Asked { wanted, at }),
        deadline: args.deadline.0,
        started_by_systemd,
    };
    let ground = || Ground::this_machine(args.root.root.clone(), environment.aws.clone());
    let spectators = Spectators { json, in_journal, started_by_systemd, environment: environment.clone(), account: account.clone() };
    let tell = |word: &str, message: &str| match &account {
        Some(account) => account.print_word(word, message, json),
        None => talk(message),
    };
    let boot = boot::boot(request, ground, Rc::new(spectators), asked());
    let ending = tokio::select! {
        biased;
        ending = boot => ending,
        // Going back after an interruption takes time. A second signal ends the process without it.
        () = insisted(), if account.is_some() => return Exit::Failed,
    };
    match ending {
        Ending::Done => Exit::Done,
        Ending::Failed => Exit::Failed,
        Ending::Unreachable => Exit::Unreachable,
        Ending::Document => Exit::Document,
        Ending::AlreadyDone => {
            tell("done", "another ingot process has just completed this boot");
            environment::ready();
            Exit::Done
        }
        Ending::Superseded(message) => {
            tell("superseded", &message);
            Exit::Failed
        }
        Ending::Refused(message) => {
            tell("refused", &message);
            Exit::Usage
        }
    }
}

fn user_data(named: String) -> UserData {
    match named.as_str() {
        "imds" => UserData::Metadata,
        "none" => UserData::Nothing,
        "-" => UserData::StandardInput(OnceCell::new()),
        path => UserData::File { path: absolute(Path::new(path)), named },
    }
}

/// Completes with the name of the signal that asks ingot to end.
async fn asked() -> &'static str {
    // Without handlers, the default action ends the process just as well, only without a report.
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Completes when a second signal asks ingot to end.
async fn insisted() {
    asked().await;
    asked().await;
}

/// Shows a boot on the terminal or in the journal, on the machine's console, to programs and to systemd.
struct Spectators {
    json: bool,
    in_journal: bool,
    started_by_systemd: bool,
    environment: Environment,
    /// What is printed for the caller that requested a release.
    account: Option<Account>,
}

impl Spectators {
    /// Whether stderr goes to the journal, which already has every message.
    fn hear_twice(&self) -> bool {
        self.in_journal && self.environment.stderr_is_journal
    }
}

impl Audience for Spectators {
    fn listeners(&self) -> Vec<Box<dyn Listener>> {
        let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
        if self.in_journal {
            listeners.push(Box::<Journal>::default());
        }
        if !self.hear_twice() {
            let width = self.environment.stderr_is_terminal.then(|| self.environment.columns.unwrap_or(80));
            listeners.push(Box::new(Console::new(Box::<Stderr>::default(), width)));
        }
        if let Some(account) = &self.account {
            listeners.push(Box::new(Console::new(Box::new(account.clone()), None)));
        }
        listeners
    }

    fn say(&self, line: &str) {
        talk(line);
    }

    fn mistakes(&self, error: &DocumentError) {
        log::error!("{error}");
        if self.in_journal && !self.environment.stderr_is_journal {
            talk(&error.to_string());
        }
    }

    fn failed(&self, error: &Explanation) {
        if !self.hear_twice() {
            talk(&format!("failed: {error}"));
        }
        log::error!(target: journal::TARGET, "{error}");
    }

    fn over(&self, report: &Report, ending: &Ending) {
        if report.outcome == BootOutcome::Failed && self.started_by_systemd {
            let (address, trouble) = report.first_failure().map_or((None, None), |(address, trouble)| (address, Some(trouble)));
            let what = trouble.map_or_else(String::new, |trouble| told(trouble).lines().next().unwrap_or_default().to_owned());
            let address = address.map_or_else(String::new, |address| format!("{address}: "));
            let line = format!("ingot: the boot failed: {address}{what}; see `ingot status`");
            environment::console(&shown_on_a_line(&line));
        }
        match &self.account {
            Some(account) => account.print(report, self.json),
            None if self.json => output::json(report),
            None => {}
        }
        // Units ordered after ingot wait for a successful boot. systemd learns of a failure from the exit code.
        if *ending == Ending::Done {
            environment::ready();
        }
    }
}
