//! `ingot boot`: makes this machine what its boot document says.

mod asked;
mod reach;
mod reached;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};

use self::reach::{Stop, reach};
use self::reached::Reached;
use crate::address::Address;
use crate::cli::{Root, data, logging, talk};
use crate::execute::{Execution, Halt, LAST_WORDS, write_afterwards, write_report};
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::SystemClock;
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::{Clock, Host, lock, startup};
use crate::report;
use crate::report::console::{Console, told};
use crate::report::event::{Listener, Recorder};
use crate::report::journal::Journal;
use crate::report::{BootOutcome, Report, Trouble};
use crate::step::fields::TimeLimit;
use crate::step::{Phase, Verdict};

/// Configure this machine as its boot document says
///
/// Exits when everything is done, including volumes that are read ahead; the report, `ingot status` and systemd know
/// earlier that the boot is over. The exit code is that of the boot.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Source of the boot document: imds, none, a file, or - for standard input
    #[arg(long, value_name = "imds|none|FILE|-", default_value = "imds")]
    user_data: String,
    /// Directory of the image's layers [default: /etc/ingot/boot.d]
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
    /// Run only this step and what it needs; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    only: Vec<Address>,
    /// Time limit of the whole boot
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    deadline: TimeLimit,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let in_journal = args.root.root.is_none() && logging::to_journal();
    if !in_journal {
        logging::to_stderr();
    }
    let mut asked = pin!(asked());
    let standard_input = OnceCell::new();
    loop {
        let boot = Boot { args: &args, json, environment, in_journal, standard_input: &standard_input };
        if let Next::End(exit) = boot.run(asked.as_mut()).await {
            return exit;
        }
    }
}

/// What comes after a boot.
enum Next {
    End(Exit),
    /// The whole document: this was what is due before a warm pool, and the instance goes into service.
    Serve,
}

/// One boot, as it was asked for.
struct Boot<'a> {
    args: &'a Args,
    json: bool,
    environment: &'a Environment,
    in_journal: bool,
    /// What was read of it. It can only be read once.
    standard_input: &'a OnceCell<Vec<u8>>,
}

impl Boot<'_> {
    async fn run(&self, mut asked: Pin<&mut impl Future<Output = &'static str>>) -> Next {
        let Self { args, json, environment, in_journal, standard_input } = *self;
        let clock: Rc<dyn Clock> = Rc::new(SystemClock::start());
        let disk = Rc::new(DiskFiles::new(args.root.root.clone()));
        let boot_id = environment::boot_id(&DiskFiles::new(None)).await.unwrap_or_default();
        let recorder = Recorder::new(Report::begin(clock.now(), boot_id), listeners(in_journal, environment), clock.clone());
        let host = Host { files: disk.clone(), clock, ..Host::this_machine(args.root.root.clone()) };
        let reached = Reached::default();
        let ran = {
            let whole = pin!(reach(args, environment, &disk, &host, &recorder, &reached, standard_input));
            let stop = pin!(stopped(args.deadline.0, &*host.clock, asked.as_mut()));
            match select(whole, stop).await {
                Either::Left((ran, _)) => ran,
                Either::Right((Halt::Deadline(why), _)) => Err(Stop::Failed(reached.stopped(why))),
                Either::Right((Halt::Asked(why), _)) => Err(Stop::Asked(reached.stopped(why))),
            }
        };
        let plan = match ran {
            Ok(plan) => plan,
            Err(stop) => return Next::End(self.ended(stop, &disk, &host, &recorder, &reached, asked).await),
        };
        let world = reached.world.get().expect("a boot that has a plan has a world");
        let mut execution = Execution::new(&plan, world, &recorder);
        let stop = async { stopped(args.deadline.0, &*host.clock, asked.as_mut()).await.map(|why| reached.stopped_steps(why)) };
        execution.boot(stop).await;
        let exit = finish(args, json, environment, &host, &recorder, &reached).await;
        if exit != Exit::Done {
            return Next::End(exit);
        }
        let is_alone = || lock::holder(Path::new(lock::BOOT), &disk).is_ok_and(|holder| holder.is_none());
        if world.phase == Phase::Serve || !args.only.is_empty() {
            execution.beside(async { stopped_by(asked.await) }, &is_alone).await;
            return Next::End(exit);
        }
        log::info!("waiting for this instance to go into service");
        let mut later = pin!(async {
            match select(asked, pin!(reached.goes_into_service(&*host.clock))).await {
                Either::Left((signal, _)) => (Next::End(Exit::Done), stopped_by(signal)),
                Either::Right(_) => (Next::Serve, Explanation::new("the instance goes into service", None)),
            }
        });
        let mut next = None;
        let stop = async {
            let (after, why) = later.as_mut().await;
            next = Some(after);
            why
        };
        execution.beside(stop, &is_alone).await;
        match next {
            Some(next) => next,
            None => later.await.0,
        }
    }

    /// Sends the signals of a boot that ended before its first step, as far as they can be read, and no longer than a while.
    async fn tell(
        &self,
        trouble: &Trouble,
        disk: &Rc<DiskFiles>,
        host: &Host,
        recorder: &Recorder,
        reached: &Reached,
        mut asked: Pin<&mut impl Future<Output = &'static str>>,
    ) {
        let found = {
            let found = pin!(reached.signals(self.environment, disk, host, recorder));
            match select(found, pin!(enough(host, asked.as_mut()))).await {
                Either::Left((found, _)) => found,
                Either::Right(_) => None,
            }
        };
        let Some((plan, world)) = found else { return };
        let reason = std::iter::once(&trouble.message).chain(trouble.causes.first()).cloned().collect::<Vec<_>>().join(": ");
        world.known.set_verdict(|| Verdict::failed(None, &reason));
        Execution::new(&plan, &world, recorder).boot(enough(host, asked)).await;
    }

    /// Reports a boot that ended before its first step.
    async fn ended(
        &self,
        stop: Stop,
        disk: &Rc<DiskFiles>,
        host: &Host,
        recorder: &Recorder,
        reached: &Reached,
        asked: Pin<&mut impl Future<Output = &'static str>>,
    ) -> Exit {
        let Self { args, json, environment, in_journal, .. } = *self;
        match stop {
            Stop::Usage(message) => {
                talk(&message);
                Exit::Usage
            }
            Stop::Done(outcome) => {
                talk("another ingot has just done this boot");
                if outcome == BootOutcome::Failed { Exit::Failed } else { over(Exit::Done) }
            }
            Stop::Document(error) => {
                log::error!("{error}");
                if in_journal && !environment.stderr_is_journal {
                    talk(&error.to_string());
                }
                let trouble = document_trouble(&error);
                self.tell(&trouble, disk, host, recorder, reached, asked).await;
                recorder.amend(|report| report.error = Some(trouble));
                finish(args, json, environment, host, recorder, reached).await;
                Exit::Document
            }
            Stop::Failed(error) => {
                if !error.unreachable {
                    self.tell(&Trouble::from(&error), disk, host, recorder, reached, asked).await;
                }
                self.failed(&error, host, recorder, reached).await
            }
            Stop::Asked(error) => self.failed(&error, host, recorder, reached).await,
        }
    }

    async fn failed(&self, error: &Explanation, host: &Host, recorder: &Recorder, reached: &Reached) -> Exit {
        let Self { args, json, environment, in_journal, .. } = *self;
        talk_unless(environment.stderr_is_journal && in_journal, &format!("failed: {error}"));
        log::error!(target: report::journal::TARGET, "{error}");
        recorder.amend(|report| report.error = Some(Trouble::from(error)));
        finish(args, json, environment, host, recorder, reached).await
    }
}

