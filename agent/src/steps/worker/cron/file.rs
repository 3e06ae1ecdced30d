//! `cron.yaml` of a release, as the daemon of Elastic Beanstalk's worker environments reads it.
//!
//! ```yaml
//! version: 1
//! cron:
//!   - name: nightly            # unique
//!     url: /tasks/nightly
//!     schedule: "30 2 * * *"   # in UTC
//! ```
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/using-features-managing-env-tiers.html>

use std::collections::BTreeSet;

use super::schedule::Schedule;
use super::task::{USUAL, UTC, twice, wrong};
use crate::steps::application::ebextensions::yaml::{Node, Value, parse};
use crate::steps::application::remark::Remark;
use crate::steps::worker::settings;

pub(crate) const FILE: &str = "cron.yaml";

/// Size limit in bytes; a task takes about a hundred.
pub(super) const LIMIT: u64 = 256 << 10;

const SHAPE: &str = "write `version: 1`, and under `cron:` a list of tasks with `name`, `url` and `schedule`";

/// Parses the tasks of a `cron.yaml`.
///
/// # Errors
///
/// All mistakes in the file.
pub(crate) fn tasks(text: &str) -> Result<Vec<settings::Task>, Vec<Remark>> {
    let root = match parse(text) {
        Ok(parsed) => parsed.root,
        Err(refusal) => return Err(vec![Remark::at(FILE, refusal.line, refusal.message, "correct the line")]),
    };
    let Some(root) = root else { return Err(vec![Remark::of(FILE, "it is empty", SHAPE)]) };
    let (mut tasks, mut mistakes, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    if field(&root, "version").and_then(scalar) != Some("1") {
        mistakes.push(Remark::at(FILE, root.line, "its version is not 1", SHAPE));
    }
    let Some(Node { value: Value::List(items), .. }) = field(&root, "cron") else {
        mistakes.push(Remark::at(FILE, root.line, "it has no list `cron:`", SHAPE));
        return Err(mistakes);
    };
    for item in items {
        let word = |name| field(item, name).and_then(|node| Some((node.line, scalar(node)?.to_owned())));
        let (Some((line, name)), Some((at, schedule)), Some((_, path))) = (word("name"), word("schedule"), word("url")) else {
            mistakes.push(Remark::at(FILE, item.line, "this task lacks `name`, `url` or `schedule`", SHAPE));
            continue;
        };
        let mut wrongs: Vec<_> = Schedule::parse(&schedule).err().map(|objection| (at, objection)).into_iter().collect();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let task = settings::Task { name, schedule, path, time_zone: UTC.into(), catch_up: USUAL };
        wrongs.extend(wrong(&task).map(|objection| (line, objection)));
        if !names.insert(task.name.clone()) {
            wrongs.push((line, twice(&task.name)));
        }
        mistakes.extend(wrongs.into_iter().map(|(line, objection)| Remark { file: Some(FILE.into()), line: Some(line), objection }));
        tasks.push(task);
    }
    if mistakes.is_empty() { Ok(tasks) } else { Err(mistakes) }
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node)
}

fn scalar(node: &Node) -> Option<&str> {
    if let Value::Scalar(text) = &node.value { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_as_beanstalk_reads_them() {
        let text = "version: 1\ncron:\n - name: \"backup-job\"\n   url: \"/backup\"\n   schedule: \"0 */12 * * *\"\n - name: audit\n   url: audit\n   schedule: \"0 23 * * *\"\n   more: true\n";
        let read: Vec<_> = tasks(text).unwrap().into_iter().map(|task| (task.name, task.path, task.schedule, task.time_zone)).collect();
        let owned = |words: [&str; 4]| words.map(str::to_owned).into();
        assert_eq!(read, [owned(["backup-job", "/backup", "0 */12 * * *", "UTC"]), owned(["audit", "/audit", "0 23 * * *", "UTC"])]);
        assert_eq!(tasks("version: 1\ncron: []\n").unwrap(), []);
    }

    #[test]
    fn every_mistake_has_its_line() {
        let text = "version: 2\ncron:\n - { name: a, url: /a, schedule: \"61 * * * *\" }\n - name: b\n   url: /b\n   schedule: \"0 0 30 2 *\"\n - { name: a, url: /a, schedule: \"@daily\" }\n - { name: c, url: /c }\n";
        let told = |text: &str| tasks(text).unwrap_err().iter().map(|remark| format!("{remark:#}")).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!([told(text), told(""), told("a: [\n"), told("version: 1\ncron: none\n")].join("\n"), @"
        cron.yaml:1: its version is not 1; write `version: 1`, and under `cron:` a list of tasks with `name`, `url` and `schedule`
        cron.yaml:3: `61` is not valid as the minute of a schedule; write a number from 0 to 59
        cron.yaml:6: the schedule `0 0 30 2 *` never comes; choose a day that one of these months has
        cron.yaml:7: two tasks are named `a`; rename one of the two
        cron.yaml:8: this task lacks `name`, `url` or `schedule`; write `version: 1`, and under `cron:` a list of tasks with `name`, `url` and `schedule`
        cron.yaml: it is empty; write `version: 1`, and under `cron:` a list of tasks with `name`, `url` and `schedule`
        cron.yaml:2: this is not YAML: while parsing a node, did not find expected node content; correct the line
        cron.yaml:1: it has no list `cron:`; write `version: 1`, and under `cron:` a list of tasks with `name`, `url` and `schedule`
        ");
    }
}
