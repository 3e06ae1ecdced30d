//! Parses rendered text again before it is installed, in the format that its file name implies.
//!
//! Reports only where a mistake is, and never quotes the text: parsers tend to quote the offending line, which may hold
//! a secret. [`file`](crate::steps::file) quotes it with secrets removed.

mod properties;
mod xml;

use std::path::Path;

use ini::Ini;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::environment;
use super::position::Position;
use crate::failure::Failure;

/// A format that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Yaml,
    Toml,
    Ini,
    /// `KEY=value` lines, as in `EnvironmentFile=` of systemd.
    Env,
    Xml,
    /// Java's `java.util.Properties`.
    Properties,
    /// Not parsed, whatever the extension.
    None,
}

impl Format {
    /// The format that a file's extension implies. `.conf` implies none, because every program has its own format.
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("json") => Some(Self::Json),
            Some("yaml" | "yml") => Some(Self::Yaml),
            Some("toml") => Some(Self::Toml),
            Some("ini") => Some(Self::Ini),
            Some("env") => Some(Self::Env),
            Some("xml") => Some(Self::Xml),
            Some("properties") => Some(Self::Properties),
            // A file named `.env`, the best known of these files, has no extension.
            None if path.file_name().is_some_and(|name| name == ".env") => Some(Self::Env),
            _ => None,
        }
    }

    /// Parses `text`. A YAML text may hold several documents.
    pub(crate) fn check(self, text: &str) -> Result<(), FormatError> {
        let refuse = |position: Option<Position>, reason| {
            let (line, column) = (position.map(|position| position.line), position.map(|position| position.column));
            FormatError { format: self, line, column: column.filter(|_| !matches!(self, Self::Env | Self::Properties)), reason }
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
            Self::Ini => Ini::load_from_str_noescape(text)
                .map(drop)
                .map_err(|error| refuse(Some(Position { line: error.line, column: error.col }), unreadable)),
            Self::Env => environment::parse(text, |_, _| {}).map_err(|(line, reason)| refuse(Some(Position { line, column: 1 }), reason)),
            Self::Properties => properties::check(text).map_err(|(line, reason)| refuse(Some(Position { line, column: 1 }), reason)),
            Self::Xml => xml::check(text).map_err(|(at, reason)| {
                let at = text.floor_char_boundary(at);
                refuse(Some(Position::of_offset(text, at)), reason)
            }),
            Self::None => Ok(()),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Ini => "INI",
            Self::Env => "an environment file",
            Self::Xml => "XML",
            Self::Properties => "a properties file",
            Self::None => "text",
        }
    }

    /// The helper that quotes for this format. `None` if there is none.
    pub(crate) fn helper(self) -> Option<&'static str> {
        Some(match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Toml => "toml",
            Self::Ini => "ini",
            Self::Env => "env",
            Self::Xml => "xml",
            Self::Properties => "properties",
            Self::None => return None,
        })
    }
}

/// The helper that quotes for a file: by its format or, if none is given, by its name. Some files are recognized by
/// name although they are not parsed again.
pub(crate) fn helper_for(path: &Path, format: Option<Format>) -> Option<&'static str> {
    if let Some(format) = format.or_else(|| Format::from_path(path)) {
        return format.helper();
    }
    match path.file_name().and_then(|name| name.to_str())? {
        ".pgpass" | "pgpass" => Some("pgpass"),
        name if name.ends_with(".pgpass") => Some("pgpass"),
        name if name.ends_with(".sh") => Some("shell"),
        _ => None,
    }
}

