//! How a template uses values: which it prints as they are, and which without [`trim`](super::helpers).
//!
//! Only for advice to the author: what a template may do is decided where it is compiled and rendered.

use super::helpers::Helper;
use super::position::Position;
use super::tree::{Base, Block, BlockKind, Expression, Node};
use crate::address::EACH;

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
    pub(crate) inert: Option<Inert>,
}

/// Where text stands that is no value to some formats, so that nothing is to be quoted for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inert {
    /// A comment that is a line of its own.
    Comment,
    /// A line in brackets, as the header of a section.
    Header,
    /// The lines of a YAML block scalar: `a: |`.
    BlockText,
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
    /// In the user, the password or the query of a URL. A path may be of several segments, and a host is what it is.
    InUrl,
    /// Anywhere, written by `env` for docker: not bare, but no other reader is sure to read it back.
    ForDocker,
}

/// Every value that is printed bare. One that is all there is in a template is a file of its own, and not among them.
pub(super) fn bare(nodes: &[Node]) -> Vec<Bare> {
    let mut walk = Walk { levels: Vec::new(), before: String::new(), found: Vec::new() };
    let blank = |node: &&Node| matches!(node, Node::Text(text) if text.trim().is_empty());
    if nodes.iter().filter(|node| !blank(node)).count() > 1 || !matches!(nodes.first(), Some(Node::Print(_))) {
        walk.nodes(nodes, "");
    }
    walk.found
}

struct Walk {
    /// For each enclosing `each` and `with`, outermost first, the paths of what it is about.
    levels: Vec<Vec<Vec<String>>>,
    /// What stands before.
    before: String,
    found: Vec<Bare>,
}

impl Walk {
    /// `after`: what follows the nodes in the last line.
    fn nodes(&mut self, nodes: &[Node], after: &str) {
        for (n, node) in nodes.iter().enumerate() {
            match node {
                Node::Text(text) => self.before.push_str(text),
                Node::Print(expression) => {
                    self.print(expression, &rest_of_line(&nodes[n + 1..], after));
                    self.before.push(TAG);
                }
                Node::Block(block) => self.block(block, &rest_of_line(&nodes[n + 1..], after)),
            }
        }
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
            let (above, line) = self.before.rsplit_once('\n').unwrap_or(("", &self.before));
            let place = if is_for_docker(expression) { Stands::ForDocker } else { place(line, after) };
            self.found.push(Bare { written, argument, origins, position, place, inert: inert(above, line, after) });
        }
    }

    fn block(&mut self, block: &Block, after: &str) {
        let before = self.before.len();
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
        self.before.truncate(before);
        self.nodes(block.otherwise.as_deref().unwrap_or_default(), after);
        self.before.truncate(before);
        self.before.push(TAG);
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

fn inert(above: &str, before: &str, after: &str) -> Option<Inert> {
    let begins = before.trim_start();
    if begins.starts_with(['#', ';']) || begins.starts_with("//") || begins.starts_with("<!--") {
        return Some(Inert::Comment);
    }
    if begins.starts_with('[') && after.trim_end().ends_with(']') {
        return Some(Inert::Header);
    }
    in_block_text(above, before).then_some(Inert::BlockText)
}

/// Whether a line with `before` at its beginning is one of a block scalar: of the lines above that are indented less and
/// less, one announces it.
fn in_block_text(above: &str, before: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut innermost = indent(before);
    for line in above.lines().rev().filter(|line| !line.trim().is_empty()) {
        if innermost == 0 {
            return false;
        }
        if indent(line) < innermost {
            innermost = indent(line);
            if announces_block_text(line) {
                return true;
            }
        }
    }
    false
}

/// Whether a line ends with `|` or `>` and what YAML allows behind it, as a word of its own behind a key or a dash.
fn announces_block_text(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let Some((key, sign)) = line.rsplit_once(' ') else { return false };
    let indicators = sign.strip_prefix(['|', '>']);
    let indicators = indicators.is_some_and(|rest| rest.len() <= 2 && rest.chars().all(|sign| matches!(sign, '+' | '-' | '1'..='9')));
    indicators && (key.contains(": ") || key.trim_end().ends_with([':', '-']))
}

/// Whether this is in a URL what has no signs of the URL in it: its user, its password, or a part of its query.
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
            ("u=postgres://{{x.u}}:{{x.p}}@{{x.h}}:{{x.n}}/{{x.d}}?a={{x.q}}\n", "InUrl InUrl Within Within Within InUrl"),
            ("u=http://{{x.h}}/a b {{x.b}}", "Within Within"),
            ("u=\"http://{{x.u}}@h\" {{x.b}}", "InUrl Within"),
            ("u=http://h:80/{{x.b}}", "Within"),
            ("u=http://h:80/{{x.b}}/a?b={{x.b}}&c={{x.b}}", "Within InUrl InUrl"),
            ("u=http://h:80/a#{{x.b}}", "Within"),
            ("u={{x.b}}://h", "Within"),
        ] {
            let places: Vec<String> = bare(&compile(source).unwrap()).iter().map(|bare| format!("{:?}", bare.place)).collect();
            assert_eq!(places.join(" "), expected, "{source}");
        }
    }

    #[test]
    fn knows_text_that_is_no_value() {
        for (source, expected) in [
            ("# for {{x.a}}\n  ; for {{x.a}}\n// {{x.a}}\n<!-- {{x.a}} -->\n", "Comment Comment Comment Comment"),
            ("a={{x.a}} # b\n#b\nc={{x.a}}", "None None"),
            ("[{{x.a}}]\n[a {{x.a}} b]\na=[{{x.a}}]\n", "Header Header None"),
            ("a: |\n  b {{x.a}}\n\n    {{x.a}}\nc: {{x.a}}\n", "BlockText BlockText None"),
            ("a:\n  - >2-  # folded\n      b\n     {{x.a}}\n  - {{x.a}}\n", "BlockText None"),
            ("a: |\n  b\nc:\n  d: {{x.a}}\n", "None"),
            ("a |\n  {{x.a}}\na: b|\n  {{x.a}}\n", "None None"),
            ("a: |\n{{#each x.l}}  {{this}}\n{{/each}}b: {{x.a}}\n", "BlockText None"),
        ] {
            let name = |bare: &Bare| bare.inert.map_or("None".to_owned(), |inert| format!("{inert:?}"));
            let found: Vec<String> = bare(&compile(source).unwrap()).iter().map(name).collect();
            assert_eq!(found.join(" "), expected, "{source}");
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
