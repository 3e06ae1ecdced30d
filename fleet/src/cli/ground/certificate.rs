//! Checks that the load balancer can use the certificate that fleet.yaml names.

use jiff::Timestamp;

use super::applicant::Applicant;
use crate::aws::certificates::{Certificate, certificate};
use crate::cli::advice::advised;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

/// Checks a certificate of ACM by its ARN. `None` is a load balancer without one.
pub(in crate::cli) async fn holds(applicant: Applicant<'_>, arn: Option<&str>, account: &Account) -> Result<(), Failure> {
    let Some(arn) = arn else { return Ok(()) };
    if let Some(failure) = elsewhere(applicant, arn, account) {
        return Err(failure);
    }
    let asked = certificate(applicant.aws, arn);
    let Some(found) = advised("the certificate was not checked", asked).await? else { return Ok(()) };
    judge(applicant.name, arn, found.as_ref(), Timestamp::now()).map_or(Ok(()), Err)
}

/// A load balancer takes only certificates of its own region and account.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>
fn elsewhere(applicant: Applicant<'_>, arn: &str, account: &Account) -> Option<Failure> {
    let (Applicant { name, kind, .. }, region) = (applicant, &account.region);
    let part = |number| arn.split(':').nth(number).unwrap_or_default();
    let wrong = |message: String, also: &str| {
        let hint = format!("set `load_balancer.certificate` in fleet.yaml to a certificate of ACM in {region}, or correct {also}");
        Some(Failure::new(Exit::Document, message).why(arn).hint(hint))
    };
    if part(3) != region {
        return wrong(format!("the certificate of {name} is in {}, but the {kind} is in {region}", part(3)), "AWS_REGION");
    }
    if part(4) != account.id {
        let message = format!("the certificate of {name} belongs to the account {}, but the {kind} to {}", part(4), account.id);
        return wrong(message, "AWS_PROFILE");
    }
    None
}

/// Why the certificate cannot be used. `found` is `None` if it does not exist.
///
/// Source of statuses: <https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html>
fn judge(name: &str, arn: &str, found: Option<&Certificate>, now: Timestamp) -> Option<Failure> {
    const ANOTHER: &str = "set `load_balancer.certificate` in fleet.yaml to another one";
    let wrong =
        |what: String, hint: String| Some(Failure::new(Exit::Document, format!("the certificate of {name} {what}")).why(arn).hint(hint));
    let Some(found) = found else {
        return wrong("does not exist".into(), format!("{ANOTHER}: `aws acm list-certificates` lists them"));
    };
    let Certificate { status, domain, .. } = found;
    let why = found.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    match (status.as_str(), found.from, found.until) {
        ("PENDING_VALIDATION", ..) => wrong(
            format!("for {domain} is not issued yet: it is waiting for validation"),
            format!("validate it, as `aws acm describe-certificate --certificate-arn {arn}` shows, or {ANOTHER}"),
        ),
        ("ISSUED", _, Some(until)) if until <= now => expired(name, arn, domain, Some(until)),
        ("EXPIRED", _, until) => expired(name, arn, domain, until),
        ("ISSUED", Some(from), _) if from > now => {
            wrong(format!("for {domain} is not valid before {from}"), format!("wait until then, or {ANOTHER}"))
        }
        ("ISSUED", ..) => None,
        _ => wrong(format!("for {domain} is {status}{why}, expected ISSUED"), ANOTHER.into()),
    }
}

fn expired(name: &str, arn: &str, domain: &str, until: Option<Timestamp>) -> Option<Failure> {
    let on = until.map(|until| format!(" on {until}")).unwrap_or_default();
    let hint = "renew it, import it again, or set `load_balancer.certificate` in fleet.yaml to another one";
    Some(Failure::new(Exit::Document, format!("the certificate of {name} for {domain} expired{on}")).why(arn).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:acm:eu-central-1:123456789012:certificate/1";

    fn found(status: &str, until: &str) -> Certificate {
        let from = "2026-01-01T00:00:00Z".parse().ok();
        Certificate { status: status.into(), domain: "shop.example".into(), why: None, from, until: until.parse().ok() }
    }

    fn said(found: Option<&Certificate>) -> Option<String> {
        let failure = judge("prod", ARN, found, "2026-12-01T00:00:00Z".parse().unwrap())?;
        assert_eq!(failure.exit, Exit::Document);
        Some(failure.to_string())
    }

    #[test]
    fn one_that_is_issued_and_valid_is_fine() {
        assert_eq!(said(Some(&found("ISSUED", "2027-01-01T00:00:00Z"))), None);
        assert_eq!(said(Some(&Certificate { from: None, until: None, ..found("ISSUED", "") })), None);
    }

    #[test]
    fn each_other_one_has_its_way_out() {
        let later = "2027-01-01T00:00:00Z";
        let failed = Certificate { why: Some("CAA_ERROR".into()), ..found("FAILED", later) };
        let early = Certificate { from: "2026-12-24T00:00:00Z".parse().ok(), ..found("ISSUED", later) };
        for (found, what) in [
            (None, "the certificate of prod does not exist: arn:aws:acm:"),
            (Some(found("PENDING_VALIDATION", later)), "for shop.example is not issued yet"),
            (Some(found("ISSUED", "2026-11-30T00:00:00Z")), "for shop.example expired on 2026-11-30T00:00:00Z"),
            (Some(found("EXPIRED", "")), "for shop.example expired: "),
            (Some(early), "is not valid before 2026-12-24T00:00:00Z"),
            (Some(failed), "is FAILED (CAA_ERROR), expected ISSUED"),
            (Some(found("REVOKED", later)), "is REVOKED, expected ISSUED"),
            (Some(found("INACTIVE", later)), "is INACTIVE, expected ISSUED"),
        ] {
            let text = said(found.as_ref()).unwrap();
            assert!(text.contains(what) && text.contains("`load_balancer.certificate` in fleet.yaml"), "{text}");
        }
    }
}
