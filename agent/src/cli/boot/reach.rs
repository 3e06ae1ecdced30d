//! From the start of the process to a plan: lock, user data, layers, facts.

use std::cell::OnceCell;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::join;
use tokio::task::yield_now;

use crate::aws::client::http::Http;
use crate::aws::credentials::{ImdsCredentials, ROLE_PATIENCE};
use crate::aws::imds::{Imds, Patience};
use crate::aws::live::Aws;
use crate::aws::{Identity, Metadata};
use crate::backoff::Backoff;
use crate::cli::boot::Args;
use crate::cli::boot::asked::{learn_facts, phase};
use crate::cli::boot::reached::{Reached, Ways};
use crate::cli::talk;
use crate::cli::variables::ca_bundle;
use crate::document::source::{self, LAYERS, Layers, SIZE_LIMIT};
use crate::document::{BootDocument, include};
use crate::execute::write_report;
use crate::failure::{Explanation, Failure};
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::lock::{self, Lock, LockError};
use crate::host::state::Record;
use crate::host::{Files, Host, identity};
use crate::plan::Plan;
use crate::report::event::Recorder;
use crate::report::{BootOutcome, REPORT, Report};
use crate::step::Phase;
use crate::steps::mount::remembered;

/// How often a lock that another boot holds is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// How long a document that is included may keep us waiting: as long as a secret.
const INCLUDE_PATIENCE: Duration = Duration::from_secs(600);

/// How often is said what IMDS is being waited for. One that answers at once is never mentioned.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Why a boot ended before its first step.
pub(super) enum Stop {
    Document(crate::document::error::DocumentError),
    Usage(String),
    Failed(Explanation),
    /// Somebody has asked for it.
    Asked(Explanation),
    /// Another process has just made the same boot.
    Done(BootOutcome),
}

impl<F: Failure> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failed(Explanation::of(&failure))
    }
}

