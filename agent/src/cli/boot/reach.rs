//! From the start of the process to a plan: lock, user data, layers, facts.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use futures_util::join;

use crate::aws::credentials::{ImdsCredentials, ROLE_PATIENCE};
use crate::aws::http::Http;
use crate::aws::imds::{Imds, Patience};
use crate::aws::live::Aws;
use crate::aws::{Identity, ImdsError, Metadata};
use crate::cli::boot::Args;
use crate::cli::talk;
use crate::cli::variables::{ca_bundle, endpoints};
use crate::document::BootDocument;
use crate::document::source::{self, LAYERS, Layers, SIZE_LIMIT};
use crate::execute::{publish, write_report};
use crate::facts;
use crate::failure::{Explanation, Failure};
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::lock::{self, Lock, LockError};
use crate::host::state::Record;
use crate::host::{Files, Host, identity};
use crate::plan::Plan;
use crate::report::event::Recorder;
use crate::report::{BootOutcome, REPORT, Report};
use crate::steps::mount::remembered;
use crate::steps::{Known, World};

/// Where units find the facts, for `EnvironmentFile=`.
const FACTS_FILE: &str = "/run/ingot/facts.env";

/// How often a lock that another boot holds is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// How often is said what IMDS is being waited for. One that answers at once is never mentioned.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Why a boot ended before its first step.
pub(super) enum Stop {
    Document(crate::document::error::DocumentError),
    Usage(String),
    Failed(Explanation),
    /// Another process has just made the same boot.
    Done(BootOutcome),
}

impl<F: Failure> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failed(Explanation::of(&failure))
    }
}

/// What a boot has before its first step. Kept outside of it, since a boot that is stopped is dropped.
#[derive(Default)]
pub(super) struct Reached {
    /// Held until all is reported: the report belongs to whoever holds the lock.
    pub(super) lock: RefCell<Option<Lock>>,
    http: OnceCell<Http>,
    imds: OnceCell<Imds>,
    pub(super) world: OnceCell<World>,
}

impl Reached {
    /// Why the boot was stopped, with what it was waiting for.
    pub(super) fn stopped(&self, why: Explanation) -> Explanation {
        let waiting = self.imds.get().and_then(Imds::waiting);
        why.while_waiting(waiting.as_deref(), waiting.is_some())
    }

    /// The same of a boot whose steps were running: each says by itself what it was waiting for, but not that this in turn
    /// was waiting for credentials.
    pub(super) fn stopped_steps(&self, mut why: Explanation) -> Explanation {
        if let Some(waiting) = self.imds.get().and_then(Imds::waiting) {
            why.message.push_str(&format!(" (still waiting {waiting})"));
            why.unreachable = true;
        }
        why
    }

    /// What AWS has found to be wrong with this machine's clock.
    pub(super) fn wrong_clock(&self) -> Option<String> {
        self.http.get()?.clock().warning()
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
) -> Result<Plan, Stop> {
    let dmi = identity::dmi(&**disk).await;
    let http = Http::new(ca_bundle(environment).await?);
    let http = reached.http.get_or_init(|| http).clone();
    let imds = Imds::new(http.clone(), environment.aws.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"), Patience::default())?;
    let imds = reached.imds.get_or_init(|| imds);
    let credentials = ImdsCredentials::new(imds.clone(), ROLE_PATIENCE);
    let (lock, waited) = take_lock(disk, host).await?;
    *reached.lock.borrow_mut() = Some(lock);
    // cloud-init calls once in a boot of the machine, and so does systemd: with one document, once is enough.
    let record = match &dmi {
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
    let layers = match args.user_data.as_str() {
        "imds" => {
            let early = credentials.clone();
            tokio::spawn(async move { early.prefetch().await });
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
                "-" => match tokio::task::spawn_blocking(|| environment::standard_input(SIZE_LIMIT)).await {
                    Ok(read) => read?,
                    Err(_) => return Err(Stop::Failed(Explanation::new("cannot read standard input", None))),
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
    let mut plan = Plan::compile(document, &templates).map_err(Stop::Document)?;
    if !args.only.is_empty() {
        plan.only(&args.only).map_err(Stop::Usage)?;
    }
    recorder.phase("plan");

    if known_identity.is_none() && (plan.needs_facts() || plan.needs_aws()) {
        known_identity = Some(imds.identity().await?);
    }
    let id = match (dmi, &known_identity) {
        (Some(id), _) => id,
        (None, Some(identity)) => identity.instance_id.clone(),
        (None, None) => identity::machine_id(&**disk).await.unwrap_or_else(|| "local".into()),
    };
    recorder.amend(|report| report.instance = Some(id.clone()));
    let record = match record {
        Some(record) => record,
        None => recorded(&id, disk, host, recorder).await?,
    };
    if args.only.is_empty() {
        // It matters at the next reboot: what can be done without a record is done now.
        if let Err(error) = remembered::forget_others(&record, &plan.nodes.iter().map(|node| node.address.as_str()).collect()).await {
            note(recorder, &Explanation::of(&error).to_string());
        }
    }
    let aws = Aws::on_instance(http, imds.clone(), credentials, endpoints(environment));
    let boot_id = recorder.report().boot_id.clone();
    let new = World {
        host: host.clone(),
        aws,
        record: Rc::new(record),
        boot_id,
        redactor: Rc::default(),
        known: Rc::new(Known::default()),
        claims: Rc::default(),
    };
    let made = reached.world.get_or_init(|| new);
    learn_facts(&plan, imds, known_identity.as_ref(), made, recorder).await?;
    Ok(plan)
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
fn note(recorder: &Recorder, text: &str) {
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
    let same = report.document.as_deref() == Some(digest) && report.boot_id == boot_id && report.finished_at.is_some();
    (same && report.outcome != BootOutcome::Failed).then_some(report.outcome)
}

/// Makes facts and values known to the steps, and to units by way of a file.
async fn learn_facts(plan: &Plan, imds: &Imds, identity: Option<&Identity>, world: &World, recorder: &Recorder) -> Result<(), Stop> {
    let mut tags = BTreeMap::new();
    let read = plan.tags().into_iter().map(|key| join(std::future::ready(key), imds.tag(key)));
    for (key, tag) in join_all(read).await {
        match tag {
            Ok(Some(value)) => {
                tags.insert(key.to_owned(), value);
            }
            Ok(None) => {}
            // The steps that need the tag fail, each by its name; those that test for it go on.
            Err(error @ ImdsError::TagsDisabled) => note(recorder, &Explanation::of(&error).to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let instance = identity.map_or_else(|| serde_json::json!({}), |identity| facts::instance(identity, tags));
    let values = plan.values.resolve(&instance).map_err(|(place, error)| {
        let error = Explanation::of(&error);
        Stop::Failed(Explanation { message: format!("{place}: {}", error.message), ..error })
    })?;
    // A boot that asks for no facts leaves those of an earlier one alone.
    if identity.is_some() {
        publish(Path::new(FACTS_FILE), facts::environment_file(&instance).as_bytes(), &world.host).await?;
    }
    world.known.set_root("instance", instance);
    world.known.set_root("values", values);
    Ok(())
}
