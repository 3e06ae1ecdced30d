//! Renders a compiled template, and rejects missing values.
//!
//! The `handlebars` crate could render what it parsed, but it ignores a missing key in `{{#if}}`, prints null as
//! nothing and a map as `[object]`, logs the arguments of every helper at debug level, and leaves copies of them in
//! memory. None of that is acceptable for secrets.

use std::cell::Cell;

use serde_json::Value;

use super::error::TemplateError;
use super::helpers::{self, Helper, is_truthy};
use super::position::Position;
use super::quote::{self, env::is_for_systemd_only};
use super::refusal::{Reason, type_of};
use super::scope::{Buffer, SIZE_LIMIT, Wiped, descend};
use super::tree::{Base, Block, BlockKind, Call, Expression, Local, Node, Path};
use crate::address::is_secret;
use crate::failure::nearest;

/// A fact reported while a template is rendered.
pub(crate) enum Told<'a> {
    /// A text that a helper [made](Helper::transforms) from secrets, which may not occur in it in their original form.
    Made { made: &'a Value, of: &'a [&'a Value] },
    /// The value at this path is written to an environment file in a form that only systemd and shells read back.
    ForSystemdOnly(String),
}

/// How many parts of a template are rendered, including those of each iteration of an `each`: about half a second of
/// work.
const PARTS_LIMIT: usize = 10_000_000;

/// Appends `nodes`, rendered with the data in `root`, to `out`.
pub(super) fn render(nodes: &[Node], root: &Value, tell: &dyn Fn(Told<'_>), out: &mut Buffer) -> Result<(), TemplateError> {
    Renderer { root, level: None, tell, parts: &Cell::new(0) }.nodes(nodes, out)
}

/// The value of an expression.
enum Found<'v> {
    Missing,
    There(&'v Value),
    Made(Wiped),
}

impl Found<'_> {
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Missing => None,
            Self::There(value) => Some(value),
            Self::Made(value) => Some(value.value()),
        }
    }
}

impl<'v> From<Option<&'v Value>> for Found<'v> {
    fn from(value: Option<&'v Value>) -> Self {
        value.map_or(Self::Missing, Self::There)
    }
}

#[derive(Clone, Copy)]
struct Renderer<'v> {
    root: &'v Value,
    level: Option<&'v Level<'v>>,
    tell: &'v dyn Fn(Told<'_>),
    /// How many parts have been rendered.
    parts: &'v Cell<usize>,
}

/// The innermost block that has its own context, and the blocks around it.
struct Level<'v> {
    number: usize,
    outer: Option<&'v Level<'v>>,
    value: &'v Value,
    item: Option<Item<'v>>,
    /// Whether the block's subject is a secret.
    secret: bool,
}

/// The current iteration of an `each`.
#[derive(Clone, Copy)]
struct Item<'v> {
    index: usize,
    key: Option<&'v str>,
    last: bool,
}

impl Renderer<'_> {
    fn nodes(self, nodes: &[Node], out: &mut Buffer) -> Result<(), TemplateError> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Print(expression) => {
                    let found = self.evaluate(expression)?;
                    let value = self.there(expression, &found)?;
                    let text = quote::scalar(value)
                        .map_err(|_| wrong_type(expression, value, "only a string, a number or a boolean can be printed as it is"))?;
                    out.push_str(&text);
                    fits(expression, out)?;
                }
                Node::Block(block) => self.block(block, out)?,
            }
        }
        Ok(())
    }

    fn block(self, block: &Block, out: &mut Buffer) -> Result<(), TemplateError> {
        let found = self.evaluate(&block.subject)?;
        let value = self.there(&block.subject, &found)?;
        match (block.kind, value) {
            (BlockKind::If { wanted, include_zero }, _) if is_truthy(value, include_zero) == wanted => self.nodes(&block.body, out),
            (BlockKind::With, _) if is_truthy(value, false) => self.inside(value, None, block, out),
            (BlockKind::Each, Value::Array(list)) if !list.is_empty() => list.iter().enumerate().try_for_each(|(index, value)| {
                let item = Item { index, key: None, last: index + 1 == list.len() };
                self.inside(value, Some(item), block, out)
            }),
            (BlockKind::Each, Value::Object(map)) if !map.is_empty() => map.iter().enumerate().try_for_each(|(index, (key, value))| {
                let item = Item { index, key: Some(key), last: index + 1 == map.len() };
                self.inside(value, Some(item), block, out)
            }),
            (BlockKind::Each, Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Err(wrong_type(&block.subject, value, "`each` iterates over a list or a map"))
            }
            (BlockKind::Each, Value::Null) if block.otherwise.is_none() => {
                Err(wrong_type(&block.subject, value, "`each` iterates over a list or a map"))
            }
            _ => self.nodes(block.otherwise.as_deref().unwrap_or_default(), out),
        }
    }

    fn inside(self, value: &Value, item: Option<Item<'_>>, block: &Block, out: &mut Buffer) -> Result<(), TemplateError> {
        self.parts.set(self.parts.get() + 1 + block.body.len());
        if self.parts.get() > PARTS_LIMIT {
            return Err(too_large(&block.subject, format!("takes more than {PARTS_LIMIT} parts")));
        }
        fits(&block.subject, out)?;
        let number = self.level.map_or(0, |level| level.number + 1);
        let level = Level { number, outer: self.level, value, item, secret: self.is_secret(&block.subject) };
        Renderer { level: Some(&level), ..self }.nodes(&block.body, out)
    }
}

