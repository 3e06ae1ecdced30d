//! `ingot status`: how the boot of this machine went, or goes. Anybody may ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::output::{self, data, talk};
use crate::cli::root::Root;
use crate::cli::worker_status;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::SystemClock;
use crate::host::files::DiskFiles;
use crate::host::{Clock, Files, Host, HostError, environment, identity, lock};
use crate::json::of_bytes;
use crate::report::console::{summary, told};
use crate::report::{BootOutcome, Outcome, REPORT, Report, StepReport};
use crate::seal::attestation::Attestation;
use crate::step::fields::TimeLimit;
use crate::steps::application::status::{Status, status};

/// A report of ten thousand steps is smaller than this.
const REPORT_LIMIT: u64 = 64 * 1024 * 1024;

/// How often a boot is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a disk may take to give what a status is made of. Of one that hangs, nobody would ever hear.
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

pub(crate) async fn run(args: Args, json: bool) -> Exit {
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
                talk(&format!("the disk that has {REPORT} has not answered for {within:?}"));
                return Exit::Failed;
            }
        };
        let is_late = !args.wait || clock.elapsed() >= args.timeout.0;
        let (exit, report) = match looked {
            Ok((exit, Ok(report))) => (exit, report),
            // The boot that is waited for puts its own in its place.
            Ok((exit, Err(_))) if !is_late => (exit, None),
            Ok((_, Err(error))) | Err(error) => {
                talk(&Explanation::of(&error).to_string());
                return Exit::Failed;
            }
        };
        let over = !matches!(exit, Exit::Running | Exit::NeverRan);
        if over || is_late {
            let (image, applications) = tokio::select! {
                biased;
                beside = async { (Image::read(&files).await, applications(report.as_ref(), args.root.root.clone()).await) } => beside,
                () = clock.sleep(ANSWERS_WITHIN) => {
                    talk(&format!("the image and the applications are left out: their disk has not answered for {ANSWERS_WITHIN:?}"));
                    (None, Vec::new())
                }
            };
            show(report.as_ref(), exit, image.as_ref(), &applications, json);
            return exit;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// The status, and the report or why it is none.
async fn look(files: &DiskFiles) -> Result<(Exit, Result<Option<Report>, HostError>), HostError> {
    // The lock before the report: a boot that ends in between has written its report before it let go of the lock.
    let held = lock::holder(Path::new(lock::BOOT), files).await?.is_some();
    let report = files.read(Path::new(REPORT), REPORT_LIMIT).await?.map(|bytes| of_bytes::<Report>(&bytes)).transpose();
    let report = match report {
        Err(error) if !held => {
            let source = std::io::Error::other(format!("it is damaged: {error}"));
            return Ok((Exit::NeverRan, Err(HostError::Path { operation: "read", path: REPORT.into(), source })));
        }
        report => report.unwrap_or_default(),
    };
    let exit = match report.as_ref().map(|report| report.outcome) {
        _ if held => Exit::Running,
        None => Exit::NeverRan,
        Some(BootOutcome::Done) => Exit::Done,
        Some(BootOutcome::Degraded) => Exit::Degraded,
        Some(BootOutcome::NoDocument) => Exit::NoDocument,
        // «Running», and nobody is: it was cut off.
        Some(BootOutcome::Failed | BootOutcome::Running) => Exit::Failed,
    };
    Ok((exit, Ok(report)))
}

/// The applications of this instance; none for who may not read what is remembered of them.
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
            text.push_str(&format!("warning: {} is not as it was sealed\n", path.display()));
        }
        text
    }
}

fn show(report: Option<&Report>, exit: Exit, image: Option<&Image>, applications: &[Status], json: bool) {
    let word = match exit {
        Exit::Done => "done",
        Exit::Degraded => "degraded",
        Exit::Running => "running",
        Exit::NeverRan => "never ran",
        Exit::NoDocument => "no document",
        _ => "failed",
    };
    let beside = report.and_then(|report| report.going_on().next().map(|_| environment::is_there(report.pid)));
    if json {
        let mut status = serde_json::json!({ "status": word, "report": report });
        if let Some(goes_on) = beside {
            status["beside"] = if goes_on { "running" } else { "cut off" }.into();
        }
        if !applications.is_empty() {
            status["applications"] = serde_json::json!(applications);
        }
        if let Some(image) = image {
            status["image"] = serde_json::json!(image.attestation);
            status["image"]["changed"] = serde_json::json!(image.changed);
        }
        return output::json(&status);
    }
    let about_image = image.map_or_else(String::new, Image::text);
    let Some(report) = report else { return data(&format!("{word}\n{about_image}")) };
    let mut text = match (exit, report.outcome) {
        (Exit::Running, BootOutcome::Running) => summary(report),
        (Exit::Running, _) => "running: starting".to_owned(),
        (_, BootOutcome::Running) => {
            format!("failed: process {} was cut off after {:.3} s\n", report.pid, report.elapsed_ms / 1e3)
                + "  hint: run `ingot boot` to go on where it was"
        }
        _ => summary(report),
    };
    text.push('\n');
    if let (Exit::Running, Some(reason)) = (exit, &report.waiting) {
        text.push_str(&format!("waiting {reason}\n"));
    }
    if let Some((address, trouble)) = report.first_failure() {
        let address = address.map_or_else(String::new, |address| format!("{address}: "));
        text.push_str(&format!("first failure: {address}{}\n", told(trouble)));
    }
    for step in report.steps.iter().filter(|step| step.outcome == Outcome::Running) {
        let word = if beside == Some(false) { "cut off" } else { "running" };
        text.push_str(&format!("{word}: {}{}\n", step.address, doing(step)));
    }
    if beside == Some(false) {
        text.push_str(&format!("  hint: process {} is gone; run `ingot boot` to go on where it was\n", report.pid));
    }
    for (took, address) in slowest(report) {
        text.push_str(&format!("{took:>10.1} ms  {address}\n"));
    }
    for warning in &report.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push_str(&of_document(report));
    applications.iter().for_each(|application| text.push_str(&application.text()));
    text.push_str(&about_image);
    data(&text);
}

/// Which release the document was for, and what of it is not due here.
fn of_document(report: &Report) -> String {
    let mut text = report.release.as_ref().map_or_else(String::new, |release| format!("release: {release}\n"));
    if !report.not_due.is_empty() {
        let names: Vec<&str> = report.not_due.iter().map(|address| address.as_str()).collect();
        text.push_str(&format!("not due, by `when:`: {}\n", names.join(", ")));
    }
    text
}

/// What a step is at.
fn doing(step: &StepReport) -> String {
    match (&step.progress, &step.waiting) {
        (Some(amount), _) => format!(" reading {amount}"),
        (None, Some(reason)) => format!(" waiting {reason}"),
        (None, None) => String::new(),
    }
}

/// The three steps that took longest.
fn slowest(report: &Report) -> Vec<(f64, &str)> {
    let mut steps: Vec<(f64, &str)> =
        report.steps.iter().filter_map(|step| Some((step.finished_ms? - step.started_ms?, step.address.as_str()))).collect();
    steps.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    steps.truncate(3);
    steps
}
