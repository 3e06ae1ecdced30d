//! Why a template cannot be parsed or rendered.

use super::helpers::Helper;
use super::position::Position;
use super::quote::TOO_LARGE_FOR_TOML;
use super::tree::BLOCKS;
use crate::failure::{Failure, nearest};

/// Why a template cannot be parsed or rendered. Holds paths and types, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("{reason}")]
    Syntax { reason: String, hint: Option<String>, position: Position },

    #[error("partials and decorators (`{{{{> …}}}}`, `{{{{* …}}}}`) are not supported")]
    Unsupported { position: Position },

    #[error("`{name}` is not a helper")]
    UnknownHelper { name: String, nearest: Option<&'static str>, position: Position },

    #[error("`{helper}` {needs}")]
    Arguments { helper: String, needs: String, position: Position },

    #[error("`{written}` {reason}")]
    Path { written: String, reason: &'static str, hint: &'static str, position: Position },

    #[error("{path} is missing")]
    Missing { path: String, nearest: Option<String>, position: Position },

    #[error("{path} is missing: {whole} {is}")]
    NoFields { path: String, whole: String, is: &'static str, position: Position },

    #[error("{path} is {found}, but {needs}")]
    WrongType { path: String, found: &'static str, needs: String, position: Position },

    #[error("{path} cannot be written by `{helper}`: it {reason}")]
    Unwritable { path: String, helper: &'static str, reason: &'static str, hint: Option<&'static str>, position: Position },

    #[error("the result of this template {what}")]
    TooLarge { what: String, position: Position },
}

/// Helpers and blocks of other template languages: their names, and what to write.
const ELSEWHERE: [(&[&str], &str); 14] = [
    (&["for", "foreach", "loop", "range"], "write {{#each LIST as |ITEM|}} … {{/each}}"),
    (&["elif", "elsif", "elseif"], "write {{else if VALUE}}"),
    (&["endif"], "write {{/if}}"),
    (&["endfor"], "write {{/each}}"),
    (&["len", "length", "count", "size"], "write the number itself: no helper counts"),
    (&["first", "head"], "write {{lookup LIST 0}}"),
    (&["upper", "uppercase", "upcase", "lower", "lowercase", "downcase", "capitalize", "title"], LETTERS),
    (&["quote", "escape"], "write the helper of the file's format: json, toml, yaml, shell, env, ini, url, xml or properties"),
    (&["b64enc", "b64encode", "base64encode", "base64_encode"], "write `base64`"),
    (&["b64dec", "b64decode", "base64decode", "base64_decode"], "write `unbase64`"),
    (&["tojson", "to_json", "jsonencode"], "write `json`"),
    (&["toyaml", "to_yaml", "yamlencode"], "write `yaml`"),
    (&["coalesce"], "write `default`"),
    (&["exists", "defined", "isset"], "write `has`"),
];

const LETTERS: &str = "write the text as it is to be printed: no helper changes its letters";

fn elsewhere(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    ELSEWHERE.iter().find(|(names, _)| names.contains(&&*name)).map(|(_, hint)| (*hint).to_owned())
}

impl TemplateError {
    pub(super) fn unknown_helper(name: &str, position: Position) -> Self {
        Self::UnknownHelper { name: name.to_owned(), nearest: nearest(name, Helper::names().chain(BLOCKS)), position }
    }

    /// `what` completes a sentence whose subject is the rendered text.
    pub(crate) fn too_large(what: String) -> Self {
        Self::TooLarge { what, position: Position::START }
    }

    /// The document value that is wrong, in which case other unknown values do not matter.
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::WrongType { path, .. } | Self::Unwritable { path, .. } if path.starts_with("values.") => Some(path),
            _ => None,
        }
    }

    /// The position in the source of the template.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Syntax { position, .. }
            | Self::Unsupported { position }
            | Self::UnknownHelper { position, .. }
            | Self::Arguments { position, .. }
            | Self::Path { position, .. }
            | Self::Missing { position, .. }
            | Self::NoFields { position, .. }
            | Self::WrongType { position, .. }
            | Self::Unwritable { position, .. }
            | Self::TooLarge { position, .. } => *position,
        }
    }
}

impl Failure for TemplateError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { hint: Some(hint), .. } => hint.clone(),
            Self::Syntax { .. } => r"close every `{{` and every block; to print `{{` itself, write `\{{`".into(),
            Self::Unsupported { .. } => "write the text out here, or iterate over a list with {{#each}}".into(),
            Self::UnknownHelper { name, .. } if elsewhere(name).is_some() => elsewhere(name).unwrap_or_default(),
            Self::UnknownHelper { name, .. } if BLOCKS.contains(&name.as_str()) => {
                format!("write the block {{{{#{name} …}}}} … {{{{/{name}}}}}")
            }
            Self::UnknownHelper { nearest: Some(nearest), .. } if BLOCKS.contains(nearest) => format!("write {{{{#{nearest} …}}}}"),
            Self::UnknownHelper { nearest: Some(nearest), .. } => format!("write `{nearest}`"),
            Self::UnknownHelper { nearest: None, .. } => {
                format!("use one of {}", Helper::names().collect::<Vec<_>>().join(", "))
            }
            Self::Arguments { helper, .. } if Helper::named(helper).is_some() => {
                let arguments = match helper.as_str() {
                    "join" | "split" => "values.hosts \",\"",
                    "lookup" => "values.ports \"http\"",
                    "default" => "values.port 80",
                    "replace" => "values.name \"-\" \"_\"",
                    "eq" | "ne" => "values.env \"prod\"",
                    "and" | "or" => "values.a values.b",
                    _ => "values.name",
                };
                format!("call it as in {{{{{helper} {arguments}}}}}; a value of that name is `values.{helper}` or `this.{helper}`")
            }
            Self::Arguments { helper, .. } => format!("write {{{{#{helper} VALUE}}}} … {{{{/{helper}}}}}"),
            Self::Path { hint, .. } => (*hint).into(),
            Self::Missing { nearest: Some(nearest), .. } => format!("write {nearest}, or test with (has …)"),
            // This is not a path that `has` could test, but the result of a helper.
            Self::Missing { path, .. } if path.contains('`') => "correct the key, or give a default: {{default (lookup …) …}}".into(),
            Self::Missing { nearest: None, path, .. } => format!("set it, test it with {{{{#if (has {path})}}}}, or give a `default`"),
            Self::NoFields { whole, .. } => format!("store a JSON object in it, or write {{{{{whole}}}}} for all of its text"),
            Self::WrongType { found: "a list", .. } => "use `join` or {{#each}}, or write it whole with `json`, `toml` or `yaml`".into(),
            Self::WrongType { found: "a map", .. } => "name one of its keys, or write it whole with `json`, `toml` or `yaml`".into(),
            Self::WrongType { found: "null", path, .. } => format!("set it, test it with {{{{#if (has {path})}}}}, or give a `default`"),
            Self::WrongType { needs, .. } if needs.contains("a list") => "write a list, as in [a, b]".into(),
            Self::WrongType { .. } => "give it a value of that type".into(),
            Self::TooLarge { .. } => "use shorter values, or loops over fewer items".into(),
            Self::Unwritable { reason: TOO_LARGE_FOR_TOML, path, .. } => {
                format!("write a number that large as a string, as in \"{{{{{path}}}}}\"")
            }
            Self::Unwritable { hint, .. } => hint.unwrap_or("change the value, or pass it as `base64`").into(),
        })
    }
}
