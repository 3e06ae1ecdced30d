//! Warns about a worker that gives its messages more time to finish than the drain of the document gives the whole
//! machine: a message that takes longer is cut off at each scale-in, and delivered again.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::steps::drain::Drain;
use crate::steps::worker::Worker;

pub(super) fn advise(items: &BTreeMap<Address, Item>, advice: &mut Vec<Mistake>) {
    let drain = items.iter().find_map(|(address, item)| Some((address, item.step.any().downcast_ref::<Drain>()?.grace())));
    let Some((drain, grace)) = drain else { return };
    for (address, item) in items {
        let Some(needed) = item.step.any().downcast_ref::<Worker>().map(Worker::drain).filter(|needed| *needed > grace) else { continue };
        let message = format!(
            "{address} gives its messages {needed:?} to finish, but `grace` of {drain} is {grace:?}: at scale-in, \
             a message that takes longer is cut off and delivered again"
        );
        let hint = format!("write `grace: {needed:?}` for {drain}, or `drain: {grace:?}` for {address} if its messages are shorter");
        advice.push(Mistake::at(&item.place, message, hint));
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests;

    fn advised(worker: &str, more: &str) -> Vec<String> {
        tests::advised(&format!("workers: {{ jobs: {{ queue: jobs, to: http://127.0.0.1:5000{worker} }} }}\n{more}"))
    }

    /// Regression: with the defaults, messages of more than two minutes were cut off at each scale-in, without any
    /// warning.
    #[test]
    fn a_worker_that_may_need_longer_than_the_machine_has_is_named() {
        let message = "workers.jobs gives its messages 3600s to finish, but `grace` of drains.leave is 120s: at scale-in, a message that \
                       takes longer is cut off and delivered again";
        let hint = "write `grace: 3600s` for drains.leave, or `drain: 120s` for workers.jobs if its messages are shorter";
        assert_eq!(advised("", "drains: { leave: {} }"), [format!("{message} / {hint}")]);
        for (worker, grace) in [(", max_duration: 10m", "9m"), (", drain: 10m", "9m"), (", max_duration: 5m, drain: 10m", "9m")] {
            assert_eq!(advised(worker, &format!("drains: {{ leave: {{ grace: {grace} }} }}")).len(), 1, "{worker} {grace}");
        }
    }

    #[test]
    fn what_the_author_has_decided_is_no_warning() {
        for (worker, grace) in [("", "1h"), (", max_duration: 10m", "10m"), (", drain: 2m", "2m")] {
            assert_eq!(advised(worker, &format!("drains: {{ leave: {{ grace: {grace} }} }}")), [""; 0], "{worker} {grace}");
        }
        assert_eq!(advised("", ""), [""; 0], "no drain");
        assert_eq!(advised("", "drains: { leave: { when: 'false' } }"), [""; 0], "none here");
    }
}
