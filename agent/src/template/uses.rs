//! How a template uses values: which ones it prints unquoted, and which ones it uses without [`trim`](super::helpers).
//!
//! This is only used for advice to the author. Compiling and rendering decide what a template may do.

#[cfg(test)]
mod tests;

use std::rc::Rc;

use super::helpers::Helper;
use super::position::Position;
use super::tree::{Base, Block, BlockKind, Expression, Node};
use crate::address::EACH;

/// Represents the output of another tag in a line.
const TAG: char = '\0';

/// A value that is printed without a helper that quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bare {
    /// The first path in it, as the author wrote it.
    pub(crate) written: String,
    /// What to pass to a helper instead.
    pub(crate) argument: String,
    /// The paths that its text comes from; [`EACH`] stands for any item.
    pub(crate) origins: Vec<Vec<String>>,
    pub(crate) position: Position,
    pub(crate) place: Stands,
    pub(crate) inert: Option<Inert>,
}

/// Places that are not values in some formats, so that nothing needs quoting for these formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inert {
    /// A comment on a line of its own, with the sign that starts it in some formats.
    Comment(&'static str),
    /// The text after a `#` in a line.
    Remark,
    /// A line in brackets, such as a section header.
    Header,
    /// The lines of a YAML block scalar: `a: |`.
    BlockText,
}

/// The surroundings of a value in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Alone, as a whole value.
    Alone,
    /// Alone between quotes that the author wrote.
    InQuotes,
    /// Next to other text.
    Within,
    /// In the user, the password or the query of a URL. Paths and hosts are excluded: a path may consist of several
    /// segments, and a host is used literally.
    InUrl,
    /// Anywhere, written by `env` for docker. The value is quoted, but other readers may not read it back.
    ForDocker,
}

/// Every value that is printed bare. A value that is the whole template makes up the whole file, and is not included.
pub(super) fn bare(nodes: &[Node]) -> Vec<Bare> {
    let mut walk = Walk { levels: Vec::new(), before: String::new(), line: 0, above: None, found: Vec::new() };
    let blank = |node: &&Node| matches!(node, Node::Text(text) if text.trim().is_empty());
    if nodes.iter().filter(|node| !blank(node)).count() > 1 || !matches!(nodes.first(), Some(Node::Print(_))) {
        walk.nodes(nodes, "");
    }
    walk.found
}

struct Walk {
    /// For each enclosing `each` and `with`, outermost first, the paths of its subject.
    levels: Vec<Vec<Vec<String>>>,
    /// The text before the current position.
    before: String,
    /// The start of the current line within `before`.
    line: usize,
    /// The previous line that is not blank.
    above: Option<Rc<Above>>,
    found: Vec<Bare>,
}

/// An earlier line. Shared, because the lines added by a block are forgotten when the block ends.
#[derive(Debug)]
struct Above {
    indent: usize,
    /// Whether more deeply indented lines below it are the text of a block scalar.
    begins_text: bool,
    /// The nearest line above it that is indented less.
    enclosing: Option<Rc<Self>>,
}

/// How much of a line is examined on each side of a value, in bytes: a file may be a single line of megabytes.
const NEAR: usize = 4096;

impl Walk {
    /// `after` is the text that follows the nodes in their last line.
    fn nodes(&mut self, nodes: &[Node], after: &str) {
        for (n, node) in nodes.iter().enumerate() {
            match node {
                Node::Text(text) => self.text(text),
                Node::Print(expression) => {
                    self.print(expression, &rest_of_line(&nodes[n + 1..], after));
                    self.before.push(TAG);
                }
                Node::Block(block) => self.block(block, &rest_of_line(&nodes[n + 1..], after)),
            }
        }
    }

    fn text(&mut self, text: &str) {
        let mut from = self.before.len();
        self.before.push_str(text);
        while let Some(length) = self.before[from..].find('\n') {
            let line = &self.before[self.line..from + length];
            if !line.trim().is_empty() {
                let indent = indent(line);
                let enclosing = self.enclosing(indent).cloned();
                let within_text = enclosing.as_ref().is_some_and(|above| above.begins_text);
                self.above = Some(Rc::new(Above { indent, begins_text: within_text || announces_block_text(line), enclosing }));
            }
            from += length + 1;
            self.line = from;
        }
    }