/// Ends when signals have had their time, or somebody asks.
async fn enough(host: &Host, asked: impl Future<Output = &'static str>) -> Halt {
    match select(pin!(asked), host.clock.sleep(LAST_WORDS)).await {
        Either::Left((name, _)) => Halt::Asked(stopped_by(name)),
        Either::Right(_) => Halt::Asked(Explanation::new(format!("AWS did not take it within {LAST_WORDS:?}"), None)),
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
async fn stopped(deadline: Duration, clock: &dyn Clock, asked: impl Future<Output = &'static str>) -> Halt {
    let left = deadline.saturating_sub(clock.elapsed());
    match select(pin!(asked), clock.sleep(left)).await {
        Either::Left((name, _)) => Halt::Asked(stopped_by(name)),
        Either::Right(_) => {
            let hint = "see what it waited for, or give `ingot boot` a longer --deadline";
            Halt::Deadline(Explanation::new(format!("the boot's deadline of {deadline:?} passed"), Some(hint.into())))
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
    recorder.amend(|report| report.exchanges = reached.exchanges(&*host.clock));
    recorder.amend(|report| report.marks_ms = report::marks::of(report));
    recorder.amend(|report| report.warnings.extend(reached.wrong_clock()));
    recorder.end();
    let lock = reached.lock.take();
    if lock.is_some()
        && let Err(error) = write_report(host, recorder).await
    {
        talk(&format!("warning: {}", Explanation::of(&error)));
    }
    drop(lock);
    let exit = tell(args, json, environment, recorder);
    if environment.invocation_id.is_some() && args.root.root.is_none() {
        add_startup(host, recorder).await;
    }
    exit
}

/// Tells everybody how the boot ended.
fn tell(args: &Args, json: bool, environment: &Environment, recorder: &Recorder) -> Exit {
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

/// Adds to the report how the machine came to start us. Afterwards: it costs milliseconds, and nobody waits for it.
async fn add_startup(host: &Host, recorder: &Recorder) {
    let Some(began) = startup::process_began(host.clock.elapsed()) else { return };
    let startup = startup::read(&*host.commands, began).await;
    recorder.amend(|report| report.startup = startup);
    let disk = DiskFiles::new(None);
    let is_alone = || lock::holder(Path::new(lock::BOOT), &disk).is_ok_and(|holder| holder.is_none());
    write_afterwards(host, recorder, &is_alone).await;
}

/// A boot that ended well is what units behind ours wait for. One that did not is known by our exit code.
fn over(exit: Exit) -> Exit {
    if exit == Exit::Done {
        environment::ready();
    }
    exit
}
