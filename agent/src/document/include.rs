//! `include:` — documents from S3 and SSM, for what does not fit into the 16 KiB of user data.
//!
//! ```yaml
//! include:
//!   - s3://shop-config/boot.yaml.zst                         # in any form that user data may have
//!   - { s3: s3://shop-config/db.yaml, sha256: 9f86d081… }
//!   - ssm:/shop/boot                                         # or { ssm: /shop/boot, sha256: … }
//! ```
//!
//! An included document is a layer that comes directly before the document that includes it, in the order of the list,
//! so the including document overrides what it includes. It may include further documents. Includes are read before
//! anything is planned, so their locations cannot contain references.
//!
//! A document that cannot be read ends the boot, because a boot must not run with half of its document.

use std::fmt;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::aws::arn;
use crate::aws::fetch::Parameters;
use crate::aws::s3::{self, Objects, Source};
use crate::aws::{AwsError, ParameterValue};
use crate::digest::Sha256;
use crate::document::decode;
use crate::document::error::Mistake;
use crate::document::registry;
use crate::document::source::{Layers, SIZE_LIMIT};
use crate::document::tree::{Node, Value};
use crate::failure::Objection;
use crate::step::fields::OrMap;
use crate::text::{Place, Text};

/// How deep documents may include each other.
const DEPTH: usize = 4;

/// The key of the list in a document.
pub(crate) const KEY: &str = registry::INCLUDE;

/// An included document as it is written in the list.
type Written = OrMap<Text, Fields>;

/// A document in S3 or in an SSM parameter.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["s3"]}, {"required": ["ssm"]}]))]
pub(crate) struct Fields {
    /// Object in S3: `s3://BUCKET/KEY`.
    s3: Option<Text>,
    /// Name of an SSM parameter.
    ssm: Option<Text>,
    /// SHA-256 of the document, in hexadecimal or base64.
    sha256: Option<Text>,
}

/// A document to include.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Include {
    what: What,
    sha256: Option<Sha256>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Object(Source),
    Parameter(String),
}

/// In the form that users write, which also names the document in places.
impl fmt::Display for Include {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Object(source) => source.fmt(f),
            What::Parameter(name) => write!(f, "ssm:{name}"),
        }
    }
}

/// The JSON Schema of the list.
#[cfg(test)]
pub(crate) fn schema(generator: &mut schemars::SchemaGenerator) -> serde_json::Value {
    serde_json::json!({
        "type": ["array", "null"],
        "description": "Documents to include before this one: `s3://BUCKET/KEY`, `ssm:NAME`, or a map.",
        "items": { "anyOf": [{ "type": "string", "pattern": "^(s3://[^/]+/.|ssm:.)" }, Fields::json_schema(generator).to_value()] }
    })
}

/// Removes the list from a layer.
pub(crate) fn take(layer: &mut Node, mistakes: &mut Vec<Mistake>) -> Vec<Include> {
    let Value::Map(entries) = &mut layer.value else { return Vec::new() };
    let Some(at) = entries.iter().position(|(key, _)| key.name == KEY) else { return Vec::new() };
    let (_, list) = entries.remove(at);
    match &list.value {
        Value::Null => Vec::new(),
        Value::Sequence(items) => items.iter().filter_map(|item| read(item, mistakes)).collect(),
        _ => {
            let message = format!("`{KEY}` must be a list, not {}", list.value.describe());
            mistakes.push(Mistake::at(&list.place, message, "write it as in `include: [s3://BUCKET/KEY, ssm:/NAME]`"));
            Vec::new()
        }
    }
}

fn read(item: &Node, mistakes: &mut Vec<Mistake>) -> Option<Include> {
    let written: Written = decode::decode(item, mistakes)?;
    match Include::of(written, &item.place) {
        Ok(include) => Some(include),
        Err(objection) => {
            mistakes.push(Mistake::of(&item.place, objection));
            None
        }
    }
}

