//! Searches for many strings, the needles, in one pass over a text. The first four bytes at each position are looked up
//! in a table of how the needles begin; only if one begins like that, the rest is compared.

use std::collections::BTreeMap;
use std::ops::Range;

use zeroize::Zeroizing;

/// How many bytes of a needle are used to find candidates. Every needle has at least this many.
const START: usize = 4;

/// Needles with fewer bytes are only found as whole words: `prod` is a poor password to hide,
/// and should stay in `production`.
const WORD_ONLY_BELOW: usize = 6;

/// The letters that stand for control characters after a backslash, in JSON, C and shells.
pub(super) const ESCAPED: &[u8] = b"nrtfbvae0";

/// Strings to search for. They are wiped on drop.
#[derive(Default)]
pub(super) struct Needles {
    all: Vec<Zeroizing<Vec<u8>>>,
    by_start: BTreeMap<u16, Vec<usize>>,
    /// A bitmap of the keys of `by_start`.
    starts: Vec<u64>,
}

impl Needles {
    /// Adds a needle. One that is too short to search for is ignored.
    pub(super) fn add(&mut self, needle: &[u8]) {
        let Some(start) = start_of(needle) else { return };
        let same = self.by_start.entry(start).or_default();
        if same.iter().any(|known| **self.all[*known] == *needle) {
            return;
        }
        same.push(self.all.len());
        self.all.push(Zeroizing::new(needle.to_vec()));
        self.starts.resize(BUCKETS / 64, 0);
        self.starts[usize::from(start) / 64] |= 1 << (start % 64);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Passes to `found` each place of a needle in `text`. Of the needles that begin at one place, only the longest is
    /// reported, and none that ends within an earlier one.
    pub(super) fn find(&self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        if self.is_empty() {
            return;
        }
        let mut told = 0;
        for at in 0..text.len() {
            let Some(start) = start_of(&text[at..]) else { return };
            if self.starts[usize::from(start) / 64] & (1 << (start % 64)) == 0 {
                continue;
            }
            let here = self.by_start.get(&start).into_iter().flatten().map(|needle| &*self.all[*needle]);
            let longest = here
                .filter(|needle| at + needle.len() > told && text[at..].starts_with(needle) && is_free(text, at..at + needle.len()))
                .map(Vec::len)
                .max();
            if let Some(length) = longest {
                told = at + length;
                found(at..told);
            }
        }
    }

    /// Where the longest needle begins that is cut off at the end of `text`.
    pub(super) fn begun_at_the_end(&self, text: &[u8]) -> Option<usize> {
        let longest = |needle: &Zeroizing<Vec<u8>>| {
            let most = (needle.len() - 1).min(text.len());
            (1..=most).rev().find(|length| text.ends_with(&needle[..*length]))
        };
        self.all.iter().filter_map(longest).max().map(|length| text.len() - length)
    }

    /// Where the longest needle ends that began before the start of `text`.
    pub(super) fn ended_at_the_start(&self, text: &[u8]) -> Option<usize> {
        let longest = |needle: &Zeroizing<Vec<u8>>| {
            let most = (needle.len() - 1).min(text.len());
            (1..=most).rev().find(|length| text.starts_with(&needle[needle.len() - *length..]))
        };
        self.all.iter().filter_map(longest).max()
    }
}

/// The number of values that [`start_of`] can return.
const BUCKETS: usize = 4096;

fn start_of(text: &[u8]) -> Option<u16> {
    let start = u32::from_le_bytes(text.first_chunk::<START>().copied()?);
    // Multiplicative hashing after Knuth: the upper bits depend on all of the lower ones.
    u16::try_from(start.wrapping_mul(0x9E37_79B1) >> (32 - BUCKETS.trailing_zeros())).ok()
}

/// Whether the match at `range` is long enough, or a whole word. The letter of an escape such
/// as `\n` does not count as part of a word.
fn is_free(text: &[u8], range: Range<usize>) -> bool {
    let joins = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    let before = &text[..range.start];
    let escape = matches!(before, [.., b'\\', letter] if ESCAPED.contains(letter));
    range.len() >= WORD_ONLY_BELOW || !((joins(before.last()) && !escape) || joins(text.get(range.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needles: &[&str], text: &str) -> Vec<String> {
        let mut known = Needles::default();
        needles.iter().for_each(|needle| known.add(needle.as_bytes()));
        let mut all = Vec::new();
        known.find(text.as_bytes(), &mut |range| all.push(text[range].to_owned()));
        all
    }

    #[test]
    fn the_longest_is_found_and_what_lies_within_it_is_not() {
        assert_eq!(found(&["abcdefgh", "abcdef", "cdefgh", "ghijklmn"], "x abcdefghijklmn"), ["abcdefgh", "ghijklmn"]);
        assert_eq!(found(&["abc"], "abc"), Vec::<String>::new());
    }

    #[test]
    fn a_short_one_is_found_only_as_a_word() {
        assert_eq!(found(&["prod"], "production prod xprod (prod) prodü").len(), 2);
    }

    #[test]
    fn a_short_one_is_a_word_beside_an_escape() {
        for text in ["\\nab12x\\n", "\"\\tab12x\\n\"", "\\\\rab12x", "\tab12x\t"] {
            assert_eq!(found(&["ab12x"], text), ["ab12x"], "{text}");
        }
        for text in ["nab12x", "\\qab12x", "\\nab12xn"] {
            assert_eq!(found(&["ab12x"], text), [""; 0], "{text}");
        }
    }

    #[test]
    fn one_that_is_cut_off_is_found_by_its_beginning() {
        let mut known = Needles::default();
        known.add(b"hunter2hunter3");
        assert_eq!(known.begun_at_the_end(b"xx hunter2hu"), Some(3));
        assert_eq!(known.begun_at_the_end(b"xx h"), Some(3));
        assert_eq!(known.begun_at_the_end(b"xx "), None);
        assert_eq!(known.begun_at_the_end(b"xx hunter2hunter3"), None);
    }
}
