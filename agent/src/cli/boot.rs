//! `ingot boot`: makes this machine what its boot document says.

mod reach;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};

use self::reach::{Reached, Stop, reach};
use crate::address::Address;
use crate::cli::{Root, data, logging, talk};
use crate::execute::{Execution, write_report};
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::SystemClock;
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::{Clock, Host, lock};
use crate::report;
use crate::report::console::{Console, told};
use crate::report::event::{Listener, Recorder};
use crate::report::journal::Journal;
use crate::report::{BootOutcome, Report, Trouble};
use crate::steps::fields::TimeLimit;

/// Make this machine what its boot document says
///
/// Ends when the document is fulfilled and nothing goes on beside it any more, such as the reading of a volume that is to
/// be warm: the report, `ingot status` and systemd know before that the boot is over. The exit code is that of the boot.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the boot document comes from: imds, none, a file, or - for standard input
    #[arg(long, value_name = "imds|none|FILE|-", default_value = "imds")]
    user_data: String,
    /// Where the image's layers lie [default: /etc/ingot/boot.d]
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
    /// Run only this step and what it needs; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    only: Vec<Address>,
    /// When to give up, counted from the start
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    deadline: TimeLimit,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let clock: Rc<dyn Clock> = Rc::new(SystemClock::start());
    let in_journal = args.root.root.is_none() && logging::to_journal();
    if !in_journal {
        logging::to_stderr();
    }
    let disk = Rc::new(DiskFiles::new(args.root.root.clone()));
    let boot_id = environment::boot_id(&DiskFiles::new(None)).await.unwrap_or_default();
    let recorder = Recorder::new(Report::begin(clock.now(), boot_id), listeners(in_journal, environment), clock.clone());
    let host = Host { files: disk.clone(), clock, ..Host::this_machine(args.root.root.clone()) };
    let mut asked = pin!(asked());
    let reached = Reached::default();
    let ran = {
        let whole = pin!(reach(&args, environment, &disk, &host, &recorder, &reached));
        let stop = pin!(stopped(args.deadline.0, &*host.clock, asked.as_mut()));
        match select(whole, stop).await {
            Either::Left((ran, _)) => ran,
            Either::Right((why, _)) => Err(Stop::Failed(reached.stopped(why))),
        }
    };
    match ran {
        Ok(plan) => {
            let world = reached.world.get().expect("a boot that has a plan has a world");
            let mut execution = Execution::new(&plan, world, &recorder);
            let stop = async { reached.stopped_steps(stopped(args.deadline.0, &*host.clock, asked.as_mut()).await) };
            execution.boot(stop).await;
            let exit = finish(&args, json, environment, &host, &recorder, &reached).await;
            if exit == Exit::Done {
                let is_alone = || lock::holder(Path::new(lock::BOOT), &disk).is_ok_and(|holder| holder.is_none());
                execution.beside(async { stopped_by(asked.await) }, &is_alone).await;
            }
            exit
        }
        Err(Stop::Usage(message)) => {
            talk(&message);
            Exit::Usage
        }
        Err(Stop::Done(outcome)) => {
            talk("another ingot has just done this boot");
            if outcome == BootOutcome::Failed { Exit::Failed } else { over(Exit::Done) }
        }
        Err(Stop::Document(error)) => {
            log::error!("{error}");
            if in_journal && !environment.stderr_is_journal {
                talk(&error.to_string());
            }
            recorder.amend(|report| report.error = Some(document_trouble(&error)));
            finish(&args, json, environment, &host, &recorder, &reached).await;
            Exit::Document
        }
        Err(Stop::Failed(error)) => {
            talk_unless(environment.stderr_is_journal && in_journal, &format!("failed: {error}"));
            log::error!(target: report::journal::TARGET, "{error}");
            recorder.amend(|report| report.error = Some(Trouble::from(&error)));
            finish(&args, json, environment, &host, &recorder, &reached).await
        }
    }
}

fn talk_unless(quiet: bool, text: &str) {
    if !quiet {
        talk(text);
    }
}

fn listeners(in_journal: bool, environment: &Environment) -> Vec<Box<dyn Listener>> {
    let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
    if in_journal {
        listeners.push(Box::<Journal>::default());
    }
    if !(in_journal && environment.stderr_is_journal) {
        let width = environment.stderr_is_terminal.then(|| environment.columns.unwrap_or(80));
        listeners.push(Box::new(Console::new(Box::new(std::io::stderr()), width)));
    }
    listeners
}

/// Ends when somebody asks for it, by the name of a signal.
async fn asked() -> &'static str {
    // Without handlers the default action ends us just as well, only without a report.
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    match select(pin!(term.recv()), pin!(interrupt.recv())).await {
        Either::Left(_) => "SIGTERM",
        Either::Right(_) => "SIGINT",
    }
}

/// Ends when the boot has to end: at its deadline, or when somebody asks.
async fn stopped(deadline: Duration, clock: &dyn Clock, asked: impl Future<Output = &'static str>) -> Explanation {
    let left = deadline.saturating_sub(clock.elapsed());
    match select(pin!(asked), clock.sleep(left)).await {
        Either::Left((name, _)) => stopped_by(name),
        Either::Right(_) => {
            let hint = "see what it waited for, or give `ingot boot` a longer --deadline";
            Explanation::new(format!("the boot's deadline of {deadline:?} passed"), Some(hint.into()))
        }
    }
}

fn stopped_by(signal: &str) -> Explanation {
    Explanation::new(format!("stopped by {signal}"), Some("run `ingot boot` to go on where it was".into()))
}

fn document_trouble(error: &crate::document::error::DocumentError) -> Trouble {
    let entries = error.entries();
    let count = match entries.len() {
        1 => "a mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    let causes = entries.into_iter().map(|entry| match (entry.file, entry.line, entry.column) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: {}", entry.message),
        _ => entry.message,
    });
    Trouble {
        message: format!("the boot document has {count}"),
        causes: causes.collect(),
        hint: Some("run `ingot check` on it where it is written, before it is launched".into()),
        unreachable: false,
    }
}

/// Closes the report and tells everybody how the boot ended, though something may still go on beside it.
async fn finish(args: &Args, json: bool, environment: &Environment, host: &Host, recorder: &Recorder, reached: &Reached) -> Exit {
    recorder.amend(|report| report.warnings.extend(reached.wrong_clock()));
    recorder.end();
    let lock = reached.lock.take();
    if lock.is_some()
        && let Err(error) = write_report(host, recorder).await
    {
        talk(&format!("warning: {}", Explanation::of(&error)));
    }
    drop(lock);
    let report = recorder.report();
    if report.outcome == BootOutcome::Failed && environment.invocation_id.is_some() && args.root.root.is_none() {
        let (address, trouble) = report.first_failure().map_or((None, None), |(address, trouble)| (address, Some(trouble)));
        let what = trouble.map_or_else(String::new, |trouble| told(trouble).lines().next().unwrap_or_default().to_owned());
        let address = address.map_or_else(String::new, |address| format!("{address}: "));
        environment::console(&format!("ingot: the boot failed: {address}{what}; see `ingot status`"));
    }
    if json {
        data(&serde_json::to_string(&*report).expect("a report is plain data"));
    }
    over(match report.outcome {
        BootOutcome::Failed if report.is_unreachable() => Exit::Unreachable,
        BootOutcome::Failed => Exit::Failed,
        _ => Exit::Done,
    })
}

/// A boot that ended well is what units behind ours wait for. One that did not is known by our exit code.
fn over(exit: Exit) -> Exit {
    if exit == Exit::Done {
        environment::ready();
    }
    exit
}
