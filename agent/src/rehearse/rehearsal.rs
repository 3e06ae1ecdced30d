//! One dry run from its documents to its result.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::aws::client::connection::Connection;
use crate::aws::client::http::Bounds;
use crate::aws::instance;
use crate::aws::live::Aws;
use crate::boot::{Audience, Boot, Ending, Ground, StandIn, UserData};
use crate::document::error::DocumentError;
use crate::document::source::SIZE_LIMIT;
use crate::failure::Explanation;
use crate::fake::aws::{FakeEc2, FakeMetadata, FakeRds};
use crate::fake::machine::{FakeMachine, INSTANCE};
use crate::gather::Gather as _;
use crate::host::environment::{Environment, absolute};
use crate::host::files::DiskFiles;
use crate::host::state::Record;
use crate::host::{FileKind, Files, Host, environment, identity};
use crate::plan::Plan;
use crate::rehearse::desk::DeskCommands;
use crate::rehearse::files::{self, Rendered};
use crate::rehearse::given::Given;
use crate::rehearse::invented::Invented;
use crate::rehearse::prepare::{self, Prepared};
use crate::rehearse::release::Shown;
use crate::rehearse::request::{Facts, Refusal, Request};
use crate::rehearse::{live, own};
use crate::report::Report;
use crate::report::console::told;
use crate::report::event::Listener;
use crate::step::{Known, Phase, World};
use crate::template::TemplateError;
use crate::text::Place;

/// The result of a dry run.
pub(crate) struct Rehearsal {
    pub(super) plan: Plan,
    pub(super) report: Report,
    pub(super) known: Rc<Known>,
    pub(super) files: Vec<Rendered>,
    /// How the files differ from those that they were compared with.
    pub(super) diffs: Option<Vec<String>>,
    /// What the given release would run.
    pub(super) release: Option<Shown>,
    /// Notes for the reader of the result.
    pub(crate) notes: Vec<String>,
}

impl Rehearsal {
    /// Why a step would fail. `None` if it would not.
    pub(crate) fn failure(&self, address: &str) -> Option<String> {
        let step = self.report.steps.iter().find(|step| step.address.as_str() == address)?;
        step.error.as_ref().map(told)
    }

    /// Whether a file differs from the one that it was compared with.
    pub(crate) fn differs(&self) -> bool {
        self.diffs.as_ref().is_some_and(|diffs| !diffs.is_empty())
    }

    /// The content that a step has written to `path`.
    pub(crate) fn file(&self, path: &Path) -> Option<&[u8]> {
        self.files.iter().find(|file| file.path == path).map(|file| file.content.as_slice())
    }
}

/// Rehearses a boot. Writes only below [`Request::out`].
pub(crate) async fn rehearse(request: &Request, environment: &Environment) -> Result<Rehearsal, Refusal> {
    let desk = DiskFiles::new(None);
    has_directories(request, &desk).await?;
    let Assumed { planned, mut given, connection, is_own } = assume(request, environment, &desk).await?;
    let Planned { plan, warnings, unread } = planned;
    given.check(&plan).map_err(Refusal::Facts)?;
    let release = match &request.release {
        Some(directory) => Some(Shown::read(directory, &plan, &desk).await?),
        None => None,
    };
    let machine = FakeMachine::on_a_desk();
    let programs = request.out.as_deref().map(|out| Rc::new(DeskCommands::new(machine.clone(), absolute(out))));
    let host = match &programs {
        Some(programs) => Host { commands: programs.clone(), ..machine.host() },
        None => machine.host(),
    };
    let (aws, ec2) = aws(&machine, &given, connection);
    let boot = begin(host, &machine, aws).await?;
    take_for_granted(boot.world(), &plan, &mut given, request.live, is_own)?;
    let mut execution = boot.execution(&plan);
    boot.carry_out(&mut execution, pending()).await;
    boot.beside(&mut execution, pending()).await;
    drop(execution);
    // In a dry run, the outcome includes the steps that outlast the boot.
    boot.recorder.end();

    let invented = Invented::of(&plan, &given, &boot.world().known, &machine, &ec2);
    let files = files::rendered(&plan, boot.world(), &invented).await?;
    if let Some(out) = &request.out {
        files::write(&files, &absolute(out)).await?;
    }
    let diffs = match &request.diff {
        Some(directory) => Some(files::diffs(&files, &absolute(directory), &boot.world().redactor).await?),
        None => None,
    };
    let mut report = boot.recorder.report().clone();
    invented.told_in(&mut report);
    let standing_in = standing_in(&boot.world().known, &plan);
    let open = plan
        .open
        .iter()
        .map(|(address, when)| format!("{address} counts as due, assuming that `{when}` is true; give the facts in --facts"));
    let missing = programs.iter().flat_map(|programs| programs.missing());
    let unchecked = missing.map(|program| format!("not checked: {program} is not on this machine"));
    let notes = unread.into_iter().map(unread_note).chain(warnings).chain(open).chain(standing_in);
    let notes = notes.chain(report.warnings.iter().cloned()).chain(unchecked).collect();
    Ok(Rehearsal { report, known: boot.world().known.clone(), files, diffs, release, notes, plan })
}

