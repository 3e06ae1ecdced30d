//! Secrets that are easy to recognize and hard to hide: each has two lines, and contains quotes, a backslash, a `$` and
//! non-ASCII letters, with its mark and name between any two of them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::address::Usage;
use crate::aws::{SecretValue, SecretVersion};
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::laws::example::Example;
use crate::plan::Plan;
use crate::step::Known;
use crate::template::Template;

/// Occurs in every secret, many times, and nowhere else.
pub(super) const MARK: &str = "s3cr3t";

/// A secret of the given name.
pub(super) fn value(name: &str) -> String {
    let part = format!("{MARK}-{name}");
    format!("{part}\"{part}'{part}$HOME-{part}\\{part}`ünï€{part}\n{part} of the second line")
}

/// Forms in which a secret may appear that do not contain [`MARK`].
pub(super) fn encoded(secret: &str) -> Vec<String> {
    std::iter::once(secret).chain(secret.lines()).map(|text| STANDARD.encode(text)).collect()
}

/// The mark as it appears in a secret encoded by [`spelled`]: every remnant contains one of these.
pub(super) fn encoded_marks() -> Vec<String> {
    let percent = |lower: bool| MARK.bytes().map(|byte| if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") }).collect();
    let unicode = MARK.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    // The part of the mark's base64 form that does not depend on its neighbors, for each of three alignments.
    let packed = (0..3).map(|before: usize| {
        let whole = STANDARD_NO_PAD.encode([&vec![b'.'; before][..], MARK.as_bytes()].concat());
        whole[(before * 8).div_ceil(6)..(before + MARK.len()) * 8 / 6].to_owned()
    });
    [percent(true), percent(false), unicode, hex(MARK), hex(MARK).to_uppercase()].into_iter().chain(packed).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret as programs encode it.
pub(super) fn spelled(secret: &str) -> Vec<String> {
    let every = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let unicode = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let mut all = vec![form(secret), every(secret), every(secret).to_uppercase(), unicode(secret), every(&unicode(secret))];
    all.extend([hex(secret), hex(secret).to_uppercase(), hex(&format!("user:{secret}"))]);
    for before in ["", "a", "ab", "user:"] {
        let whole = format!("{before}{secret}");
        all.extend([STANDARD.encode(&whole), STANDARD_NO_PAD.encode(&whole), URL_SAFE.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)]);
    }
    all
}

/// AWS with a secret for everything that a plan needs, in the shape that the plan uses.
pub(super) struct Invented {
    pub(super) secrets: FakeSecretsManager,
    pub(super) parameters: FakeParameterStore,
    /// Every secret value.
    pub(super) values: Vec<String>,
}

impl Invented {
    /// `known` holds the facts and the values of the document.
    pub(super) fn of(example: &Example, plan: &Plan, known: &Known) -> Self {
        let mut invented = Self { secrets: FakeSecretsManager::default(), parameters: FakeParameterStore::default(), values: Vec::new() };
        let mut parts = parts(plan);
        for (_, database) in example.steps("databases") {
            // A login needs both, even if the document does not refer to them.
            if let Some(name) = database["credentials"].as_str().and_then(|address| address.strip_prefix("secrets.")) {
                parts.entry(name).or_default().extend(["username", "password"].map(|field| vec![field.to_owned()]));
            }
        }
        for (name, step) in example.steps("secrets") {
            let parts = parts.get(name.as_str()).cloned().unwrap_or_default();
            let rendered = |field: &str| step[field].as_str().and_then(|text| rendered(text, known));
            if let Some(id) = rendered("secrets_manager") {
                let version = match (step["version_stage"].as_str(), step["version_id"].as_str()) {
                    (Some(stage), _) => SecretVersion::Stage(stage.into()),
                    (_, Some(id)) => SecretVersion::Id(id.into()),
                    _ => SecretVersion::Current,
                };
                invented.add_secret(name, &id, version, &parts, is_binary(example, name));
            } else if let Some(parameter) = rendered("parameter") {
                let value = match step["json"].as_bool() {
                    Some(true) => invented.object(name, &parts),
                    _ => invented.value(name),
                };
                invented.parameters = invented.parameters.with(&parameter, &value);
            } else if let Some(path) = rendered("parameters_under") {
                let parts = if parts.is_empty() { BTreeSet::from([vec!["flag".to_owned()]]) } else { parts };
                for part in parts {
                    let value = invented.value(&format!("{name}.{}", part.join(".")));
                    let parameter = format!("{}/{}", path.trim_end_matches('/'), part.join("/"));
                    invented.parameters = invented.parameters.with(&parameter, &value);
                }
            }
        }
        for (_, step) in example.steps("bundles") {
            if let Some(parameter) = step["parameter"].as_str().and_then(|text| rendered(text, known)) {
                // A location is not a secret.
                invented.parameters = invented.parameters.with(&parameter, "s3://shop-releases/shop.tar.gz");
            }
        }
        invented
    }

    fn value(&mut self, name: &str) -> String {
        self.values.push(value(name));
        value(name)
    }

    /// A JSON object with these parts.
    fn object(&mut self, name: &str, parts: &BTreeSet<Vec<String>>) -> String {
        let mut object = json!({});
        for part in parts {
            let slot = part.iter().fold(&mut object, |at, segment| &mut at[segment]);
            *slot = Value::from(self.value(&format!("{name}.{}", part.join("."))));
        }
        object.to_string()
    }

    fn add_secret(&mut self, name: &str, id: &str, version: SecretVersion, parts: &BTreeSet<Vec<String>>, binary: bool) {
        let secret = if binary {
            let bytes = [b"\x00\xff", self.value(name).as_bytes(), b"\x80\n"].concat();
            self.values.push(STANDARD.encode(&bytes));
            SecretValue::Binary(bytes.into())
        } else if parts.is_empty() {
            SecretValue::Text(self.value(name).into())
        } else {
            SecretValue::Text(self.object(name, parts).into())
        };
        self.secrets = std::mem::take(&mut self.secrets).with_version(id, version, secret);
    }
}

/// The fields that a plan uses of each secret.
fn parts(plan: &Plan) -> BTreeMap<&str, BTreeSet<Vec<String>>> {
    let mut parts: BTreeMap<&str, BTreeSet<Vec<String>>> = BTreeMap::new();
    for reference in plan.unknowns() {
        if let [root, name, part @ ..] = reference.segments.as_slice()
            && root == "secrets"
            && !part.is_empty()
            && reference.usage != Usage::Tested
        {
            parts.entry(name).or_default().insert(part.to_vec());
        }
    }
    parts
}

/// Whether a file decodes the secret as base64.
fn is_binary(example: &Example, name: &str) -> bool {
    let used = format!("{{{{secrets.{name}}}}}");
    example
        .steps("files")
        .any(|(_, file)| file["encoding"] == "base64" && file["content"].as_str().is_some_and(|text| text.contains(&used)))
}

/// A string of a document, rendered with facts and values; `None` if it refers to anything else.
pub(super) fn rendered(text: &str, known: &Known) -> Option<String> {
    let template = Template::parse(text).unwrap();
    Some(template.render(&known.scope(template.references())).ok()?.expose().to_owned())
}