impl<'v> Renderer<'v> {
    /// The value of an expression, or that it has none. A missing value is an error only if a helper requires it.
    fn evaluate<'e>(self, expression: &'e Expression) -> Result<Found<'e>, TemplateError>
    where
        'v: 'e,
    {
        match expression {
            Expression::Literal(value) => Ok(Found::There(value)),
            Expression::Path(path) => Ok(self.path(path)),
            Expression::Call(call) => self.call(call),
        }
    }

    fn call<'e>(self, call: &'e Call) -> Result<Found<'e>, TemplateError>
    where
        'v: 'e,
    {
        match (call.helper, call.arguments.as_slice()) {
            (Helper::Has, [argument]) => {
                let found = self.evaluate(argument)?;
                Ok(Found::Made(found.value().is_some_and(|value| !value.is_null()).into()))
            }
            (Helper::Default, [argument, fallback]) => match self.evaluate(argument)? {
                found if found.value().is_some_and(|value| !value.is_null()) => Ok(found),
                _ => {
                    let found = self.evaluate(fallback)?;
                    self.there(fallback, &found)?;
                    Ok(found)
                }
            },
            (Helper::And | Helper::Or, arguments) => {
                let decisive = call.helper == Helper::Or;
                for argument in arguments {
                    let found = self.evaluate(argument)?;
                    if is_truthy(self.there(argument, &found)?, false) == decisive {
                        return Ok(Found::Made(decisive.into()));
                    }
                }
                Ok(Found::Made((!decisive).into()))
            }
            (Helper::Lookup, [within, key]) => {
                let found = self.evaluate(key)?;
                let key = self.there(key, &found)?;
                Ok(match self.evaluate(within)? {
                    Found::Missing => Found::Missing,
                    Found::There(value) => helpers::look_up(value, key).into(),
                    Found::Made(value) => {
                        helpers::look_up(value.value(), key).map_or(Found::Missing, |value| Found::Made(value.clone().into()))
                    }
                })
            }
            (helper, arguments) => {
                let found = arguments.iter().map(|argument| self.evaluate(argument)).collect::<Result<Vec<_>, _>>()?;
                let values = arguments.iter().zip(&found).map(|(argument, found)| self.there(argument, found));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                let made = helper.call(&values).inspect(|made| self.tell_of(call, &values, made));
                made.map(Found::Made).map_err(|refusal| {
                    let argument = &arguments[refusal.argument];
                    let position = argument.position().unwrap_or(call.position);
                    let path = argument.to_string();
                    match refusal.reason {
                        Reason::Type { found, needs } => {
                            TemplateError::WrongType { path, found, needs: format!("`{}` takes {needs}", helper.name()), position }
                        }
                        Reason::Content(reason) => {
                            TemplateError::Unwritable { path, helper: helper.name(), reason, hint: refusal.hint, position }
                        }
                    }
                })
            }
        }
    }

    fn tell_of(self, call: &Call, values: &[&Value], made: &Wiped) {
        if call.helper.transforms() {
            let arguments = call.arguments.iter().zip(values);
            let of: Vec<&Value> = arguments.filter(|(argument, _)| self.is_secret(argument)).map(|(_, value)| *value).collect();
            if !of.is_empty() {
                (self.tell)(Told::Made { made: made.value(), of: &of });
            }
        }
        if let (Helper::Env, [argument], [value]) = (call.helper, call.arguments.as_slice(), values)
            && is_for_systemd_only(value)
        {
            (self.tell)(Told::ForSystemdOnly(argument.to_string()));
        }
    }

    /// Whether any part of it comes from a secret.
    fn is_secret(self, expression: &Expression) -> bool {
        match expression {
            Expression::Literal(_) => false,
            Expression::Call(call) => call.arguments.iter().any(|argument| self.is_secret(argument)),
            Expression::Path(path) => match path.base {
                Base::Root => is_secret(&path.segments),
                Base::Context(number) | Base::Local(number, _) => self.level(number).is_some_and(|level| level.secret),
            },
        }
    }

    fn path(self, path: &Path) -> Found<'v> {
        match path.base {
            Base::Root => descend(self.root, &path.segments).into(),
            Base::Context(number) => self.level(number).and_then(|level| descend(level.value, &path.segments)).into(),
            Base::Local(number, local) => match self.level(number).and_then(|level| level.item) {
                Some(item) if path.segments.is_empty() => match local {
                    Local::Index => Found::Made(item.index.into()),
                    Local::First => Found::Made((item.index == 0).into()),
                    Local::Last => Found::Made(item.last.into()),
                    Local::Key => item.key.map_or(Found::Missing, |key| Found::Made(key.into())),
                    Local::KeyOrIndex => Found::Made(item.key.map_or_else(|| item.index.into(), Wiped::from)),
                },
                _ => Found::Missing,
            },
        }
    }

    fn level(self, number: usize) -> Option<&'v Level<'v>> {
        let mut level = self.level;
        while let Some(inner) = level.filter(|level| level.number > number) {
            level = inner.outer;
        }
        level
    }

    /// The value that was found for `expression`, which must exist.
    fn there<'f>(self, expression: &Expression, found: &'f Found<'_>) -> Result<&'f Value, TemplateError> {
        if let Some(value) = found.value() {
            return Ok(value);
        }
        // If the map of a `lookup` is missing, that is the error to report.
        if let Expression::Call(Call { helper: Helper::Lookup, arguments, .. }) = expression
            && let Some(within) = arguments.first()
            && matches!(self.evaluate(within)?, Found::Missing)
        {
            return self.there(within, found);
        }
        let nearest = match expression {
            Expression::Path(path) if path.is_reference() => self.nearest(path),
            _ => None,
        };
        let position = expression.position().unwrap_or(Position::START);
        Err(TemplateError::Missing { path: expression.to_string(), nearest, position })
    }

    /// The path that was probably meant. `None` for secrets, because it would reveal keys of the secret itself.
    fn nearest(self, path: &Path) -> Option<String> {
        if path.segments.first().is_some_and(|root| root == "secrets") {
            return None;
        }
        let (n, map) = (0..path.segments.len()).rev().find_map(|n| match descend(self.root, &path.segments[..n]) {
            Some(Value::Object(map)) => Some((n, map)),
            _ => None,
        })?;
        let mut meant = path.clone();
        meant.segments[n] = nearest(&path.segments[n], map.keys().map(String::as_str))?.to_owned();
        Some(meant.to_string())
    }
}

