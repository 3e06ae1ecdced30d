//! Why a deployment is refused that would take data away.

use crate::deployment::change::{Change, Effect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Environment;
use crate::stack::contents::deciding;
use crate::stack::differing::Differing;

/// The refusal of an update that would replace or remove data, or may. `None` if it spares all of it. `differing` are the
/// parameters that it changes.
pub(crate) fn refusal(changes: &[Change], differing: &[Differing], environment: &Environment) -> Option<Failure> {
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
    let message = format!("a deployment of {} would take data away: {}", environment.key.name, said.join("; "));
    if causes.is_empty() {
        return Some(
            Failure::new(Exit::Failed, message)
                .why("no setting has changed, so the template of the stack is another one")
                .hint("deploy with the version of ingot-fleet that deployed it last"),
        );
    }
    let name = |cause: &Differing| cause.setting.clone().unwrap_or_else(|| cause.parameter.clone());
    let why: Vec<String> = causes.iter().map(|cause| format!("{}: `{}` {}", cause.near, name(cause), changed(cause))).collect();
    let names: Vec<String> = causes.iter().map(|cause| format!("`{}`", name(cause))).collect();
    Some(Failure::new(Exit::Document, message).why(why.join("; ")).hint(format!(
        "write {} as before; docs/fleet/deployments.md shows under \"What would change\" how to give data up on purpose",
        names.join(" and ")
    )))
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
        names => format!("{data}{id} ({resource}) {fate}, for its {}", names.join(", ")),
    }
}

fn changed(cause: &Differing) -> String {
    let shown = |value: &str| if value.is_empty() { "nothing".to_owned() } else { value.to_owned() };
    let from = cause.from.as_deref().map_or_else(|| "not there".to_owned(), shown);
    format!("was {from} and is {}", shown(&cause.to))
}
