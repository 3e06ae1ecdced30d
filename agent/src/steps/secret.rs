//! `secrets:` — a value from Secrets Manager or from SSM Parameter Store.
//!
//! ```yaml
//! secrets:
//!   db:     { secrets_manager: prod/shop/db }         # name or ARN; a JSON object: {{secrets.db.password}}
//!   pinned: { secrets_manager: prod/shop/old, version_stage: AWSPREVIOUS }   # or version_id
//!   token:  { parameter: /prod/shop/token }           # {{secrets.token}}; a StringList is a list
//!   mail:   { parameter: /prod/shop/mail, json: true }   # an object in a parameter: {{secrets.mail.password}}
//!   # read from us-east-1:
//!   shared: { secrets_manager: "arn:aws:secretsmanager:us-east-1:210987654321:secret:db-a1b2c3" }
//!   flags:  { parameters_under: /prod/shop/flags/ }   # a tree: {{secrets.flags.checkout}}
//! ```
//!
//! Secret values are removed from the output of programs, except for the fields that `public:` names. A binary secret
//! is available as base64; `files:` with `encoding: base64` writes its bytes. This step itself never writes anything:
//! files, credentials and commands take secrets out of memory.

mod value;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::value::{LeafAndBranch, NotAnObject, from_parameter, from_secret, tree};
use crate::aws::{AwsError, SecretRequest, SecretValue, SecretVersion, arn};
use crate::failure::{Failure, Objection};
use crate::step::fields::one_of;
use crate::step::{AsksAws, Context, HasFields, Outputs, Progress, Shape, Step};
use crate::template::TemplateError;
use crate::text::Text;

pub(crate) use self::value::given;

/// How long a throttled or unreachable service is retried: a fleet that starts at once shares 40 reads per second.
const PATIENCE: Duration = Duration::from_secs(600);

/// A value from Secrets Manager or SSM Parameter Store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct Secret {
    source: Source,
    /// Whether the secret must be a JSON object, or is used as it is. By default, an object in Secrets Manager is
    /// available by its fields.
    json: Option<bool>,
    /// Fields that may be printed, as paths such as `user.name`.
    public: Vec<String>,
}

#[derive(Debug, Clone)]
enum Source {
    SecretsManager { id: Text, version: SecretVersion },
    Parameter(Text),
    ParametersUnder(Text),
}

impl Source {
    /// Its name in AWS.
    fn name(&self) -> &Text {
        match self {
            Self::SecretsManager { id: name, .. } | Self::Parameter(name) | Self::ParametersUnder(name) => name,
        }
    }

    /// Whether a known name is valid.
    fn check(&self, name: &str) -> Result<(), Objection> {
        match self {
            Self::SecretsManager { .. } => arn::check_secret(name),
            Self::Parameter(_) => arn::check_parameter(name),
            Self::ParametersUnder(_) if name.starts_with("arn:") => {
                Err(Objection::new("a tree of parameters has a path, not an ARN", "write the path alone, as in /prod/shop/"))
            }
            Self::ParametersUnder(_) => Ok(()),
        }
    }
}

impl Secret {
    /// Its name in AWS, and whether that is the name of a parameter.
    pub(crate) fn name(&self) -> (&Text, bool) {
        (self.source.name(), !matches!(self.source, Source::SecretsManager { .. }))
    }
}

/// A value from Secrets Manager or SSM Parameter Store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["secrets_manager"]}, {"required": ["parameter"]}, {"required": ["parameters_under"]}]))]
struct Fields {
    /// Name or ARN of a secret in Secrets Manager. An ARN may be of another region or account.
    secrets_manager: Option<Text>,
    /// Staging label of the version to read, such as `AWSPREVIOUS`. Default: `AWSCURRENT`.
    version_stage: Option<String>,
    /// ID of the version to read, instead of a staging label.
    version_id: Option<String>,
    /// Name or ARN of an SSM parameter. `NAME:3` is its version 3.
    parameter: Option<Text>,
    /// Path of a tree of SSM parameters.
    parameters_under: Option<Text>,
    /// Whether the fields of a JSON object are available; `true` requires one. Default: in Secrets Manager, not in SSM.
    json: Option<bool>,
    /// Fields that programs may print, such as `username`, or `user.name` for one within another. All other values are
    /// redacted from their output.
    #[serde(default)]
    public: Vec<String>,
}

impl TryFrom<Fields> for Secret {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        let version = match (fields.version_stage, fields.version_id) {
            (Some(_), Some(_)) => return Err(Objection::new("`version_stage` and `version_id` are mutually exclusive", "keep one")),
            (Some(stage), None) => SecretVersion::Stage(stage),
            (None, Some(id)) => SecretVersion::Id(id),
            (None, None) => SecretVersion::Current,
        };
        let pinned = version != SecretVersion::Current;
        let source = match (fields.secrets_manager, fields.parameter, fields.parameters_under) {
            (Some(id), None, None) => Source::SecretsManager { id, version },
            (None, Some(name), None) if !pinned => Source::Parameter(name),
            (None, None, Some(_)) if fields.json.is_some() => {
                return Err(Objection::new(
                    "`json` applies to one value, and this is a tree of them",
                    "make that parameter a separate secret",
                ));
            }
            (None, None, Some(path)) if !pinned => Source::ParametersUnder(path),
            (None, Some(_), None) | (None, None, Some(_)) => {
                return Err(Objection::new(
                    "a version belongs to `secrets_manager`",
                    "append it to a parameter's name, as in /shop/token:3",
                ));
            }
            (name, parameter, path) => {
                let given = [name, parameter, path].iter().any(Option::is_some);
                return Err(one_of(
                    "a secret",
                    given,
                    "`secrets_manager: prod/db`, `parameter: /prod/token` or `parameters_under: /prod/flags/`",
                    "secrets_manager, parameter and parameters_under",
                ));
            }
        };
        Ok(Self { source, json: fields.json, public: fields.public })
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
        let fields = match (&self.source, self.json) {
            (Source::ParametersUnder(_), _) | (_, Some(true)) => HasFields::Always,
            (_, Some(false)) => HasFields::Never("set `json: true` on it, or leave `json` out"),
            (Source::Parameter(_), None) => HasFields::Never("set `json: true` on it, if it holds a JSON object"),
            (Source::SecretsManager { .. }, None) => HasFields::Unknown,
        };
        Shape {
            texts: vec![self.source.name()],
            offers: None,
            fields,
            public: &self.public,
            patience: PATIENCE,
            asks_aws: AsksAws::Always,
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        // Names are printed: in the plan, in errors, and while ingot waits for them.
        let shown = secret.then(|| Objection {
            message: "the name of a secret cannot come from another secret".into(),
            hint: "build the name from values and facts".into(),
        });
        let name = self.source.name();
        let impossible = if name.is_plain() { self.source.check(name.raw()).err() } else { None };
        shown.into_iter().chain(impossible).collect()
    }

