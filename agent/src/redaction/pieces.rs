//! Whole secrets, and whether a text is a piece of one.
//!
//! To look for every stretch of a line in every secret takes long where secrets are, so most are told apart before: a text
//! is in none of them if four bytes of it are not.

use std::cell::Cell;

use zeroize::Zeroizing;

/// A piece of a secret is recognized from this many bytes on: what is shorter is there by accident.
pub(super) const PIECE_FROM: usize = 12;

/// The same in a row of a dump, of which it is all there is.
pub(super) const ROW_FROM: usize = 8;

/// How many bytes are looked for first.
const WINDOW: usize = 4;

/// How many bits say which windows there are, as a power of two. 128 KiB.
const BITS: u32 = 20;

/// How many bytes of secrets are gone through for one line. Whatever else in it might be a piece is taken for one.
const LOOKED_THROUGH: usize = 16 << 20;

/// Secrets as they are, wiped when this is dropped.
#[derive(Default)]
pub(super) struct Pieces {
    whole: Vec<Zeroizing<Vec<u8>>>,
    /// A bit for the hash of every window of every secret.
    windows: Zeroizing<Vec<u64>>,
}

impl Pieces {
    /// Adds a secret. One that is too short to have pieces is left out.
    pub(super) fn add(&mut self, whole: &[u8]) {
        if whole.len() < PIECE_FROM || self.whole.iter().any(|known| **known == *whole) {
            return;
        }
        self.whole.push(Zeroizing::new(whole.to_vec()));
        self.windows.resize(1 << (BITS - 6), 0);
        for bit in whole.windows(WINDOW).filter_map(hash) {
            self.windows[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether `text` is a part of a secret, and with `from` bytes or more not so by accident. `looked`: how many bytes have
    /// been gone through for the same line.
    pub(super) fn holds(&self, text: &[u8], from: usize, looked: &Cell<usize>) -> bool {
        if text.len() < from || !self.has_windows(text) {
            return false;
        }
        self.whole.iter().filter(|whole| whole.len() >= text.len()).any(|whole| {
            looked.set(looked.get() + whole.len());
            looked.get() > LOOKED_THROUGH || memchr::memmem::find(whole, text).is_some()
        })
    }

    fn has_windows(&self, text: &[u8]) -> bool {
        !self.windows.is_empty() && text.windows(WINDOW).filter_map(hash).all(|bit| self.windows[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

fn hash(window: &[u8]) -> Option<usize> {
    let window = u32::from_le_bytes(window.first_chunk::<WINDOW>().copied()?);
    // Multiplicative hashing, as Knuth has it: the upper bits depend on all of the lower ones.
    usize::try_from(window.wrapping_mul(0x9E37_79B1) >> (32 - BITS)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_anywhere_and_what_only_resembles_one_is_not() {
        let mut pieces = Pieces::default();
        let holds = |pieces: &Pieces, text: &[u8]| pieces.holds(text, PIECE_FROM, &Cell::new(0));
        assert!(!holds(&pieces, b"0123456789abcdef"));
        pieces.add(b"0123456789abcdef");
        pieces.add(b"too short");
        for piece in ["0123456789ab", "456789abcdef", "0123456789abcdef"] {
            assert!(holds(&pieces, piece.as_bytes()), "{piece}");
        }
        for other in ["0123456789a", "0123456789abcdefg", "0123x56789abcdef", "0123456701234567"] {
            assert!(!holds(&pieces, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_not_looked_for_any_more_is_taken_for_a_piece() {
        let mut pieces = Pieces::default();
        pieces.add(&b"ab".repeat(1_000));
        let looked = Cell::new(0);
        let resembling = b"abababababababbaba";
        assert!(!pieces.has_windows(resembling));
        pieces.add(b"ababbaba0123");
        assert!(pieces.has_windows(resembling) && !pieces.holds(resembling, PIECE_FROM, &looked));
        looked.set(LOOKED_THROUGH);
        assert!(pieces.holds(resembling, PIECE_FROM, &looked) && !pieces.holds(b"something else", PIECE_FROM, &looked));
    }
}
