//! ACM certificates, which load balancers use.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::Aws;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/acm/latest/APIReference/API_DescribeCertificate.html>
const ACM: Api = Api { service: "acm", id: "ACM", version: "CertificateManager", is_global: false };

/// A certificate as ACM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Such as `ISSUED` or `PENDING_VALIDATION`.
    pub(crate) status: String,
    /// The primary domain name.
    pub(crate) domain: String,
    /// Why it could not be issued, or why it was revoked.
    pub(crate) why: Option<String>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// Looks up a certificate. Returns `None` if it does not exist.
pub(crate) async fn certificate(aws: &Aws, arn: &str) -> Result<Option<Certificate>, Failure> {
    let call = Call { action: "acm:DescribeCertificate", doing: "read", on: format!("the certificate {arn}"), region: &aws.region };
    match signed::json(aws, &ACM, "DescribeCertificate", &json!({ "CertificateArn": arn })).await {
        Ok(answer) => Ok(Some(read(&answer["Certificate"]))),
        Err(trouble) if trouble.has(&["ResourceNotFoundException"]) => Ok(None),
        Err(trouble) => Err(trouble.failure(&call)),
    }
}

fn read(found: &Json) -> Certificate {
    let text = |name: &str| found[name].as_str().map(str::to_owned);
    // Times are seconds since the epoch, possibly with a fraction.
    let time = |name: &str| found[name].as_f64().and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    Certificate {
        status: text("Status").unwrap_or_default(),
        domain: text("DomainName").unwrap_or_default(),
        why: text("FailureReason").or_else(|| text("RevocationReason")),
        from: time("NotBefore"),
        until: time("NotAfter"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};
    use crate::exit::Exit;

    const ARN: &str = "arn:aws:acm:eu-central-1:123456789012:certificate/1";

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_found_missing_or_denied() {
        let there: Answer = Some((
            200,
            &[],
            r#"{"Certificate":{"CertificateArn":"arn","Status":"ISSUED","DomainName":"shop.example","NotAfter":1.8E9,"NotBefore":1700000000}}"#,
        ));
        let gone: Answer = Some((400, &[], r#"{"__type":"com.amazonaws.acm#ResourceNotFoundException","message":"Could not find it"}"#));
        let denied: Answer = Some((400, &[], r#"{"__type":"AccessDeniedException","Message":"no"}"#));
        let script = Script::of(&[there, gone, denied]);
        let found = certificate(&script.aws(), ARN).await.unwrap().unwrap();
        assert_eq!((found.status.as_str(), found.domain.as_str(), found.why), ("ISSUED", "shop.example", None));
        assert_eq!(found.until.unwrap().to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(found.from.unwrap().to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(certificate(&script.aws(), ARN).await.unwrap(), None);
        let failure = certificate(&script.aws(), ARN).await.unwrap_err();
        assert!(failure.exit == Exit::Failed && failure.to_string().contains("allow acm:DescribeCertificate"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_page_is_reported_as_such() {
        let page: Answer = Some((200, &[("content-type", "text/html")], "<html><body>Please log in</body></html>"));
        let failure = certificate(&Script::of(&[page; 4]).aws(), ARN).await.unwrap_err();
        assert!(failure.exit == Exit::Unreachable, "{failure}");
        assert!(failure.to_string().contains("status 200, text/html, 39 bytes: `<html><body>Please log in"), "{failure}");
    }
}
