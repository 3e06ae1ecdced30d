//! Finds the references of a template: every path in it that reads from the root.
//!
//! References become the edges of the plan, so the order need not be written by hand. Paths that are local to a block
//! (`this`, `@index`, the parameters of `each … as |item|`) are not references, but the list or map that is the block's
//! subject is one. A `with` over a path is only an abbreviation: inside `{{#with secrets.db}}`, `{{password}}` refers
//! to `secrets.db.password`.

use std::collections::BTreeSet;

use super::helpers::Helper;
use super::position::Position;
use super::tree::{Block, BlockKind, Expression, Node, Path};
use crate::address::{Reference, Usage};

/// Every reference once for each [`Usage`], ordered by first occurrence, with its position.
pub(super) fn references(nodes: &[Node]) -> Vec<(Reference, Position)> {
    let mut walk = Walk { tested: Vec::new(), known: BTreeSet::new(), found: Vec::new() };
    walk.nodes(nodes);
    walk.found
}

struct Walk<'t> {
    /// The paths that an enclosing test has shown to exist.
    tested: Vec<&'t [String]>,
    known: BTreeSet<(&'t [String], Usage)>,
    found: Vec<(Reference, Position)>,
}

impl<'t> Walk<'t> {
    fn nodes(&mut self, nodes: &'t [Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Print(expression) => self.expression(expression, Usage::Printed),
                Node::Block(block) => self.block(block),
            }
        }
    }

    fn block(&mut self, block: &'t Block) {
        self.expression(&block.subject, Usage::Given);
        let otherwise = block.otherwise.as_deref().unwrap_or_default();
        if let BlockKind::If { wanted, .. } = block.kind {
            self.nodes_where(there_when(&block.subject, wanted), &block.body);
            self.nodes_where(there_when(&block.subject, !wanted), otherwise);
        } else {
            self.nodes(&block.body);
            self.nodes(otherwise);
        }
    }

    fn nodes_where(&mut self, there: Vec<&'t [String]>, nodes: &'t [Node]) {
        let outside = self.tested.len();
        self.tested.extend(there);
        self.nodes(nodes);
        self.tested.truncate(outside);
    }

    fn expression(&mut self, expression: &'t Expression, usage: Usage) {
        let call = match expression {
            Expression::Literal(_) => return,
            Expression::Path(path) => return self.path(path, usage),
            Expression::Call(call) => call,
        };
        let outside = self.tested.len();
        for (n, argument) in call.arguments.iter().enumerate() {
            let usage = match call.helper {
                Helper::Has => Usage::Tested,
                Helper::Default if n == 0 => Usage::Tested,
                // `(has (lookup map key))` tolerates a missing map, not a missing key.
                Helper::Lookup if n == 0 && usage == Usage::Tested => Usage::Tested,
                _ => Usage::Given,
            };
            self.expression(argument, usage);
            // These two stop at the first argument that determines the result.
            match call.helper {
                Helper::And => self.tested.extend(there_when(argument, true)),
                Helper::Or => self.tested.extend(there_when(argument, false)),
                _ => {}
            }
        }
        self.tested.truncate(outside);
    }

    fn path(&mut self, path: &'t Path, usage: Usage) {
        if !path.is_reference() {
            return;
        }
        let tested = self.tested.iter().any(|tested| path.segments.starts_with(tested));
        let usage = if tested { Usage::Tested } else { usage };
        if self.known.insert((&path.segments, usage)) {
            let reference = Reference { segments: path.segments.clone(), usage, written: path.written.clone() };
            self.found.push((reference, path.position));
        }
    }
}

/// The paths that certainly exist if `condition` evaluates to `outcome`.
fn there_when(condition: &Expression, outcome: bool) -> Vec<&[String]> {
    let Expression::Call(call) = condition else { return Vec::new() };
    match (call.helper, call.arguments.as_slice()) {
        (Helper::Has, [Expression::Path(path)]) if outcome && path.is_reference() => vec![&path.segments],
        (Helper::Not, [inner]) => there_when(inner, !outcome),
        (Helper::And, all) if outcome => all.iter().flat_map(|one| there_when(one, true)).collect(),
        (Helper::Or, all) if !outcome => all.iter().flat_map(|one| there_when(one, false)).collect(),
        _ => Vec::new(),
    }
}
