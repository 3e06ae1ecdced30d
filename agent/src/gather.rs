//! Maps and sets that are filled one item at a time.
//!
//! `collect()` into a `BTreeMap` or a `BTreeSet` sorts first, which adds another copy of the stable sort to the binary
//! for each type of key and value: 3 to 5 kB.

/// Additional methods of iterators.
pub(crate) trait Gather: Iterator + Sized {
    /// As [`collect`](Iterator::collect).
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: Iterator> Gather for I {}
