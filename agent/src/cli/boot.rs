//! `ingot boot`: makes this machine what its boot document says.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use futures_util::join;
use tokio::signal::unix::{SignalKind, signal};

use crate::address::Address;
use crate::aws::credentials::{ImdsCredentials, ROLE_PATIENCE};
use crate::aws::http::Http;
use crate::aws::imds::{Imds, Patience};
use crate::aws::live::Aws;
use crate::aws::{Identity, ImdsError, Metadata};
use crate::cli::{Root, data, logging, talk};
use crate::document::BootDocument;
use crate::document::source::{self, Layers, SIZE_LIMIT};
use crate::execute::{execute, publish, write_report};
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::host::clock::SystemClock;
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::lock::{Lock, LockError};
use crate::host::state::Record;
use crate::host::{Clock, Files, Host, HostError, identity};
use crate::plan::Plan;
use crate::report::console::{Console, told};
use crate::report::event::{Listener, Recorder};
use crate::report::journal::Journal;
use crate::report::{BootOutcome, REPORT, Report, Trouble};
use crate::steps::fields::TimeLimit;
use crate::steps::{Known, World};
use crate::{facts, report};

/// Where an image keeps its layers.
const LAYERS: &str = "/etc/ingot/boot.d";

/// Where units find the facts, for `EnvironmentFile=`.
const FACTS_FILE: &str = "/run/ingot/facts.env";

/// How often a lock that another boot holds is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// How often is said what IMDS is being waited for. One that answers at once is never mentioned.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Make this machine what its boot document says
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

