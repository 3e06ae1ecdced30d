//! `ingot dry-run`: the whole boot on a laptop.
//!
//! The same plan and the same executor as a boot, on a machine in memory: new, with every unit installed and every user
//! there. What it renders is checked, compared (`--diff`) and written below `--out`; nothing else is touched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::aws::caller::Caller;
use crate::aws::client::connection::Connection;
use crate::aws::client::http::Http;
use crate::aws::live::Aws;
use crate::cli::prepare::{self, Prepared, absolute};
use crate::cli::rehearsal::Given;
use crate::cli::variables::{ca_bundle, endpoints};
use crate::cli::{data, talk};
use crate::document::source::SIZE_LIMIT;
use crate::execute::{Execution, schedule};
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::fake::aws::{FakeEc2, FakeRds};
use crate::fake::machine::FakeMachine;
use crate::host::environment::Environment;
use crate::host::files::DiskFiles;
use crate::host::state::Record;
use crate::host::users::EtcUsers;
use crate::host::{Attributes, FileKind, Files, Host, HostError, Users};
use crate::plan::Plan;
use crate::plan::preview::{self, Rehearsal, Rehearsed};
use crate::redaction::Redactor;
use crate::rehearse::desk::DeskCommands;
use crate::report::console::told;
use crate::report::event::Recorder;
use crate::report::{BootOutcome, Report, StepReport};
use crate::step::{Known, Phase, World};
use crate::steps::install;
use crate::text::Text;

/// Rehearse a boot: no root, no network, and nothing is touched outside --out
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are layers, the last one on top
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
    /// Facts and outputs to take for granted, as YAML in the shape of references
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Write the rendered files below this directory, and run their `check:`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show how the rendered files differ from those below this directory
    #[arg(long, value_name = "DIR")]
    diff: Option<PathBuf>,
    /// Read real secrets with your own AWS credentials; shows redacted diffs only
    #[arg(long, conflicts_with = "out")]
    live: bool,
}

/// Why a rehearsal did not begin or could not be written down, as it is told to the user.
struct Refusal(Exit, String);

impl<F: Failure> From<F> for Refusal {
    fn from(failure: F) -> Self {
        Self(Exit::Failed, Explanation::of(&failure).to_string())
    }
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    match rehearse(&args, json, environment).await {
        Ok(exit) => exit,
        Err(Refusal(exit, message)) => {
            talk(&message);
            exit
        }
    }
}

/// One file that the rehearsal rendered.
struct Rendered {
    path: PathBuf,
    content: zeroize::Zeroizing<Vec<u8>>,
    mode: u32,
    secret: bool,
}

