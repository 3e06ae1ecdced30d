//! The sources of documents: layers in the image, user data, and files given on the command line.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Hasher;
use crate::document::encoding::{self, EncodingError, Part, Slip, UserData, WHOLE};
use crate::document::error::{Mistake, Sources};
use crate::document::registry::{self, write_out};
use crate::document::tree::{self, Key, Node, Value};
use crate::failure::{Explanation, Failure};
use crate::host::Files;
use crate::text::Place;

/// The directory of the image's layers.
pub(crate) const LAYERS: &str = "/etc/ingot/boot.d";

/// Layers and templates larger than this are refused. It is the same limit as for unwrapped user data.
pub(crate) const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// Whether a document begins with `#ingot`, as user data must.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Found,
    Missing,
    /// A comment was meant as the marker. This is a mistake only in user data.
    Misspelled(Mistake),
}

/// The layers of one boot, in order, and every mistake found so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layers {
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Sources,
    pub(crate) mistakes: Vec<Mistake>,
    /// Remarks about files in the layer directory that may have been meant as layers, but are not read.
    pub(crate) passed_over: Vec<String>,
    /// Whether parts of the layers are not YAML. On a dev box the rest is still read, without those parts.
    pub(crate) torn: Torn,
}

/// Whether documents are read beyond invalid YAML, and whether there was any.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    /// They are not: invalid YAML ends the reading.
    #[default]
    Refused,
    Whole,
    Incomplete,
}

impl Layers {
    /// SHA-256 of every layer with its name, in hexadecimal. Two boots with the same digest had the same layers.
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

