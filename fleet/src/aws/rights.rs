//! What the caller may do, found by letting IAM simulate the caller's policies.

use ingot::desk::Element;

use super::Aws;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
pub(super) const IAM: Api = Api { service: "iam", id: "IAM", version: "2010-05-08", is_global: true };

/// A role or user whose policies can be simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// ARN of the role or user, including its path.
    pub(crate) arn: String,
    /// Tags of the role, where IAM returns them.
    pub(crate) tags: Option<Vec<(String, String)>>,
}

/// The question whether all of these actions are allowed on this resource, in this context.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) actions: &'a [&'static str],
    pub(crate) resource: String,
    /// Context keys, each with its value.
    pub(crate) context: Vec<(String, String)>,
}

/// IAM's decision on one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) action: String,
    pub(crate) decision: Decision,
    /// Context keys that the decision depends on and that were not given.
    pub(crate) missing: Vec<String>,
}

/// A decision and its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// No policy of the caller allows it.
    NotAllowed,
    /// A policy of the caller denies it.
    Denied,
    /// The permissions boundary of the caller does not allow it.
    Bounded,
    /// A policy of the organization does not allow it.
    OutOfOrganization,
}

/// Maps an STS caller ARN to an IAM principal. Returns `None` for the root user, whom no policy limits, and for
/// sessions without a role.
pub(crate) async fn principal(aws: &Aws, caller: &str) -> Result<Option<Principal>, Failure> {
    let mut parts = caller.splitn(6, ':').skip(1);
    let (partition, account, who) = (parts.next(), parts.nth(2), parts.next());
    let (Some(partition), Some(account), Some(who)) = (partition, account, who) else { return Ok(None) };
    match who.split_once('/') {
        Some(("user", name)) => Ok(Some(Principal { arn: format!("arn:{partition}:iam::{account}:user/{name}"), tags: None })),
        Some(("assumed-role", session)) => role(aws, session.split('/').next().unwrap_or_default()).await.map(Some),
        _ => Ok(None),
    }
}

/// Looks up the role, since a session's ARN lacks the role's path and tags.
async fn role(aws: &Aws, name: &str) -> Result<Principal, Failure> {
    let call = Call { action: "iam:GetRole", doing: "read", on: format!("the role {name}"), region: &aws.region };
    let answer = signed::query(aws, &IAM, "GetRole", &[("RoleName", name)]).await.map_err(|trouble| trouble.failure(&call))?;
    let role = answer.child("GetRoleResult").and_then(|result| result.child("Role"));
    let text = |element: &Element, name: &str| element.text(name).unwrap_or_default().to_owned();
    let tags = role.into_iter().flat_map(|role| role.items("Tags")).map(|tag| (text(tag, "Key"), text(tag, "Value")));
    Ok(Principal { arn: role.map(|role| text(role, "Arn")).unwrap_or_default(), tags: Some(tags.collect()) })
}

