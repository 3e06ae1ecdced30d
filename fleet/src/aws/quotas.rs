//! Quotas of the account, from Service Quotas.

use serde_json::json;

use super::Aws;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::exit::Exit;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html>
const QUOTAS: Api = Api { service: "servicequotas", id: "Service Quotas", version: "ServiceQuotasV20190624", is_global: false };

/// A quota of the account in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Such as `L-1216C47A`.
    pub(crate) code: String,
    /// In AWS's words.
    pub(crate) name: String,
    pub(crate) value: u64,
}

/// Looks up the account's quota, or AWS's default if the quota was never changed.
pub(crate) async fn quota(aws: &Aws, service: &str, code: &str) -> Result<Quota, Failure> {
    let parameters = json!({ "ServiceCode": service, "QuotaCode": code });
    let actions =
        [("GetServiceQuota", "servicequotas:GetServiceQuota"), ("GetAWSDefaultServiceQuota", "servicequotas:GetAWSDefaultServiceQuota")];
    let mut last = None;
    for (name, action) in actions {
        let call = Call { action, doing: "look up", on: format!("the quota {code} of {service}"), region: &aws.region };
        match signed::json(aws, &QUOTAS, name, &parameters).await {
            Ok(answer) => {
                let quota = &answer["Quota"];
                let name = quota["QuotaName"].as_str().unwrap_or(code).to_owned();
                if let Some(value) = quota["Value"].as_f64() {
                    return Ok(Quota { code: code.to_owned(), name, value: value as u64 });
                }
            }
            Err(trouble) if trouble.has(&["NoSuchResourceException"]) => last = Some(trouble.failure(&call)),
            Err(trouble) => return Err(trouble.failure(&call)),
        }
    }
    let none = || Failure::new(Exit::Failed, format!("Service Quotas has no value for the quota {code} of {service}"));
    Err(last.unwrap_or_else(none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};

    const NONE: Answer = Some((400, &[], r#"{"__type":"NoSuchResourceException","Message":"The request failed"}"#));
    const OWN: Answer = Some((200, &[], r#"{"Quota":{"QuotaName":"Running On-Demand","Value":32.0}}"#));

    #[tokio::test(start_paused = true)]
    async fn an_unchanged_quota_has_the_default_value() {
        for (answers, calls) in [(vec![OWN], 1), (vec![NONE, OWN], 2)] {
            let script = Script::of(&answers);
            let found = quota(&script.aws(), "ec2", "L-1216C47A").await.unwrap();
            assert_eq!((found.value, found.name.as_str(), script.asked().len()), (32, "Running On-Demand", calls));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_quota_is_named() {
        let denied: Answer = Some((400, &[], r#"{"__type":"AccessDeniedException","Message":"not authorized"}"#));
        for (answers, said) in [
            (vec![denied], "allow servicequotas:GetServiceQuota"),
            (vec![NONE, denied], "allow servicequotas:GetAWSDefaultServiceQuota"),
            (vec![NONE, NONE], "cannot look up the quota L-1 of ec2"),
            (vec![Some((200, &[], "{}")); 2], "has no value for the quota L-1 of ec2"),
        ] {
            let failure = quota(&Script::of(&answers).aws(), "ec2", "L-1").await.unwrap_err();
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }
}
