//! Turns the text of a template into its [tree](super::tree): parses it, then resolves every name.
//!
//! The `handlebars` crate does the parsing, including the grammar and its white space rules. Features that it accepts
//! but ingot does not offer (partials, decorators, its own helpers) are rejected here, with a place and a hint.

use handlebars::Template as Parsed;
use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};
use serde_json::Value;

use super::braces::first_pair;
use super::error::TemplateError;
use super::helpers::Helper;
use super::path::{self, Written};
use super::position::Position;
use super::tree::{BLOCKS, Base, Block, BlockKind, Call, Expression, Local, Node, Path};
use super::unreadable::unreadable;
use super::{parts, plain};

/// How deep blocks, or brackets in one tag, may be nested. The parser recurses without any limit except its stack; no
/// template written by a person comes near this depth.
const DEEPEST: usize = 100;

/// The first segments of paths that refer to ingot's own data.
const ROOTS: [&str; 12] = [
    "values",
    "instance",
    "secrets",
    "volumes",
    "mounts",
    "databases",
    "bundles",
    "files",
    "credentials",
    "services",
    "applications",
    "addresses",
];

pub(super) fn compile(source: &str) -> Result<Vec<Node>, TemplateError> {
    if let Some(offset) = too_deep(source) {
        let reason = format!("this is nested more than {DEEPEST} levels deep");
        return Err(TemplateError::Syntax { reason, hint: None, position: Position::of_offset(source, offset) });
    }
    // Most texts in a document are short, or long and without blocks.
    if (source.len() <= parts::LENGTH || !source.contains("{{#"))
        && let Some(nodes) = plain::nodes(source, 0)
    {
        return Ok(nodes);
    }
    in_parts(&parts::of(source)).unwrap_or_else(|| in_one_piece(source))
}

/// The nodes of all parts, if every part can be parsed. Otherwise the whole template is parsed again, so that the
/// parser's error is about the whole.
fn in_parts(cut: &[(&str, usize)]) -> Option<Result<Vec<Node>, TemplateError>> {
    let nodes: Option<Vec<Result<Vec<Node>, TemplateError>>> =
        cut.iter().map(|(source, lines_before)| part(source, *lines_before)).collect();
    let nodes: Result<Vec<Vec<Node>>, TemplateError> = nodes?.into_iter().collect();
    Some(nodes.map(|nodes| nodes.into_iter().flatten().collect()))
}

fn part(source: &str, lines_before: usize) -> Option<Result<Vec<Node>, TemplateError>> {
    if let Some(nodes) = plain::nodes(source, lines_before) {
        return Some(Ok(nodes));
    }
    let parsed = Parsed::compile(source).ok()?;
    Some(Compiler { source, lines_before, levels: Vec::new() }.nodes(&parsed, Position { line: lines_before + 1, column: 1 }))
}

pub(super) fn in_one_piece(source: &str) -> Result<Vec<Node>, TemplateError> {
    let parsed = Parsed::compile(source).map_err(|error| unreadable(source, &error))?;
    Compiler { source, lines_before: 0, levels: Vec::new() }.nodes(&parsed, Position::START)
}

struct Compiler<'s> {
    /// A template, or a part of one that is preceded by this many lines.
    source: &'s str,
    lines_before: usize,
    /// The enclosing `each` and `with` blocks, outermost first.
    levels: Vec<Level>,
}

struct Level {
    each: bool,
    /// The subject of the block, if the text alone tells it: `{{#with secrets.db}}`.
    subject: Option<Vec<String>>,
    parameters: Vec<String>,
}

