//! Whole secrets, and whether a text is a piece of one.
//!
//! Searching every secret for every part of a line would be slow, so most parts are ruled out first: a text is in none
//! of the secrets if four consecutive bytes of it are in none.

use std::cell::Cell;

use zeroize::Zeroizing;

/// The shortest piece of a secret that is recognized, in bytes: shorter ones occur by chance.
pub(super) const PIECE_FROM: usize = 12;

/// The same for a row of a hex dump, which shows only so many bytes of a secret at a time.
pub(super) const ROW_FROM: usize = 8;

/// The length of a window in bytes. A text of which one window is in no secret is itself in none.
const WINDOW: usize = 4;

/// The size of the bitmap of windows in bits, as a power of two. 128 KiB.
const BITS: u32 = 20;

/// How many bytes of secrets are searched for one line. Beyond that, whatever may be a piece is treated as one.
const LOOKED_THROUGH: usize = 16 << 20;

/// The secrets as they are, wiped on drop.
#[derive(Default)]
pub(super) struct Pieces {
    whole: Vec<Zeroizing<Vec<u8>>>,
    /// A bit for the hash of every window of every secret.
    windows: Zeroizing<Vec<u64>>,
}

impl Pieces {
    /// Adds a secret. One that is too short to have pieces is ignored.
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

    /// Whether `text` is a part of a secret, and long enough, with `from` bytes, not to be so by chance. `looked`
    /// counts the bytes of secrets that have been searched for the same line.
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
    // Multiplicative hashing after Knuth: the upper bits depend on all of the lower ones.
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
