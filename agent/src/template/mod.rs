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
//! | [`tree`], [`path`] | the result of parsing |
//! | [`references`], [`uses`], [`needs`] | what a template refers to, and how |
//! | [`render`], [`scope`] | rendering |
//! | [`helpers`], [`quote`], [`strings`], [`refusal`] | the functions a template may call |
//! | [`formats`], [`environment`] | parsing the rendered text again |
//! | [`error`], [`position`] | what is wrong with a template, and where |
//!
//! "Strict" means that a missing key is an error wherever it is used, unless `has` or `default` tests it, and that a
//! null, a list or a map is not printed without a helper. There is no HTML escaping; `{{{x}}}` is the same as `{{x}}`.
//! This module does no I/O, and no message contains a value, because any value may be a secret.

mod braces;
mod compile;
mod environment;
mod error;
mod formats;
mod helpers;
mod needs;
mod parts;
mod path;
mod plain;
mod position;
mod quote;
mod references;
mod refusal;
mod render;
#[cfg(test)]
mod round_trips;
mod scope;
mod strings;
#[cfg(test)]
mod tests;
mod tree;
mod unreadable;
mod uses;

use std::rc::Rc;

use self::position::Position;
use self::tree::{Expression, Node};
use crate::address::Reference;
use crate::text::SecretText;

pub(crate) use self::error::TemplateError;
pub(crate) use self::formats::{Format, FormatError, helper_for};
pub(crate) use self::needs::{Need, Needed};
pub(crate) use self::quote::env::{dotenv_value, environment_value};
pub(crate) use self::quote::variables::environment_variables;
pub(crate) use self::render::Told;
pub(crate) use self::scope::{SIZE_LIMIT, Scope, descend};
pub(crate) use self::uses::{Bare, Inert, Stands, announces_block_text};

/// The directory of template files in an image.
pub(crate) const TEMPLATES: &str = "/etc/ingot/templates";

/// A template that has been parsed and checked, ready to be rendered any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Template(Rc<Compiled>);

#[derive(Debug)]
struct Compiled {
    nodes: Vec<Node>,
    references: Vec<Reference>,
    /// The position where each reference first occurs.
    positions: Vec<Position>,
}

impl Template {
    /// Parses `source` and resolves every name in it.
    ///
    /// # Errors
    ///
    /// The first mistake: syntax, an unknown helper, a helper with the wrong arguments, a path that leads nowhere.
    /// Whether the values that a path names exist is known only to [`render`](Self::render).
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

    /// The same, for callers that no longer need the template.
    pub(crate) fn into_references(self) -> Vec<Reference> {
        Rc::try_unwrap(self.0).map_or_else(|shared| shared.references.clone(), |compiled| compiled.references)
    }

    /// The position where one of the [`references`](Self::references) first occurs.
    pub(crate) fn position_of(&self, reference: &Reference) -> Option<Position> {
        let n = self.0.references.iter().position(|known| known == reference)?;
        self.0.positions.get(n).copied()
    }

    /// Whether it loops over a list inside a loop over another, so that a few short lists can produce gigabytes.
    pub(crate) fn multiplies(&self) -> bool {
        tree::rounds(&self.0.nodes) > 1
    }

    /// Whether it only prints text and values at paths.
    pub(crate) fn only_prints(&self) -> bool {
        self.0.nodes.iter().all(|node| match node {
            Node::Text(_) => true,
            Node::Print(Expression::Path(path)) => path.is_reference(),
            Node::Print(_) | Node::Block(_) => false,
        })
    }

    /// The paths that decide which parts of the template are rendered, and whether any of them is compared.
    pub(crate) fn choices(&self) -> (Vec<&[String]>, bool) {
        tree::choices(&self.0.nodes)
    }

    /// Renders the template. The result is a secret, because any value may have been one.
    ///
    /// # Errors
    ///
    /// The first value that is missing, has an unsuitable type, or cannot be written in the format of its helper;
    /// [`TemplateError::TooLarge`] if the result exceeds [`SIZE_LIMIT`].
    pub(crate) fn render(&self, scope: &Scope) -> Result<SecretText, TemplateError> {
        self.render_telling(scope, &|_| {})
    }

    /// As [`render`](Self::render), and passes facts about the result to `tell`.
    pub(crate) fn render_telling(&self, scope: &Scope, tell: &dyn Fn(Told<'_>)) -> Result<SecretText, TemplateError> {
        let mut out = scope::Buffer::new();
        render::render(&self.0.nodes, scope.tree(), tell, &mut out)?;
        Ok(out.into_secret())
    }

    /// The values that are printed without a helper that quotes them.
    pub(crate) fn bare(&self) -> Vec<Bare> {
        uses::bare(&self.0.nodes)
    }

    /// The shapes that the values used by the template must have.
    pub(crate) fn needs(&self) -> Vec<Need> {
        needs::needs(&self.0.nodes)
    }

    /// Whether the value at `path` is used anywhere without `trim`.
    pub(crate) fn uses_untrimmed(&self, path: &[String]) -> bool {
        uses::untrimmed(&self.0.nodes, path)
    }
}