fn fits(expression: &Expression, out: &Buffer) -> Result<(), TemplateError> {
    if out.len() <= SIZE_LIMIT { Ok(()) } else { Err(too_large(expression, format!("is larger than {} MiB", SIZE_LIMIT >> 20))) }
}

fn too_large(expression: &Expression, what: String) -> TemplateError {
    TemplateError::TooLarge { what, position: expression.position().unwrap_or(Position::START) }
}

fn wrong_type(expression: &Expression, value: &Value, needs: &str) -> TemplateError {
    let position = expression.position().unwrap_or(Position::START);
    TemplateError::WrongType { path: expression.to_string(), found: type_of(value), needs: needs.to_owned(), position }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;
    use crate::template::{Scope, Template};

    #[test]
    fn tells_what_is_made_of_secrets_and_of_which() {
        let scope = json!({
            "secrets": {"db": {"username": "shop", "password": "a b"}}, "values": {"name": "x"},
            "databases": {"main": {"password": "a-b", "endpoint": "h"}},
        });
        let scope = Scope::from(scope);
        for (source, expected) in [
            ("{{url secrets.db.password}}", &["a%20b of a b"][..]),
            ("{{concat secrets.db.username values.name}}", &["shopx of shop"]),
            ("{{replace databases.main.password \"-\" \"_\"}}", &["a_b of a-b"]),
            ("{{#with databases.main}}{{url password}}{{url endpoint}}{{/with}}", &["a-b of a-b"]),
            ("{{url (lookup databases.main \"password\")}}", &["a-b of a-b"]),
            ("{{#each databases.main}}{{url this}},{{/each}}", &["a-b of a-b", "h of h"]),
            ("{{url databases.main.endpoint}}{{url values.name}}", &[]),
        ] {
            let told = RefCell::new(Vec::new());
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let tell = |one: Told<'_>| {
                if let Told::Made { made, of } = one {
                    told.borrow_mut().push(format!("{} of {}", text(made), of.iter().map(|one| text(one)).collect::<Vec<_>>().join(" ")));
                }
            };
            Template::parse(source).unwrap().render_telling(&scope, &tell).unwrap();
            let mut told = told.into_inner();
            told.sort();
            assert_eq!(told, expected, "{source}");
        }
    }
}