impl Compiler<'_> {
    fn nodes(&mut self, parsed: &Parsed, outer: Position) -> Result<Vec<Node>, TemplateError> {
        let mut nodes = Vec::with_capacity(parsed.elements.len());
        for (n, element) in parsed.elements.iter().enumerate() {
            // The parser records no place for `{{else if}}`: the enclosing block's place is the nearest one known.
            let at = parsed.mapping.get(n).map_or(outer, |place| Position { line: self.lines_before + place.0, column: place.1 });
            match element {
                TemplateElement::RawString(text) => nodes.push(Node::Text(text.clone())),
                TemplateElement::Comment(_) => {}
                TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                    nodes.push(Node::Print(self.call(call, at)?));
                }
                TemplateElement::HelperBlock(block) if block.name.as_name() == Some("raw") => {
                    if let Some(body) = &block.template {
                        nodes.append(&mut self.nodes(body, at)?);
                    }
                }
                TemplateElement::HelperBlock(block) => nodes.push(Node::Block(Box::new(self.block(block, at)?))),
                _ => return Err(TemplateError::Unsupported { position: at }),
            }
        }
        Ok(nodes)
    }

    fn block(&mut self, block: &HelperTemplate, at: Position) -> Result<Block, TemplateError> {
        let name = block.name.as_name().unwrap_or_default();
        let kind = match name {
            "if" | "unless" => BlockKind::If { wanted: name == "if", include_zero: include_zero(block, at)? },
            "with" => BlockKind::With,
            "each" => BlockKind::Each,
            _ if Helper::named(name).is_some() => return Err(wrong_use(name, "is not a block: write it without the `#`", at)),
            _ => return Err(TemplateError::unknown_helper(name, at)),
        };
        let [subject] = block.params.as_slice() else {
            let needs = if name == "each" { "takes one list or map" } else { "takes one value" };
            return Err(wrong_use(name, needs, at));
        };
        if !matches!(kind, BlockKind::If { .. }) && !block.hash.is_empty() {
            return Err(wrong_use(name, "takes no options", at));
        }
        let parameters: Vec<String> = match &block.block_param {
            Some(BlockParam::Single(one)) => [one].map(name_of).into(),
            Some(BlockParam::Pair((one, two))) => [one, two].map(name_of).into(),
            _ => Vec::new(),
        };
        let most = match kind {
            BlockKind::If { .. } => 0,
            BlockKind::With => 1,
            BlockKind::Each => 2,
        };
        if parameters.len() > most {
            return Err(wrong_use(name, "does not take that many block parameters", at));
        }

        let subject = self.parameter(subject, at)?;
        let opens_level = !matches!(kind, BlockKind::If { .. });
        if opens_level {
            let known = match &subject {
                Expression::Path(path) if kind == BlockKind::With && path.is_reference() => Some(path.segments.clone()),
                _ => None,
            };
            self.levels.push(Level { each: kind == BlockKind::Each, subject: known, parameters });
        }
        let body = block.template.as_ref().map_or(Ok(Vec::new()), |body| self.nodes(body, at))?;
        if opens_level {
            self.levels.pop();
        }
        let otherwise = block.inverse.as_ref().map(|body| self.nodes(body, at)).transpose()?;
        Ok(Block { kind, subject, body, otherwise })
    }

    /// `{{name}}`, `{{name argument…}}`, `{{(name argument…)}}`, or a call in parentheses.
    fn call(&self, call: &HelperTemplate, at: Position) -> Result<Expression, TemplateError> {
        let plain = call.params.is_empty() && call.hash.is_empty();
        if let Parameter::Subexpression(_) = &call.name {
            return self.parameter(&call.name, at);
        }
        let name = call.name.as_name().unwrap_or_default();
        let helper = match Helper::named(name) {
            None if plain && matches!(call.name, Parameter::Path(_)) && !is_block(name) => {
                return self.path(name, at).map(Expression::Path);
            }
            None => return Err(TemplateError::unknown_helper(name, at)),
            Some(helper) => helper,
        };
        if !call.hash.is_empty() {
            return Err(wrong_use(name, "takes no options", at));
        }
        if !helper.takes(call.params.len()) {
            return Err(TemplateError::Arguments { helper: name.to_owned(), needs: format!("takes {}", helper.arguments()), position: at });
        }
        let mut arguments = call.params.iter().map(|parameter| self.parameter(parameter, at)).collect::<Result<Vec<_>, _>>()?;
        if helper == Helper::Lookup {
            arguments = match known_lookup(arguments) {
                Ok(path) => return Ok(Expression::Path(path)),
                Err(arguments) => arguments,
            };
        }
        Ok(Expression::Call(Call { helper, arguments, position: at }))
    }

    fn parameter(&self, parameter: &Parameter, at: Position) -> Result<Expression, TemplateError> {
        match parameter {
            Parameter::Literal(value) => match value.as_str().and_then(own_path) {
                Some(path) => {
                    let reason = format!("`{{{{{path}}}}}` is a template within a template, and would be printed as it is");
                    let hint = format!("write {path} without braces and quotes");
                    Err(TemplateError::Syntax { reason, hint: Some(hint), position: at })
                }
                None => Ok(Expression::Literal(value.clone())),
            },
            Parameter::Name(_) | Parameter::Path(_) => self.path(parameter.as_name().unwrap_or_default(), at).map(Expression::Path),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(call) if !matches!(&call.name, Parameter::Path(_)) => self.call(call, at),
                // `(x)` calls x, as everywhere in Handlebars, but every helper takes arguments.
                TemplateElement::Expression(call) => {
                    let name = call.name.as_name().unwrap_or_default();
                    Err(match Helper::named(name) {
                        Some(helper) => wrong_use(name, helper.arguments(), at),
                        None => TemplateError::unknown_helper(name, at),
                    })
                }
                _ => Err(TemplateError::Unsupported { position: at }),
            },
            _ => Err(TemplateError::Unsupported { position: at }),
        }
    }

    fn path(&self, written: &str, at: Position) -> Result<Path, TemplateError> {
        let position = self.position_of(written, at);
        let refuse = |reason, hint| TemplateError::Path { written: written.to_owned(), reason, hint, position };
        let mut path = Written::parse(written);
        let Some(depth) = self.levels.len().checked_sub(path.up) else {
            return Err(refuse("goes above the top of the template", "remove one `../`: only `each` and `with` add a level"));
        };
        let (base, mut segments) = if path.local {
            (self.local(&path, depth).map_err(|(reason, hint)| refuse(reason, hint))?, Vec::new())
        } else if path.root {
            (Base::Root, Vec::new())
        } else if let Some((level, nth)) = self.block_parameter(&path) {
            path.segments.remove(0);
            if nth == 0 { self.context(level + 1) } else { (Base::Local(level, Local::KeyOrIndex), Vec::new()) }
        } else {
            self.context(depth)
        };
        if !path.local {
            segments.append(&mut path.segments);
        }
        if base == Base::Root && segments.is_empty() {
            return Err(refuse("refers to all values at once", "name the value, as in {{values.domain}}"));
        }
        Ok(Path { base, segments, written: written.to_owned(), position })
    }

    /// What `this` refers to within `depth` levels.
    fn context(&self, depth: usize) -> (Base, Vec<String>) {
        match depth.checked_sub(1).map(|level| (level, &self.levels[level].subject)) {
            None => (Base::Root, Vec::new()),
            Some((_, Some(subject))) => (Base::Root, subject.clone()),
            Some((level, None)) => (Base::Context(level), Vec::new()),
        }
    }

    /// The level and the index of the block parameter that a path starts with.
    fn block_parameter(&self, path: &Written) -> Option<(usize, usize)> {
        let first = path.segments.first().filter(|_| !path.this && path.up == 0)?;
        let find = |(level, block): (usize, &Level)| Some((level, block.parameters.iter().position(|name| name == first)?));
        self.levels.iter().enumerate().rev().find_map(find)
    }

    /// `@index` and similar variables belong to the nearest `each`, even inside a `with`.
    fn local(&self, path: &Written, depth: usize) -> Result<Base, (&'static str, &'static str)> {
        let local = match path.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["index"] => Local::Index,
            ["key"] => Local::Key,
            ["first"] => Local::First,
            ["last"] => Local::Last,
            _ => return Err(("is not a variable of Handlebars", "use @index, @key, @first, @last or @root")),
        };
        let level = self.levels[..depth].iter().rposition(|level| level.each);
        level.map(|level| Base::Local(level, local)).ok_or(("has a value only inside `each`", "move it into an {{#each}} block"))
    }

    /// The position of `written` at or after `at`, or `at` if it cannot be found.
    fn position_of(&self, written: &str, at: Position) -> Position {
        let within = Position { line: at.line.saturating_sub(self.lines_before), ..at };
        let found = within.offset_in(self.source).and_then(|from| path::find(self.source, written, from));
        found.map_or(at, |offset| {
            let within = Position::of_offset(self.source, offset);
            Position { line: self.lines_before + within.line, ..within }
        })
    }
}

