//! The guards of a stack: its stack policy, and its protection from deletion.

use serde_json::Value as Json;

use super::operator::Operator;
use super::output::talk;
use crate::deployment::course::Standing;
use crate::failure::Failure;
use crate::stack::POLICY;

/// Sets both to what fleet.yaml and the templates say, if the stack differs, except that protection stays. Returns a
/// sentence for each change.
pub(super) async fn set(operator: &Operator, standing: &Standing) -> Result<Vec<String>, Failure> {
    let (name, stack, wanted) = (operator.name(), operator.stack(), operator.environment().settings.protect);
    let mut told = Vec::new();
    if !is_policy(operator.stacks.policy(&stack).await?.as_deref()) {
        operator.stacks.set_policy(&stack, POLICY).await?;
        told.push(format!("the stack policy of {stack} was restored: it keeps updates from replacing or deleting data"));
    }
    if wanted && !standing.is_protected {
        operator.stacks.protect(&stack, true).await?;
        told.push(format!("{name} is now protected from deletion"));
    }
    told.iter().for_each(|sentence| talk(sentence));
    Ok(told)
}

/// Whether the protection from deletion is to end, which users are asked about before.
pub(super) fn ends_protection(operator: &Operator, standing: &Standing) -> bool {
    standing.is_protected && !operator.environment().settings.protect
}

/// Ends the protection from deletion, and returns a sentence about it.
pub(super) async fn end_protection(operator: &Operator) -> Result<String, Failure> {
    operator.stacks.protect(&operator.stack(), false).await?;
    let told = format!("{} is no longer protected from deletion", operator.name());
    talk(&told);
    Ok(told)
}

/// Whether a stack policy says the same as ours, regardless of its layout.
fn is_policy(has: Option<&str>) -> bool {
    let read = |text: &str| serde_json::from_str::<Json>(text).ok();
    has.is_some_and(|has| read(has).is_some() && read(has) == read(POLICY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_does_not_matter() {
        let compact = serde_json::from_str::<Json>(POLICY).unwrap().to_string();
        assert!(compact != POLICY && is_policy(Some(&compact)));
        let open = r#"{"Statement": [{"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}]}"#;
        assert!(!is_policy(Some(open)) && !is_policy(Some("")) && !is_policy(None));
    }
}