    /// Reads every `*.yaml` of a directory, ordered by name, and records files with similar names.
    pub(crate) async fn add_directory(&mut self, directory: &Path, files: &dyn Files) {
        let names = match files.list(directory).await {
            Ok(names) => names,
            Err(error) => return self.unreadable(directory, &error),
        };
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let path = directory.join(name);
            if !name.ends_with(".yaml") {
                if is_nearly_a_layer(name) {
                    let path = path.display();
                    self.passed_over.push(format!("{path} is not read: a layer must be uncompressed, and its name must end in `.yaml`"));
                }
                continue;
            }
            match files.read(&path, SIZE_LIMIT).await {
                Ok(Some(bytes)) => self.add_bytes(&path.display().to_string(), &bytes),
                Ok(None) => {
                    let message = format!("{}: this layer is listed, but the file is missing", path.display());
                    let hint = "remove it if it is a broken symbolic link; names must be UTF-8";
                    self.mistakes.push(Mistake::of_a_file(message, Some(hint.into())));
                }
                Err(error) => self.unreadable(&path, &error),
            }
        }
    }

    /// The same for a directory that the user named, which must therefore exist.
    pub(crate) async fn add_named_directory(&mut self, directory: &Path, files: &dyn Files) {
        match files.stat(directory).await {
            Ok(None) => {
                let message = format!("the directory {} does not exist", directory.display());
                self.mistakes.push(Mistake::of_a_file(message, Some("correct `--layers`".into())));
            }
            _ => self.add_directory(directory, files).await,
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
        let (node, mistakes, is_torn) = match self.torn {
            Torn::Refused => {
                let (node, mistakes) = tree::parse(&file, text);
                (node, mistakes, false)
            }
            Torn::Whole | Torn::Incomplete => tree::parse_torn(&file, text),
        };
        self.mistakes.extend(mistakes);
        if is_torn {
            self.torn = Torn::Incomplete;
        }
        if let Some(node) = node {
            self.add_node(node);
        }
    }

    /// Empty layers, to be read on a dev box.
    pub(crate) fn of_a_desk() -> Self {
        Self { torn: Torn::Whole, ..Self::default() }
    }

    fn push(&mut self, mut node: Node) {
        write_out(&mut node);
        self.nodes.push(node);
    }

    fn add_node(&mut self, node: Node) {
        match node.value {
            Value::Map(_) => self.push(node),
            Value::Null => self.mistakes.push(empty(&node.place.file)),
            _ => {
                let message = format!("a boot document must be a map, not {}", node.value.describe());
                self.mistakes.push(Mistake::at(&node.place, message, "begin with `version: 1`"));
            }
        }
    }

    /// Adds the boot documents in user data. If the user data is for another program, which is not a mistake, returns
    /// what it is.
    pub(crate) fn add_user_data(&mut self, bytes: &[u8]) -> Option<&'static str> {
        match encoding::recognise(bytes) {
            Ok(UserData::Documents(parts)) => parts.iter().for_each(|part| self.add_part(&part.name, part)),
            Ok(UserData::CloudConfig(text)) => {
                if !self.add_cloud_config(WHOLE, &text) {
                    return Some("a #cloud-config without `ingot:`");
                }
            }
            Ok(UserData::Other { what }) => return Some(what),
            Err(error) => self.unreadable(Path::new(WHOLE), &error),
        }
        None
    }

    /// Adds a document that the user named: in any form of user data, or as plain YAML without `#ingot`. Anything else
    /// is a mistake, since it was meant to be a document. Returns whether the document has its marker, so that it could
    /// be used as user data.
    pub(crate) fn add_named(&mut self, name: &str, bytes: &[u8]) -> Marker {
        let not_a_document = |what: &str| {
            let hint = "give the boot document itself: YAML that begins with `version: 1`";
            Mistake::of_a_file(format!("{name}: this is {what}, not a boot document"), Some(hint.into()))
        };
        match encoding::recognise(bytes) {
            Ok(UserData::Documents(parts)) => {
                for part in &parts {
                    let own = part.name.replacen(WHOLE, name, 1);
                    match &part.slip {
                        Some(slip) if slip.only_unmarked => {
                            self.add_text(&own, &part.text);
                            return marker(&own, &part.text, slip);
                        }
                        _ => self.add_part(&own, part),
                    }
                }
            }
            Ok(UserData::CloudConfig(text)) => {
                if !self.add_cloud_config(name, &text) {
                    let hint = Some("put the boot document under a top-level `ingot:` key".into());
                    self.mistakes.push(Mistake::of_a_file(format!("{name}: this #cloud-config has no `ingot:`"), hint));
                }
            }
            Ok(UserData::Other { what }) => self.mistakes.push(not_a_document(what)),
            Err(EncodingError::Empty { .. }) => self.mistakes.push(empty(name)),
            Err(error) => self.unreadable(Path::new(name), &error),
        }
        Marker::Found
    }

    /// Adds a document that is a layer because of its location, such as one in `boot.d/` or an included one. Plain YAML
    /// is recognized by its keys, whatever its comments look like. Everything else is treated like a document that the
    /// user named.
    pub(crate) fn add_layer(&mut self, name: &str, bytes: &[u8]) {
        match encoding::plain(bytes) {
            Some(text) if has_keys(&text) || is_broken_with_keys(&text) => self.add_text(name, &text),
            _ => {
                self.add_named(name, bytes);
            }
        }
    }

    /// Adds a text that must contain a document.
    fn add_text(&mut self, name: &str, text: &str) {
        let before = (self.nodes.len(), self.mistakes.len());
        self.add(name, text);
        let says_nothing = self.nodes.get(before.0).is_none_or(|node| node.value == Value::Map(Vec::new()));
        if says_nothing && self.mistakes.len() == before.1 {
            self.mistakes.push(empty(name));
        }
    }

    /// Adds a part of user data. If it does not count as a document, adds the mistake and whatever can be read of the
    /// part, because its signals are sent.
    fn add_part(&mut self, name: &str, part: &Part) {
        let Some(slip) = &part.slip else { return self.add_text(name, &part.text) };
        let file = self.add_slip(name, &part.text, slip);
        if let (Some(node), mistakes) = tree::parse(&file, &part.text) {
            self.salvage(node, slip, mistakes);
        }
    }

    fn add_slip(&mut self, name: &str, text: &str, slip: &Slip) -> Arc<str> {
        let file: Arc<str> = name.into();
        self.sources.insert(file.clone(), text.into());
        let place = Place { file: file.clone(), line: slip.line, column: slip.column };
        self.mistakes.push(Mistake::of(&place, slip.objection.clone()));
        file
    }

    /// Adds what can be read of something that is not a document, if it is a map with a key of ingot's: `node`, or the
    /// value of the key that the slip is about, or the value of `ingot:`. Its includes are not read.
    fn salvage(&mut self, node: Node, slip: &Slip, mistakes: Vec<Mistake>) {
        let Value::Map(mut entries) = node.value else { return };
        let is_ours = |(key, _): &(Key, Node)| registry::top_level().any(|name| name == key.name);
        let about = |(key, _): &(Key, Node)| (key.place.line, key.place.column) == (slip.line, slip.column) || key.name == "ingot";
        if let Some(at) = entries.iter().position(|entry| about(entry) && !is_ours(entry)) {
            let Value::Map(below) = entries.swap_remove(at).1.value else { return };
            entries = below;
        }
        if entries.iter().any(is_ours) {
            entries.retain(|(key, _)| key.name != registry::INCLUDE);
            self.mistakes.extend(mistakes);
            self.push(Node { place: node.place, value: Value::Map(entries) });
        }
    }

    /// Adds the map under `ingot:`. Returns whether there is such a map, or something was meant as one. YAML that does
    /// not parse counts if it may contain one.
    fn add_cloud_config(&mut self, name: &str, text: &str) -> bool {
        let file: Arc<str> = name.into();
        let (node, mistakes) = tree::parse(&file, text);
        match node.as_ref().and_then(|node| node.get("ingot")) {
            Some(document) => {
                self.sources.insert(file, text.into());
                self.mistakes.extend(mistakes);
                match &document.value {
                    Value::Map(entries) if entries.is_empty() => self.mistakes.push(empty(name)),
                    _ => self.add_node(document.clone()),
                }
                true
            }
            // Other mistakes in a cloud-config are reported by cloud-init.
            None => match encoding::in_cloud_config(text) {
                Some(slip) => {
                    self.add_slip(name, text, &slip);
                    match node {
                        Some(node) => self.salvage(node, &slip, Vec::new()),
                        None => self.mistakes.extend(mistakes),
                    }
                    true
                }
                None => false,
            },
        }
    }
}

