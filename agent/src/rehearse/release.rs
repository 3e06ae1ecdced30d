//! `dry-run --release DIR`: what the release in a directory would run, and what is wrong with it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::address::Address;
use crate::host::environment::absolute;
use crate::host::{FileKind, Files};
use crate::plan::Plan;
use crate::rehearse::request::Refusal;
use crate::steps::application::Application;
use crate::steps::application::ebextensions::{Before, Command, Content, Run};
use crate::steps::application::hooks::{Form, Hook, Occasion};
use crate::steps::application::judge::{Asked, Examined, NamedBy, examine};
use crate::steps::application::platforms::{Made, Speaks};
use crate::steps::application::procfile::Process;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;
use crate::steps::worker::Worker;
use crate::steps::worker::cron::{FILE, tasks};
use crate::steps::worker::settings::Task;

/// A release in a local directory.
pub(super) struct Shown {
    /// The directory as the user named it.
    directory: String,
    /// The application whose release it is; the others have their own releases.
    application: Option<Address>,
    others: Vec<Address>,
    examined: Examined,
    /// The periodic tasks that a worker of the document sends.
    periodic: Vec<Task>,
}

impl Shown {
    /// Reads the release in `directory` as that of the first application of the plan, by name.
    pub(super) async fn read(directory: &Path, plan: &Plan, desk: &dyn Files) -> Result<Self, Refusal> {
        let (path, shown) = (absolute(directory), directory.display().to_string());
        let is_directory = match desk.stat(&desk.resolved(&path).await?).await? {
            Some(stat) => stat.kind == FileKind::Directory,
            None => false,
        };
        if !is_directory {
            return Err(Refusal::usage(format!("{shown} is not a directory"), "name the directory of an unpacked release"));
        }
        let release = Release::read(&path, desk).await?;
        let mut applications = plan.nodes.iter().filter_map(|node| Some((&node.address, node.step.any().downcast_ref::<Application>()?)));
        let first = applications.next();
        let mut examined = match first {
            Some((_, application)) => application.judged(&release),
            None => examine(&release, Asked::default()),
        };
        let is_read = plan.nodes.iter().any(|node| node.step.any().downcast_ref::<Worker>().is_some_and(Worker::reads_releases));
        let periodic = match release.text(FILE).filter(|_| is_read).map(|text| tasks(text.map_err(|remark| vec![remark])?)) {
            Some(Err(mistakes)) => {
                examined.mistakes.extend(mistakes);
                Vec::new()
            }
            read => read.and_then(Result::ok).unwrap_or_default(),
        };
        let (application, others) = (first.map(|(address, _)| address.clone()), applications.map(|(address, _)| address.clone()).collect());
        Ok(Self { directory: shown, application, others, examined, periodic })
    }

    pub(super) fn has_mistakes(&self) -> bool {
        !self.examined.mistakes.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let mut out = format!("Release {}", self.directory);
        if let Some(application) = &self.application {
            let _ = write!(out, " of {application}");
        }
        let platform = self.examined.platform.as_ref();
        let _ = writeln!(out, ": {}\n", platform.map_or("no known platform".into(), |known| format!("{} ({})", known.name, known.sign)));
        for (title, lines) in self.sections() {
            for (index, line) in lines.iter().enumerate() {
                let _ = writeln!(out, "  {:14}{line}", if index == 0 { title } else { "" });
            }
        }
        for other in &self.others {
            let _ = writeln!(out, "\nnot read: the release of {other}");
        }
        remarks(&mut out, "warning: ", &self.examined.warnings);
        remarks(&mut out, "", &self.examined.mistakes);
        out
    }

    fn sections(&self) -> Vec<(&'static str, Vec<String>)> {
        let of = &self.examined;
        let from = match of.named_by {
            NamedBy::Document => "run: of the document",
            NamedBy::Procfile => "Procfile",
            NamedBy::Platform => "the platform",
        };
        let width = of.processes.iter().map(|process| process.name.len()).max().unwrap_or(0);
        let mut processes: Vec<String> = of.processes.iter().map(|each| format!("{:width$}  {}", each.name, each.command)).collect();
        if !processes.is_empty() {
            processes.push(format!("(from {from})"));
        }
        let speaks = match &of.speaks {
            Speaks::Http => format!("{} (HTTP)", of.port),
            Speaks::FastCgi { root: "" } => format!("{} (FastCGI)", of.port),
            Speaks::FastCgi { root } => format!("{} (FastCGI, for {root}/)", of.port),
        };
        let extensions = of.extensions.before.iter().map(before).chain(of.extensions.container_commands.iter().map(container_command));
        let mut environment: Vec<String> = of.environment.iter().map(|(name, _)| name.clone()).collect();
        environment.dedup();
        let otherwise = (!of.others.is_empty()).then(|| format!("{}, if the image lacks what this one needs", of.others.join(", ")));
        let joined = |words: Vec<String>| if words.is_empty() { Vec::new() } else { vec![words.join(", ")] };
        vec![
            ("processes", processes),
            ("port", vec![speaks]),
            ("dependencies", of.dependencies.iter().map(|argv| argv.join(" ")).collect()),
            ("build", of.build.iter().map(|each| format!("{}: {}", each.name, each.command)).collect()),
            ("writes", of.made.iter().map(|made| format!("{} (mode {:04o})", made.path, made.mode)).collect()),
            ("environment", joined(environment)),
            ("PATH", joined(of.path.iter().map(|path| (*path).to_owned()).collect())),
            ("otherwise", otherwise.into_iter().collect()),
            ("needs", joined(of.programs.iter().map(|program| program.name.to_owned()).collect())),
            ("hooks", of.hooks.hooks.iter().map(hook).collect()),
            (".ebextensions", extensions.collect()),
            (FILE, self.periodic.iter().map(|task| format!("{}: {} to {}", task.name, task.schedule, task.path)).collect()),
        ]
    }