async fn rehearse(args: &Args, json: bool, environment: &Environment) -> Result<Exit, Refusal> {
    let desk = DiskFiles::new(None);
    let connection = if args.live { Some(connection(environment, &desk).await?) } else { None };
    let of_documents = connection.clone().map(|connection| {
        let machine = FakeMachine::rehearsal();
        let (ec2, rds) = (Rc::new(FakeEc2::new(machine.clone(), "")), Rc::new(FakeRds::new(machine, "")));
        Aws::of_caller(connection, crate::fake::aws::services(ec2, rds))
    });
    let Prepared { plan, unread } = match prepare::plan(&args.documents, &desk, of_documents.as_ref()).await {
        Ok(prepared) => prepared,
        Err(error) if error.is_unreachable() => return Err(Refusal(Exit::Unreachable, Explanation::of(&error).to_string())),
        Err(error) => return Err(error.into()),
    };
    let plan = plan.map_err(|error| {
        let unread: String = unread.iter().map(|note| format!("\n\nnote: {note}; --live reads it")).collect();
        Refusal(Exit::Document, format!("{error}{unread}"))
    })?;
    let mut given = match &args.facts {
        Some(path) => {
            Given::parse(&path.display().to_string(), &read_text(path, &desk).await?).map_err(|message| Refusal(Exit::Usage, message))?
        }
        None => Given::default(),
    };
    let machine = FakeMachine::rehearsal();
    let programs = args.out.as_deref().map(|out| Rc::new(DeskCommands::new(machine.clone(), absolute(out))));
    let host = match &programs {
        Some(programs) => Host { commands: programs.clone(), ..machine.host() },
        None => machine.host(),
    };
    let known = Rc::new(Known::default());
    let redactor = Rc::new(Redactor::default());
    redactor.learn(&given.secrets());
    let mut placeholders = given.complete(&plan);
    if args.live {
        placeholders.retain(|reference| !reference.starts_with("secrets."));
    }
    let standing_in = standing_in(&placeholders);
    known.set_placeholders(placeholders);
    let values = plan.values.resolve(&given.instance()).map_err(|(place, error)| {
        Refusal(Exit::Failed, format!("{place}: {}\n  hint: give it in --facts", Explanation::of(&error).message))
    })?;
    known.set_root("instance", given.instance());
    known.set_root("values", values);
    for node in &plan.nodes {
        let from_aws = node.address.kind() == "secrets";
        match given.outputs(&node.address) {
            Some(_) if args.live && from_aws => {}
            Some(value) => known.give(node.address.clone(), value),
            None if args.live || !from_aws => {}
            None => known.give(node.address.clone(), Value::Null),
        }
    }
    let record = Record::load(host.files.clone(), host.users.own(), crate::fake::machine::INSTANCE).await?;
    // What is made there is made up, also with --live: nothing is paid for.
    let zone = given.instance()["zone"].as_str().unwrap_or("<instance.zone>").to_owned();
    let region = given.instance()["region"].as_str().unwrap_or("<instance.region>").to_owned();
    let rds = Rc::new(FakeRds::new(machine.clone(), &region).inventing());
    let ec2 = Rc::new(FakeEc2::new(machine.clone(), &zone).inventing());
    // What a step would ask of AWS is given, unless it is asked for.
    let others = crate::fake::aws::services(ec2, rds);
    let aws = match connection {
        Some(connection) => Aws::of_caller(connection, others),
        None => Aws::new(others),
    };
    let world = World {
        host,
        net: machine.net(),
        aws,
        record: Rc::new(record),
        boot_id: "rehearsal".into(),
        redactor,
        known,
        claims: Rc::default(),
        phase: Phase::Serve,
    };
    let recorder = Recorder::new(Report::begin(world.host.clock.now(), world.boot_id.clone()), Vec::new(), world.host.clock.clone());
    let mut execution = Execution::new(&plan, &world, &recorder);
    execution.boot(std::future::pending()).await;
    execution.beside(std::future::pending(), &|| true).await;
    recorder.end();

    let rendered = rendered(&plan, &world).await?;
    if let Some(out) = &args.out {
        write(&rendered, &absolute(out)).await?;
    }
    let diffs = match &args.diff {
        Some(directory) => diffs(&rendered, &absolute(directory), &world.redactor).await?,
        None => Vec::new(),
    };
    let mut notes: Vec<String> = unread.into_iter().map(|note| format!("{note}; --live reads it")).chain(standing_in).collect();
    notes.extend(recorder.report().warnings.iter().cloned());
    notes.extend(
        programs.iter().flat_map(|programs| programs.missing()).map(|program| format!("not checked: {program} is not on this machine")),
    );
    let shown = |text: &Text| world.known.shown(text);
    show(&plan, &recorder.report(), &shown, &rendered, &diffs, &notes, json);
    Ok(if recorder.report().outcome == BootOutcome::Failed {
        if recorder.report().is_unreachable() { Exit::Unreachable } else { Exit::Failed }
    } else {
        Exit::Done
    })
}

/// Says what of the rehearsal is made up.
fn standing_in(placeholders: &BTreeSet<String>) -> Option<String> {
    let names: Vec<&str> = placeholders.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| format!("placeholders stand in for {}; give them in --facts", names.join(", ")))
}

async fn read_text(path: &Path, desk: &DiskFiles) -> Result<String, Refusal> {
    let bytes = desk.read(&absolute(path), SIZE_LIMIT).await?;
    let bytes = bytes.ok_or_else(|| Refusal(Exit::Usage, format!("there is no file {}", path.display())))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Refusal(Exit::Usage, format!("{} is not UTF-8 text", path.display())))
}

