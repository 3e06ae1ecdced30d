//! What the workers of a document ask of their environment.

use std::time::Duration;

use ingot::desk::{Mistake, Node, TimeLimit, Value};

use crate::fleet::{Environment, Mode, Site};
use crate::stack::collisions::entries;

/// Holds the queue's visibility to that of the document's workers: a message must not come back while it is handled.
pub(super) fn check_queue(document: &Node, environment: &Environment, site: &mut Site<'_>) {
    let Some(visibility) = environment.settings.queue.visibility.map(|length| Duration::from_secs(length.0)) else { return };
    for (key, worker) in document.get("workers").into_iter().flat_map(entries) {
        let Some(Value::String(text)) = worker.get("visibility").map(|node| &node.value) else { continue };
        if let Ok(TimeLimit(of_worker)) = text.parse()
            && of_worker > visibility
        {
            let message = format!("the queue hides messages for less than `visibility: {text}` of workers.{}", key.name);
            site.wrong("queue.visibility", message, format!("write `visibility: {text}` or more in `queue:`"));
        }
    }
}

/// A warning for each smallest size of none, where a worker has periodic tasks: these launch no instance.
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
        let message = format!("the periodic tasks of workers.{} launch no instance: what is due while there is none is missed", key.name);
        Mistake::at(environment.place(&path), message, "write 1 or more, or have a `schedule` keep an instance while they are due")
    };
    none.map(warning).collect()
}
