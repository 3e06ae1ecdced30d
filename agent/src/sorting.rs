//! Sorting with a single copy of the sort: the standard library's is compiled for each type of
//! item and each comparison, at 2 to 3 kB each.
//!
//! The sort is stable. Made for the short lists of a document, because each comparison is an indirect call.

use std::cmp::Ordering;

/// Additional methods of slices.
pub(crate) trait Sort {
    type Item;

    /// As [`sort_by`](slice::sort_by).
    fn order_by(&mut self, compare: impl FnMut(&Self::Item, &Self::Item) -> Ordering);

    /// As [`sort`](slice::sort).
    fn order(&mut self)
    where
        Self::Item: Ord,
    {
        self.order_by(Ord::cmp);
    }

    /// As [`sort_by_key`](slice::sort_by_key).
    fn order_by_key<K: Ord>(&mut self, mut key: impl FnMut(&Self::Item) -> K) {
        self.order_by(|one, other| key(one).cmp(&key(other)));
    }
}

impl<T> Sort for [T] {
    type Item = T;

    fn order_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        if self.len() < 2 {
            return;
        }
        let mut order = order(self.len(), &mut |one, other| compare(&self[one], &self[other]));
        permute(&mut order, &mut |one, other| self.swap(one, other));
    }
}

/// For each place, the index of the item that belongs there, of `count` items.
fn order(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|one, other| compare(*one, *other).then_with(|| one.cmp(other)));
    order
}

/// Moves each item to its place, by following the cycles of the permutation.
fn permute(order: &mut [usize], swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(given in prop::collection::vec((0..20_u8, any::<bool>()), 0..60)) {
            let (mut all, mut by_key) = (given.clone(), given.clone());
            all.order();
            by_key.order_by_key(|(key, _)| *key);
            let (mut sorted, mut sorted_by_key) = (given.clone(), given);
            sorted.sort();
            sorted_by_key.sort_by_key(|(key, _)| *key);
            prop_assert_eq!((all, by_key), (sorted, sorted_by_key));
        }
    }
}
