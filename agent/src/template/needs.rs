//! The shape a template needs an unknown value to have: whether the template loops over it, looks into it, decodes it
//! or prints it. A dry run gives its placeholders that shape.

use super::helpers::Helper;
use super::tree::{Base, Block, BlockKind, Expression, Local, Node};
use crate::address::EACH;

/// One use of the value at a path. [`EACH`] in a path stands for any item of a list or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) path: Vec<String>,
    pub(crate) shape: Needed,
}

/// The shape that a use requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    Any,
    List,
    /// A map, because its keys are used.
    Map,
    /// A map that has the value at this path as a key.
    Key(Vec<String>),
    Base64,
}

/// Every use of a value, outer ones first.
pub(super) fn needs(nodes: &[Node]) -> Vec<Need> {
    let mut walk = Walk { levels: Vec::new(), found: Vec::new() };
    walk.nodes(nodes);
    walk.found
}

struct Walk {
    /// For each enclosing `each` and `with`, outermost first, the path of its subject, if the subject is a path.
    levels: Vec<Option<Vec<String>>>,
    found: Vec<Need>,
}

impl Walk {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Print(expression) => self.expression(expression, Needed::Any),
                Node::Block(block) => self.block(block),
            }
        }
    }

    fn block(&mut self, block: &Block) {
        let is_each = block.kind == BlockKind::Each;
        let shape = match is_each {
            true if uses_keys(&block.body, self.levels.len()) => Needed::Map,
            true => Needed::List,
            false => Needed::Any,
        };
        self.expression(&block.subject, shape);
        if matches!(block.kind, BlockKind::If { .. }) {
            self.nodes(&block.body);
        } else {
            let mut about = self.path(&block.subject);
            about.iter_mut().for_each(|path| path.extend(is_each.then(|| EACH.to_owned())));
            // An item exists even if it is not used.
            let item = about.clone().filter(|_| is_each);
            self.found.extend(item.map(|path| Need { path, shape: Needed::Any }));
            self.levels.push(about);
            self.nodes(&block.body);
            self.levels.pop();
        }
        self.nodes(block.otherwise.as_deref().unwrap_or_default());
    }

    fn expression(&mut self, expression: &Expression, shape: Needed) {
        self.found.extend(self.path(expression).map(|path| Need { path, shape }));
        let Expression::Call(call) = expression else { return };
        for (n, argument) in call.arguments.iter().enumerate() {
            let shape = match call.helper {
                Helper::Join if n == 0 => Needed::List,
                Helper::Unbase64 => Needed::Base64,
                Helper::Lookup if n == 0 => call.arguments.get(1).and_then(|key| self.path(key)).map_or(Needed::Any, Needed::Key),
                _ => Needed::Any,
            };
            let item = self.path(argument).filter(|_| shape == Needed::List);
            self.expression(argument, shape);
            self.found.extend(item.map(|path| Need { path: within(path, EACH), shape: Needed::Any }));
        }
    }

    /// The path that an expression reads.
    fn path(&self, expression: &Expression) -> Option<Vec<String>> {
        match expression {
            Expression::Path(path) => match path.base {
                Base::Root => Some(path.segments.clone()),
                Base::Context(level) => {
                    let about = self.levels.get(level)?.as_ref()?;
                    Some(about.iter().chain(&path.segments).cloned().collect())
                }
                Base::Local(..) => None,
            },
            Expression::Call(_) | Expression::Literal(_) => None,
        }
    }
}

fn within(mut path: Vec<String>, key: &str) -> Vec<String> {
    path.push(key.to_owned());
    path
}

/// Whether the keys of the block at this level are used inside it.
fn uses_keys(nodes: &[Node], level: usize) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) => false,
        Node::Print(expression) => is_key(expression, level),
        Node::Block(block) => {
            let otherwise = block.otherwise.as_deref().unwrap_or_default();
            is_key(&block.subject, level) || uses_keys(&block.body, level) || uses_keys(otherwise, level)
        }
    })
}

fn is_key(expression: &Expression, level: usize) -> bool {
    match expression {
        Expression::Literal(_) => false,
        Expression::Path(path) => {
            matches!(path.base, Base::Local(at, Local::Key | Local::KeyOrIndex) if at == level)
        }
        Expression::Call(call) => call.arguments.iter().any(|argument| is_key(argument, level)),
    }
}

#[cfg(test)]
mod tests {
    use crate::template::Template;

    #[test]
    fn every_use_says_what_shape_it_takes() {
        for (source, expected) in [
            ("{{secrets.a}}", "secrets.a Any"),
            ("{{#each secrets.a}}{{@key}}={{env this}}{{/each}}", "secrets.a Map, secrets.a.* Any, secrets.a.* Any"),
            ("{{#each secrets.a}}{{name}}{{/each}}", "secrets.a List, secrets.a.* Any, secrets.a.*.name Any"),
            ("{{#each secrets.a as |v k|}}{{k}}{{/each}}", "secrets.a Map, secrets.a.* Any"),
            ("{{join secrets.a \",\"}}", "secrets.a List, secrets.a.* Any"),
            ("{{toml (lookup secrets.a \"b\")}}", "secrets.a.b Any"),
            ("{{lookup secrets.a values.b}}", "secrets.a Key([\"values\", \"b\"]), values.b Any"),
            ("{{unbase64 secrets.a}}", "secrets.a Base64"),
            (
                "{{#each secrets.a}}{{#each this.b}}{{json this}}{{/each}}{{/each}}",
                "secrets.a List, secrets.a.* Any, secrets.a.*.b List, secrets.a.*.b.* Any, secrets.a.*.b.* Any",
            ),
        ] {
            let template = Template::parse(source).unwrap();
            let needs = template.needs();
            let told: Vec<String> = needs.iter().map(|need| format!("{} {:?}", need.path.join("."), need.shape)).collect();
            assert_eq!(told.join(", "), expected, "{source}");
        }
    }
}
