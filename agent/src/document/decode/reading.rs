//! What one reading of a tree knows from earlier ones: which values were set aside, and which keys are unknown.
//!
//! Each value has a number: the count of values before it. serde visits values in the order of the document, and a
//! skipped value counts together with everything inside it, so a value keeps its number in every reading.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::document::error::Mistake;
use crate::document::tree::{Key, Node, Value};

/// A value and its number.
#[derive(Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) node: &'a Node,
    pub(super) number: usize,
}

/// The number of the outermost value.
pub(super) const ROOT: usize = 0;

pub(super) struct Reading<'a> {
    /// The number of the next value.
    next: Cell<usize>,
    /// Values that could not be read.
    aside: BTreeSet<usize>,
    /// Unknown keys, by the number of their value, because every reading meets them again.
    unknown: RefCell<BTreeMap<usize, Unknown>>,
    apart: Apart<'a>,
}

/// Which keys of the outermost map are read elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Apart<'a> {
    These(&'a [&'static str]),
    AllBut(&'a [&'static str]),
}

struct Unknown {
    /// The map that contains the key.
    map: usize,
    mistake: Mistake,
}

impl<'a> Reading<'a> {
    pub(super) fn new(apart: Apart<'a>) -> Self {
        Self { next: Cell::new(ROOT), aside: BTreeSet::new(), unknown: RefCell::default(), apart }
    }

    /// Starts again at the root.
    pub(super) fn begin<'n>(&self, root: &'n Node) -> Numbered<'n> {
        self.next.set(ROOT);
        self.number(root)
    }

    /// Numbers the next value.
    pub(super) fn number<'n>(&self, node: &'n Node) -> Numbered<'n> {
        let number = self.next.get();
        self.next.set(number + 1);
        Numbered { node, number }
    }

    /// Skips the next value and everything inside it. Returns its number.
    pub(super) fn pass_over(&self, node: &Node) -> usize {
        let number = self.next.get();
        self.next.set(number + node.size());
        number
    }

    /// Whether the next value has been set aside.
    pub(super) fn is_next_aside(&self) -> bool {
        self.aside.contains(&self.next.get())
    }

    /// Whether a step of a boot document is being read: its strings are taken as written, including numbers.
    pub(super) fn is_of_a_step(&self) -> bool {
        matches!(self.apart, Apart::These([_, ..]))
    }

    /// Whether a key of a map is read elsewhere.
    pub(super) fn is_apart(&self, map: usize, key: &str) -> bool {
        map == ROOT
            && match self.apart {
                Apart::These(keys) => keys.contains(&key),
                Apart::AllBut(keys) => !keys.contains(&key),
            }
    }

    /// The keys of a map that are read elsewhere and whose names are known.
    pub(super) fn known_apart(&self, map: usize) -> &'a [&'static str] {
        match self.apart {
            Apart::These(keys) if map == ROOT => keys,
            _ => &[],
        }
    }

    /// Makes later readings skip a value. Returns whether it had not been set aside before.
    pub(super) fn set_aside(&mut self, number: usize) -> bool {
        self.aside.insert(number)
    }

    /// Records a key of `map` that is not among `known`, and skips its value.
    pub(super) fn pass_over_unknown(&self, map: usize, key: &Key, node: &Node, known: impl FnOnce() -> Vec<&'static str>) {
        let number = self.pass_over(node);
        self.unknown.borrow_mut().entry(number).or_insert_with(|| Unknown { map, mistake: key.unknown(&known()) });
    }

    /// Whether an error of a map may be only a consequence of another mistake: a misspelt key of the map, or a value in
    /// it that was set aside. `missing` is the field that the error reports as missing.
    pub(super) fn explains(&self, map: Numbered<'_>, missing: Option<&str>) -> bool {
        self.unknown.borrow().values().any(|unknown| unknown.map == map.number) || self.has_aside(map, missing)
    }

    fn has_aside(&self, map: Numbered<'_>, missing: Option<&str>) -> bool {
        let Value::Map(entries) = &map.node.value else { return false };
        let mut number = map.number + 1;
        entries.iter().any(|(key, child)| {
            let is_aside = self.aside.contains(&number);
            number += child.size();
            is_aside && missing.is_none_or(|field| key.name == field)
        })
    }

    /// Adds the mistakes of unknown keys.
    pub(super) fn tell_unknown(self, mistakes: &mut Vec<Mistake>) {
        let unknown = self.unknown.into_inner();
        // Nearly always empty. Consuming even an empty map costs a little for each step of a document.
        if !unknown.is_empty() {
            mistakes.extend(unknown.into_values().map(|unknown| unknown.mistake));
        }
    }
}