impl Include {
    fn of(written: Written, place: &Place) -> Result<Self, Objection> {
        let wrong = |message: &str, hint: &str| Err(Objection::new(message, hint));
        let (s3, ssm, sha256) = match written {
            OrMap::Plain(text) => match text.raw().strip_prefix("ssm:") {
                Some(name) => (None, Some(name.to_owned()), None),
                None => (Some(text.raw().to_owned()), None, None),
            },
            OrMap::Map(Fields { s3, ssm, sha256 }) => (s3.map(raw), ssm.map(raw), sha256.map(raw)),
        };
        if [&s3, &ssm, &sha256].into_iter().flatten().any(|text| text.contains("{{")) {
            return wrong("the location of an included document cannot contain references", "write the location itself");
        }
        let what = match (s3, ssm) {
            (Some(text), None) => match Source::parse(&text) {
                Ok(source @ Source::S3 { .. }) => What::Object(source),
                Ok(Source::Https(_)) => return wrong("documents can only be included from S3 and SSM", "upload it to one of them"),
                Err(objection) if text.starts_with("s3://") => return Err(objection),
                Err(_) => return wrong(&format!("`{text}` is not the location of a document"), "write s3://BUCKET/KEY or ssm:/NAME"),
            },
            (None, Some(name)) if !name.is_empty() => {
                arn::check_nothing_but_parameter(&name)?;
                What::Parameter(name)
            }
            (None, Some(_)) => return wrong("this does not name a parameter", "write ssm:/NAME"),
            _ => return wrong("an included document needs either `s3` or `ssm`", "give exactly one of the two"),
        };
        let sha256 = match sha256 {
            None => None,
            Some(text) => match Sha256::parse(&text) {
                Some(sha256) => Some(sha256),
                None => return wrong("`sha256` is not a SHA-256 digest", "write the 64 digits that `sha256sum FILE` prints"),
            },
        };
        Ok(Self { what, sha256, place: place.clone() })
    }
}

fn raw(text: Text) -> String {
    text.raw().to_owned()
}

/// Removes the lists from all layers, for callers that cannot read the documents named there. Returns a note for each
/// document.
pub(crate) fn set_aside(layers: &mut Layers) -> Vec<String> {
    let Layers { nodes, mistakes, .. } = layers;
    nodes.iter_mut().flat_map(|node| take(node, mistakes)).map(|include| format!("not read: {include}, from {}", include.place)).collect()
}

/// The mistake for a document that was not read: a plan made without it is incomplete.
pub(crate) fn unread(include: &Include) -> Mistake {
    let hint = "check the whole document with `ingot dry-run --live`";
    Mistake { may_come_later: true, ..Mistake::at(&include.place, format!("{include} is included, but was not read"), hint) }
}

/// Reads all documents that layers include; those of one depth are read concurrently.
///
/// # Errors
///
/// The first document that could not be read. Mistakes in documents, and digests that differ, are added to the layers.
pub(crate) async fn resolve(layers: &mut Layers, parameters: &Parameters, objects: &dyn Objects) -> Result<(), AwsError> {
    // Each layer, with the chain of documents that included it.
    let mut known: Vec<(Node, Vec<String>)> = std::mem::take(&mut layers.nodes).into_iter().map(|node| (node, Vec::new())).collect();
    loop {
        let lists: Vec<Vec<Include>> = known.iter_mut().map(|(node, _)| take(node, &mut layers.mistakes)).collect();
        if lists.iter().all(Vec::is_empty) {
            break;
        }
        let mut next = Vec::new();
        let wanted: Vec<Vec<Include>> = lists.into_iter().zip(&known).map(|(list, (_, chain))| allowed(list, chain, layers)).collect();
        let fetched = join_all(wanted.iter().flatten().map(|include| fetch(include, parameters, objects))).await;
        let mut fetched = fetched.into_iter();
        for ((node, chain), list) in known.into_iter().zip(wanted) {
            for include in list {
                let Some(content) = fetched.next().transpose()?.flatten() else {
                    let message = format!("{include} is larger than {} MiB", SIZE_LIMIT >> 20);
                    layers.mistakes.push(Mistake::at(&include.place, message, "move large content of it into a bundle"));
                    continue;
                };
                if let Some(sha256) = include.sha256
                    && Sha256::of(&content) != sha256
                {
                    let message = format!("the SHA-256 of {include} is {}, expected {sha256}", Sha256::of(&content));
                    layers.mistakes.push(Mistake::at(
                        &include.place,
                        message,
                        "correct `sha256`, or restore the document that it belongs to: another one has replaced it",
                    ));
                    continue;
                }
                let mut own = Layers::default();
                own.add_layer(&include.to_string(), &content);
                layers.sources.append(&mut own.sources);
                layers.mistakes.append(&mut own.mistakes);
                let chain: Vec<String> = chain.iter().cloned().chain([include.to_string()]).collect();
                next.extend(own.nodes.into_iter().map(|node| (node, chain.clone())));
            }
            next.push((node, chain));
        }
        known = next;
    }
    layers.nodes = known.into_iter().map(|(node, _)| node).collect();
    Ok(())
}

