//! Edges, as `list` shows them.

use std::collections::BTreeSet;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Value as Json, json};

use super::slots::{among, names};
use crate::deployment::course::Standing;
use crate::deployment::slot::{Slot, Weights};

/// In the name of a stack, this comes between the name of the application and the name of the edge.
const BEGINNING: &str = "edge-";

/// One edge: of fleet.yaml, of AWS, or of both.
#[derive(Debug)]
pub(crate) struct Listed {
    name: String,
    /// `None` if fleet.yaml was not read.
    is_in_file: Option<bool>,
    standing: Option<Standing>,
    /// The environments in each slot.
    slots: [String; 2],
}

/// Whether this stack name, without the application's name, belongs to an edge. Environments cannot have such a
/// name.
pub(crate) fn is_edge(name: &str) -> bool {
    name.starts_with(BEGINNING)
}

/// The edges among the stacks of an application, and those of fleet.yaml.
pub(crate) fn listed(application: &str, stacks: &[(String, Standing)], in_file: Option<&BTreeSet<String>>) -> Vec<Listed> {
    let name = |stack: &str| Some(stack.strip_prefix(application)?.strip_prefix('-')?.strip_prefix(BEGINNING)?.to_owned());
    let there = stacks.iter().filter_map(|(stack, standing)| Some((name(stack)?, standing)));
    let mut all: Vec<Listed> = there
        .map(|(name, standing)| Listed {
            is_in_file: in_file.map(|names| names.contains(&name)),
            slots: Slot::BOTH.map(|slot| names(&among(stacks, &name), slot)),
            standing: Some(standing.clone()),
            name,
        })
        .collect();
    let missing = in_file.into_iter().flatten().filter(|name| !all.iter().any(|one| one.name == **name));
    let missing: Vec<Listed> = missing
        .map(|name| Listed {
            name: name.clone(),
            is_in_file: Some(true),
            standing: None,
            slots: Slot::BOTH.map(|slot| names(&among(stacks, name), slot)),
        })
        .collect();
    all.extend(missing);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

pub(crate) fn entry(one: &Listed) -> Json {
    let weights = one.standing.as_ref().and_then(Weights::of);
    let slot = |slot: Slot, names: &String| json!({ "environments": names, "percent": weights.map(|weights| weights.percent(slot)) });
    json!({
        "edge": one.name, "in_file": one.is_in_file, "status": one.standing.as_ref().map(|standing| &standing.status),
        "a": slot(Slot::A, &one.slots[0]), "b": slot(Slot::B, &one.slots[1]),
    })
}

pub(crate) fn table(all: &[Listed]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["EDGE", "SLOT A", "SLOT B", "STACK"]);
    for one in all {
        let weights = one.standing.as_ref().and_then(Weights::of);
        let slot = |slot: Slot, names: &String| match weights {
            Some(weights) => format!("{names}, {} %", weights.percent(slot)),
            None => names.clone(),
        };
        let status = one.standing.as_ref().map_or("not created", |standing| standing.status.as_str());
        let status = if one.is_in_file == Some(false) { format!("{status}, not in fleet.yaml") } else { status.to_owned() };
        table.add_row([one.name.clone(), slot(Slot::A, &one.slots[0]), slot(Slot::B, &one.slots[1]), status]);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_shown_with_the_environments_in_its_slots() {
        let standing = |pairs: &[(&str, &str)]| Standing {
            status: "UPDATE_COMPLETE".into(),
            parameters: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Standing::default()
        };
        let stacks = [
            ("shop-edge-main".to_owned(), standing(&[("WeightA", "0"), ("WeightB", "100")])),
            ("shop-blue".to_owned(), standing(&[("Environment", "blue"), ("Slot", "main-a")])),
        ];
        let all = listed("shop", &stacks, Some(&BTreeSet::from(["main".to_owned(), "next".to_owned()])));
        insta::assert_snapshot!(table(&all), @r"
        EDGE  SLOT A     SLOT B          STACK
        main  blue, 0 %  nothing, 100 %  UPDATE_COMPLETE
        next  nothing    nothing         not created
        ");
        assert_eq!(entry(&all[0])["b"]["percent"], 100);
        assert!(is_edge("edge-main") && !is_edge("edgy"));
    }
}
