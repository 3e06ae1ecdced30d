//! Refuses deployments that would delete data.

use crate::deployment::change::{Change, Effect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Environment;
use crate::stack::contents::deciding;
use crate::stack::differing::Differing;

/// The refusal of an update that would replace or remove data, or might. `None` if it spares all data. `differing` are
/// the parameters that it changes.
pub(crate) fn refusal(changes: &[Change], differing: &[Differing], environment: &Environment) -> Option<Failure> {
    if let Some(moves) = differing.iter().find(|one| one.parameter == "Slot") {
        return Some(moved(moves, environment));
    }
    let losses: Vec<&Change> = changes.iter().filter(|change| change.takes_data()).collect();
    let said: Vec<String> = losses.iter().map(|change| loss(change)).collect();
    let mut causes: Vec<&Differing> = Vec::new();
    for change in &losses {
        let properties: Vec<&str> = change.culprits().collect();
        let deciding = deciding(environment.tier, &change.resource, &properties);
        let more = differing.iter().filter(|one| deciding.contains(&one.parameter));
        more.for_each(|one| {
            if !causes.contains(&one) {
                causes.push(one)
            }
        });
    }
    if said.is_empty() {
        return None;
    }
    let message = format!("a deployment of {} would delete data: {}", environment.key.name, said.join("; "));
    if causes.is_empty() {
        return Some(
            Failure::new(Exit::Failed, message)
                .why("no setting has changed, so the template of the stack has changed")
                .hint("deploy with the version of ingot-fleet that deployed it last"),
        );
    }
    let name = |cause: &Differing| cause.setting.clone().unwrap_or_else(|| cause.parameter.clone());
    let why: Vec<String> = causes.iter().map(|cause| format!("{}: `{}` {}", cause.near, name(cause), changed(cause))).collect();
    let names: Vec<String> = causes.iter().map(|cause| format!("`{}`", name(cause))).collect();
    Some(Failure::new(Exit::Document, message).why(why.join("; ")).hint(format!(
        "restore {}; docs/fleet/deployments.md shows under \"What would change\" how to delete data on purpose",
        names.join(" and ")
    )))
}

/// Another target group would be empty until the last instance is replaced, and the environment's own load balancer
/// would be deleted.
fn moved(slot: &Differing, environment: &Environment) -> Failure {
    let name = &environment.key.name;
    let was = slot.from.as_deref().filter(|was| !was.is_empty());
    let (message, hint) = match was {
        Some(was) => (format!("{name} has the slot {was} of an edge, and cannot leave it"), format!("restore `edge` and `slot` of {was}")),
        None => (format!("{name} has a load balancer of its own, and cannot join an edge"), "remove `edge` and `slot`".to_owned()),
    };
    let failure = Failure::new(Exit::Document, message).why(format!("{}: the slot of an environment is fixed at its creation", slot.near));
    failure
        .hint(format!("{hint}, or create another environment in that slot and move the traffic to it, as docs/fleet/blue-green.md shows"))
}

fn loss(change: &Change) -> String {
    let Change { resource, id, effect, .. } = change;
    let data = change.data().unwrap_or("the resource");
    let id = id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let fate = match effect {
        Effect::Remove => "would be removed",
        Effect::MayReplace => "may be replaced",
        _ => "would be replaced",
    };
    let properties: Vec<&str> = change.culprits().collect();
    match properties.as_slice() {
        [] => format!("{data}{id} ({resource}) {fate}"),
        names => format!("{data}{id} ({resource}) {fate}, because of its {}", names.join(", ")),
    }
}

fn changed(cause: &Differing) -> String {
    let shown = |value: &str| if value.is_empty() { "nothing".to_owned() } else { value.to_owned() };
    let from = cause.from.as_deref().map_or_else(|| "not set".to_owned(), shown);
    format!("was {from} and is now {}", shown(&cause.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::change::tests::change;
    use crate::deployment::change::{Effect, Replaces};
    use crate::stack::OF_CREATION;
    use crate::stack::differing::differing;
    use crate::stack::differing::tests::{environment, stack, standing, wanted};

    /// The message if an environment said `before` and now says `after`, with the exit code.
    fn refused(tier: &str, before: &str, after: &str, changes: &[Change]) -> Option<(Exit, String)> {
        let standing = standing(&stack(&environment(tier, before)));
        let prod = environment(tier, after);
        let differing = differing(&stack(&prod), &prod, &wanted(&stack(&prod)), &OF_CREATION, &standing);
        refusal(changes, &differing, &prod).map(|failure| (failure.exit, failure.to_string()))
    }

    fn named(resource: &str, change: Change) -> Change {
        Change { resource: resource.into(), ..change }
    }

    #[test]
    fn a_database_that_is_gone_from_fleet_yaml_is_named_with_its_line() {
        let database = "    database: { class: db.t4g.micro }\n";
        let removed = named("Database", change("AWS::RDS::DBInstance", Effect::Remove, &[]));
        let (exit, text) = refused("web", database, "    metadata_hops: 2\n", &[removed]).unwrap();
        assert_eq!(exit, Exit::Document);
        insta::assert_snapshot!(text, @r#"
        a deployment of prod would delete data: the database there (Database) would be removed: fleet.yaml:5: `database.class` was db.t4g.micro and is now nothing
          hint: restore `database.class`; docs/fleet/deployments.md shows under "What would change" how to delete data on purpose
        "#);
    }

    #[test]
    fn an_address_that_the_mode_takes_away_is_named() {
        let removed = named("Address", change("AWS::EC2::EIP", Effect::Remove, &[]));
        let (exit, text) = refused("web", "    mode: single_instance\n", "    mode: highly_available\n", &[removed]).unwrap();
        assert!(
            exit == Exit::Document && text.contains("the address there (Address) would be removed: fleet.yaml:11: `mode` was"),
            "{text}"
        );
    }

    #[test]
    fn a_property_is_named_with_the_setting_that_it_depends_on() {
        let replaced = named("Queue", change("AWS::SQS::Queue", Effect::Replace, &[("FifoQueue", Replaces::Always)]));
        let (before, after) = ("    queue: { retention: 1h }\n", "    queue: { retention: 2h }\n");
        let (exit, text) = refused("worker", before, after, std::slice::from_ref(&replaced)).unwrap();
        // Retention changes, but is unrelated.
        assert!(
            exit == Exit::Failed && text.contains("the queue there (Queue) would be replaced, because of its FifoQueue: no setting"),
            "{text}"
        );
        let prod = environment("worker", after);
        let differing = crate::stack::Differing {
            setting: Some("queue.fifo".into()),
            parameter: "Fifo".into(),
            from: Some("false".into()),
            to: "true".into(),
            line: None,
            near: "fleet.yaml:11".into(),
        };
        let text = refusal(&[replaced], &[differing], &prod).unwrap().to_string();
        assert!(text.contains("fleet.yaml:11: `queue.fifo` was false and is now true"), "{text}");
    }

    #[test]
    fn what_spares_data_is_not_refused() {
        let changes = [
            named("Database", change("AWS::RDS::DBInstance", Effect::Change, &[("DBInstanceClass", Replaces::Never)])),
            named("Database", change("AWS::RDS::DBInstance", Effect::MayReplace, &[("MultiAZ", Replaces::Perhaps)])),
            named("Group", change("AWS::AutoScaling::AutoScalingGroup", Effect::Replace, &[])),
        ];
        assert_eq!(refused("web", "", "", &changes), None);
    }
}