    async fn inspect(&self, _cx: &Context<'_>) -> Result<Vec<Change>, SecretError> {
        Ok(Vec::new())
    }

    async fn apply(&self, change: Change, _cx: &Context<'_>) -> Result<(), SecretError> {
        match change {}
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, SecretError> {
        let name = cx.render(self.source.name()).map_err(SecretError::Name)?.expose().to_owned();
        self.source.check(&name).map_err(SecretError::NoName)?;
        let value = match &self.source {
            Source::SecretsManager { version, .. } => {
                cx.asking(format!("for secret {name}"));
                let request = SecretRequest { id: name.clone(), version: version.clone() };
                let secret = cx.world.aws.secrets.get(&request).await.map_err(SecretError::Fetch)?;
                if let SecretValue::Binary(bytes) = &secret {
                    // `encoding: base64` writes the bytes, and a program may print what it reads.
                    cx.world.redactor.learn_bytes(bytes);
                }
                from_secret(secret, self.json)
            }
            Source::Parameter(_) => {
                cx.asking(format!("for parameter {name}"));
                from_parameter(&cx.world.aws.parameters.get(&name).await.map_err(SecretError::Fetch)?, self.json)
            }
            Source::ParametersUnder(_) => {
                cx.asking(format!("for the parameters under {name}"));
                let found = cx.world.aws.parameters.under(&name).await.map_err(SecretError::Fetch)?;
                if found.is_empty() {
                    return Err(SecretError::EmptyTree { path: name });
                }
                return Ok(self.learned(tree(&name, &found).map_err(SecretError::LeafAndBranch)?, cx));
            }
        };
        let value = value.map_err(|why| SecretError::NotAnObject { name, why })?;
        Ok(self.learned(value, cx))
    }
}

impl Secret {
    /// Registers a value for redaction, except the fields that `public:` names.
    fn learned(&self, value: Value, cx: &Context<'_>) -> Outputs {
        for field in self.public.iter().filter(|field| !is_there(&value, field)) {
            cx.progress(Progress::Warning(format!("`public` names `{field}`, which this secret does not have")));
        }
        cx.world.redactor.learn(&value, &self.public);
        Outputs { value, stamp: None }
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

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot render the name of the secret")]
    Name(#[source] TemplateError),
    #[error("{}", .0.message)]
    NoName(Objection),
    #[error(transparent)]
    Fetch(AwsError),
    #[error("no parameters are under {path}")]
    EmptyTree { path: String },
    #[error(transparent)]
    LeafAndBranch(LeafAndBranch),
    #[error("{name} is not a JSON object: {why}")]
    NotAnObject { name: String, why: NotAnObject },
}

impl Failure for SecretError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(source) => source.hint(),
            Self::Fetch(source) => source.hint(),
            Self::EmptyTree { path } => Some(format!("create a parameter under {path}, or correct the path in the document")),
            Self::NoName(objection) => Some(objection.hint.clone()),
            Self::LeafAndBranch(LeafAndBranch { leaf, .. }) => Some(format!("rename {leaf}, or read the two as separate secrets")),
            Self::NotAnObject { name, .. } => Some(format!("store a JSON object in {name}, or remove `json: true`")),
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

    /// Names are printed while ingot waits for them, and in errors.
    #[test]
    fn refuses_a_name_that_is_a_secret_itself() {
        let secret: Secret = serde_json::from_value(json!({"parameter": "/{{secrets.other}}"})).unwrap();
        assert_eq!(secret.objections("x", true).len(), 1);
        assert!(secret.objections("x", false).is_empty());
    }

    #[test]
    fn refuses_what_cannot_be_the_name_of_anything() {
        const ARN: &str = "arn:aws:ssm:us-east-1:123456789012:parameter/x";
        let objections = |fields: Value| serde_json::from_value::<Secret>(fields).unwrap().objections("x", false);
        assert!(objections(json!({"parameters_under": ARN}))[0].message.starts_with("a tree of parameters has a path"));
        assert!(objections(json!({"secrets_manager": ARN}))[0].message.contains("is not the ARN of a secret"));
        assert_eq!(objections(json!({"parameter": ARN})), []);
        let later: Secret = serde_json::from_value(json!({"secrets_manager": "arn:aws:ssm:{{values.region}}"})).unwrap();
        assert!(later.objections("x", false).is_empty() && later.source.check(ARN).is_err());
        let tree = serde_json::from_value::<Secret>(json!({"parameters_under": "/x", "json": true})).unwrap_err().to_string();
        assert!(tree.starts_with("`json` applies to one value"), "{tree}");
    }
}
