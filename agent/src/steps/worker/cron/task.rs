//! The rules for every periodic task, wherever it is defined.

use std::time::Duration;

use crate::failure::Objection;
use crate::steps::worker::settings::Task;
use crate::text::shown_on_a_line;

/// The default of `catch_up`.
///
/// Source: Elastic Beanstalk, whose leader sends tasks that are less than 300 s late.
pub(super) const USUAL: Duration = Duration::from_secs(300);

/// Maximum length of a task's name in bytes: it becomes part of a key in S3, in which a byte may take three.
pub(crate) const LONGEST_NAME: usize = 200;

pub(super) const UTC: &str = "UTC";

/// What is wrong with the name and path of a task: both become message attributes, for which SQS has rules.
pub(super) fn wrong(task: &Task) -> Option<Objection> {
    let is_text = |text: &str| !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
    if !is_text(&task.name) {
        let message = format!("`{}` is not the name of a task", shown_on_a_line(&task.name));
        return Some(Objection::new(message, format!("use up to {LONGEST_NAME} bytes on one line")));
    }
    (!is_text(&task.path) || !task.path.starts_with('/')).then(|| {
        let message = format!("`{}`, the path of the task `{}`, is not a path", shown_on_a_line(&task.path), task.name);
        Objection::new(message, "write it as in a URL, such as /tasks/nightly")
    })
}

pub(super) fn twice(name: &str) -> Objection {
    Objection::new(format!("two tasks are named `{name}`"), "rename one of the two")
}