/// Everything before the first step: lock, user data, facts, plan.
pub(super) async fn reach(
    args: &Args,
    environment: &Environment,
    disk: &Rc<DiskFiles>,
    host: &Host,
    recorder: &Recorder,
    reached: &Reached,
    standard_input: &OnceCell<Vec<u8>>,
) -> Result<Plan, Stop> {
    let dmi = identity::dmi(&**disk).await;
    let http = Http::new(ca_bundle(environment).await?);
    let imds = Imds::new(http.clone(), environment.aws.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"), Patience::default())?;
    let credentials = ImdsCredentials::new(imds.clone(), ROLE_PATIENCE);
    let ways = reached.ways.get_or_init(|| Ways { http, imds, credentials, dmi });
    let Ways { imds, credentials, dmi, .. } = ways;
    let (lock, waited) = take_lock(disk, host).await?;
    *reached.lock.borrow_mut() = Some(lock);
    // cloud-init calls once in a boot of the machine, and so does systemd: with one document, once is enough.
    let record = match dmi {
        Some(id) => Some(recorded(id, disk, host, recorder).await?),
        None => None,
    };
    // What was mounted comes back before anything is asked of a network that may not be there.
    if let (Some(record), []) = (&record, args.only.as_slice()) {
        let troubles = remembered::bring_back(record, host, Duration::ZERO).await;
        troubles.iter().for_each(|trouble| note(recorder, trouble));
        recorder.phase("mounts");
    }
    let called_by_cloud_init = host.units.own().is_some_and(|unit| unit.starts_with("cloud-"));
    let earlier = if args.only.is_empty() && (waited || called_by_cloud_init) { last_report(&**disk).await } else { None };

    let mut layers = Layers::default();
    let directory = args.layers.clone();
    let baked = async {
        match &directory {
            None => layers.add_directory(Path::new(LAYERS), &**disk).await,
            Some(directory) => layers.add_directory(&crate::cli::prepare::absolute(directory), &DiskFiles::new(None)).await,
        }
        layers
    };
    let mut known_identity: Option<Identity> = None;
    let mut layers = match args.user_data.as_str() {
        "imds" => {
            let early = credentials.clone();
            tokio::spawn(async move { early.prefetch().await });
            // Nothing is as many exchanges deep: it comes first to the token, and to the connection that brought it.
            yield_now().await;
            let asked = pin!(async { join!(imds.user_data(), imds.identity(), baked) });
            let (user_data, identity, mut layers) = match select(asked, pin!(watch(imds, host, recorder))).await {
                Either::Left((answers, _)) => answers,
                Either::Right((never, _)) => match never {},
            };
            recorder.amend(|report| report.waiting = None);
            known_identity = Some(identity?);
            let what = match user_data? {
                Some(bytes) => layers.add_user_data(&bytes),
                None => Some("not there"),
            };
            if let Some(what) = what {
                note(recorder, &format!("user data is {what}: the layers of the image are the whole document"));
            }
            layers
        }
        "none" => baked.await,
        named => {
            let mut layers = baked.await;
            let bytes = match named {
                // On a thread of its own: whoever writes may be slow, and the deadline and SIGTERM are to be heard.
                "-" => match standard_input.get() {
                    Some(read) => read.clone(),
                    None => match tokio::task::spawn_blocking(|| environment::standard_input(SIZE_LIMIT)).await {
                        Ok(read) => {
                            let read = read?;
                            standard_input.get_or_init(|| read).clone()
                        }
                        Err(_) => return Err(Stop::Failed(Explanation::new("cannot read standard input", None))),
                    },
                },
                path => {
                    let path = crate::cli::prepare::absolute(Path::new(path));
                    let found = DiskFiles::new(None).read(&path, SIZE_LIMIT).await?;
                    found.ok_or_else(|| Stop::Usage(format!("there is no file {}", path.display())))?.to_vec()
                }
            };
            layers.add_named(if named == "-" { "standard input" } else { named }, &bytes);
            layers
        }
    };
    recorder.phase("user_data");
    // Each time, what has come from IMDS meanwhile is answered before there is more to compute: credentials are on their way.
    yield_now().await;
    reached.keep_signals(&layers, args);
    if include(&mut layers, &ways.aws(environment), host, recorder, reached).await? {
        recorder.phase("include");
        reached.keep_signals(&layers, args);
    }
    if layers.nodes.is_empty() && layers.mistakes.is_empty() {
        note(recorder, &format!("there is no boot document, neither a layer in {LAYERS} nor one by --user-data {}", args.user_data));
    }
    let digest = layers.digest();
    // A boot of some steps alone is no boot of the document.
    recorder.amend(|report| report.document = args.only.is_empty().then(|| digest.clone()));
    let boot_id = recorder.report().boot_id.clone();
    if let Some(outcome) = earlier.and_then(|report| just_done(&report, &digest, &boot_id)) {
        return Err(Stop::Done(outcome));
    }

    let document = BootDocument::of(layers);
    let templates = source::read_templates(&document.template_paths(), &[], &**disk).await;
    yield_now().await;
    let mut plan = Plan::compile(document, &templates).map_err(Stop::Document)?;
    yield_now().await;
    let phase = phase(&plan, imds, host, recorder).await?;
    if args.only.is_empty() {
        plan.in_phase(phase);
    } else {
        plan.only(&args.only).map_err(Stop::Usage)?;
    }
    recorder.phase("plan");

    if known_identity.is_none() && (plan.needs_facts() || plan.needs_aws()) {
        known_identity = Some(imds.identity().await?);
    }
    let id = ways.id(disk, known_identity.as_ref()).await;
    recorder.amend(|report| report.instance = Some(id.clone()));
    let record = match record {
        Some(record) => record,
        None => recorded(&id, disk, host, recorder).await?,
    };
    let boot_id = recorder.report().boot_id.clone();
    let world = reached.world.get_or_init(|| ways.world(environment, host, record, boot_id, phase));
    // A boot that is not of the whole document does not know what else was mounted.
    if args.only.is_empty() && phase == Phase::Serve {
        // It matters at the next reboot: what can be done without a record is done now.
        if let Err(error) = remembered::forget_others(&world.record, &plan.nodes.iter().map(|node| node.address.as_str()).collect()).await {
            note(recorder, &Explanation::of(&error).to_string());
        }
    }
    learn_facts(&plan, imds, known_identity.as_ref(), world, recorder).await?;
    Ok(plan)
}

/// Reads the documents that layers include, as often as it takes. Whether there were any.
async fn include(layers: &mut Layers, aws: &Aws, host: &Host, recorder: &Recorder, reached: &Reached) -> Result<bool, Stop> {
    if !layers.nodes.iter().any(|node| node.get(include::KEY).is_some()) {
        return Ok(false);
    }
    let begun = host.clock.elapsed();
    for attempt in 1.. {
        let mut tried = Layers { nodes: layers.nodes.clone(), ..Layers::default() };
        let Err(error) = include::resolve(&mut tried, &aws.parameters, &*aws.documents).await else {
            layers.nodes = tried.nodes;
            layers.sources.append(&mut tried.sources);
            layers.mistakes.append(&mut tried.mistakes);
            reached.waiting.take();
            recorder.amend(|report| report.waiting = None);
            return Ok(true);
        };
        let pause = Backoff::CALL.pause(attempt, error.retry_after());
        if !error.is_transient() || host.clock.elapsed() + pause > begun + INCLUDE_PATIENCE {
            return Err(error.into());
        }
        let reason = format!("for a document that is included: {error}");
        log::info!("waiting {reason}");
        reached.waiting.replace(Some((reason.clone(), error.is_unreachable())));
        recorder.amend(|report| report.waiting = Some(reason));
        host.clock.sleep(pause).await;
    }
    Ok(true)
}

/// Says what IMDS is being waited for: to the report, and to whoever watches. Never ends.
async fn watch(imds: &Imds, host: &Host, recorder: &Recorder) -> std::convert::Infallible {
    loop {
        host.clock.sleep(WATCH_EVERY).await;
        if let Some(reason) = imds.waiting() {
            log::info!("waiting {reason}");
            talk(&format!("waiting {reason}"));
            recorder.amend(|report| report.waiting = Some(reason));
        }
        // Whoever asks for the status meanwhile sees it; if it cannot be written, the end of the boot says so.
        let _ = write_report(host, recorder).await;
    }
}

/// What is remembered of this instance.
async fn recorded(id: &str, disk: &Rc<DiskFiles>, host: &Host, recorder: &Recorder) -> Result<Record, Stop> {
    let record = Record::load(disk.clone(), host.users.own(), id).await?;
    if let Some(why) = record.distrusted() {
        note(recorder, why);
    }
    Ok(record)
}

/// Notes something that stops nothing, and that an operator should see all the same.
pub(super) fn note(recorder: &Recorder, text: &str) {
    log::warn!("{text}");
    recorder.amend(|report| report.warnings.push(text.to_owned()));
}

/// Takes the lock, waiting for whoever has it. Whether it had to wait.
async fn take_lock(disk: &DiskFiles, host: &Host) -> Result<(Lock, bool), Stop> {
    let mut waited = false;
    loop {
        match Lock::take(Path::new(lock::BOOT), disk) {
            Ok(lock) => return Ok((lock, waited)),
            Err(error @ LockError::Held { .. }) => {
                if !waited {
                    talk(&format!("{error}: waiting for it to end"));
                }
                waited = true;
                host.clock.sleep(LOCK_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The report of the boot before this one, read before ours takes its place.
async fn last_report(files: &dyn Files) -> Option<Report> {
    let bytes = files.read(Path::new(REPORT), SIZE_LIMIT).await.ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// The outcome of a boot before this one, if it was told the same and ended well.
fn just_done(report: &Report, digest: &str, boot_id: &str) -> Option<BootOutcome> {
    // What is due when the instance goes into service is not done then.
    let whole = report.phase != Some(Phase::Warm);
    let same = whole && report.document.as_deref() == Some(digest) && report.boot_id == boot_id && report.finished_at.is_some();
    (same && report.outcome != BootOutcome::Failed).then_some(report.outcome)
}
