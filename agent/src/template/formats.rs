//! Parses rendered text again, in the format its file's name promises, before it is installed.
//!
//! Only says where a mistake is, and never quotes the text: parsers like to cite the offending line, and
//! that line may hold a secret.

use std::path::Path;

use ini::Ini;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Position, environment};
use crate::failure::Failure;

/// A format that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Yaml,
    Toml,
    Ini,
    /// `KEY=value` lines, as for systemd's `EnvironmentFile=`.
    Env,
}

impl Format {
    /// The format that a file's extension promises. `.conf` promises nothing: every program has its own.
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        // A file called just `.env` has no extension, but is the best known of them all.
        match path.extension().or_else(|| path.file_name())?.to_str()? {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "ini" => Some(Self::Ini),
            "env" | ".env" => Some(Self::Env),
            _ => None,
        }
    }

    /// Parses `text`. YAML may be several documents.
    pub(crate) fn check(self, text: &str) -> Result<(), FormatError> {
        let refuse = |position: Option<Position>, reason| {
            let (line, column) = (position.map(|position| position.line), position.map(|position| position.column));
            FormatError { format: self, line, column: column.filter(|_| self != Self::Env), reason }
        };
        let unreadable = "does not parse";
        match self {
            Self::Json => serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
                let position = Position { line: error.line(), column: error.column() };
                refuse(Some(position), if error.is_eof() { "ends too early" } else { unreadable })
            }),
            Self::Yaml => serde_yaml::Deserializer::from_str(text).try_for_each(|document| {
                IgnoredAny::deserialize(document).map(drop).map_err(|error| {
                    let position = error.location().map(|place| Position { line: place.line(), column: place.column() });
                    refuse(position, unreadable)
                })
            }),
            Self::Toml => toml::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
                let position = error.span().filter(|span| text.is_char_boundary(span.start));
                refuse(position.map(|span| Position::of_offset(text, span.start)), unreadable)
            }),
            Self::Ini => Ini::load_from_str_noescape(text).map(drop).map_err(|error| {
                // This parser counts both from 0.
                refuse(Some(Position { line: error.line + 1, column: error.col + 1 }), unreadable)
            }),
            Self::Env => environment::parse(text, |_, _| {}).map_err(|(line, reason)| refuse(Some(Position { line, column: 1 }), reason)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Ini => "INI",
            Self::Env => "an environment file",
        }
    }

    /// The helper that quotes for this format.
    fn helper(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Toml => "toml",
            Self::Ini => "ini",
            Self::Env => "env",
        }
    }
}

/// Why rendered text is not what it should be. Places count from 1, in the rendered text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rendered text is not {}: {}{reason}", .format.name(), Place(.line, .column))]
pub(crate) struct FormatError {
    pub(crate) format: Format,
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    /// Text of ours, so that nothing of the file can be in it.
    reason: &'static str,
}

struct Place<'a>(&'a Option<usize>, &'a Option<usize>);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.1) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column} "),
            (Some(line), None) => write!(f, "line {line} "),
            (None, _) => f.write_str("it "),
        }
    }
}

impl Failure for FormatError {
    fn hint(&self) -> Option<String> {
        Some(format!(
            "quote the values of that line with `{{{{{} …}}}}`, or set `format:` if this file is something else",
            self.format.helper()
        ))
    }
}