/// The items of a list that neither include themselves through the chain nor are nested too deep.
fn allowed(list: Vec<Include>, chain: &[String], layers: &mut Layers) -> Vec<Include> {
    let (mut allowed, way) = (Vec::new(), chain.join(" → "));
    for include in list {
        let name = include.to_string();
        if chain.contains(&name) {
            let message = format!("{name} includes itself: {way} → {name}");
            layers.mistakes.push(Mistake::at(&include.place, message, "remove one of the includes"));
        } else if chain.len() >= DEPTH {
            let message = format!("documents include each other more than {DEPTH} levels deep: {way} → {name}");
            layers.mistakes.push(Mistake::at(&include.place, message, "include it further up"));
        } else {
            allowed.push(include);
        }
    }
    allowed
}

/// The content of an included document; `None` if it is too large.
async fn fetch(include: &Include, parameters: &Parameters, objects: &dyn Objects) -> Result<Option<Vec<u8>>, AwsError> {
    match &include.what {
        What::Object(source) => s3::read(objects, source, SIZE_LIMIT as usize).await,
        What::Parameter(name) => Ok(Some(match parameters.get(name).await? {
            ParameterValue::Text(text) => text.expose().as_bytes().to_vec(),
            // SSM splits the value at commas, which YAML contains.
            ParameterValue::List(items) => items.iter().map(|item| item.expose()).collect::<Vec<_>>().join(",").into_bytes(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::document::BootDocument;
    use crate::fake::aws::{FakeObjects, FakeParameterStore};

    /// The addresses and values of the resulting document, or its mistakes.
    async fn resolved(text: &str, objects: &[(&str, &str)], parameters: &[(&str, &str)]) -> String {
        let store = FakeObjects::default();
        objects.iter().for_each(|(place, content)| store.put(place, content));
        let fake = parameters.iter().fold(FakeParameterStore::default(), |fake, (name, value)| fake.with(name, value));
        let mut layers = Layers::default();
        layers.add("doc", text);
        if let Err(error) = resolve(&mut layers, &Parameters::new(Rc::new(fake)), &store).await {
            return error.to_string();
        }
        let document = BootDocument::of(layers);
        match document.mistakes.is_empty() {
            true => document.values.to_json().to_string(),
            false => document
                .mistakes
                .iter()
                .map(|mistake| format!("{}: {}", mistake.place.as_ref().unwrap(), mistake.message))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    #[tokio::test]
    async fn comes_right_before_the_layer_that_includes_it() {
        let objects = [
            ("s3://shop/a", "include: [s3://shop/c]\nvalues: {x: a, y: a, z: a}\n"),
            ("s3://shop/b", "values: {y: b}\n"),
            ("s3://shop/c", "values: {x: c, z: c, w: c}\n"),
        ];
        let text = "version: 1\ninclude: [s3://shop/a, s3://shop/b, 'ssm:/p']\nvalues: {q: 1}\n";
        let said = resolved(text, &objects, &[("/p", "#ingot\nvalues: {q: p, y: p}\n")]).await;
        assert_eq!(said, r#"{"x":"a","z":"a","w":"c","y":"p","q":1}"#);
    }

    #[tokio::test]
    async fn a_comment_that_comes_near_another_program_is_a_comment() {
        for comment in ["# ingot", "#Ingot", "#include of the shop", "#! base", "## Template: shop", " #ingot"] {
            let base = format!("{comment}\n# base layer\nversion: 1\nvalues: {{x: a}}\n");
            let said = resolved("version: 1\ninclude: [s3://shop/a]\n", &[("s3://shop/a", &base)], &[]).await;
            assert_eq!(said, r#"{"x":"a"}"#, "{comment}");
        }
        let late = [("s3://shop/a", "values: {x: a}\n#ingot\n")];
        assert_eq!(resolved("version: 1\ninclude: [s3://shop/a]\n", &late, &[]).await, r#"{"x":"a"}"#);
    }

    #[tokio::test]
    async fn nothing_of_the_kind_is_no_mistake() {
        assert_eq!(resolved("version: 1\ninclude: []\n", &[], &[]).await, "{}");
        assert_eq!(resolved("version: 1\ninclude:\n", &[], &[]).await, "{}");
    }

    #[tokio::test]
    async fn circles_and_wells_are_named() {
        let circle = [("s3://shop/a", "include: [s3://shop/b]\n"), ("s3://shop/b", "include: [s3://shop/a]\n")];
        assert_eq!(
            resolved("version: 1\ninclude: [s3://shop/a]\n", &circle, &[]).await,
            "s3://shop/b:1:11: s3://shop/a includes itself: s3://shop/a → s3://shop/b → s3://shop/a"
        );
        let well: Vec<(String, String)> =
            (0..9).map(|depth| (format!("s3://shop/{depth}"), format!("include: [s3://shop/{}]\n", depth + 1))).collect();
        let well: Vec<(&str, &str)> = well.iter().map(|(place, text)| (place.as_str(), text.as_str())).collect();
        let said = resolved("version: 1\ninclude: [s3://shop/0]\n", &well, &[]).await;
        assert!(said.starts_with("s3://shop/3:1:11: documents include each other more than 4 levels deep: s3://shop/0 → "), "{said}");
    }

    #[tokio::test]
    async fn what_is_not_what_it_should_be_is_a_mistake() {
        let digest = Sha256::of(b"values: {x: 1}\n");
        let objects = [("s3://shop/a", "values: {x: 1}\n"), ("s3://shop/b", "#!/bin/sh\n"), ("s3://shop/c", "values: {x: [}\n")];
        let right = format!("version: 1\ninclude: [{{ s3: s3://shop/a, sha256: {digest} }}]\n");
        assert_eq!(resolved(&right, &objects, &[]).await, r#"{"x":1}"#);
        let wrong = format!("version: 1\ninclude: [{{ s3: s3://shop/a, sha256: {} }}]\n", Sha256::of(b""));
        assert!(resolved(&wrong, &objects, &[]).await.starts_with("doc:2:11: the SHA-256 of s3://shop/a is "));
        let broken = resolved("version: 1\ninclude: [s3://shop/c]\n", &objects, &[]).await;
        assert!(broken.starts_with("s3://shop/c:1:"), "{broken}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_ends_it() {
        let said = resolved("version: 1\ninclude: [s3://shop/gone]\n", &[], &[]).await;
        assert!(said.starts_with("GetObject s3://shop/gone: "), "{said}");
        let said = resolved("version: 1\ninclude: ['ssm:/gone']\n", &[], &[]).await;
        assert!(said.starts_with("GetParameters /gone: "), "{said}");
    }

    #[test]
    fn each_slip_has_its_words() {
        let mut layers = Layers::default();
        layers.add(
            "doc",
            "version: 1
include:
  - https://example.com/x
  - shop/x
  - s3://shop
  - { s3: s3://shop/x, ssm: /x }
  - { ssm: /x, sha256: 12 }
  - { ssm: /x, sha256: '12' }
  - 's3://shop/{{values.x}}'
  - 'ssm:'
  - { parameter: /x }
  - ssm:arn:aws:ssm:Frankfurt:123456789012:parameter/x
",
        );
        let notes = set_aside(&mut layers);
        assert!(notes.is_empty(), "{notes:?}");
        let said: Vec<String> =
            layers.mistakes.iter().map(|mistake| format!("{}: {}", mistake.place.as_ref().unwrap(), mistake.message)).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        doc:3:5: documents can only be included from S3 and SSM
        doc:4:5: `shop/x` is not the location of a document
        doc:5:5: `s3://shop` does not name a key in its bucket
        doc:6:5: an included document needs either `s3` or `ssm`
        doc:7:24: expected a string, found a number
        doc:8:5: `sha256` is not a SHA-256 digest
        doc:9:5: the location of an included document cannot contain references
        doc:10:5: this does not name a parameter
        doc:11:18: unknown key `parameter`
        doc:12:5: `arn:aws:ssm:Frankfurt:123456789012:parameter/x` is not the ARN of a parameter
        ");
    }
}