/// Why a boot ended before its first step.
enum Stop {
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
struct Reached {
    /// Held until all is reported: the report belongs to whoever holds the lock.
    lock: OnceCell<Lock>,
    imds: OnceCell<Imds>,
    world: OnceCell<World>,
}

impl Reached {
    /// Why the boot was stopped, with what it was waiting for.
    fn stopped(&self, why: Explanation) -> Explanation {
        let waiting = self.imds.get().and_then(Imds::waiting);
        why.while_waiting(waiting.as_deref(), waiting.is_some())
    }
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
    let mut stopped = pin!(stopped(args.deadline.0, host.clock.clone()));
    let reached = Reached::default();
    let ran = {
        let whole = pin!(boot(&args, environment, &disk, &host, &recorder, &reached));
        match select(whole, stopped.as_mut()).await {
            Either::Left((ran, _)) => ran,
            Either::Right((why, _)) => Err(Stop::Failed(reached.stopped(why))),
        }
    };
    match ran {
        Ok(plan) => {
            let world = reached.world.get().expect("a boot that has a plan has a world");
            execute(&plan, world, &recorder, stopped).await;
            finish(&args, json, environment, &host, &recorder, reached.lock.get()).await
        }
        Err(Stop::Usage(message)) => {
            talk(&message);
            Exit::Usage
        }
        Err(Stop::Done(outcome)) => {
            talk("another ingot has just done this boot");
            if outcome == BootOutcome::Failed { Exit::Failed } else { Exit::Done }
        }
        Err(Stop::Document(error)) => {
            log::error!("{error}");
            if in_journal && !environment.stderr_is_journal {
                talk(&error.to_string());
            }
            recorder.amend(|report| report.error = Some(document_trouble(&error)));
            finish(&args, json, environment, &host, &recorder, reached.lock.get()).await;
            Exit::Document
        }
        Err(Stop::Failed(error)) => {
            talk_unless(environment.stderr_is_journal && in_journal, &format!("failed: {error}"));
            log::error!(target: report::journal::TARGET, "{error}");
            recorder.amend(|report| report.error = Some(Trouble::from(&error)));
            finish(&args, json, environment, &host, &recorder, reached.lock.get()).await
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
        listeners.push(Box::new(Journal));
    }
    if !(in_journal && environment.stderr_is_journal) {
        let width = environment.stderr_is_terminal.then(|| environment.columns.unwrap_or(80));
        listeners.push(Box::new(Console::new(Box::new(std::io::stderr()), width)));
    }
    listeners
}

/// Ends when the boot has to end: at its deadline, or when somebody asks.
async fn stopped(deadline: Duration, clock: Rc<dyn Clock>) -> Explanation {
    let asked = async {
        // Without handlers the default action ends us just as well, only without a report.
        let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            return std::future::pending::<&str>().await;
        };
        match select(pin!(term.recv()), pin!(interrupt.recv())).await {
            Either::Left(_) => "SIGTERM",
            Either::Right(_) => "SIGINT",
        }
    };
    let left = deadline.saturating_sub(clock.elapsed());
    match select(pin!(asked), clock.sleep(left)).await {
        Either::Left((name, _)) => Explanation::new(format!("stopped by {name}"), Some("run `ingot boot` to go on where it was".into())),
        Either::Right(_) => {
            let hint = "see what it waited for, or give `ingot boot` a longer --deadline";
            Explanation::new(format!("the boot's deadline of {deadline:?} passed"), Some(hint.into()))
        }
    }
}

/// Everything before the first step: lock, user data, facts, plan.
async fn boot(
    args: &Args,
    environment: &Environment,
    disk: &Rc<DiskFiles>,
    host: &Host,
    recorder: &Recorder,
    reached: &Reached,
) -> Result<Plan, Stop> {
    let dmi = identity::dmi(&**disk).await;
    let http = Http::new(ca_bundle(environment).await?);
    let imds = Imds::new(http.clone(), environment.aws.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"), Patience::default())?;
    let imds = reached.imds.get_or_init(|| imds);
    let credentials = ImdsCredentials::new(imds.clone(), ROLE_PATIENCE);
    let (lock, waited) = take_lock(disk, host).await?;
    reached.lock.get_or_init(|| lock);

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
                "-" => environment::standard_input(SIZE_LIMIT)?,
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
    recorder.amend(|report| report.document = Some(digest.clone()));
    let boot_id = recorder.report().boot_id.clone();
    // cloud-init calls once in a boot of the machine, and so does systemd: with one document, once is enough.
    let called_by_cloud_init = host.units.own().is_some_and(|unit| unit.starts_with("cloud-"));
    if (waited || called_by_cloud_init)
        && let Some(outcome) = just_done(&**disk, &digest, &boot_id).await
    {
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
    let record = Record::load(disk.clone(), host.users.own(), &id).await?;
    let aws = Aws::on_instance(http, imds.clone(), credentials, endpoints(environment));
    let boot_id = recorder.report().boot_id.clone();
    let new =
        World { host: host.clone(), aws, record: Rc::new(record), boot_id, redactor: Rc::default(), known: Rc::new(Known::default()) };
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

/// Notes something that stops nothing, and that an operator should see all the same.
fn note(recorder: &Recorder, text: &str) {
    log::warn!("{text}");
    recorder.amend(|report| report.warnings.push(text.to_owned()));
}

/// The certificates of a private authority, by the SDKs' own variable.
pub(crate) async fn ca_bundle(environment: &Environment) -> Result<Option<Vec<u8>>, HostError> {
    let Some(path) = environment.aws.get("AWS_CA_BUNDLE") else { return Ok(None) };
    let found = DiskFiles::new(None).read(&crate::cli::prepare::absolute(Path::new(path)), SIZE_LIMIT).await?;
    let missing = || HostError::Path { operation: "read AWS_CA_BUNDLE", path: path.into(), source: std::io::ErrorKind::NotFound.into() };
    found.map(|found| Some(found.to_vec())).ok_or_else(missing)
}

/// The SDKs' own variables for other endpoints, as far as they are set.
pub(crate) fn endpoints(environment: &Environment) -> BTreeMap<String, String> {
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SSM"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), environment.aws.get(name)?.to_owned())))
        .collect()
}

/// Takes the lock, waiting for whoever has it. Whether it had to wait.
async fn take_lock(disk: &DiskFiles, host: &Host) -> Result<(Lock, bool), Stop> {
    let mut waited = false;
    loop {
        match Lock::take(disk) {
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

/// The outcome of a boot that ended while we waited for its lock, if it was told the same as we are.
async fn just_done(files: &dyn Files, digest: &str, boot_id: &str) -> Option<BootOutcome> {
    let bytes = files.read(Path::new(REPORT), SIZE_LIMIT).await.ok()??;
    let report: Report = serde_json::from_slice(&bytes).ok()?;
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
    publish(Path::new(FACTS_FILE), facts::environment_file(&instance).as_bytes(), &world.host).await?;
    world.known.set_root("instance", instance);
    world.known.set_root("values", values);
    Ok(())
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

/// Closes the report and tells everybody how it ended.
async fn finish(args: &Args, json: bool, environment: &Environment, host: &Host, recorder: &Recorder, lock: Option<&Lock>) -> Exit {
    recorder.end();
    if lock.is_some()
        && let Err(error) = write_report(host, recorder).await
    {
        talk(&format!("warning: {}", Explanation::of(&error)));
    }
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
    match report.outcome {
        BootOutcome::Failed if report.is_unreachable() => Exit::Unreachable,
        BootOutcome::Failed => Exit::Failed,
        _ => Exit::Done,
    }
}
