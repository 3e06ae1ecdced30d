//! The boot document of an environment: its file, the layers of the image, and the properties of fleet.yaml.

use std::path::{Path, PathBuf};

use ingot::desk::{self, Key, LARGEST_DOCUMENT, Layer, Node, Value, merge, parse};

use crate::files;
use crate::fleet::{Environment, Site};

/// A boot document as it would be uploaded.
#[derive(Debug)]
pub(crate) struct Document {
    /// As it was written.
    pub(crate) written: Layer,
    /// `properties`, as a layer.
    pub(crate) properties: Node,
    /// The document with the properties.
    pub(crate) content: String,
    pub(crate) sha256: String,
}

/// What was found of an environment's documents.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The layers of the image.
    pub(crate) layers: Vec<Layer>,
    pub(crate) document: Option<Document>,
    /// With the mistakes so far.
    pub(crate) site: Site<'a>,
}

/// Reads the files that an environment names. `directory` is that of fleet.yaml.
pub(super) fn find<'a>(environment: &'a Environment, directory: &Path) -> Found<'a> {
    let mut site = environment.site();
    let layers = layers(environment, directory, &mut site);
    let document = written(environment, directory, &mut site).map(|(path, layer)| made(environment, path, layer, &layers));
    let is_large = document.as_ref().is_some_and(|document| document.content.len() as u64 > LARGEST_DOCUMENT);
    if is_large {
        let message = format!("with its properties the document has more than {} MiB, the most that ingot reads", LARGEST_DOCUMENT >> 20);
        site.wrong("document", message, "move large parts of it into the release, or into a layer of the image");
    }
    Found { layers, document: document.filter(|_| !is_large), site }
}

fn layers(environment: &Environment, directory: &Path, site: &mut Site<'_>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (at, pattern) in environment.settings.layers.iter().enumerate() {
        let path = format!("layers.{at}");
        let found = match files::matching(directory, pattern) {
            Ok(found) => found,
            Err(why) => {
                site.wrong(&path, format!("`{pattern}` is not a valid pattern of paths: {why}"), "write a path such as boot/image/*.yaml");
                continue;
            }
        };
        if found.is_empty() {
            let hint = "correct the path, which is relative to the directory of fleet.yaml, or remove it";
            site.wrong(&path, format!("no file matches the layer `{pattern}`"), hint);
        }
        for file in found {
            match files::read(&file, LARGEST_DOCUMENT) {
                Ok(content) => layers.push(Layer { name: file.display().to_string(), content }),
                Err(why) => site.wrong(&path, format!("cannot read {}: {why}", file.display()), "make it readable, or remove it"),
            }
        }
    }
    layers
}

fn written<'a>(environment: &'a Environment, directory: &Path, site: &mut Site<'_>) -> Option<(&'a str, Layer)> {
    let Some(path) = &environment.settings.document else {
        site.missing("document", "add `document: boot/NAME.yaml`, the boot document of the environment");
        return None;
    };
    let file: PathBuf = directory.join(path);
    match files::read(&file, LARGEST_DOCUMENT) {
        Ok(content) if is_plain(path, &content) => Some((path, Layer { name: file.display().to_string(), content })),
        Ok(_) => {
            let hint = "write it as plain YAML that begins with `version: 1`";
            site.wrong("document", format!("`{path}` is not plain YAML, so properties cannot be added to it"), hint);
            None
        }
        Err(why) => {
            let hint = "correct the path, which is relative to the directory of fleet.yaml";
            site.wrong("document", format!("cannot read the document `{path}`: {why}"), hint);
            None
        }
    }
}

/// Whether a document is YAML by itself: not compressed, and not part of something else. Errors in the YAML are
/// reported by the check of all layers.
fn is_plain(name: &str, content: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content) else { return false };
    let is_of_another = text.lines().next().is_some_and(|first| first.starts_with("#cloud-config") || first.starts_with("#!"));
    let (node, mistakes) = parse(&name.into(), text);
    !is_of_another && (!mistakes.is_empty() || node.is_some_and(|node| matches!(node.value, Value::Map(_))))
}

fn made(environment: &Environment, path: &str, written: Layer, layers: &[Layer]) -> Document {
    let own = tree(path, &written.content);
    let mut whole = None;
    layers.iter().filter_map(|layer| tree(&layer.name, &layer.content)).chain(own.clone()).for_each(|node| over(&mut whole, node));
    let properties = properties(environment, whole.as_ref());
    let mut uploaded = own;
    over(&mut uploaded, properties.clone());
    let content = uploaded.as_ref().map(desk::yaml).unwrap_or_default();
    let sha256 = desk::sha256(content.as_bytes());
    Document { written, properties, content, sha256 }
}

/// A document as a tree. Syntax errors are reported by the check of all layers.
fn tree(name: &str, content: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(content).ok()?;
    parse(&name.into(), text).0.filter(|node| matches!(node.value, Value::Map(_)))
}

fn over(base: &mut Option<Node>, node: Node) {
    match base {
        Some(base) => merge(base, node),
        None => *base = Some(node),
    }
}

/// `properties` as a layer: as values, and as environment variables of each application that does not set them itself.
fn properties(environment: &Environment, whole: Option<&Node>) -> Node {
    let properties = &environment.settings.properties;
    let place = |name: &str| environment.place(&format!("properties.{name}")).clone();
    let map = |entries: Vec<(&str, Node)>| {
        let at = place("");
        let entries = entries.into_iter().map(|(name, node)| (Key { place: node.place.clone(), name: name.to_owned() }, node));
        Node { place: at, value: Value::Map(entries.collect()) }
    };
    let text = |name: &str, text: String| Node { place: place(name), value: Value::String(text) };
    if properties.is_empty() {
        return map(Vec::new());
    }
    let values = properties.iter().map(|(name, value)| (name.as_str(), text(name, value.clone()))).collect();
    let mut layer = vec![("values", map(vec![("properties", map(values))]))];
    let applications: Vec<(&str, Node)> = match whole.and_then(|whole| whole.get("applications")).map(|node| &node.value) {
        Some(Value::Map(applications)) => applications
            .iter()
            .filter(|(_, application)| matches!(application.value, Value::Map(_)))
            .map(|(key, application)| {
                let said = |name: &str| application.get("environment").is_some_and(|environment| environment.get(name).is_some());
                let variables = properties.keys().filter(|name| !said(name));
                let variables = variables.map(|name| (name.as_str(), text(name, format!("{{{{values.properties.{name}}}}}"))));
                (key.name.as_str(), map(vec![("environment", map(variables.collect()))]))
            })
            .collect(),
        _ => Vec::new(),
    };
    if !applications.is_empty() {
        layer.push(("applications", map(applications)));
    }
    map(layer)
}

impl Document {
    /// The document over the layers of the image, without what user data adds.
    pub(super) fn whole(&self, layers: &[Layer]) -> Node {
        let mut whole = Some(self.properties.clone());
        for layer in layers.iter().chain([&self.written]) {
            if let Some(node) = tree(&layer.name, &layer.content) {
                over(&mut whole, node);
            }
        }
        whole.expect("it begins with the properties")
    }
}
