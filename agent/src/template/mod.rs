//! Templates: Handlebars, strict, with helpers that quote for a format. The one expression language of ingot.
//!
//! ```text
//! [database]                               # /etc/shop/shop.toml.hbs
//! password = {{toml secrets.db.password}}  # quoted as TOML, whatever is in it
//! hosts = {{toml values.hosts}}            # a list, too
//! {{#if (has values.region)}}region = {{toml values.region}}{{/if}}
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`compile`], [`parts`], [`plain`] | parsing, and the resolution of every name |
//! | [`tree`], [`path`] | what that makes |
//! | [`references`] | what a template refers to |
//! | [`render`], [`scope`] | filling it in |
//! | [`helpers`], [`quote`] | the functions a template may call |
//! | [`formats`], [`environment`] | parsing the rendered text again |
//!
//! Strict means: a missing key is an error wherever it stands, unless `has` or `default` tests it; a null, a
//! list or a map is not printed without a helper. No HTML is escaped; `{{{x}}}` is `{{x}}`. Nothing here does
//! I/O, and no message holds a value: any value may be a secret.

mod compile;
mod environment;
mod formats;
mod helpers;
mod parts;
mod path;
mod plain;
mod quote;
mod references;
mod render;
#[cfg(test)]
mod round_trips;
mod scope;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::rc::Rc;

use self::helpers::Helper;
use self::tree::Node;
use crate::address::Reference;
use crate::failure::{Failure, nearest};
use crate::text::SecretText;

pub(crate) use self::formats::{Format, FormatError};
pub(crate) use self::scope::{Scope, descend};

/// Where template files lie in an image.
pub(crate) const TEMPLATES: &str = "/etc/ingot/templates";

/// The blocks a template may use, each closed by `{{/name}}`.
const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "raw"];

/// A template that has been parsed and checked, ready to be rendered any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Template(Rc<Compiled>);

#[derive(Debug)]
struct Compiled {
    nodes: Vec<Node>,
    references: Vec<Reference>,
    /// Where each of the references stands first.
    positions: Vec<Position>,
}

impl Template {
    /// Parses `source` and resolves every name in it.
    ///
    /// # Errors
    ///
    /// The first mistake: syntax, a helper that does not exist, a helper with the wrong arguments, a path that
    /// goes nowhere. Whether the values a path names will be there is known only to [`render`](Self::render).
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self::of(compile::compile(source)?))
    }

    #[cfg(test)]
    fn in_one_piece(source: &str) -> Result<Self, TemplateError> {
        Ok(Self::of(compile::in_one_piece(source)?))
    }

    fn of(nodes: Vec<Node>) -> Self {
        let (references, positions) = references::references(&nodes).into_iter().unzip();
        Self(Rc::new(Compiled { nodes, references, positions }))
    }

    /// What the template reads: each path once for each way it is used, ordered by first occurrence.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Where one of the [`references`](Self::references) stands first.
    pub(crate) fn position_of(&self, reference: &Reference) -> Option<Position> {
        let n = self.0.references.iter().position(|known| known == reference)?;
        self.0.positions.get(n).copied()
    }

    /// Fills the template in. The result is a secret, because any value may have been one.
    ///
    /// # Errors
    ///
    /// The first value that is missing, is of a type that cannot stand where it does, or cannot be written in
    /// the format its helper is for.
    pub(crate) fn render(&self, scope: &Scope) -> Result<SecretText, TemplateError> {
        let mut out = scope::Buffer::new();
        render::render(&self.0.nodes, scope.tree(), &mut out)?;
        Ok(out.into_secret())
    }
}