fn name_of(parameter: &Parameter) -> String {
    parameter.as_name().unwrap_or_default().to_owned()
}

fn is_block(name: &str) -> bool {
    BLOCKS.contains(&name)
}

fn wrong_use(name: &str, needs: &str, position: Position) -> TemplateError {
    TemplateError::Arguments { helper: name.to_owned(), needs: needs.to_owned(), position }
}

/// Converts a lookup in a path by a literal key into the longer path, which is a more precise reference.
fn known_lookup(arguments: Vec<Expression>) -> Result<Path, Vec<Expression>> {
    let key = match arguments.as_slice() {
        [Expression::Path(path), Expression::Literal(key)] if !matches!(path.base, Base::Local(..)) => match key {
            Value::String(key) => key.clone(),
            Value::Number(key) => key.to_string(),
            _ => return Err(arguments),
        },
        _ => return Err(arguments),
    };
    match arguments.into_iter().next() {
        Some(Expression::Path(mut path)) => {
            path.segments.push(key);
            Ok(path)
        }
        _ => Err(Vec::new()),
    }
}

/// The path to ingot's data if it is the whole literal: `{{values.x}}`. Braces of other programs are ordinary text.
fn own_path(literal: &str) -> Option<&str> {
    let inner = literal.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (root, _) = inner.split_once('.').filter(|_| !inner.contains("{{"))?;
    ROOTS.contains(&root).then_some(inner)
}