/// The way to AWS with the caller's own credentials.
async fn connection(environment: &Environment, desk: &DiskFiles) -> Result<Connection, Refusal> {
    let in_home = |name: &str| environment.home.as_deref().map(|home| Path::new(home).join(".aws").join(name));
    let named = |variable: &str| environment.aws.get(variable).map(PathBuf::from);
    let mut files = Vec::new();
    for path in
        [named("AWS_SHARED_CREDENTIALS_FILE").or_else(|| in_home("credentials")), named("AWS_CONFIG_FILE").or_else(|| in_home("config"))]
    {
        let bytes = match path {
            Some(path) => desk.read(&absolute(&path), SIZE_LIMIT).await?,
            None => None,
        };
        files.push(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
    let variables = environment.aws.all();
    let caller = Caller { env: &variables, credentials_file: files[0].as_deref(), config_file: files[1].as_deref() };
    let region = caller.region()?.ok_or_else(|| Refusal(Exit::Usage, "no region is set\n  hint: set AWS_REGION".into()))?;
    let http = Http::new(ca_bundle(environment).await?);
    Ok(Connection::of_caller(http, caller.credentials()?, region, endpoints(environment)))
}

async fn rendered(plan: &Plan, world: &World) -> Result<Vec<Rendered>, HostError> {
    let mut rendered = Vec::new();
    for node in &plan.nodes {
        let Some(path) = world.known.path(&node.address) else { continue };
        let Some(stat) = world.host.files.stat(&path).await?.filter(|stat| stat.kind == FileKind::File) else { continue };
        if let Some(content) = world.host.files.read(&path, u64::MAX).await? {
            rendered.push(Rendered { path, content, mode: stat.attributes.mode, secret: node.holds_secret });
        }
    }
    Ok(rendered)
}

/// Writes what was rendered below `out`, with its mode, for the caller.
async fn write(rendered: &[Rendered], out: &Path) -> Result<(), HostError> {
    let files = DiskFiles::new(Some(out.to_owned()));
    let (uid, gid) = EtcUsers::new(None).own();
    for file in rendered {
        if let Some(parent) = file.path.parent() {
            files.create_directory(parent, 0o755).await?;
        }
        let staged = install::staged(&file.path);
        files.stage(&staged, &file.content, Attributes { mode: file.mode, uid, gid }).await?;
        files.install(&staged, &file.path).await?;
    }
    Ok(())
}

/// How each file differs from the one below `directory`, as unified diffs without secrets.
async fn diffs(rendered: &[Rendered], directory: &Path, redactor: &Redactor) -> Result<Vec<String>, HostError> {
    let files = DiskFiles::new(Some(directory.to_owned()));
    let mut diffs = Vec::new();
    for file in rendered {
        let found = files.read(&file.path, SIZE_LIMIT).await?;
        let before = found.as_ref().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let after = String::from_utf8_lossy(&file.content);
        if before != after || found.is_none() {
            let unreadable = file.secret
                && (std::str::from_utf8(&file.content).is_err() || found.as_ref().is_some_and(|bytes| std::str::from_utf8(bytes).is_err()));
            diffs.push(match unreadable {
                true => format!("{} differs; it holds bytes of a secret", file.path.display()),
                false => diff(&file.path, &before, &after, file.secret, redactor),
            });
        }
    }
    Ok(diffs)
}

fn diff(path: &Path, before: &str, after: &str, secret: bool, redactor: &Redactor) -> String {
    let (old, new) = (format!("a{}", path.display()), format!("b{}", path.display()));
    let mut options = diffy::DiffOptions::new();
    let text = options.set_original_filename(old).set_modified_filename(new).create_patch(before, after).to_string();
    if !secret {
        return text;
    }
    let lines = text.lines().enumerate().map(|(index, line)| match line.as_bytes().first() {
        // The two lines of the header, and the places of the hunks.
        _ if index < 2 => line.to_owned(),
        Some(b'@') => line.to_owned(),
        // What stood there before may be a secret that nobody knows any more.
        Some(b'-') => "-[redacted: a line of a file with secrets goes]".to_owned(),
        _ => redactor.redact(line),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn show(
    plan: &Plan,
    report: &Report,
    shown: &dyn Fn(&Text) -> String,
    rendered: &[Rendered],
    diffs: &[String],
    notes: &[String],
    json: bool,
) {
    let order = schedule::order(&plan.units);
    let rehearsal: Rehearsal = report.steps.iter().map(|step| (step.address.clone(), rehearsed(step))).collect();
    if json {
        let mut value = preview::json(plan, &order, &rehearsal, shown);
        let files = rendered.iter().map(|file| {
            json!({ "path": file.path, "bytes": file.content.len(), "mode": format!("{:04o}", file.mode), "holds_secret": file.secret })
        });
        value["outcome"] = json!(report.outcome);
        value["files"] = files.collect();
        value["diffs"] = json!(diffs);
        value["notes"] = json!(notes);
        return data(&value.to_string());
    }
    let mut text = preview::text(plan, &order, &rehearsal, shown);
    for diff in diffs {
        text.push('\n');
        text.push_str(diff.trim_end());
        text.push('\n');
    }
    data(&text);
    for note in notes {
        talk(&format!("note: {note}"));
    }
}

fn rehearsed(step: &StepReport) -> Rehearsed {
    let trouble = match (&step.error, &step.skipped_for) {
        (Some(error), _) => told(error).lines().map(str::to_owned).collect(),
        (None, Some(needs)) => vec![format!("skipped: it needs {needs}")],
        (None, None) => Vec::new(),
    };
    Rehearsed { changes: step.changes.clone(), trouble, outcome: json!(step.outcome), error: json!(step.error) }
}
