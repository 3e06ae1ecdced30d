//! The marks of a boot's critical path: when the boot reached each point, computed from its report.
//!
//! | mark | when |
//! |---|---|
//! | `first_request` | the first request was about to be sent |
//! | `credentials` | the credentials of the role had arrived |
//! | `secrets` | all secrets had been read |
//! | `files` | all files were in place, and credentials for services |
//! | `services` | the first service was asked to start |
//!
//! A mark is missing if the boot did not reach that point, or has no such step.

use std::collections::BTreeMap;

use crate::report::{Report, StepReport};

/// The IMDS path of the credentials of a role; the path itself returns the role's name.
const ROLES: &str = "IMDS meta-data/iam/security-credentials/";

/// The marks, in milliseconds from the start of the process.
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

/// When a service was asked to start: its first wait is for the start job.
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
