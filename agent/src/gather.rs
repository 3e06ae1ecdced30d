//! Maps and sets that are filled one by one.
//!
//! `collect()` into a `BTreeMap` or a `BTreeSet` sorts first, for which the binary has one more copy of the stable sort for each
//! type of key and value: 3 to 5 kB.

/// What iterators can do besides.
pub(crate) trait Gather: Iterator + Sized {
    /// As [`collect`](Iterator::collect).
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: Iterator> Gather for I {}
