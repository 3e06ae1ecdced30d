//! `ingot status`: shows the status of the current or last boot. Needs no root. The text is
//! written in [`screen`](crate::report::screen).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::output::{self, canvas, data, drawn, talk};
use crate::cli::root::Root;
use crate::cli::worker_status;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::{SystemClock, moment};
use crate::host::environment::Environment;
use crate::host::files::DiskFiles;
use crate::host::{Clock, Files, Host, HostError, environment, identity, lock};
use crate::report::screen::Screen;
use crate::report::{BootOutcome, REPORT, Report, milliseconds};
use crate::seal::attestation::Attestation;
use crate::step::fields::TimeLimit;
use crate::steps::application::status::{Status, status};

/// The largest report that is read, in bytes. A report of ten thousand steps is smaller.
const REPORT_LIMIT: u64 = 64 * 1024 * 1024;

/// How often `--wait` reads the report.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a disk may take to answer. Without a limit, `ingot status` would hang with the disk.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Show the status of the current or last boot
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for the boot to finish, even if it has not started
    #[arg(long)]
    wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", requires = "wait")]
    timeout: TimeLimit,
    #[command(flatten)]
    root: Root,
    #[command(subcommand)]
    what: Option<What>,
}

/// What is shown in place of the boot.
#[derive(Debug, clap::Subcommand)]
enum What {
    Worker(worker_status::Args),
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    if let Some(What::Worker(mut of)) = args.what {
        of.root.root = of.root.root.or(args.root.root);
        return worker_status::run(of, json).await;
    }
    let files = DiskFiles::new(args.root.root.clone());
    let clock = SystemClock::start();
    loop {
        let left = if args.wait { args.timeout.0.saturating_sub(clock.elapsed()) } else { Duration::ZERO };
        let within = left.max(ANSWERS_WITHIN);
        let looked = tokio::select! {
            biased;
            looked = look(&files) => looked,
            () = clock.sleep(within) => {
                talk(&format!("the disk that holds {REPORT} has not answered for {within:?}"));
                return Exit::Failed;
            }
        };
        let is_late = !args.wait || clock.elapsed() >= args.timeout.0;
        let (exit, kept) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                talk(&Explanation::of(&error).to_string());
                return Exit::Failed;
            }
        };
        // A damaged report is not final under `--wait`: the boot that is waited for replaces it.
        let over = !matches!(exit, Exit::Running | Exit::NeverRan) && (matches!(kept, Kept::Whole(_)) || !args.wait);
        if over || is_late {
            let (exit, report) = match kept {
                Kept::Nothing => (exit, None),
                Kept::Whole(report) => (exit, Some(report)),
                Kept::Cut(report) => {
                    talk(&damaged("it is cut off, and only its beginning is shown"));
                    (Exit::Failed, Some(report))
                }
                Kept::Damaged(why) => {
                    talk(&damaged(&why));
                    return Exit::Failed;
                }
            };
            let (image, applications) = around(report.as_ref(), &files, args.root.root.clone(), &clock).await;
            let found = Found { report, exit, image, applications, now: clock.now() };
            if json {
                output::json(&found.json())
            } else {
                found.show(environment)
            }
            return exit;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// The image and the applications. Empty if their disk hangs.
async fn around(report: Option<&Report>, files: &DiskFiles, root: Option<PathBuf>, clock: &SystemClock) -> (Option<Image>, Vec<Status>) {
    tokio::select! {
        biased;
        around = async { (Image::read(files).await, applications(report, root).await) } => around,
        () = clock.sleep(ANSWERS_WITHIN) => {
            talk(&format!("the image and the applications are left out: their disk has not answered for {ANSWERS_WITHIN:?}"));
            (None, Vec::new())
        }
    }
}

/// The report as it was found.
enum Kept {
    Nothing,
    Whole(Report),
    /// The beginning of a truncated report.
    Cut(Report),
    /// Why the report cannot be read.
    Damaged(String),
}

fn damaged(why: &str) -> String {
    format!("{REPORT} is damaged: {why}\n  hint: look at `journalctl -b -t ingot`; the next `ingot boot` replaces the report")
}

/// Reads the status and the report.
async fn look(files: &DiskFiles) -> Result<(Exit, Kept), HostError> {
    // The lock is read before the report: a boot that ends in between has written its report
    // before it released the lock.
    let held = lock::holder(Path::new(lock::BOOT), files).await?.is_some();
    let bytes = files.read(Path::new(REPORT), REPORT_LIMIT).await?;
    let kept = bytes.map_or(Kept::Nothing, |bytes| match Report::read(&bytes) {
        Ok((report, false)) => Kept::Whole(report),
        Ok((report, true)) => Kept::Cut(report),
        Err(error) if error.is_eof() => Kept::Damaged("it is cut off before its first step".into()),
        Err(error) => Kept::Damaged(error.to_string()),
    });
    // A running boot will replace a truncated or damaged report.
    let kept = if held && !matches!(kept, Kept::Whole(_)) { Kept::Nothing } else { kept };
    let exit = match &kept {
        _ if held => Exit::Running,
        Kept::Nothing => Exit::NeverRan,
        Kept::Damaged(_) => Exit::Failed,
        Kept::Whole(report) | Kept::Cut(report) => match report.outcome {
            BootOutcome::Done => Exit::Done,
            BootOutcome::Degraded => Exit::Degraded,
            BootOutcome::NoDocument => Exit::NoDocument,
            // The report says "running", but no process holds the lock: the boot was interrupted.
            BootOutcome::Failed | BootOutcome::Running => Exit::Failed,
        },
    };
    Ok((exit, kept))
}

/// The applications of this instance. Empty without permission to read their record.
async fn applications(report: Option<&Report>, root: Option<PathBuf>) -> Vec<Status> {
    let host = Host::this_machine(root);
    let of_report = report.and_then(|report| report.instance.clone());
    let instance = match of_report {
        Some(id) => Some(id),
        None => identity::dmi(&*host.files).await,
    };
    let Some(instance) = instance else { return Vec::new() };
    status(&instance, &host).await.unwrap_or_else(|error| {
        log::debug!("{error}");
        Vec::new()
    })
}

/// The image of this machine, if it was sealed.
struct Image {
    attestation: Attestation,
    changed: Vec<PathBuf>,
}

impl Image {
    async fn read(files: &DiskFiles) -> Option<Self> {
        let attestation = Attestation::read(files).await?;
        let changed = attestation.changed(files).await;
        Some(Self { attestation, changed })
    }

    fn text(&self) -> String {
        let mut text = format!("image: {}\n", self.attestation.summary());
        for path in &self.changed {
            text.push_str(&format!("warning: {} has changed since it was sealed\n", path.display()));
        }
        text
    }
}

/// Everything that a status shows.
struct Found {
    report: Option<Report>,
    exit: Exit,
    image: Option<Image>,
    applications: Vec<Status>,
    now: jiff::Timestamp,
}

impl Found {
    fn word(&self) -> &'static str {
        match self.exit {
            Exit::Done => "done",
            Exit::Degraded => "degraded",
            Exit::Running => "running",
            Exit::NeverRan => "never ran",
            Exit::NoDocument => "no document",
            _ => "failed",
        }
    }

    /// Whether the process that runs the background steps still exists. `None` if no step is running.
    fn beside(&self) -> Option<bool> {
        let report = self.report.as_ref()?;
        report.going_on().next().map(|_| environment::is_there(report.pid))
    }

    /// How long a running boot has been running. The report only has the time of its last change.
    fn elapsed_ms(&self) -> Option<f64> {
        let report = self.report.as_ref().filter(|report| self.exit == Exit::Running && report.outcome == BootOutcome::Running)?;
        let by_process = environment::age_of_ingot(report.pid).map(milliseconds);
        // The process may not be visible from here, and the clock may have been wrong when the boot began.
        let by_clock = moment(&report.started_at).map(|began| (self.now.as_millisecond() - began.as_millisecond()) as f64);
        by_process.or(by_clock).filter(|elapsed| *elapsed >= report.elapsed_ms)
    }

    fn json(&self) -> serde_json::Value {
        let mut status = serde_json::json!({ "status": self.word(), "report": self.report });
        if let Some(elapsed_ms) = self.elapsed_ms() {
            status["elapsed_ms"] = elapsed_ms.into();
        }
        if let Some(goes_on) = self.beside() {
            status["beside"] = if goes_on { "running" } else { "cut off" }.into();
        }
        if !self.applications.is_empty() {
            status["applications"] = serde_json::json!(self.applications);
        }
        if let Some(image) = &self.image {
            status["image"] = serde_json::json!(image.attestation);
            status["image"]["changed"] = serde_json::json!(image.changed);
        }
        status
    }

    fn show(&self, environment: &Environment) {
        let boot = match &self.report {
            Some(report) => {
                let screen = Screen { report, exit: self.exit, beside: self.beside(), elapsed_ms: self.elapsed_ms(), now: self.now };
                canvas(environment).draw(&screen.lines())
            }
            None => format!("{}\n", self.word()),
        };
        let mut beside: String = self.applications.iter().map(Status::text).collect();
        beside.extend(self.image.as_ref().map(Image::text));
        drawn(&boot);
        if !beside.is_empty() {
            data(&beside);
        }
    }
}
