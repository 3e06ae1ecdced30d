//! A compiled template: the parsed template with every name resolved.
//!
//! Both the search for [references](super::references) and the [renderer](super::render) walk this tree, so they cannot
//! disagree about the meaning of a path.

use std::fmt;

use serde_json::Value;

use super::helpers::Helper;
use super::position::Position;

/// The blocks a template may use, each closed by `{{/name}}`.
pub(super) const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "raw"];

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{expression}}`: its value, which must be a string, a number or a boolean.
    Print(Expression),
    Block(Box<Block>),
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) subject: Expression,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

/// The maximum depth of nested `each` loops.
pub(super) fn rounds(nodes: &[Node]) -> usize {
    let of_block = |node: &Node| match node {
        Node::Block(block) => {
            let within = rounds(&block.body) + usize::from(block.kind == BlockKind::Each);
            within.max(block.otherwise.as_deref().map_or(0, rounds))
        }
        _ => 0,
    };
    nodes.iter().map(of_block).max().unwrap_or(0)
}

/// The paths in the subjects of `if` and `unless`, which decide which parts are rendered, and whether any of them is
/// compared.
pub(super) fn choices(nodes: &[Node]) -> (Vec<&[String]>, bool) {
    let (mut paths, mut compares) = (Vec::new(), false);
    for node in nodes {
        let Node::Block(block) = node else { continue };
        if let BlockKind::If { .. } = block.kind {
            compares |= block.subject.chooses(&mut paths);
        }
        for within in [&block.body[..], block.otherwise.as_deref().unwrap_or_default()] {
            let (of_block, does_compare) = choices(within);
            paths.extend(of_block);
            compares |= does_compare;
        }
    }
    (paths, compares)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// `wanted` is false for `unless`.
    If {
        wanted: bool,
        include_zero: bool,
    },
    With,
    Each,
}

#[derive(Debug)]
pub(super) enum Expression {
    Literal(Value),
    Path(Path),
    Call(Call),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) helper: Helper,
    pub(super) arguments: Vec<Expression>,
    pub(super) position: Position,
}

#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) base: Base,
    pub(super) segments: Vec<String>,
    /// As the author wrote it.
    pub(super) written: String,
    pub(super) position: Position,
}

/// Where a path starts. Levels count the enclosing `each` and `with` blocks from the outside, starting at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Root,
    /// The context of the block at this level: its item or its subject.
    Context(usize),
    Local(usize, Local),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    Index,
    /// `@key`, only in an `each` over a map.
    Key,
    /// The second block parameter of `each`: the key in a map, the index in a list.
    KeyOrIndex,
    First,
    Last,
}

impl Path {
    /// Whether this path reads from the root, which makes it a reference.
    pub(super) fn is_reference(&self) -> bool {
        self.base == Base::Root
    }
}

/// For messages: the whole path from the root, or the path as written if it does not start at the root.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_reference() {
            return f.write_str(&self.written);
        }
        for (n, segment) in self.segments.iter().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            if segment.chars().all(super::path::is_symbol) {
                write!(f, "{dot}{segment}")?;
            } else {
                write!(f, "{dot}[{segment}]")?;
            }
        }
        Ok(())
    }
}

/// For messages.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("the literal"),
            Self::Path(path) => path.fmt(f),
            Self::Call(call) => write!(f, "the result of `{}`", call.helper.name()),
        }
    }
}

impl Expression {
    /// Adds its paths from the root. Returns whether any of them is compared.
    fn chooses<'t>(&'t self, paths: &mut Vec<&'t [String]>) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Path(path) => {
                paths.extend(path.is_reference().then_some(&path.segments[..]));
                false
            }
            Self::Call(call) => {
                let is_compared = matches!(call.helper, Helper::Eq | Helper::Ne);
                call.arguments.iter().fold(is_compared, |compares, argument| argument.chooses(paths) | compares)
            }
        }
    }

    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Self::Literal(_) => None,
            Self::Path(path) => Some(path.position),
            Self::Call(call) => Some(call.position),
        }
    }
}
