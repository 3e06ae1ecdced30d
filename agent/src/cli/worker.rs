//! `ingot worker`: arguments and output. The daemon itself is in [`worker`](crate::worker).

use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::client::connection::Connection;
use crate::aws::client::http::Bounds;
use crate::aws::cloudwatch::CloudWatch;
use crate::aws::instance;
use crate::aws::s3::LiveObjects;
use crate::aws::sqs::QueueName;
use crate::cli::logging;
use crate::cli::output::talk;
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::{Explanation, Failure as _};
use crate::host::environment::{self, Environment};
use crate::host::files::DiskFiles;
use crate::host::{Host, identity};
use crate::json::of_bytes;
use crate::net::Net;
use crate::net::posts::NetPosts;
use crate::rehearse::{Facts, Refusal, Request, live, rehearse};
use crate::steps::worker::settings::{LIMIT, Settings, hold};
use crate::steps::worker::{path, unit};
use crate::worker::status::{self, Status, put};
use crate::worker::{Begin, Cron, Daemon, Found};

/// Take messages from a queue and post them to an application, until SIGTERM
///
/// `ingot-worker@NAME.service` runs it with the settings that the boot has written. With --user-data, it takes them
/// from a document and runs in the foreground, with your own AWS credentials if there are any.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the worker in the document
    name: String,
    /// Boot document to take the worker from, in place of what the boot has written; can be repeated for layers
    #[arg(long, value_name = "FILE")]
    user_data: Vec<PathBuf>,
    /// YAML file of facts and outputs, in the shape of references
    #[arg(long, value_name = "FILE", requires = "user_data")]
    facts: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args, environment: &Environment) -> Exit {
    // A person who tries out a document reads the terminal.
    if args.root.root.is_some() || !args.user_data.is_empty() || !logging::to_journal() {
        logging::to_stderr();
    }
    match work(args, environment).await {
        Ok(()) => Exit::Done,
        Err((exit, message)) => {
            talk(&message);
            exit
        }
    }
}

type Ended = (Exit, String);

async fn work(args: Args, environment: &Environment) -> Result<(), Ended> {
    let host = Host::this_machine(args.root.root.clone());
    let settings = match args.user_data.is_empty() {
        true => written(&args.name, &host).await?,
        false => of_document(&args, environment).await?,
    };
    if !args.user_data.is_empty()
        && let Some(pid) = other(&args.name, &host).await
    {
        let hint = format!("stop it first, or give the worker another name: `systemctl stop {}`", unit(&args.name));
        return Err((Exit::Usage, format!("worker `{}` is already running, as process {pid}\n  hint: {hint}", args.name)));
    }
    let name = QueueName::parse(&settings.queue).map_err(|wrong| (Exit::Document, format!("{}\n  hint: {}", wrong.message, wrong.hint)))?;
    let connection = connection(&args, &host, environment).await?;
    if let Err(error) = put(&args.name, &Status::starting(&settings.queue, &host), &host).await {
        log::warn!("`ingot status worker {}` does not show this worker: {error}", args.name);
    }
    let mut stop = pin!(asked());
    let found = tokio::select! {
        biased;
        found = (Begin { connection: &connection, name, clock: &*host.clock }).find() => found,
        _ = stop.next() => return Ok(()),
    };
    let Found { queue, name: queue_name, known_as } = found.map_err(|error| {
        let exit = if error.is_unreachable() { Exit::Unreachable } else { Exit::Failed };
        (exit, format!("cannot start the worker: {}", Explanation::of(&error)))
    })?;
    let objects = Rc::new(LiveObjects::new(connection.clone()));
    let cron = Cron::of(&settings, queue.clone(), (queue_name.clone(), &known_as), objects, host.clone()).await;
    let cron = cron.map_err(|why| (Exit::Failed, format!("cannot start the worker: {why}")))?;
    log::info!("working: {} to http://{}{}", settings.queue, settings.to.at, settings.to.path);
    environment::ready();
    let metrics = settings.metrics.then(|| Rc::new(CloudWatch::new(connection)));
    let net = Net::this_network(host.files.clone());
    let daemon = Daemon {
        hold: door(&args.name, &host).await,
        name: args.name,
        settings: Rc::new(settings),
        queue,
        queue_name,
        posts: Rc::new(NetPosts::default()),
        probes: net.probes,
        host,
        metrics,
        cron,
    };
    daemon.work(stop).await;
    Ok(())
}