/// Refuses a directory that does not exist or is a file: with a wrong `--diff`, every file would differ.
async fn has_directories(request: &Request, desk: &DiskFiles) -> Result<(), Refusal> {
    for (option, path, may_be_new) in [("--diff", &request.diff, false), ("--out", &request.out, true)] {
        let Some(path) = path else { continue };
        let real = desk.resolved(&absolute(path)).await.unwrap_or_else(|_| absolute(path));
        let what = match desk.stat(&real).await {
            Ok(Some(found)) if found.kind != FileKind::Directory => "is not a directory",
            Ok(None) if !may_be_new => "does not exist",
            // Other problems are reported for the file that cannot be read or written.
            _ => continue,
        };
        return Err(Refusal::usage(format!("{} {what}", path.display()), &format!("correct the path of {option}")));
    }
    Ok(())
}

/// What a dry run starts with.
struct Assumed {
    planned: Planned,
    given: Given,
    /// The connection to AWS, with `--live`.
    connection: Option<Connection>,
    /// Whether the facts are those of this instance, so that none can be missing.
    is_own: bool,
}

/// Makes the plan, with the given facts or those of this instance.
async fn assume(request: &Request, environment: &Environment, desk: &DiskFiles) -> Result<Assumed, Refusal> {
    let is_own = match &request.facts {
        Facts::Metadata if !request.live => {
            return Err(Refusal::usage("`--facts imds` needs the network", "add --live, or give the facts in a file"));
        }
        Facts::Metadata => true,
        // A comparison with `/` on an instance is about this machine, so its own facts are used.
        Facts::Unset => request.live && request.diff.as_deref() == Some(Path::new("/")) && identity::dmi(desk).await.is_some(),
        Facts::File(_) => false,
    };
    let mut given = match &request.facts {
        Facts::File(path) => given(path, desk).await?,
        Facts::Unset | Facts::Metadata => Given::default(),
    };
    if !request.live {
        return Ok(Assumed { planned: plan(request, desk, None, &given).await?, given, connection: None, is_own: false });
    }
    let connection = match live::connection(environment, desk, Bounds::BOOT).await {
        Ok(connection) => connection,
        // If the caller has no credentials, an instance uses those of its role.
        Err(_) if is_own => instance::connection(&environment.aws, Bounds::BOOT).await?,
        Err(refusal) => return Err(refusal),
    };
    let mut planned = plan(request, desk, Some(connection.clone()), &given).await?;
    if is_own {
        let metadata = instance::metadata(connection.http.clone(), &environment.aws)?;
        let (facts, note) = own::facts(&metadata, &planned.plan).await?;
        given.set_instance(facts);
        // Planned again, because facts decide which steps are due.
        planned = plan(request, desk, Some(connection.clone()), &given).await?;
        planned.warnings.extend(note);
    }
    Ok(Assumed { planned, given, connection: Some(connection), is_own })
}

/// A plan, and the notes on it.
struct Planned {
    plan: Plan,
    warnings: Vec<String>,
    /// Included documents that were not read.
    unread: Vec<String>,
}

async fn plan(request: &Request, desk: &DiskFiles, connection: Option<Connection>, given: &Given) -> Result<Planned, Refusal> {
    let of_documents = connection.map(|connection| {
        let machine = FakeMachine::rehearsal();
        let (ec2, rds) = (Rc::new(FakeEc2::new(machine.clone(), "")), Rc::new(FakeRds::new(machine, "")));
        Aws::of_caller(connection, crate::fake::aws::services(ec2, rds))
    });
    let Prepared { plan, warnings, unread, passed_over, .. } =
        prepare::plan(&request.documents, desk, of_documents.as_ref(), Some(given)).await?;
    match plan {
        Ok(plan) => Ok(Planned { plan, warnings: passed_over.into_iter().chain(warnings.lines()).collect(), unread }),
        Err(mistakes) => Err(Refusal::Document { mistakes, notes: unread.into_iter().map(unread_note).collect() }),
    }
}

fn unread_note(note: String) -> String {
    format!("{note}; --live reads it")
}