/// Lets IAM answer a question. Resource policies and session policies are not taken into account.
pub(crate) async fn simulate(aws: &Aws, principal: &Principal, question: &Question<'_>) -> Result<Vec<Verdict>, Failure> {
    let on = format!("the policies of {}", principal.arn);
    let call = Call { action: "iam:SimulatePrincipalPolicy", doing: "simulate", on, region: &aws.region };
    let mut parameters =
        vec![("PolicySourceArn".to_owned(), principal.arn.clone()), ("ResourceArns.member.1".to_owned(), question.resource.clone())];
    for (number, action) in (1..).zip(question.actions) {
        parameters.push((format!("ActionNames.member.{number}"), (*action).to_owned()));
    }
    for (number, (key, value)) in (1..).zip(&question.context) {
        let entry = |name: &str, value: &str| (format!("ContextEntries.member.{number}.{name}"), value.to_owned());
        parameters.extend([entry("ContextKeyName", key), entry("ContextKeyType", "string"), entry("ContextKeyValues.member.1", value)]);
    }
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = signed::query(aws, &IAM, "SimulatePrincipalPolicy", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    let result = answer.child("SimulatePrincipalPolicyResult").into_iter();
    Ok(result.flat_map(|result| result.items("EvaluationResults")).map(verdict).collect())
}

fn verdict(found: &Element) -> Verdict {
    let is_refused = |detail: &str, field: &str| found.child(detail).and_then(|one| one.text(field)) == Some("false");
    let decision = match found.text("EvalDecision") {
        Some("allowed") => Decision::Allowed,
        Some("explicitDeny") => Decision::Denied,
        _ if is_refused("OrganizationsDecisionDetail", "AllowedByOrganizations") => Decision::OutOfOrganization,
        _ if is_refused("PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary") => Decision::Bounded,
        _ => Decision::NotAllowed,
    };
    let missing = found.items("MissingContextValues").map(|one| one.text.clone()).collect();
    Verdict { action: found.text("EvalActionName").unwrap_or_default().to_owned(), decision, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};

    const ROLE: Answer = Some((
        200,
        &[],
        "<GetRoleResponse><GetRoleResult><Role><Path>/ci/</Path><RoleName>ci</RoleName><Arn>arn:aws:iam::123456789012:role/ci/ci</Arn>\
         <Tags><member><Key>ingot-application</Key><Value>shop</Value></member></Tags></Role></GetRoleResult></GetRoleResponse>",
    ));

    #[tokio::test(start_paused = true)]
    async fn a_session_maps_to_its_role_and_root_to_none() {
        let script = Script::of(&[ROLE]);
        let aws = script.aws();
        let role = principal(&aws, "arn:aws:sts::123456789012:assumed-role/ci/run-7").await.unwrap().unwrap();
        assert_eq!(role.arn, "arn:aws:iam::123456789012:role/ci/ci");
        assert_eq!(role.tags, Some(vec![("ingot-application".to_owned(), "shop".to_owned())]));
        let user = principal(&aws, "arn:aws-cn:iam::123456789012:user/ops/ann").await.unwrap().unwrap();
        assert_eq!(user, Principal { arn: "arn:aws-cn:iam::123456789012:user/ops/ann".into(), tags: None });
        for caller in ["arn:aws:iam::123456789012:root", "arn:aws:sts::123456789012:federated-user/ann", "unknown"] {
            assert_eq!(principal(&aws, caller).await.unwrap(), None, "{caller}");
        }
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn each_decision_is_distinguished() {
        let results = |inner: &str| format!("<R><EvaluationResults><member>{inner}</member></EvaluationResults></R>");
        for (inner, decision) in [
            ("<EvalDecision>allowed</EvalDecision>", Decision::Allowed),
            ("<EvalDecision>explicitDeny</EvalDecision>", Decision::Denied),
            ("<EvalDecision>implicitDeny</EvalDecision>", Decision::NotAllowed),
            (
                "<EvalDecision>implicitDeny</EvalDecision><PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>false\
                 </AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>",
                Decision::Bounded,
            ),
            (
                "<EvalDecision>implicitDeny</EvalDecision><OrganizationsDecisionDetail><AllowedByOrganizations>false\
                 </AllowedByOrganizations></OrganizationsDecisionDetail>",
                Decision::OutOfOrganization,
            ),
        ] {
            let answer = Element::parse(results(inner).as_bytes()).unwrap();
            let found: Vec<Verdict> = answer.items("EvaluationResults").map(verdict).collect();
            assert_eq!(found[0].decision, decision, "{inner}");
        }
        let answer: Answer = Some((
            200,
            &[],
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults><member><EvalActionName>iam:PassRole\
             </EvalActionName><EvalDecision>implicitDeny</EvalDecision><MissingContextValues><member>aws:SourceIp</member>\
             </MissingContextValues></member></EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
        ));
        let who = Principal { arn: "arn:aws:iam::123456789012:role/ci".into(), tags: None };
        let question = Question { actions: &["iam:PassRole"], resource: "arn:on".into(), context: Vec::new() };
        let found = simulate(&Script::of(&[answer]).aws(), &who, &question).await.unwrap();
        assert_eq!((found[0].action.trim(), found[0].missing.as_slice()), ("iam:PassRole", ["aws:SourceIp".to_owned()].as_slice()));
    }
}
