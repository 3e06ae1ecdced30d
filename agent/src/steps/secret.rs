//! `secrets:` — a value from Secrets Manager or from SSM Parameter Store.
//!
//! ```yaml
//! secrets:
//!   db:     { secrets_manager: prod/shop/db }         # name or ARN; a JSON object: {{secrets.db.password}}
//!   pinned: { secrets_manager: prod/shop/old, version_stage: AWSPREVIOUS }   # or version_id
//!   token:  { parameter: /prod/shop/token }           # {{secrets.token}}; a StringList is a list
//!   flags:  { parameters_under: /prod/shop/flags/ }   # a tree: {{secrets.flags.checkout}}
//! ```
//!
//! Whatever of it a program prints is redacted, except the fields that `public:` names. A binary secret reads as base64;
//! `files:` with `encoding: base64` writes its bytes. Nothing is ever written here: files, credentials and commands are
//! what takes a secret out of memory.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use base64::Engine;

use crate::aws::{AwsError, ParameterValue, SecretRequest, SecretValue, SecretVersion};
use crate::failure::{Failure, Objection};
use crate::step::{AsksAws, Context, Outputs, Progress, Shape, Step};
use crate::template::TemplateError;
use crate::text::Text;

/// How long a throttled or unreachable service is asked again: a fleet that starts together shares 40 reads a second.
const PATIENCE: Duration = Duration::from_secs(600);

/// A value from Secrets Manager or SSM Parameter Store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct Secret {
    source: Source,
    /// What of it may be shown, by paths such as `user.name`.
    public: Vec<String>,
}

#[derive(Debug, Clone)]
enum Source {
    SecretsManager { id: Text, version: SecretVersion },
    Parameter(Text),
    ParametersUnder(Text),
}

impl Source {
    /// The name it has in AWS.
    fn name(&self) -> &Text {
        match self {
            Self::SecretsManager { id: name, .. } | Self::Parameter(name) | Self::ParametersUnder(name) => name,
        }
    }
}

/// A value from Secrets Manager or SSM Parameter Store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["secrets_manager"]}, {"required": ["parameter"]}, {"required": ["parameters_under"]}]))]
struct Fields {
    /// Name or ARN of a secret in Secrets Manager.
    secrets_manager: Option<Text>,
    /// Staging label of the version to read, such as `AWSPREVIOUS`. Default: `AWSCURRENT`.
    version_stage: Option<String>,
    /// ID of the version to read, instead of a staging label.
    version_id: Option<String>,
    /// Name of an SSM parameter. `NAME:3` is its version 3.
    parameter: Option<Text>,
    /// Path of a tree of SSM parameters.
    parameters_under: Option<Text>,
    /// Fields that programs may print, such as `username`, or `user.name` for one within another. All other values are
    /// redacted from their output.
    #[serde(default)]
    public: Vec<String>,
}

impl TryFrom<Fields> for Secret {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        let version = match (fields.version_stage, fields.version_id) {
            (Some(_), Some(_)) => return Err(Objection::new("`version_stage` and `version_id` exclude each other", "keep one")),
            (Some(stage), None) => SecretVersion::Stage(stage),
            (None, Some(id)) => SecretVersion::Id(id),
            (None, None) => SecretVersion::Current,
        };
        let pinned = version != SecretVersion::Current;
        let source = match (fields.secrets_manager, fields.parameter, fields.parameters_under) {
            (Some(id), None, None) => Source::SecretsManager { id, version },
            (None, Some(name), None) if !pinned => Source::Parameter(name),
            (None, None, Some(path)) if !pinned => Source::ParametersUnder(path),
            (None, Some(_), None) | (None, None, Some(_)) => {
                return Err(Objection::new(
                    "a version belongs to `secrets_manager`",
                    "append it to a parameter's name, as in /shop/token:3",
                ));
            }
            _ => {
                return Err(Objection::new(
                    "a secret has one source, `secrets_manager`, `parameter` or `parameters_under`",
                    "give just one of the three",
                ));
            }
        };
        Ok(Self { source, public: fields.public })
    }
}

/// A secret changes nothing on the machine.
#[derive(Debug)]
pub(crate) enum Change {}

impl std::fmt::Display for Change {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl Step for Secret {
    type Change = Change;
    type Error = SecretError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        match &self.source {
            Source::SecretsManager { id, version } => match version {
                SecretVersion::Current => format!("{} in Secrets Manager", shown(id)),
                SecretVersion::Stage(version) | SecretVersion::Id(version) => format!("{} in Secrets Manager, {version}", shown(id)),
            },
            Source::Parameter(name) => format!("{} in Parameter Store", shown(name)),
            Source::ParametersUnder(path) => format!("all under {} in Parameter Store", shown(path)),
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape { texts: vec![self.source.name()], offers: None, patience: PATIENCE, asks_aws: AsksAws::Always, ..Shape::default() }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        // Names are shown: in the plan, in errors, while they are waited for.
        let objection = || Objection {
            message: "the name of a secret cannot come from another secret".into(),
            hint: "make the name of values and facts".into(),
        };
        if secret { vec![objection()] } else { Vec::new() }
    }

    async fn inspect(&self, _cx: &Context<'_>) -> Result<Vec<Change>, SecretError> {
        Ok(Vec::new())
    }

