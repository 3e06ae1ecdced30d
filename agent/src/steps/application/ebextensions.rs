//! `.ebextensions/*.config`: configuration shipped with an Elastic Beanstalk application, as far as it is about the
//! application itself.
//!
//! ```yaml
//! option_settings:
//!   aws:elasticbeanstalk:application:environment: { LOG_LEVEL: info }
//! files:
//!   "/etc/cron.d/shop": { mode: "000644", owner: root, group: root, content: "* * * * * root true\n" }
//! commands:
//!   01_swap: { command: "swapon /swap", ignoreErrors: true }
//! container_commands:
//!   01_migrate: { command: "bin/migrate", leader_only: true }
//! ```
//!
//! Files are read in the order of their names. From each file, the `files` come first, then the `commands` in the order
//! of their names; both are carried out before anything of the release runs, in `/`. The `container_commands` run in
//! the new release after its build, those for the leader first. Packages, users, services and resources belong in the
//! image; a warning names them.
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/customize-containers-ec2.html>

mod entries;
pub(crate) mod yaml;

use std::collections::BTreeSet;

pub(crate) use self::entries::{Command, Content, File, Run};
use self::yaml::{Entry, Node, Parsed, Value};
use crate::failure::nearest;
use crate::sorting::Sort as _;
use crate::steps::application::release::{Kind, Release};
use crate::steps::application::remark::Remark;

const DIRECTORY: &str = ".ebextensions";

const ENVIRONMENT: &str = "aws:elasticbeanstalk:application:environment";

/// The option namespace of Python. Below: the options that are read from it.
pub(crate) const PYTHON: &str = "aws:elasticbeanstalk:container:python";
const OF_PYTHON: [&str; 3] = ["WSGIPath", "NumProcesses", "NumThreads"];

/// The sections that are read from a file.
const SECTIONS: [&str; 4] = ["files", "commands", "container_commands", "option_settings"];

/// An action before anything of the release runs, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    Write(File),
    Run(Command),
}

/// What the `.ebextensions` of a release ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) before: Vec<Before>,
    pub(crate) container_commands: Vec<Command>,
    /// Variables. Of equal names the last one counts; the document overrides them.
    pub(crate) environment: Vec<(String, String)>,
    /// Options of [`PYTHON`], with the same rule.
    pub(crate) python: Vec<(String, String)>,
    pub(crate) warnings: Vec<Remark>,
    pub(crate) mistakes: Vec<Remark>,
}

impl Extensions {
    pub(crate) fn of(release: &Release) -> Self {
        let mut found = Self::default();
        for (name, entry) in release.within(DIRECTORY) {
            let path = format!("{DIRECTORY}/{name}");
            if name.ends_with(".config") {
                match release.text(&path) {
                    Some(Ok(text)) => found.read(&path, text),
                    Some(Err(mistake)) => found.mistakes.push(mistake),
                    None => {}
                }
            } else if entry.kind == Kind::File && [".yaml", ".yml", ".json", ".conf", ".confg"].iter().any(|end| name.ends_with(end)) {
                let hint = format!("rename it to {}.config", name.rsplit_once('.').map_or(name, |(stem, _)| stem));
                found.warnings.push(Remark::of(path, "this file is not read, since its name does not end with .config", hint));
            }
        }
        found.environment = last_of_each(found.environment);
        found.python = last_of_each(found.python);
        found
    }

    fn read(&mut self, file: &str, text: &str) {
        let Parsed { root, twice } = match yaml::parse(text) {
            Ok(read) => read,
            Err(refusal) => {
                self.mistakes.push(Remark::at(file, refusal.line, refusal.message, "correct the line, or the one before"));
                return;
            }
        };
        for (key, line) in twice {
            self.warnings.push(Remark::at(file, line, format!("`{key}` is named twice, so the first is ignored"), "rename one of the two"));
        }
        let Some(node) = root else { return };
        if !matches!(node.value, Value::Map(_)) {
            self.mistakes.push(Remark::at(file, node.line, "this is not a map", "begin with a key such as `container_commands:`"));
            return;
        }
        let section = |name: &str| node.entries().iter().find(|entry| entry.key == name);
        if let Some(entry) = section("files") {
            for entry in self.sorted(file, entry) {
                let written = entries::file(file, entry, &mut self.warnings);
                self.before.extend(taken(written, &mut self.mistakes).map(Before::Write));
            }
        }
        if let Some(entry) = section("commands") {
            let commands = self.commands(file, entry, false);
            self.before.extend(commands.into_iter().map(Before::Run));
        }
        if let Some(entry) = section("container_commands") {
            // Within each group, commands run in the order of their names.
            let (of_leader, others): (Vec<_>, Vec<_>) =
                self.commands(file, entry, true).into_iter().partition(|command| command.leader_only);
            self.container_commands.extend(of_leader.into_iter().chain(others));
        }
        if let Some(entry) = section("option_settings") {
            self.option_settings(file, &entry.node);
        }
        for entry in node.entries() {
            if !SECTIONS.contains(&entry.key.as_str()) {
                self.warnings.push(Remark::at(file, entry.line, format!("`{}` is not read", entry.key), elsewhere(&entry.key)));
            }
        }
    }