/// Whether a text without the marker has a misspelled one.
fn marker(name: &str, text: &str, slip: &Slip) -> Marker {
    let is_comment = text.lines().nth(slip.line - 1).is_some_and(|line| line.trim_start().starts_with('#'));
    if !is_comment {
        return Marker::Missing;
    }
    let place = Place { file: name.into(), line: slip.line, column: slip.column };
    let message = format!("{}, so this document is refused as user data", slip.objection.message);
    Marker::Misspelled(Mistake::at(&place, message, slip.objection.hint.clone()))
}

/// Whether a text is a map with a key of ingot's.
fn has_keys(text: &str) -> bool {
    match tree::parse(&Arc::from(""), text).0.map(|node| node.value) {
        Some(Value::Map(entries)) => entries.iter().any(|(key, _)| registry::top_level().any(|name| name == key.name)),
        _ => false,
    }
}

/// Whether a text is not quite YAML and has a key of ingot's at the start of a line. A script with an interpreter does
/// not count.
fn is_broken_with_keys(text: &str) -> bool {
    let is_key = |line: &str| registry::top_level().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
    !text.starts_with("#!/") && text.lines().any(is_key) && tree::parse(&Arc::from(""), text).0.is_none()
}

/// Whether a file name resembles that of a layer. `10.yaml.off` and `10.yaml~` were disabled on purpose.
fn is_nearly_a_layer(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = [".gz", ".zst", ".txt"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    name.ends_with(".yml") || name.ends_with(".yaml")
}

/// The mistake of an empty document.
fn empty(name: &str) -> Mistake {
    Mistake::of_a_file(format!("{name}: this document is empty"), Some("begin with `version: 1`".into()))
}

/// The text of template files, by the path that the document names.
pub(crate) type TemplateTexts = BTreeMap<PathBuf, Result<Arc<str>, Option<Explanation>>>;

/// Reads template files. `Err(None)` for one that does not exist.
///
/// `beside` holds the directories of the documents on a dev box: there, `templates/NAME` in one of them replaces the
/// image's `/etc/ingot/templates/NAME`.
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