    /// The same for programs. Variables are named without their values, which may be passwords.
    pub(super) fn json(&self) -> Value {
        let of = &self.examined;
        let hooks = of.hooks.hooks.iter().map(|hook| {
            let lines = match hook.form {
                Form::Script { crlf } => Some(if crlf { "crlf" } else { "lf" }),
                Form::Program => None,
            };
            json!({
                "path": hook.path,
                "occasion": match hook.occasion {
                    Occasion::Release => "release",
                    Occasion::Configuration => "configuration",
                },
                "moment": hook.moment.name(),
                "runs_in": if hook.moment.is_before_the_switch() { "new" } else { "current" },
                "run_bit": !hook.lacks_run_bit,
                "line_ends": lines,
            })
        });
        let processes =
            |list: &[Process]| list.iter().map(|each| json!({ "name": each.name, "command": each.command })).collect::<Vec<_>>();
        let (speaks, root) = match &of.speaks {
            Speaks::Http => ("http", None),
            Speaks::FastCgi { root } => ("fastcgi", Some(root)),
        };
        json!({
            "directory": self.directory,
            "application": self.application,
            "platform": of.platform.as_ref().map(|platform| platform.name),
            "known_by": of.platform.as_ref().map(|platform| &platform.sign),
            "processes": processes(&of.processes),
            "processes_from": match of.named_by {
                NamedBy::Document => "document",
                NamedBy::Procfile => "procfile",
                NamedBy::Platform => "platform",
            },
            "port": of.port,
            "speaks": speaks,
            "root": root,
            "dependencies": of.dependencies,
            "build": processes(&of.build),
            "writes": of.made.iter().map(made).collect::<Vec<_>>(),
            "needs_directories": of.needs_directories,
            "environment": of.environment.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "path": of.path,
            "needs": of.programs.iter().map(|program| json!({ "name": program.name, "or": program.or })).collect::<Vec<_>>(),
            "hooks": hooks.collect::<Vec<_>>(),
            "ebextensions": {
                "before": of.extensions.before.iter().map(before_json).collect::<Vec<_>>(),
                "container_commands": of.extensions.container_commands.iter().map(command_json).collect::<Vec<_>>(),
            },
            "cron": self.periodic.iter().map(|task| json!({ "name": task.name, "schedule": task.schedule, "url": task.path })).collect::<Vec<_>>(),
            "warnings": of.warnings.iter().map(entry).collect::<Vec<_>>(),
            "mistakes": of.mistakes.iter().map(entry).collect::<Vec<_>>(),
        })
    }
}

fn made(made: &Made) -> Value {
    json!({ "path": made.path, "mode": format!("{:04o}", made.mode), "content": made.content })
}

/// A step before the start. For a file, its size but not its content, which may be a secret.
fn before_json(before: &Before) -> Value {
    match before {
        Before::Write(file) => {
            let (encoding, bytes) = match &file.content {
                Content::Text(text) => ("plain", text.len()),
                Content::Base64(bytes) => ("base64", bytes.len()),
            };
            json!({
                "write": file.path,
                "file": file.place.0,
                "line": file.place.1,
                "mode": file.mode.map(|mode| format!("{mode:04o}")),
                "owner": file.owner,
                "group": file.group,
                "encoding": encoding,
                "bytes": bytes,
            })
        }
        Before::Run(command) => command_json(command),
    }
}

fn command_json(command: &Command) -> Value {
    let run = |run: &Run| match run {
        Run::Shell(text) => json!(text),
        Run::Argv(words) => json!(words),
    };
    json!({
        "name": command.name,
        "file": command.place.0,
        "line": command.place.1,
        "run": run(&command.run),
        "cwd": command.cwd,
        "env": command.env.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "test": command.test.as_ref().map(run),
        "ignore_errors": command.ignore_errors,
        "leader_only": command.leader_only,
    })
}

fn entry(remark: &Remark) -> Value {
    json!({ "file": remark.file, "line": remark.line, "message": remark.objection.message, "hint": remark.objection.hint })
}

fn remarks(out: &mut String, word: &str, remarks: &[Remark]) {
    for remark in remarks {
        let place = remark.place().map_or_else(String::new, |place| format!("{place}: "));
        let _ = writeln!(out, "\n{place}{word}{}\n  hint: {}", remark.objection.message, remark.objection.hint);
    }
}

fn hook(hook: &Hook) -> String {
    let bit = if hook.lacks_run_bit { "no executable bit" } else { "executable bit" };
    let lines = match hook.form {
        Form::Script { crlf: true } => ", CR LF",
        Form::Script { crlf: false } => ", LF",
        Form::Program => ", binary",
    };
    format!("{} ({bit}{lines})", hook.path)
}

fn before(before: &Before) -> String {
    match before {
        Before::Write(file) => match file.mode {
            Some(mode) => format!("write {} (mode {mode:04o})", file.path),
            None => format!("write {}", file.path),
        },
        Before::Run(command) => format!("command {}", told(command)),
    }
}

fn container_command(command: &Command) -> String {
    let leader = if command.leader_only { " (on the leader only)" } else { "" };
    format!("container command {}{leader}", told(command))
}

fn told(command: &Command) -> String {
    let run = match &command.run {
        Run::Shell(text) => text.lines().next().unwrap_or_default().to_owned(),
        Run::Argv(words) => words.join(" "),
    };
    format!("{}: {run}", command.name)
}
