//! What an environment resolves to: the stack of its template, its parameters, and the boot document of its instances.
//! Offline.
//!
//! Only the templates define what an environment consists of. Their user data is evaluated as CloudFormation would,
//! with [stand-ins](standing_in) for what only AWS knows, so that documents are checked with what instances get.

mod collisions;
mod constraints;
mod contents;
mod differing;
mod document;
mod edge;
mod filled;
mod functions;
mod in_place;
mod known;
mod outcome;
mod parameters;
mod refreshed;
mod refusal;
mod secrets;
mod standing_in;
mod template;
mod uncarried;
mod workers;

use std::path::Path;

use ingot::desk::{self, Checked, Layer, Mistake, Node, Sources};

pub(crate) use self::contents::Content;
pub(crate) use self::differing::{Differing, Kept, differing, kept};
pub(crate) use self::document::Document;
pub(crate) use self::edge::{EdgeStack, edge};
pub(crate) use self::filled::{Account, OF_CREATION, batch_of, filled, refilled};
pub(crate) use self::outcome::Stack;
pub(crate) use self::parameters::{Given, Parameter};
pub(crate) use self::refusal::refusal;
pub(crate) use self::template::POLICY;
use crate::fleet::{Environment, Fleet};
use crate::stack::document::Found;
use crate::stack::functions::Chosen;
use crate::stack::known::Known;
use crate::stack::template::Template;

/// The most user data of an instance, in bytes, before it is encoded.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>
const LARGEST_USER_DATA: usize = 16 * 1024;

/// What was found while the stack was made.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Mistake>,
    pub(crate) notes: Vec<String>,
    pub(crate) sources: Sources,
    /// How many steps the whole document has.
    pub(crate) steps: usize,
}

/// Makes the stack of an environment. `directory` is that of fleet.yaml. Returns no stack if mistakes prevent it.
pub(crate) async fn of(fleet: &Fleet, environment: &Environment, directory: &Path) -> (Option<Stack>, Findings) {
    let mut findings = Findings { notes: uncarried::notes(environment), ..Findings::default() };
    let Found { layers, document, mut site } = document::find(environment, directory);
    let Some(document) = document else {
        findings.mistakes = site.mistakes;
        return (None, findings);
    };
    let template = Template::of(environment.tier);
    let (application, releases) = (&fleet.application, &fleet.releases);
    let mut known = Known { application, releases, environment, document: &document.sha256, longest: None, drain: None };
    let mut made = Made::of(&template, &known);
    let mut checked = check(&layers, &document, &made.added, environment, directory).await;
    if checked.mistakes.is_empty() {
        known = Known { longest: Some(checked.longest), drain: checked.drain, ..known };
        let first = std::mem::replace(&mut made, Made::of(&template, &known));
        if made.user_data != first.user_data {
            checked = check(&layers, &document, &made.added, environment, directory).await;
        }
    }
    let Made { parameters, user_data, added } = made;
    let whole = document.whole(&layers);
    site.mistakes.extend(collisions::find(&whole, &added));
    workers::check_queue(&whole, environment, &mut site);
    if environment.settings.refresh.is_some() {
        refreshed::check(&whole, &mut site);
    }
    let obstacle = in_place::check(&whole, &mut site, environment.settings.deployment.policy());
    let chosen = Chosen::of(&template, &parameters, &known);
    if environment.is_sound {
        constraints::check(&template, &parameters, &chosen, &mut site);
    }
    let contents = contents::of(&template, &chosen);
    if user_data.len() > LARGEST_USER_DATA {
        let message = format!("the user data is {} bytes long, but EC2 accepts at most {LARGEST_USER_DATA}", user_data.len());
        site.wrong_key("", message, "shorten the names in it");
    }
    // Collisions have been reported, and would cause further mistakes.
    let collides = !site.mistakes.is_empty();
    findings.mistakes = site.mistakes;
    findings
        .mistakes
        .extend(checked.mistakes.into_iter().filter_map(|mistake| of_documents(mistake, environment, &checked.sources, collides)));
    findings.warnings = checked.warnings;
    findings.warnings.extend(workers::never_due(&whole, environment));
    findings.warnings.extend(secrets::unlisted(&checked.secrets, environment));
    findings.sources = checked.sources;
    findings.steps = checked.steps;
    findings.notes.extend(checked.notes.into_iter().map(|note| format!("{}: {note}", environment.key.name)));
    let name = known.stack();
    let (template, body, defaults) = (template.name, template.text, template.defaults());
    (Some(Stack { name, template, body, defaults, parameters, contents, document, user_data, obstacle }), findings)
}

/// What a template yields for what is known.
struct Made {
    parameters: Vec<Parameter>,
    user_data: String,
    /// The user data without the document that it includes.
    added: Node,
}

impl Made {
    fn of(template: &Template, known: &Known<'_>) -> Self {
        let parameters = parameters::of(known, template);
        let user_data = Chosen::of(template, &parameters, known).user_data();
        let added = user_data_node(known.environment, &user_data);
        Self { parameters, user_data, added }
    }
}

/// User data as a tree, without the document that it includes.
fn user_data_node(environment: &Environment, user_data: &str) -> Node {
    let (node, _) = desk::parse(&user_data_name(&environment.key.name).as_str().into(), user_data);
    let mut node = node.expect("the template's user data is YAML");
    if let desk::Value::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| key.name != "include");
    }
    node
}

/// Moves a mistake to its place in the files of the user: that of a property is in fleet.yaml. Drops a mistake in user
/// data if the document collides with user data.
fn of_documents(mut mistake: Mistake, environment: &Environment, sources: &Sources, collides: bool) -> Option<Mistake> {
    let name = &environment.key.name;
    let Some(place) = &mistake.place else { return Some(mistake) };
    if collides && *place.file == *user_data_name(name) {
        return None;
    }
    if *place.file != *properties_name(name) {
        return Some(mistake);
    }
    let line = sources.get(&place.file).and_then(|text| text.lines().nth(place.line - 1)).unwrap_or_default();
    let property = line.trim_start().split(':').next().unwrap_or_default();
    let place = environment.place(&format!("properties.{property}")).clone();
    mistake.place = Some(place);
    Some(mistake)
}

fn user_data_name(environment: &str) -> String {
    format!("user data of {environment}")
}

fn properties_name(environment: &str) -> String {
    format!("properties of {environment}")
}

/// Checks all layers, as an instance would have them.
async fn check(layers: &[Layer], document: &Document, added: &Node, environment: &Environment, directory: &Path) -> Checked {
    let name = &environment.key.name;
    let mut all = layers.to_vec();
    all.push(document.written.clone());
    if !environment.settings.properties.is_empty() {
        all.push(Layer { name: properties_name(name), content: desk::yaml(&document.properties).into_bytes() });
    }
    all.push(Layer { name: user_data_name(name), content: desk::yaml(added).into_bytes() });
    let beside = layers.iter().chain([&document.written]).filter_map(|layer| Path::new(&layer.name).parent());
    let mut places = vec![directory.to_owned()];
    for directory in beside {
        places.extend([Some(directory), directory.parent()].into_iter().flatten().map(std::path::absolute).filter_map(Result::ok));
    }
    places.dedup();
    desk::check(&all, &places).await
}