    async fn apply(&self, change: Change, _cx: &Context<'_>) -> Result<(), SecretError> {
        match change {}
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, SecretError> {
        let name = |text| cx.render(text).map(|name| name.expose().to_owned()).map_err(SecretError::Name);
        let value = match &self.source {
            Source::SecretsManager { id, version } => {
                let request = SecretRequest { id: name(id)?, version: version.clone() };
                cx.asking(format!("for secret {}", request.id));
                let secret = cx.world.aws.secrets.get(&request).await.map_err(SecretError::Fetch)?;
                if let SecretValue::Binary(bytes) = &secret {
                    // `encoding: base64` writes the bytes, and a program may print what it reads.
                    cx.world.redactor.learn_bytes(bytes);
                }
                from_secret(secret)
            }
            Source::Parameter(parameter) => {
                let parameter = name(parameter)?;
                cx.asking(format!("for parameter {parameter}"));
                from_parameter(&cx.world.aws.parameters.get(&parameter).await.map_err(SecretError::Fetch)?)
            }
            Source::ParametersUnder(path) => {
                let path = name(path)?;
                cx.asking(format!("for the parameters under {path}"));
                let found = cx.world.aws.parameters.under(&path).await.map_err(SecretError::Fetch)?;
                if found.is_empty() {
                    return Err(SecretError::EmptyTree { path });
                }
                tree(&path, &found)?
            }
        };
        for field in self.public.iter().filter(|field| !is_there(&value, field)) {
            cx.progress(Progress::Warning(format!("`public` names `{field}`, which this secret does not have")));
        }
        cx.world.redactor.learn(&value, &self.public);
        Ok(Outputs { value, stamp: None })
    }
}

/// A JSON object is offered field by field; anything else as one string.
fn from_secret(secret: SecretValue) -> Value {
    match secret {
        SecretValue::Text(text) => match serde_json::from_str(text.expose()) {
            Ok(object @ Value::Object(_)) => object,
            _ => Value::from(text.expose()),
        },
        SecretValue::Binary(bytes) => Value::from(base64::engine::general_purpose::STANDARD.encode(&*bytes)),
    }
}

fn from_parameter(parameter: &ParameterValue) -> Value {
    match parameter {
        ParameterValue::Text(text) => Value::from(text.expose()),
        ParameterValue::List(items) => items.iter().map(|item| Value::from(item.expose())).collect(),
    }
}

/// Whether `value` has a field at this path.
fn is_there(value: &Value, path: &str) -> bool {
    path.split('.')
        .try_fold(value, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => value.get(name),
        })
        .is_some()
}

/// Nests `checkout/limit` as `{checkout: {limit: …}}`.
fn tree(path: &str, found: &[(String, ParameterValue)]) -> Result<Value, SecretError> {
    let mut root = Value::Object(serde_json::Map::new());
    for (name, parameter) in found {
        let conflict = || SecretError::LeafAndBranch { name: format!("{}/{name}", path.trim_end_matches('/')) };
        let mut at = &mut root;
        for segment in name.split('/').filter(|segment| !segment.is_empty()) {
            let Value::Object(fields) = at else { return Err(conflict()) };
            at = fields.entry(segment).or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        match at {
            Value::Object(fields) if fields.is_empty() => *at = from_parameter(parameter),
            _ => return Err(conflict()),
        }
    }
    Ok(root)
}

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot make the name of the secret")]
    Name(#[source] TemplateError),
    #[error(transparent)]
    Fetch(AwsError),
    #[error("there are no parameters under {path}")]
    EmptyTree { path: String },
    #[error("{name} is both a parameter and the path of others, so it cannot be offered as a tree")]
    LeafAndBranch { name: String },
}

impl Failure for SecretError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(source) => source.hint(),
            Self::Fetch(source) => source.hint(),
            Self::EmptyTree { path } => Some(format!("create a parameter under {path}, or correct the path in the document")),
            Self::LeafAndBranch { .. } => Some("rename one of the two parameters".into()),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Fetch(source) if source.is_transient())
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Fetch(source) if source.is_unreachable())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fetch(source) => source.retry_after(),
            _ => None,
        }
    }

    fn is_paced(&self) -> bool {
        matches!(self, Self::Fetch(source) if source.is_paced())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn offers_the_fields_of_a_json_object_and_nothing_else_as_json() {
        let text = |s: &str| from_secret(SecretValue::Text(s.into()));
        assert_eq!(text(r#"{"password":"p"}"#), json!({"password": "p"}));
        assert_eq!(text("[1]"), json!("[1]"));
        assert_eq!(text("12345"), json!("12345"));
        assert_eq!(text("hunter2"), json!("hunter2"));
    }

    /// Names are shown while they are waited for, and in errors.
    #[test]
    fn refuses_a_name_that_is_a_secret_itself() {
        let secret: Secret = serde_json::from_value(json!({"parameter": "/{{secrets.other}}"})).unwrap();
        assert_eq!(secret.objections("x", true).len(), 1);
        assert!(secret.objections("x", false).is_empty());
    }

    #[test]
    fn offers_a_binary_secret_as_base64() {
        assert_eq!(from_secret(SecretValue::Binary(vec![0, 255].into())), json!("AP8="));
    }

    #[test]
    fn nests_a_tree_by_its_slashes() {
        let value = |s: &str| ParameterValue::Text(s.into());
        let found = [("checkout".to_owned(), value("on")), ("limits/rate".to_owned(), value("9"))];
        assert_eq!(tree("/flags/", &found).unwrap(), json!({"checkout": "on", "limits": {"rate": "9"}}));
    }

    #[test]
    fn refuses_a_leaf_that_is_a_branch_too() {
        let value = |s: &str| ParameterValue::Text(s.into());
        for names in [["a", "a/b"], ["a/b", "a"]] {
            let found = names.map(|name| (name.to_owned(), value("x")));
            assert!(tree("/f", &found).unwrap_err().to_string().starts_with("/f/a"), "{names:?}");
        }
    }
}