    /// The nearest line above that encloses a line with this indentation.
    fn enclosing(&self, indent: usize) -> Option<&Rc<Above>> {
        std::iter::successors(self.above.as_ref(), |above| above.enclosing.as_ref()).find(|above| above.indent < indent)
    }

    fn print(&mut self, expression: &Expression, after: &str) {
        let origins = match expression {
            Expression::Call(call) if is_for_docker(expression) => call.arguments.iter().flat_map(|given| self.origins(given)).collect(),
            _ => self.origins(expression),
        };
        let (Some(written), Some(position)) = (first_path(expression), expression.position()) else { return };
        if !origins.is_empty() {
            let argument = match expression {
                Expression::Call(call) => format!("({} …)", call.helper.name()),
                _ => written.clone(),
            };
            let line = &self.before[self.line..];
            let near = &line[line.ceil_char_boundary(line.len().saturating_sub(NEAR))..];
            let head = &line[..line.floor_char_boundary(NEAR)];
            let place = if is_for_docker(expression) { Stands::ForDocker } else { place(near, after) };
            let in_block_text = self.enclosing(indent(head)).is_some_and(|above| above.begins_text);
            let inert = inert(head, after)
                .or_else(|| in_block_text.then_some(Inert::BlockText))
                .or_else(|| is_remark(near).then_some(Inert::Remark));
            self.found.push(Bare { written, argument, origins, position, place, inert });
        }
    }

    fn block(&mut self, block: &Block, after: &str) {
        let (before, line, above) = (self.before.len(), self.line, self.above.clone());
        let opens_level = !matches!(block.kind, BlockKind::If { .. });
        if opens_level {
            let mut about = self.origins(&block.subject);
            if block.kind == BlockKind::Each {
                about.iter_mut().for_each(|path| path.push(EACH.to_owned()));
            }
            self.levels.push(about);
        }
        self.nodes(&block.body, after);
        if opens_level {
            self.levels.pop();
        }
        self.go_back(before, line, above.as_ref());
        self.nodes(block.otherwise.as_deref().unwrap_or_default(), after);
        self.go_back(before, line, above.as_ref());
        self.before.push(TAG);
    }

    /// Forgets what a block has added.
    fn go_back(&mut self, before: usize, line: usize, above: Option<&Rc<Above>>) {
        self.before.truncate(before);
        (self.line, self.above) = (line, above.cloned());
    }

    /// The paths that the text of an expression comes from, if it is not quoted.
    fn origins(&self, expression: &Expression) -> Vec<Vec<String>> {
        match expression {
            Expression::Literal(_) => Vec::new(),
            Expression::Path(path) => match path.base {
                Base::Root => vec![path.segments.clone()],
                Base::Context(level) => {
                    let about = self.levels.get(level).map(Vec::as_slice).unwrap_or_default();
                    about.iter().map(|about| about.iter().chain(&path.segments).cloned().collect()).collect()
                }
                Base::Local(..) => Vec::new(),
            },
            Expression::Call(call) if call.helper.quotes() || call.helper.decides() => Vec::new(),
            Expression::Call(call) if call.helper == Helper::Lookup => {
                let mut within = call.arguments.first().map(|within| self.origins(within)).unwrap_or_default();
                within.iter_mut().for_each(|path| path.push(EACH.to_owned()));
                within
            }
            Expression::Call(call) => call.arguments.iter().flat_map(|argument| self.origins(argument)).collect(),
        }
    }
}

/// Whether this is `{{env x "docker"}}`.
fn is_for_docker(expression: &Expression) -> bool {
    matches!(expression, Expression::Call(call) if call.helper == Helper::Env
        && matches!(call.arguments.as_slice(), [_, Expression::Literal(reader)] if reader == "docker"))
}

fn first_path(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Literal(_) => None,
        Expression::Path(path) => Some(path.written.clone()),
        Expression::Call(call) => call.arguments.iter().find_map(first_path),
    }
}

