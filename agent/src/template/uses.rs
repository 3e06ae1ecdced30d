//! How a template uses values: which it prints as they are, and which without [`trim`](super::helpers).
//!
//! Only for advice to the author: what a template may do is decided where it is compiled and rendered.

use super::helpers::Helper;
use super::position::Position;
use super::tree::{Base, Block, BlockKind, Expression, Node};

/// Stands for the keys or indices of everything in a list or a map.
pub(crate) const EACH: &str = "*";

/// Stands in a line for what another tag prints.
const TAG: char = '\0';

/// A value that is printed without a helper that quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bare {
    /// The first path in it, as the author wrote it.
    pub(crate) written: String,
    /// What to give to a helper instead.
    pub(crate) argument: String,
    /// The paths that its text comes from; [`EACH`] where it is any of several.
    pub(crate) origins: Vec<Vec<String>>,
    pub(crate) position: Position,
    pub(crate) place: Stands,
}

/// Where in its line a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// By itself, as a whole value.
    Alone,
    /// By itself between quotes that the author wrote.
    InQuotes,
    /// Beside other text.
    Within,
    /// In a URL, and not as its host.
    InUrl,
}

/// Every value that is printed bare. One that is all there is in a template is a file of its own, and not among them.
pub(super) fn bare(nodes: &[Node]) -> Vec<Bare> {
    let mut walk = Walk { levels: Vec::new(), line: String::new(), found: Vec::new() };
    let blank = |node: &&Node| matches!(node, Node::Text(text) if text.trim().is_empty());
    if nodes.iter().filter(|node| !blank(node)).count() > 1 || !matches!(nodes.first(), Some(Node::Print(_))) {
        walk.nodes(nodes, "");
    }
    walk.found
}

struct Walk {
    /// For each enclosing `each` and `with`, outermost first, the paths of what it is about.
    levels: Vec<Vec<Vec<String>>>,
    /// What stands before in the same line.
    line: String,
    found: Vec<Bare>,
}

impl Walk {
    /// `after`: what follows the nodes in the last line.
    fn nodes(&mut self, nodes: &[Node], after: &str) {
        for (n, node) in nodes.iter().enumerate() {
            match node {
                Node::Text(text) => match text.rfind('\n') {
                    Some(newline) => self.line = text[newline + 1..].to_owned(),
                    None => self.line.push_str(text),
                },
                Node::Print(expression) => {
                    self.print(expression, &rest_of_line(&nodes[n + 1..], after));
                    self.line.push(TAG);
                }
                Node::Block(block) => self.block(block, &rest_of_line(&nodes[n + 1..], after)),
            }
        }
    }

    fn print(&mut self, expression: &Expression, after: &str) {
        let origins = self.origins(expression);
        let (Some(written), Some(position)) = (first_path(expression), expression.position()) else { return };
        if !origins.is_empty() {
            let argument = match expression {
                Expression::Call(call) => format!("({} …)", call.helper.name()),
                _ => written.clone(),
            };
            self.found.push(Bare { written, argument, origins, position, place: place(&self.line, after) });
        }
    }