/// Path of the socket by which the worker can be held. `None` if its directory cannot be
/// created, as for a person who tries out a worker.
async fn door(name: &str, host: &Host) -> Option<PathBuf> {
    let socket = hold(name);
    host.files.create_directory(socket.parent()?, 0o755).await.ok()?;
    Some(host.files.located(&socket))
}

/// The process of a running worker of the same name, if any: both would write the same status file.
async fn other(name: &str, host: &Host) -> Option<u32> {
    let found = host.files.read(&status::path(name), LIMIT).await.ok()??;
    let pid = of_bytes::<Status>(&found).ok()?.pid;
    environment::is_there(pid).then_some(pid)
}

/// Reads the settings that the boot has written.
async fn written(name: &str, host: &Host) -> Result<Settings, Ended> {
    let path = path(name);
    let found = host.files.read(&path, LIMIT).await.map_err(|error| (Exit::Failed, Explanation::of(&error).to_string()))?;
    let found = found.ok_or_else(|| {
        let hint = format!("run `ingot boot` with a document that has workers.{name}, or give the document as --user-data");
        (Exit::Usage, format!("the worker `{name}` is not found: {} does not exist\n  hint: {hint}", path.display()))
    })?;
    of_bytes(&found)
        .map_err(|error| (Exit::Failed, format!("{} is not valid: {error}\n  hint: run `ingot boot`, which writes it", path.display())))
}

/// Computes the settings that a boot of this document would write.
async fn of_document(args: &Args, environment: &Environment) -> Result<Settings, Ended> {
    let facts = args.facts.clone().map_or(Facts::Unset, Facts::File);
    let request = Request { documents: args.user_data.clone(), facts, out: None, diff: None, live: false, release: None };
    let rehearsal = rehearse(&request, environment).await.map_err(ended)?;
    let (address, path) = (format!("workers.{}", args.name), path(&args.name));
    if let Some(failure) = rehearsal.failure(&address) {
        return Err((Exit::Document, format!("{address}: {failure}")));
    }
    let content = rehearsal.file(&path).ok_or_else(|| (Exit::Usage, format!("the document has no {address}")))?;
    let settings: Settings = of_bytes(content).map_err(|error| (Exit::Bug, format!("{}: {error}", path.display())))?;
    if settings.tasks.is_empty() && settings.claims.is_some() {
        log::warn!("no periodic tasks are sent: `cron` only uses tasks of a release, which is not downloaded here");
    }
    Ok(settings)
}

/// Connects to AWS: with the role of the instance, or with a person's own credentials when trying out a document.
async fn connection(args: &Args, host: &Host, environment: &Environment) -> Result<Connection, Ended> {
    if !args.user_data.is_empty() {
        let refusal = match live::connection(environment, &DiskFiles::new(None), Bounds::LONG_POLLS).await {
            Ok(connection) => return Ok(connection),
            Err(refusal) => refusal,
        };
        if identity::dmi(&*host.files).await.is_none() {
            return Err(ended(refusal));
        }
    }
    instance::connection(&environment.aws, Bounds::LONG_POLLS).await.map_err(|error| (Exit::Failed, error.to_string()))
}

fn ended(refusal: Refusal) -> Ended {
    (refusal.exit(), refusal.to_string())
}

/// Yields an item each time a signal asks the worker to end.
fn asked() -> impl Stream<Item = ()> {
    let signals = signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok());
    stream::unfold(signals, async |signals| {
        let (mut term, mut interrupt) = signals?;
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        Some(((), Some((term, interrupt))))
    })
}