/// The rest of the current line as written by `nodes` and followed by `after`, up to [`NEAR`] bytes.
fn rest_of_line(nodes: &[Node], after: &str) -> String {
    let mut rest = String::new();
    for node in nodes {
        match node {
            Node::Text(text) => {
                let near = &text[..text.floor_char_boundary(NEAR)];
                match near.find('\n') {
                    Some(newline) => return rest + &near[..newline],
                    None => rest.push_str(near),
                }
            }
            Node::Print(_) | Node::Block(_) => rest.push(TAG),
        }
        if rest.len() >= NEAR {
            return rest;
        }
    }
    rest + after
}

fn place(before: &str, after: &str) -> Stands {
    if in_url(before, after) {
        return Stands::InUrl;
    }
    if let Some(quote @ ('"' | '\'')) = before.chars().next_back()
        && after.starts_with(quote)
        && before.matches(quote).count() % 2 == 1
    {
        return Stands::InQuotes;
    }
    let (before, after) = (before.trim_end(), after.trim());
    let begins = before.is_empty() || before.ends_with(['=', ':', ',', '[', '{', '(', '>', '-']);
    let ends = after.is_empty() || after.starts_with([',', ']', '}', ')', '<', ';']);
    if begins && ends { Stands::Alone } else { Stands::Within }
}

/// The signs that start a comment in one format or another.
const COMMENTS: [&str; 5] = ["#", ";", "!", "//", "<!--"];

fn inert(before: &str, after: &str) -> Option<Inert> {
    let begins = before.trim_start();
    if let Some(sign) = COMMENTS.into_iter().find(|sign| begins.starts_with(sign)) {
        return Some(Inert::Comment(sign));
    }
    (begins.starts_with('[') && after.trim_end().ends_with(']')).then_some(Inert::Header)
}

/// Whether a line contains a `#` after a space and outside of quotes.
fn is_remark(before: &str) -> bool {
    let (mut in_double, mut in_single, mut last) = (false, false, 0);
    for byte in before.bytes() {
        match byte {
            b'"' => in_double = !in_double,
            b'\'' => in_single = !in_single,
            b'#' if last == b' ' && !in_double && !in_single => return true,
            _ => {}
        }
        last = byte;
    }
    false
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line ends with a block scalar indicator: `|` or `>` with optional modifiers, as a separate word after a
/// key or a dash.
pub(crate) fn announces_block_text(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let Some((key, sign)) = line.rsplit_once(' ') else { return false };
    let indicators = sign.strip_prefix(['|', '>']);
    let indicators = indicators.is_some_and(|rest| rest.len() <= 2 && rest.chars().all(|sign| matches!(sign, '+' | '-' | '1'..='9')));
    indicators && (key.contains(": ") || key.trim_end().ends_with([':', '-']))
}

/// Whether a value that itself contains no URL syntax is in a URL: as its user, its password, or a part of its query.
fn in_url(before: &str, after: &str) -> bool {
    let ends = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
    let Some((_, begun)) = before.rsplit_once("://") else { return false };
    if begun.contains(ends) {
        return false;
    }
    if begun.contains(['/', '?', '#']) {
        return begun.contains('?');
    }
    let authority = after.split(|character: char| ends(character) || matches!(character, '/' | '?' | '#')).next();
    !begun.contains('@') && authority.is_some_and(|rest| rest.contains('@'))
}

/// Whether the value at `path` is used anywhere without `trim`.
pub(super) fn untrimmed(nodes: &[Node], path: &[String]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) => false,
        Node::Print(expression) => uses(expression, path),
        Node::Block(block) => {
            let otherwise = block.otherwise.as_deref().unwrap_or_default();
            uses(&block.subject, path) || untrimmed(&block.body, path) || untrimmed(otherwise, path)
        }
    })
}

fn uses(expression: &Expression, path: &[String]) -> bool {
    match expression {
        Expression::Literal(_) => false,
        Expression::Path(used) => used.is_reference() && used.segments == path,
        Expression::Call(call) if call.helper == Helper::Trim || call.helper.decides() => false,
        Expression::Call(call) => call.arguments.iter().any(|argument| uses(argument, path)),
    }
}