    fn commands(&mut self, file: &str, section: &Entry, in_release: bool) -> Vec<Command> {
        let mut commands = Vec::new();
        for entry in self.sorted(file, section) {
            let command = entries::command(file, entry, in_release, &mut self.warnings);
            commands.extend(taken(command, &mut self.mistakes));
        }
        commands
    }

    /// The entries of a section, ordered by name.
    fn sorted<'a>(&mut self, file: &str, section: &'a Entry) -> Vec<&'a Entry> {
        let is_nothing = section.node.scalar().is_some_and(|text| matches!(text, "" | "~" | "null"));
        if !matches!(section.node.value, Value::Map(_)) && !is_nothing {
            let hint = "write the names as keys below it";
            self.mistakes.push(Remark::at(file, section.line, format!("`{}` is not a map", section.key), hint));
        }
        let mut entries: Vec<&Entry> = section.node.entries().iter().collect();
        entries.order_by(|one, other| (&one.key, one.line).cmp(&(&other.key, other.line)));
        entries
    }

    /// Reads both forms: a map of namespaces, or a list of options, in which an option without a namespace is a
    /// variable.
    fn option_settings(&mut self, file: &str, node: &Node) {
        match &node.value {
            Value::Map(namespaces) => {
                for namespace in namespaces {
                    for option in namespace.node.entries() {
                        self.option(file, &namespace.key, &option.key, &option.node, option.line);
                    }
                    if namespace.node.entries().is_empty() && namespace.key != ENVIRONMENT {
                        self.warnings.push(unread_option(file, namespace.line, &namespace.key));
                    }
                }
            }
            Value::List(options) => {
                for option in options {
                    let field = |name: &str| option.entries().iter().find(|entry| entry.key == name).map(|entry| &entry.node);
                    let namespace = field("namespace").and_then(Node::scalar).unwrap_or(ENVIRONMENT);
                    match (field("option_name").and_then(Node::scalar), field("value")) {
                        (Some(name), Some(value)) => self.option(file, namespace, name, value, option.line),
                        _ => {
                            let hint = "write `option_name:` and `value:`";
                            self.mistakes.push(Remark::at(file, option.line, "this option has no `option_name` or no `value`", hint));
                        }
                    }
                }
            }
            Value::Scalar(_) => {}
        }
    }

    fn option(&mut self, file: &str, namespace: &str, name: &str, value: &Node, line: usize) {
        let known = match namespace {
            ENVIRONMENT => &mut self.environment,
            PYTHON if OF_PYTHON.contains(&name) => &mut self.python,
            _ => {
                self.warnings.push(unread_option(file, line, &format!("{namespace}: {name}")));
                return;
            }
        };
        match entries::text(file, name, value) {
            Ok(text) => known.push((name.to_owned(), text)),
            Err(mistake) => self.mistakes.push(mistake),
        }
    }
}

/// Keeps the last of equal names, at its position.
fn last_of_each(variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut known = BTreeSet::new();
    let mut left: Vec<_> = variables.into_iter().rev().filter(|(name, _)| known.insert(name.clone())).collect();
    left.reverse();
    left
}

fn taken<T>(read: Result<T, Remark>, mistakes: &mut Vec<Remark>) -> Option<T> {
    read.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn unread_option(file: &str, line: usize, option: &str) -> Remark {
    Remark::at(file, line, format!("the option `{option}` is not read"), "set what it is about in the document or in the image")
}

/// Where the requested setting belongs in ingot.
fn elsewhere(key: &str) -> String {
    let hint = match key {
        "packages" | "sources" => "install it in the image",
        "users" | "groups" => "make them in the image",
        "services" => "name the unit under `services:` of the document",
        "Resources" | "Outputs" | "Parameters" | "Mappings" | "Conditions" => "put it into the template of the stack",
        _ => match nearest(key, SECTIONS) {
            Some(near) => return format!("did you mean `{near}`?"),
            None => "remove it",
        },
    };
    hint.to_owned()
}

#[cfg(test)]
mod tests;
