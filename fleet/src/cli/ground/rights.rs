//! Checks that the caller has the rights that the command needs, as far as IAM can tell before it begins.
//!
//! Read permissions are not simulated, since everything has been read by then. IAM's simulation does not cover session
//! policies and bucket policies, so a result that depends on them is only noted.

use futures_util::future::join_all;

use crate::aws::rights::{Decision, Principal, Question, Verdict, principal, simulate};
use crate::cli::advice::advised;
use crate::cli::operator::Operator;
use crate::cli::output::talk;
use crate::deployment::record::Kind;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

/// The tag of a role that the policies of ingot-account compare with the application.
const TAG: &str = "ingot-application";

/// Policies restrict with this key which templates may be used. Only calls that name a template by its URL have it.
const TEMPLATE_URL: &str = "cloudformation:TemplateUrl";

pub(super) async fn suffice(operator: &Operator, kind: Kind, account: &Account, caller: &str) -> Result<(), Failure> {
    const UNKNOWN: &str = "your permissions were not checked";
    let Some(Some(who)) = advised(UNKNOWN, principal(&operator.aws, caller)).await? else { return Ok(()) };
    let questions = questions(operator, kind, account, &who);
    let asked = join_all(questions.iter().map(|question| simulate(&operator.aws, &who, question)));
    let asked = async { asked.await.into_iter().collect::<Result<Vec<_>, Failure>>() };
    let Some(verdicts) = advised(UNKNOWN, asked).await? else { return Ok(()) };
    let all = questions.iter().zip(verdicts).flat_map(|(question, all)| all.into_iter().map(move |one| (question, one)));
    for (question, verdict) in all {
        match judge(&who.arn, &question.resource, &verdict) {
            Judgment::Fine => {}
            Judgment::Unsure(note) => talk(&format!("note: {note}")),
            Judgment::Narrow(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// What a command writes: the stack, with the service role; the record and the document.
fn questions(operator: &Operator, kind: Kind, account: &Account, who: &Principal) -> Vec<Question<'static>> {
    let Account { partition, region, id, service_role, .. } = account;
    let application = &operator.place.application;
    let common = |more: &[(&str, &str)]| {
        let given = [("aws:RequestedRegion", region.as_str()), ("aws:SecureTransport", "true")];
        let given = given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        given.chain(tags(who, application)).collect::<Vec<_>>()
    };
    let (actions, tag): (&[&str], _) = match kind {
        Kind::Create => (&["cloudformation:CreateStack"], "aws:RequestTag/ingot:application"),
        Kind::Deploy | Kind::Rollback => (&["cloudformation:UpdateStack"], "aws:ResourceTag/ingot:application"),
    };
    let objects = format!("arn:{partition}:s3:::{}/{}{}", operator.place.bucket, operator.place.environments(), operator.name());
    let conditional = [("s3:if-none-match", "*")];
    vec![
        Question {
            actions,
            resource: format!("arn:{partition}:cloudformation:{region}:{id}:stack/{}/*", operator.stack()),
            context: common(&[("cloudformation:RoleArn", service_role), (tag, application)]),
        },
        Question {
            actions: &["iam:PassRole"],
            resource: service_role.clone(),
            context: common(&[("iam:PassedToService", "cloudformation.amazonaws.com")]),
        },
        Question { actions: &["s3:PutObject"], resource: format!("{objects}/deployments/1.json"), context: common(&conditional) },
        Question { actions: &["s3:PutObject"], resource: format!("{objects}/documents/0.yaml"), context: common(&conditional) },
    ]
}

/// The tags of the caller. Those of users are not known.
fn tags(who: &Principal, application: &str) -> Vec<(String, String)> {
    let key = |name: &str| format!("aws:PrincipalTag/{name}");
    match &who.tags {
        Some(tags) => tags.iter().map(|(name, value)| (key(name), value.clone())).collect(),
        None => vec![(key(TAG), application.to_owned())],
    }
}

/// What a verdict means for the command.
#[derive(Debug)]
enum Judgment {
    Fine,
    Unsure(String),
    Narrow(Failure),
}

fn judge(who: &str, resource: &str, verdict: &Verdict) -> Judgment {
    let Verdict { action, decision, missing } = verdict;
    let why = match decision {
        Decision::Allowed => return Judgment::Fine,
        Decision::NotAllowed => "none of its policies allows it",
        Decision::Denied => "one of its policies denies it",
        Decision::Bounded => "its permissions boundary does not allow it",
        Decision::OutOfOrganization => "a policy of the organization does not allow it",
    };
    let unknown: Vec<&str> = missing.iter().map(String::as_str).filter(|key| *key != TEMPLATE_URL).collect();
    if !unknown.is_empty() {
        let missing = unknown.join(", ");
        return Judgment::Unsure(format!(
            "whether {who} is allowed to perform {action} on {resource} depends on {missing}, which is not known here"
        ));
    }
    if action.starts_with("s3:") && *decision == Decision::NotAllowed {
        return Judgment::Unsure(format!(
            "{who} is allowed to perform {action} on {resource} only if the policy of the bucket allows it: {why}"
        ));
    }
    let hint = match decision {
        // ingot-fleet sends the template itself, so its calls never have a URL.
        _ if !missing.is_empty() => "the parameter TemplateUrls of ingot-account names the templates that may be used: deploy from one of \
             them with `aws cloudformation update-stack --stack-name STACK --template-url URL`, or use a role that may use any template"
            .to_owned(),
        Decision::NotAllowed => {
            format!("allow {action} on {resource}, as the policy Deployer of ingot-account does for roles with the tag {TAG}")
        }
        _ => format!("use a role that may do it, or allow {action} on {resource}"),
    };
    Judgment::Narrow(Failure::new(Exit::Failed, format!("{who} is not allowed to perform {action} on {resource}")).why(why).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: &str = "arn:aws:iam::123456789012:role/ci";

    fn judged(action: &str, decision: Decision, missing: &[&str]) -> Judgment {
        let missing = missing.iter().map(|key| (*key).to_owned()).collect();
        judge(WHO, "arn:on", &Verdict { action: action.into(), decision, missing })
    }

    #[test]
    fn what_iam_is_sure_of_is_refused() {
        for (decision, why) in [
            (Decision::NotAllowed, "none of its policies allows it"),
            (Decision::Denied, "one of its policies denies it"),
            (Decision::Bounded, "its permissions boundary"),
            (Decision::OutOfOrganization, "a policy of the organization"),
        ] {
            let Judgment::Narrow(failure) = judged("cloudformation:UpdateStack", decision, &[]) else { panic!("{decision:?}") };
            let text = failure.to_string();
            assert!(text.starts_with(&format!("{WHO} is not allowed to perform cloudformation:UpdateStack on arn:on: {why}")), "{text}");
            assert!(text.contains("hint: "), "{text}");
        }
        let of_url = |missing: &[&str]| judged("cloudformation:UpdateStack", Decision::NotAllowed, missing);
        let Judgment::Narrow(failure) = of_url(&["cloudformation:TemplateUrl"]) else { panic!("no call has one") };
        assert!(failure.to_string().contains("hint: the parameter TemplateUrls of ingot-account"), "{failure}");
        let Judgment::Unsure(note) = of_url(&["aws:SourceIp", "cloudformation:TemplateUrl"]) else { panic!() };
        assert!(note.contains("depends on aws:SourceIp, which"), "{note}");
        assert!(matches!(judged("iam:PassRole", Decision::Allowed, &[]), Judgment::Fine));
        assert!(matches!(judged("s3:PutObject", Decision::Denied, &[]), Judgment::Narrow(_)));
    }

    #[test]
    fn what_others_may_decide_is_noted() {
        let Judgment::Unsure(note) = judged("cloudformation:UpdateStack", Decision::NotAllowed, &["aws:PrincipalTag/ingot-application"])
        else {
            panic!()
        };
        assert!(note.contains("depends on aws:PrincipalTag/ingot-application, which is not known here"), "{note}");
        let Judgment::Unsure(note) = judged("s3:PutObject", Decision::NotAllowed, &[]) else { panic!() };
        assert!(note.contains("only if the policy of the bucket allows it"), "{note}");
        assert!(matches!(judged("s3:PutObject", Decision::Denied, &["aws:SourceIp"]), Judgment::Unsure(_)));
    }
}
