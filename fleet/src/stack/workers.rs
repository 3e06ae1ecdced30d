//! What the workers of a document require of their environment.

use std::time::Duration;

use ingot::desk::{Mistake, Node, TimeLimit, Value};

use crate::fleet::{Environment, Mode, Site};
use crate::stack::collisions::entries;

/// Checks that the queue hides messages at least as long as the document's workers say: a message must not reappear
/// while it is handled.
pub(super) fn check_queue(document: &Node, environment: &Environment, site: &mut Site<'_>) {
    let Some(visibility) = environment.settings.queue.visibility.map(|length| Duration::from_secs(length.0)) else { return };
    for (key, worker) in document.get("workers").into_iter().flat_map(entries) {
        let Some(Value::String(text)) = worker.get("visibility").map(|node| &node.value) else { continue };
        if let Ok(TimeLimit(of_worker)) = text.parse()
            && of_worker > visibility
        {
            let message = format!("the queue hides messages for less than `visibility: {text}` of workers.{}", key.name);
            site.wrong("queue.visibility", message, format!("set `visibility: {text}` or more in `queue:`"));
        }
    }
}

/// A warning for each minimum size of 0 if a worker has periodic tasks, since these do not launch instances.
pub(super) fn never_due(document: &Node, environment: &Environment) -> Vec<Mistake> {
    let has_tasks = |worker: &Node| worker.get("cron").is_some_and(|cron| cron.value != Value::Null);
    let mut workers = document.get("workers").into_iter().flat_map(entries);
    let Some((key, _)) = workers.find(|(_, worker)| has_tasks(worker) && environment.mode == Mode::HighlyAvailable) else {
        return Vec::new();
    };
    let settings = &environment.settings;
    let smallest = ("instances.min".to_owned(), settings.instances.min.map(|min| min.0));
    let scheduled = settings.schedule.iter().enumerate().map(|(at, schedule)| (format!("schedule.{at}.min"), Some(schedule.min.0)));
    let none = std::iter::once(smallest).chain(scheduled).filter(|(_, min)| *min == Some(0));
    let warning = |(path, _): (String, Option<u32>)| {
        let message =
            format!("the periodic tasks of workers.{} do not launch instances: a task that is due while none runs is missed", key.name);
        Mistake::at(environment.place(&path), message, "set it to 1 or more, or keep an instance with a `schedule` while tasks are due")
    };
    none.map(warning).collect()
}
