//! The documents that the laws are tested with: all of `tests/documents/`, with their templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::document::BootDocument;
use crate::document::source::{self, Layers};
use crate::host::Files;
use crate::host::files::DiskFiles;
use crate::plan::Plan;
use crate::template::TEMPLATES;

const LIMIT: u64 = 1 << 20;

/// A boot document, and the templates of its image.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub(super) name: String,
    pub(super) text: String,
    /// The document as plain data, for laws that need to look into it.
    pub(super) tree: Value,
    /// Contents by path.
    pub(super) templates: BTreeMap<String, String>,
}

/// Every example in `tests/documents/`.
pub(super) async fn examples() -> Vec<Example> {
    let files = below("").await;
    let in_image = |(path, text): (PathBuf, String)| (Path::new(TEMPLATES).join(name_of(&path)).display().to_string(), text);
    let templates: BTreeMap<String, String> = below("templates").await.into_iter().map(in_image).collect();
    let example = |(path, text): (PathBuf, String)| Example { name: name_of(&path), templates: templates.clone(), ..Example::of(&text) };
    let examples: Vec<Example> = files.into_iter().map(example).collect();
    assert!(examples.len() >= 6, "examples are missing: {examples:?}");
    examples
}

/// The files in a subdirectory of `tests/documents/`.
pub(super) async fn below(directory: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/documents").join(directory);
    let disk = DiskFiles::new(None);
    let mut found = Vec::new();
    for name in disk.list(&directory).await.unwrap() {
        if name.ends_with(".yaml") || name.ends_with(".hbs") {
            let path = directory.join(name);
            let bytes = disk.read(&path, LIMIT).await.unwrap().unwrap();
            found.push((path, String::from_utf8(bytes.to_vec()).unwrap()));
        }
    }
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

impl Example {
    /// A document of its own, for a law that needs a failure.
    pub(super) fn of(text: &str) -> Self {
        let tree = serde_yaml::from_str(text).unwrap();
        Self { name: "a document of its own".into(), text: text.to_owned(), tree, templates: BTreeMap::new() }
    }

    /// The plan, made as in a boot: templates are read from the machine.
    pub(super) async fn plan(&self, files: &dyn Files) -> Plan {
        let document = self.document();
        let texts = source::read_templates(&document.template_paths(), &[], files).await;
        Plan::compile(document, &texts).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(super) fn document(&self) -> BootDocument {
        let mut layers = Layers::default();
        layers.add(&self.name, &self.text);
        BootDocument::of(layers)
    }

    /// Keys and fields of all steps of one kind.
    pub(super) fn steps(&self, kind: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.tree[kind].as_object().into_iter().flatten()
    }

    /// A field of a step, by the step's kind and key.
    pub(super) fn field(&self, kind: &str, key: &str, field: &str) -> Option<&str> {
        self.tree[kind][key][field].as_str()
    }

    /// The files that a service reads, from the addresses in its `field`.
    pub(super) fn files_of(&self, service: &str, field: &str) -> Vec<String> {
        let addresses = self.tree["services"][service][field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let paths = addresses.filter_map(|address| match address.split_once('.')? {
            ("files", path) => Some(path.to_owned()),
            ("credentials", name) => Some(format!("/run/credstore/{name}")),
            _ => None,
        });
        paths.collect()
    }

    /// Every program that the document runs.
    pub(super) fn programs(&self) -> Vec<String> {
        let commands = self.steps("commands").map(|(_, step)| &step["run"][0]);
        let checks = self.steps("files").map(|(_, step)| &step["check"][0]);
        let probes = self.steps("services").map(|(_, step)| &step["ready"]["exec"][0]);
        commands.chain(checks).chain(probes).filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