/// The only option: whether `if` treats zero as true.
fn include_zero(block: &HelperTemplate, at: Position) -> Result<bool, TemplateError> {
    let mut include_zero = false;
    for (name, value) in &block.hash {
        include_zero = match (name.as_str(), value) {
            ("includeZero", Parameter::Literal(Value::Bool(wanted))) => *wanted,
            _ => return Err(wrong_use(&name_of(&block.name), "takes no option but includeZero=true", at)),
        };
    }
    Ok(include_zero)
}

/// The position where `source` is nested too deep for the parser.
fn too_deep(source: &str) -> Option<usize> {
    // Each level takes at least one character.
    if source.len() <= DEEPEST {
        return None;
    }
    let mut blocks = 0_usize;
    source.match_indices("{{").map(|(offset, _)| offset).find(|offset| {
        let inside = &source[offset + 2..];
        let inside = &inside[..first_pair(inside, b'}').unwrap_or(inside.len())];
        match inside.trim_start_matches('~').bytes().next() {
            Some(b'#') => blocks += 1,
            Some(b'/') => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        let mut brackets = 0_usize;
        blocks > DEEPEST
            || inside.len() > DEEPEST
                && inside.bytes().any(|byte| {
                    match byte {
                        b'(' | b'[' | b'{' => brackets += 1,
                        b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
                        _ => {}
                    }
                    brackets > DEEPEST
                })
    })
}