async fn given(path: &Path, desk: &DiskFiles) -> Result<Given, Refusal> {
    let shown = path.display().to_string();
    let bytes = match environment::pipe(path, SIZE_LIMIT) {
        Some(read) => Some(read?.into()),
        None => desk.read(&absolute(path), SIZE_LIMIT).await?,
    };
    let bytes = bytes.ok_or_else(|| Refusal::usage(format!("{shown} does not exist"), "correct the path of --facts"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::usage(format!("{shown} is not UTF-8 text"), "save it as UTF-8"))?;
    Given::parse(&shown, text).map_err(Refusal::Facts)
}

/// AWS in memory; with `--live`, secrets and documents are real. Volumes and databases never
/// are, so that a dry run costs nothing.
fn aws(machine: &FakeMachine, given: &Given, connection: Option<Connection>) -> (Aws, Rc<FakeEc2>) {
    let fact = |name: &str| given.instance()[name].as_str().map_or_else(|| format!("<instance.{name}>"), str::to_owned);
    let rds = Rc::new(FakeRds::new(machine.clone(), &fact("region")).inventing());
    let ec2 = Rc::new(FakeEc2::new(machine.clone(), &fact("zone")).inventing());
    let others = crate::fake::aws::services(ec2.clone(), rds);
    let aws = match connection {
        Some(connection) => Aws::of_caller(connection, others),
        None => Aws::new(others),
    };
    (aws, ec2)
}

/// Starts a boot of the machine in memory, without the stages that read from the metadata service.
async fn begin(host: Host, machine: &FakeMachine, aws: Aws) -> Result<Boot, Refusal> {
    let request = crate::boot::Request {
        user_data: UserData::Nothing,
        layers: None,
        only: Vec::new(),
        release: None,
        deadline: Duration::MAX,
        started_by_systemd: false,
    };
    let ground = Ground {
        outside: host.files.clone(),
        host: host.clone(),
        net: machine.net(),
        lock: Rc::new(machine.clone()),
        cloud: Rc::new(StandIn { metadata: Rc::new(FakeMetadata::default()), aws, waiting: None }),
    };
    let boot = Boot::begin(Rc::new(request), ground, Rc::new(Nobody)).await;
    boot.connect().await?;
    boot.enter(Record::load(host.files.clone(), host.users.own(), INSTANCE).await?, Phase::Serve, None);
    Ok(boot)
}

/// Gives facts and outputs to the steps, with placeholders for those that are missing.
fn take_for_granted(world: &World, plan: &Plan, given: &mut Given, live: bool, is_own: bool) -> Result<(), Refusal> {
    let known = &world.known;
    if !live {
        given.open_secrets(plan).map_err(Refusal::Usage)?;
    }
    given.tell(plan, &world.redactor);
    // Facts that this instance does not have would be missing in its boot as well, so they get no placeholder.
    let mut placeholders = given.complete(plan, if is_own { &["instance"] } else { &[] });
    if live {
        placeholders.retain(|reference| !reference.starts_with("secrets."));
    }
    // Neither RDS nor a database is contacted, not even with `--live`.
    let invented = plan.nodes.iter().map(|node| &node.address).filter(|address| address.kind() == "databases");
    placeholders.extend(invented.filter(|address| given.outputs(address).is_none()).map(ToString::to_string));
    known.set_placeholders(placeholders);
    let values = plan.values.resolve(&given.instance()).map_err(|(place, error)| Refusal::Failed(unfilled(&place, &error, is_own)))?;
    given.complete_keys(&values);
    known.set_root("instance", given.instance());
    known.set_root("values", values);
    for node in &plan.nodes {
        let from_aws = node.address.kind() == "secrets";
        match given.outputs(&node.address) {
            Some(_) if live && from_aws => {}
            Some(value) => known.give(node.address.clone(), value),
            None if live || !from_aws => {}
            None => known.give(node.address.clone(), Value::Null),
        }
    }
    Ok(())
}

/// Why a value cannot be rendered.
fn unfilled(place: &Place, error: &TemplateError, is_own: bool) -> Explanation {
    let Explanation { message, hint, .. } = Explanation::of(error);
    let hint = if is_own { hint } else { Some("give it in --facts".into()) };
    Explanation::new(format!("{place}: {message}"), hint)
}

/// A note that names the placeholders in use.
fn standing_in(known: &Known, plan: &Plan) -> Option<String> {
    let referred_to: BTreeSet<String> = plan.references().map(ToString::to_string).gather();
    let names: Vec<String> = known.placeholders().intersection(&referred_to).cloned().collect();
    (!names.is_empty()).then(|| format!("placeholders stand in for {}; give them in --facts", names.join(", ")))
}

/// Shows nothing: a dry run is shown when it is over.
struct Nobody;

impl Audience for Nobody {
    fn listeners(&self) -> Vec<Box<dyn Listener>> {
        Vec::new()
    }

    fn say(&self, _: &str) {}

    fn mistakes(&self, _: &DocumentError) {}

    fn failed(&self, _: &Explanation) {}

    fn over(&self, _: &Report, _: &Ending) {}
}
