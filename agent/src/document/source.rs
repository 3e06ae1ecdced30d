//! Where documents come from: layers in the image, user data, files given on the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Hasher;
use crate::document::encoding::{self, UserData};
use crate::document::error::{Mistake, Sources};
use crate::document::tree::{self, Node, Value};
use crate::failure::{Explanation, Failure};
use crate::host::Files;

/// Where an image keeps its layers.
pub(crate) const LAYERS: &str = "/etc/ingot/boot.d";

/// Layers and templates larger than this are refused: the same bound as for unwrapped user data.
pub(crate) const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// The layers of one boot, in order, and every mistake met so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layers {
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Sources,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Layers {
    /// SHA-256 of every layer with its name, in hexadecimal: two boots with the same one were told the same.
    pub(crate) fn digest(&self) -> String {
        let mut digest = Hasher::new();
        for (name, text) in &self.sources {
            for part in [name, text] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part.as_bytes());
            }
        }
        digest.finish().to_string()
    }

    /// Reads every `*.yaml` of a directory, by name.
    pub(crate) async fn add_directory(&mut self, directory: &Path, files: &dyn Files) {
        let names = match files.list(directory).await {
            Ok(names) => names,
            Err(error) => return self.unreadable(directory, &error),
        };
        for name in names.iter().filter(|name| name.ends_with(".yaml") && !name.starts_with('.')) {
            let path = directory.join(name);
            match files.read(&path, SIZE_LIMIT).await {
                Ok(Some(bytes)) => self.add_bytes(&path.display().to_string(), &bytes),
                Ok(None) => {}
                Err(error) => self.unreadable(&path, &error),
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &dyn Failure) {
        let Explanation { message, causes, hint, .. } = Explanation::of(error);
        let message = std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ");
        self.mistakes.push(Mistake::of_a_file(format!("{}: {message}", path.display()), hint));
    }

    fn add_bytes(&mut self, name: &str, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.add(name, text),
            Err(error) => {
                let message = format!("{name}: this is not UTF-8 text, from byte {} on", error.valid_up_to());
                self.mistakes.push(Mistake::of_a_file(message, Some("save it as UTF-8".into())));
            }
        }
    }

    /// Adds one layer.
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        let file: Arc<str> = name.into();
        self.sources.insert(file.clone(), text.into());
        let (node, mistakes) = tree::parse(&file, text);
        self.mistakes.extend(mistakes);
        if let Some(node) = node {
            self.add_node(node);
        }
    }

    fn add_node(&mut self, node: Node) {
        if matches!(node.value, Value::Map(_)) {
            self.nodes.push(node);
        } else {
            let message = format!("a boot document is a map, and this is {}", node.describe());
            self.mistakes.push(Mistake::at(&node.place, message, "begin with `version: 1`"));
        }
    }

    /// Adds what user data holds of boot documents. If it holds none, that is no mistake, and the answer is what it is
    /// instead.
    pub(crate) fn add_user_data(&mut self, bytes: &[u8]) -> Option<&'static str> {
        match encoding::recognise(bytes) {
            Ok(UserData::Documents(parts)) => parts.iter().for_each(|part| self.add(&part.name, &part.text)),
            Ok(UserData::CloudConfig(text)) => {
                if !self.add_cloud_config("user data", &text) {
                    return Some("a #cloud-config without `ingot:`");
                }
            }
            Ok(UserData::Other { what }) => return Some(what),
            Err(error) => self.unreadable(Path::new("user data"), &error),
        }
        None
    }

    /// Adds a document that somebody named: in any form of user data, or as plain YAML without `#ingot`. Anything else is
    /// a mistake, since it was meant to be a document.
    pub(crate) fn add_named(&mut self, name: &str, bytes: &[u8]) {
        let before = (self.nodes.len(), self.mistakes.len());
        match encoding::recognise(bytes) {
            Ok(UserData::Documents(parts)) => {
                for (index, part) in parts.iter().enumerate() {
                    self.add(&if parts.len() == 1 { name.to_owned() } else { format!("{name}, part {}", index + 1) }, &part.text);
                }
            }
            Ok(UserData::CloudConfig(text)) => {
                if !self.add_cloud_config(name, &text) {
                    let hint = Some("put the boot document under a top-level `ingot:` key".into());
                    self.mistakes.push(Mistake::of_a_file(format!("{name}: this #cloud-config has no `ingot:`"), hint));
                }
            }
            Ok(UserData::Other { .. }) if bytes.starts_with(b"#!") => {
                let hint = Some("give the boot document itself: YAML that begins with `version: 1`".into());
                self.mistakes.push(Mistake::of_a_file(format!("{name}: this is a script, not a boot document"), hint));
            }
            Ok(UserData::Other { .. }) => self.add_bytes(name, bytes),
            Err(error) => self.unreadable(Path::new(name), &error),
        }
        if self.nodes.len() == before.0 && self.mistakes.len() == before.1 {
            let hint = Some("begin with `version: 1`".into());
            self.mistakes.push(Mistake::of_a_file(format!("{name}: this document is empty"), hint));
        }
    }

    /// Adds the map under `ingot:`. Whether there is one; YAML that does not parse counts, for it may hold one.
    fn add_cloud_config(&mut self, name: &str, text: &str) -> bool {
        let file: Arc<str> = name.into();
        let (node, mistakes) = tree::parse(&file, text);
        let document = node.as_ref().and_then(|node| node.get("ingot"));
        // What is wrong outside `ingot:` is cloud-init's to say, unless the whole cannot be read.
        let ours = document.is_some() || (node.is_none() && text.lines().any(|line| line.trim_end().starts_with("ingot:")));
        if ours {
            self.sources.insert(file, text.into());
            self.mistakes.extend(mistakes);
        }
        if let Some(document) = document {
            self.add_node(document.clone());
        }
        ours
    }
}

/// The text of template files by the path that the document names.
pub(crate) type TemplateTexts = BTreeMap<PathBuf, Result<Arc<str>, Option<Explanation>>>;

/// Reads template files. `None` for one that is not there.
///
/// `beside` are the directories of documents on a dev box: there, `templates/NAME` in one of them stands in for
/// `/etc/ingot/templates/NAME` of the image.
pub(crate) async fn read_templates(paths: &[PathBuf], beside: &[PathBuf], files: &dyn Files) -> TemplateTexts {
    let mut texts = TemplateTexts::new();
    for path in paths {
        let in_image = path.strip_prefix(crate::template::TEMPLATES).ok();
        let candidates = in_image.into_iter().flat_map(|name| beside.iter().map(move |directory| directory.join("templates").join(name)));
        let mut found = Err(None);
        for candidate in candidates.chain([path.clone()]) {
            match files.read(&candidate, SIZE_LIMIT).await {
                Ok(None) => continue,
                Ok(Some(bytes)) => {
                    found = match std::str::from_utf8(&bytes) {
                        Ok(text) => Ok(text.into()),
                        Err(_) => Err(Some(Explanation::new("it is not UTF-8 text", Some("save it as UTF-8".into())))),
                    };
                }
                Err(error) => found = Err(Some(Explanation::of(&error))),
            }
            break;
        }
        texts.insert(path.clone(), found);
    }
    texts
}