/// Why rendered text is invalid. Places count from 1, in the rendered text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rendered text is not {}: {}{reason}", .format.name(), Place(.line, .column))]
pub(crate) struct FormatError {
    pub(crate) format: Format,
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    /// A fixed text, so that it cannot contain anything from the file.
    pub(crate) reason: &'static str,
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
        let helper = self.format.helper()?;
        Some(format!("quote the values of that line with `{{{{{helper} …}}}}`, or set `format:` if this file is something else"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Explanation;

    #[test]
    fn knows_formats_by_extension() {
        for (path, format) in [
            ("/etc/a.json", Some(Format::Json)),
            ("/etc/a.yaml", Some(Format::Yaml)),
            ("/etc/a.b.yml", Some(Format::Yaml)),
            ("/etc/a.toml", Some(Format::Toml)),
            ("/etc/a.ini", Some(Format::Ini)),
            ("/etc/a.env", Some(Format::Env)),
            ("/srv/shop/.env", Some(Format::Env)),
            ("/etc/tomcat/server.xml", Some(Format::Xml)),
            ("/etc/shop/application.properties", Some(Format::Properties)),
            ("/etc/nginx.conf", None),
            ("/etc/motd", None),
            ("/etc/json", None),
            ("/etc/toml/hosts", None),
        ] {
            assert_eq!(Format::from_path(Path::new(path)), format, "{path}");
        }
    }

    #[test]
    fn is_named_in_lower_case() {
        assert_eq!(serde_json::from_str::<Format>("\"yaml\"").unwrap(), Format::Yaml);
        assert_eq!(serde_json::from_str::<Format>("\"none\"").unwrap(), Format::None);
    }

    #[test]
    fn accepts_what_parses() {
        for (format, text) in [
            (Format::Json, "{\"a\": [1, null]}\n"),
            (Format::Yaml, "---\na: 1\n---\nb: [x, &y z, *y]\n"),
            (Format::Yaml, ""),
            (Format::Yaml, "a: !Tag {b: c}\n"),
            (Format::Toml, "[a]\nb = 1\n[[c]]\n"),
            (Format::Toml, ""),
            (Format::Ini, "; comment\nx = 1\n[a]\nb = c:\\new\n# comment\n"),
            (Format::Env, "# comment\nA=1\nB='x y'\n"),
            (Format::Xml, "<?xml version=\"1.0\"?>\n<a b=\"c\">d &amp; e</a>\n"),
            (Format::Properties, "# comment\na.b=c\\u00fc\n"),
            (Format::None, "{\"<a>&"),
        ] {
            assert_eq!(format.check(text), Ok(()), "{format:?} {text:?}");
        }
    }

    #[test]
    fn says_where_but_never_what() {
        for (format, text, expected) in [
            (Format::Json, "{\n  \"a\": hunter2\n}", "the rendered text is not JSON: line 2, column 8 does not parse"),
            (Format::Json, "{\"a\": \"hunter2\"", "the rendered text is not JSON: line 1, column 15 ends too early"),
            (Format::Json, "{} hunter2", "the rendered text is not JSON: line 1, column 4 does not parse"),
            (Format::Yaml, "a: 1\nhunter2: [b\nc: d", "the rendered text is not YAML: line 3, column 2 does not parse"),
            (Format::Yaml, "a: 1\n---\nb: *hunter2", "the rendered text is not YAML: line 3, column 4 does not parse"),
            (Format::Toml, "a = 1\nb = hunter2", "the rendered text is not TOML: line 2, column 5 does not parse"),
            (Format::Toml, "hunter2 = 1\nhunter2 = 2", "the rendered text is not TOML: line 2, column 1 does not parse"),
            (Format::Ini, "[a]\nx = 1\n[hunter2\ny = 1", "the rendered text is not INI: line 4, column 6 does not parse"),
            (Format::Xml, "<a>\n  <b>x</hunter2>\n</a>", "the rendered text is not XML: line 2, column 7 does not parse"),
            (Format::Xml, "<a>\n&hunter2;</a>", "the rendered text is not XML: line 2, column 1 has an entity that is not defined"),
            (
                Format::Properties,
                "a=1\nhunter2=\\u2",
                "the rendered text is not a properties file: line 2 has a `\\u` without four hexadecimal digits",
            ),
            (Format::Env, "A=1\nB='hunter2", "the rendered text is not an environment file: line 2 opens a quote that never ends"),
        ] {
            let error = format.check(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text:?}");
            assert!(!format!("{error:?} {}", Explanation::of(&error)).contains("hunter2"));
        }
    }
}
