//! The marks of a boot's critical path: when it had come how far, from what its report holds anyway.
//!
//! | mark | when |
//! |---|---|
//! | `first_request` | the first request was about to be sent |
//! | `credentials` | the credentials of the role were there |
//! | `secrets` | all secrets were |
//! | `files` | all files were in place, and credentials for services |
//! | `services` | the first service was asked to start |
//!
//! A boot that did not come so far, or has no such step, has no such mark.

use std::collections::BTreeMap;

use crate::report::{Report, StepReport};

/// The path of IMDS below which the credentials of a role are; by itself it holds the role's name.
const ROLES: &str = "IMDS meta-data/iam/security-credentials/";

/// Milliseconds from the start of the process, by mark.
pub(crate) fn of(report: &Report) -> BTreeMap<String, f64> {
    let done = |kinds: &'static [&'static str]| {
        let steps = report.steps.iter().filter(|step| kinds.contains(&step.address.kind()));
        steps.filter_map(|step| step.finished_ms).reduce(f64::max)
    };
    let role = report.exchanges.iter().find(|exchange| exchange.what.len() > ROLES.len() && exchange.what.starts_with(ROLES));
    let marks = [
        ("first_request", report.exchanges.first().map(|exchange| exchange.at_ms)),
        ("credentials", role.and_then(|exchange| Some(exchange.at_ms + exchange.took_ms?))),
        ("secrets", done(&["secrets"])),
        ("files", done(&["files", "credentials"])),
        ("services", report.steps.iter().filter_map(asked_to_start).reduce(f64::min)),
    ];
    let mut known = BTreeMap::new();
    known.extend(marks.into_iter().filter_map(|(mark, at)| Some((mark.to_owned(), at?))));
    known
}

/// What a service waits for first is the job that it has asked for.
fn asked_to_start(step: &StepReport) -> Option<f64> {
    (step.address.kind() == "services").then(|| step.idle.first().map(|idle| idle.from_ms)).flatten()
}

#[cfg(test)]
mod tests {
    use crate::report::ExchangeReport;
    use crate::report::timeline::tests::report;

    #[test]
    fn say_how_far_a_boot_had_come() {
        let mut report = report();
        let exchange = |at_ms, took_ms, what: &str| ExchangeReport { at_ms, took_ms, what: what.into(), status: Some(200) };
        report.exchanges = vec![
            exchange(0.5, Some(1.0), "IMDS api/token"),
            exchange(1.5, Some(1.0), super::ROLES),
            exchange(2.5, Some(1.25), "IMDS meta-data/iam/security-credentials/shop"),
        ];
        let marks = super::of(&report);
        let marks: Vec<(&str, f64)> = marks.iter().map(|(mark, at)| (mark.as_str(), *at)).collect();
        assert_eq!(marks, [("credentials", 3.75), ("files", 133.0), ("first_request", 0.5), ("secrets", 130.0), ("services", 150.0)]);
    }
}