/// A place in the source of a template. Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    fn of_offset(source: &str, offset: usize) -> Self {
        Self::START.past(&source[..offset])
    }

    /// Where `text` ends that begins here.
    fn past(self, text: &str) -> Self {
        match text.rfind('\n') {
            None => Self { column: self.column + text.chars().count(), ..self },
            Some(newline) => Self { line: self.line + text.matches('\n').count(), column: text[newline + 1..].chars().count() + 1 },
        }
    }

    fn offset_in(self, source: &str) -> Option<usize> {
        let line_start = match self.line.checked_sub(2) {
            None => 0,
            Some(newlines) => source.match_indices('\n').nth(newlines)?.0 + 1,
        };
        let line = &source[line_start..];
        line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(self.column - 1).map(|at| line_start + at)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a template cannot be parsed or rendered. Holds paths and types, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("{reason}")]
    Syntax { reason: String, position: Position },

    #[error("partials and decorators (`{{{{> …}}}}`, `{{{{* …}}}}`) are not supported")]
    Unsupported { position: Position },

    #[error("there is no helper `{name}`")]
    UnknownHelper { name: String, nearest: Option<&'static str>, position: Position },

    #[error("`{helper}` {needs}")]
    Arguments { helper: String, needs: String, position: Position },

    #[error("`{written}` {reason}")]
    Path { written: String, reason: &'static str, hint: &'static str, position: Position },

    #[error("{path} is missing")]
    Missing { path: String, nearest: Option<String>, position: Position },

    #[error("{path} is {found}, and {needs}")]
    WrongType { path: String, found: &'static str, needs: String, position: Position },

    #[error("{path} cannot be written by `{helper}`: it {reason}")]
    Unwritable { path: String, helper: &'static str, reason: &'static str, position: Position },
}

impl TemplateError {
    fn unknown_helper(name: &str, position: Position) -> Self {
        Self::UnknownHelper { name: name.to_owned(), nearest: nearest(name, Helper::names().chain(BLOCKS)), position }
    }

    /// Where in the source of the template.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Syntax { position, .. }
            | Self::Unsupported { position }
            | Self::UnknownHelper { position, .. }
            | Self::Arguments { position, .. }
            | Self::Path { position, .. }
            | Self::Missing { position, .. }
            | Self::WrongType { position, .. }
            | Self::Unwritable { position, .. } => *position,
        }
    }
}

impl Failure for TemplateError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } => r"close every `{{` and every block; to print `{{` itself, write `\{{`".into(),
            Self::Unsupported { .. } => "write the text out here, or go over a list with {{#each}}".into(),
            Self::UnknownHelper { name, .. } if BLOCKS.contains(&name.as_str()) => {
                format!("write the block {{{{#{name} …}}}} … {{{{/{name}}}}}")
            }
            Self::UnknownHelper { nearest: Some(nearest), .. } if BLOCKS.contains(nearest) => format!("write {{{{#{nearest} …}}}}"),
            Self::UnknownHelper { nearest: Some(nearest), .. } => format!("write `{nearest}`"),
            Self::UnknownHelper { nearest: None, .. } => format!("use one of {}", Helper::names().collect::<Vec<_>>().join(", ")),
            Self::Arguments { helper, .. } if Helper::named(helper).is_some() => {
                format!("if a key called `{helper}` is meant, write `this.{helper}`")
            }
            Self::Arguments { .. } => return None,
            Self::Path { hint, .. } => (*hint).into(),
            Self::Missing { nearest: Some(nearest), .. } => format!("write {nearest}, or test with (has …)"),
            // Not a path that `has` could test, but what a helper gave.
            Self::Missing { path, .. } if path.contains('`') => "correct the key, or give a second choice: {{default (lookup …) …}}".into(),
            Self::Missing { nearest: None, path, .. } => format!("set it, test it with {{{{#if (has {path})}}}}, or give a `default`"),
            Self::WrongType { found: "a list", .. } => "use `join` or {{#each}}, or write it whole with `json`, `toml` or `yaml`".into(),
            Self::WrongType { found: "a map", .. } => "name one of its keys, or write it whole with `json`, `toml` or `yaml`".into(),
            Self::WrongType { found: "null", path, .. } => format!("set it, test it with {{{{#if (has {path})}}}}, or give a `default`"),
            Self::WrongType { .. } => "give it a value of that type".into(),
            Self::Unwritable { .. } => "change the value, or pass it as `base64`".into(),
        })
    }
}
