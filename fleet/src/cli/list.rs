//! `ingot-fleet list`: the environments of the application, and what runs in each.

use std::collections::BTreeSet;
use std::path::Path;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Value as Json, json};

use super::edge::listing;
use super::input;
use super::output::{self, data, talk};
use crate::aws::Aws;
use crate::aws::stacks::CloudFormation;
use crate::deployment::course::Standing;
use crate::failure::Failure;

/// List the environments of the application, with the release and the image that each stack is set to
///
/// Also lists edges, with the share of the requests that each slot gets, and what is not in fleet.yaml. `status` shows
/// the health of environments. Needs permission for cloudformation:ListStacks and DescribeStacks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Application whose environments to list, if its fleet.yaml is not available
    #[arg(long, value_name = "APP", conflicts_with = "file")]
    application: Option<String>,
}

/// One environment: of fleet.yaml, of AWS, or of both.
struct One {
    name: String,
    /// `None` if fleet.yaml was not read.
    is_in_file: Option<bool>,
    standing: Option<Standing>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let (application, in_file, edges) = match &args.application {
        Some(application) => (application.clone(), None, None),
        None => {
            let fleet = input::sound(file).map_err(Failure::told)?.fleet;
            let names: BTreeSet<String> = fleet.environments.into_iter().map(|environment| environment.key.name).collect();
            let edges: BTreeSet<String> = fleet.edges.into_iter().map(|edge| edge.key.name).collect();
            (fleet.application.to_string(), Some(names), Some(edges))
        }
    };
    let stacks = CloudFormation::new(&Aws::connect().await?).of_application(&application).await?;
    let edges = listing::listed(&application, &stacks, edges.as_ref());
    let mut all: Vec<One> = stacks
        .into_iter()
        .filter_map(|(stack, standing)| {
            let name = stack.strip_prefix(&application)?.strip_prefix('-').filter(|name| !listing::is_edge(name))?.to_owned();
            Some(One { is_in_file: in_file.as_ref().map(|names| names.contains(&name)), name, standing: Some(standing) })
        })
        .collect();
    let missing = in_file.into_iter().flatten().filter(|name| !all.iter().any(|one| one.name == **name));
    let missing: Vec<One> = missing.map(|name| One { name, is_in_file: Some(true), standing: None }).collect();
    all.extend(missing);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    match as_json {
        true => {
            let edges: Vec<Json> = edges.iter().map(listing::entry).collect();
            let environments: Vec<Json> = all.iter().map(entry).collect();
            output::json(&json!({ "version": 1, "application": application, "environments": environments, "edges": edges }))
        }
        false if all.is_empty() && edges.is_empty() => talk(&format!("{application} has no environments")),
        false if edges.is_empty() => data(&table(&all)),
        false => data(&format!("{}\n\n{}", table(&all), listing::table(&edges))),
    }
    Ok(())
}

fn entry(one: &One) -> Json {
    let of_stack = |name: &str| one.standing.as_ref().and_then(|standing| standing.parameter(name));
    json!({
        "environment": one.name, "in_file": one.is_in_file, "status": one.standing.as_ref().map(|standing| &standing.status),
        "release": of_stack("Release"), "image": of_stack("Image"), "deployment": of_stack("Deployment"),
    })
}

fn table(all: &[One]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["ENVIRONMENT", "RELEASE", "DEPLOYMENT", "IMAGE", "STACK"]);
    for one in all {
        let of_stack = |name: &str| one.standing.as_ref().and_then(|standing| standing.parameter(name)).unwrap_or("-").to_owned();
        let status = one.standing.as_ref().map_or("not created", |standing| standing.status.as_str());
        let status = if one.is_in_file == Some(false) { format!("{status}, not in fleet.yaml") } else { status.to_owned() };
        table.add_row([one.name.clone(), of_stack("Release"), of_stack("Deployment"), of_stack("Image"), status]);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}