    fn block(&mut self, block: &Block, after: &str) {
        let line = self.line.clone();
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
        self.line.clone_from(&line);
        self.nodes(block.otherwise.as_deref().unwrap_or_default(), after);
        self.line = line;
        self.line.push(TAG);
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

fn first_path(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Literal(_) => None,
        Expression::Path(path) => Some(path.written.clone()),
        Expression::Call(call) => call.arguments.iter().find_map(first_path),
    }
}

/// What `nodes` put into the line that they begin in, and `after` behind them.
fn rest_of_line(nodes: &[Node], after: &str) -> String {
    let mut rest = String::new();
    for node in nodes {
        match node {
            Node::Text(text) => match text.find('\n') {
                Some(newline) => return rest + &text[..newline],
                None => rest.push_str(text),
            },
            Node::Print(_) | Node::Block(_) => rest.push(TAG),
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

/// Whether this is part of a URL, but for its host: a user, a password, a path or a query.
fn in_url(before: &str, after: &str) -> bool {
    let ends = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
    let Some((_, begun)) = before.rsplit_once("://") else { return false };
    if begun.contains(ends) {
        return false;
    }
    if begun.contains(['/', '?', '#']) {
        return true;
    }
    let authority = after.split(|character: char| ends(character) || matches!(character, '/' | '?' | '#')).next();
    !begun.contains('@') && authority.is_some_and(|rest| rest.contains('@'))
}

/// Whether the value at `path` stands anywhere without `trim` around it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::compile::compile;

    fn found(source: &str) -> Vec<String> {
        let bare = bare(&compile(source).unwrap());
        bare.iter()
            .map(|bare| {
                let origins: Vec<String> = bare.origins.iter().map(|origin| origin.join(".")).collect();
                format!("{} from {} at {}, {:?}", bare.argument, origins.join(" "), bare.position, bare.place)
            })
            .collect()
    }

    #[test]
    fn finds_what_is_printed_without_quoting() {
        for (source, expected) in [
            ("a={{env x.a}} {{json x.b}} {{has x.c}} {{base64 x.d}} {{url x.e}}", &[][..]),
            ("a = {{x.a}}\n", &["x.a from x.a at 1:7, Alone"]),
            ("a = \"{{x.a}}\"", &["x.a from x.a at 1:8, InQuotes"]),
            ("a = \"b-{{x.a}}\"", &["x.a from x.a at 1:10, Within"]),
            ("a: [{{x.a}}, {{x.b}}]", &["x.a from x.a at 1:7, Alone", "x.b from x.b at 1:16, Alone"]),
            ("a={{default x.a (join x.b \",\")}}", &["(default …) from x.a x.b at 1:3, Alone"]),
            ("a={{default x.a \"b\"}}", &["(default …) from x.a at 1:3, Alone"]),
            ("a={{lookup x.a x.b}}", &["(lookup …) from x.a.* at 1:3, Alone"]),
            ("{{#each x.l}}\na={{this}}{{b}}{{@index}}\n{{/each}}", &["this from x.l.* at 2:5, Within", "b from x.l.*.b at 2:13, Within"]),
            ("{{#each x.l as |i|}}a={{i.c}}\n{{/each}}", &["i.c from x.l.*.c at 1:25, Alone"]),
            ("{{#with x.w}}a={{b}}{{/with}}", &["b from x.w.b at 1:18, Alone"]),
            ("{{#if x.i}}a={{x.a}}{{else}}a={{x.b}}{{/if}}", &["x.a from x.a at 1:16, Alone", "x.b from x.b at 1:33, Alone"]),
            ("{{x.whole}}\n", &[]),
            ("{{x.a}}{{x.b}}", &["x.a from x.a at 1:3, Within", "x.b from x.b at 1:10, Within"]),
        ] {
            assert_eq!(found(source), expected, "{source}");
        }
    }

    #[test]
    fn knows_the_parts_of_a_url() {
        for (source, expected) in [
            ("u=postgres://{{x.u}}:{{x.p}}@{{x.h}}:{{x.n}}/{{x.d}}?a={{x.q}}\n", "InUrl InUrl Within Within InUrl InUrl"),
            ("u=http://{{x.h}}/a b {{x.b}}", "Within Within"),
            ("u=\"http://{{x.u}}@h\" {{x.b}}", "InUrl Within"),
            ("u=http://h:80/{{x.b}}", "InUrl"),
            ("u={{x.b}}://h", "Within"),
        ] {
            let places: Vec<String> = bare(&compile(source).unwrap()).iter().map(|bare| format!("{:?}", bare.place)).collect();
            assert_eq!(places.join(" "), expected, "{source}");
        }
    }

    #[test]
    fn knows_what_is_not_trimmed() {
        let path = ["x".to_owned(), "a".to_owned()];
        for (source, expected) in [
            ("{{trim x.a}}{{env (trim x.a)}}{{has x.a}}{{x.b}}", false),
            ("{{x.a}}", true),
            ("{{trim (default x.a x.b)}}", false),
            ("{{env x.a}}{{trim x.a}}", true),
            ("{{#if x.b}}{{else}}{{x.a}}{{/if}}", true),
        ] {
            assert_eq!(untrimmed(&compile(source).unwrap(), &path), expected, "{source}");
        }
    }
}
