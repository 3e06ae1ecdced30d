//! Which ranges of a device are read, and in which pieces. Pure.

/// Ranges separated by at most this many bytes are read together: another read costs more than the bytes between.
const GAP: u64 = 32 << 10;

/// No device has larger sectors, and the kernel reads whole pages anyway. In bytes.
pub(super) const ALIGNMENT: u64 = 4096;

/// A lazily loaded volume is fetched in blocks of this size, in bytes: two reads should not wait for the same block.
///
/// Source: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html> ("block")
const CHUNK: u64 = 512 << 10;

/// The total size of all buffers, in bytes.
const BUFFERS: u64 = 64 << 20;

/// The maximum size of one of `in_flight` concurrent reads: a power of two, in bytes.
pub(super) fn chunk(in_flight: usize) -> u64 {
    let most = BUFFERS / in_flight.max(1) as u64;
    if most >= CHUNK { CHUNK } else { (most.max(ALIGNMENT) + 1).next_power_of_two() / 2 }
}

/// A range of bytes, `end` excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Range {
    pub(super) fn new(start: u64, length: u64) -> Self {
        Self { start, end: start.saturating_add(length) }
    }

    pub(super) fn length(self) -> u64 {
        self.end - self.start
    }

    /// Extends the range to whole blocks of [`ALIGNMENT`].
    fn aligned(self) -> Self {
        Self { start: self.start / ALIGNMENT * ALIGNMENT, end: self.end.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT }
    }

    /// Splits the range into pieces that do not cross a multiple of `chunk`.
    pub(super) fn pieces(self, chunk: u64) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            (start < self.end).then(|| {
                let end = (start / chunk + 1).saturating_mul(chunk).min(self.end);
                let piece = Self { start, end };
                start = end;
                piece
            })
        })
    }
}

/// Sorts and aligns ranges, and merges those that touch, overlap or are at most `GAP` apart.
pub(super) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|range| range.start < range.end);
    ranges.iter_mut().for_each(|range| *range = range.aligned());
    ranges.sort_unstable();
    ranges.dedup_by(|next, range| {
        let near = next.start <= range.end.saturating_add(GAP);
        if near {
            range.end = range.end.max(next.end);
        }
        near
    });
    ranges
}

/// Orders one piece of each volume block first, then all others: pieces of the same block would wait for one fetch, and
/// as many fetches as possible should be in flight. `pieces` yields the pieces in the order of their places, and is
/// called twice.
pub(super) fn blocks_first<T, I: Iterator<Item = T>>(pieces: impl Fn() -> I, place: impl Fn(&T) -> u64 + Copy) -> impl Iterator<Item = T> {
    let pass = |wanted: bool| {
        let mut last = None;
        pieces().filter(move |piece| {
            let block = Some(place(piece) / CHUNK);
            let is_first = block != last;
            last = block;
            is_first == wanted
        })
    };
    pass(true).chain(pass(false))
}

pub(super) fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length()).sum()
}

/// The ranges of `size` bytes that are not in `read`, which is sorted.
pub(super) fn without(read: &[Range], size: u64) -> Vec<Range> {
    let mut left = Vec::new();
    let mut start = 0;
    for range in read {
        if range.start > start {
            left.push(Range { start, end: range.start.min(size) });
        }
        start = start.max(range.end);
    }
    if start < size {
        left.push(Range { start, end: size });
    }
    left.retain(|range| range.start < range.end);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    fn ranges(pairs: &[(u64, u64)]) -> Vec<Range> {
        pairs.iter().map(|(start, end)| Range { start: start * K, end: end * K }).collect()
    }

    #[test]
    fn joins_neighbours_in_the_order_of_the_device() {
        let found = ranges(&[(400, 404), (0, 4), (4, 8), (36, 40), (400, 402), (10, 10)]);
        assert_eq!(merged(found), ranges(&[(0, 40), (400, 404)]));
    }

    #[test]
    fn reads_whole_blocks() {
        assert_eq!(merged(vec![Range { start: 5000, end: 5001 }]), [Range { start: 4096, end: 8192 }]);
        assert_eq!(merged(vec![Range::new(u64::MAX - 1, 5)]).len(), 1);
    }

    #[test]
    fn splits_at_the_blocks_of_the_volume() {
        let pieces: Vec<Range> = Range { start: 100 * K, end: 1124 * K }.pieces(512 * K).collect();
        assert_eq!(pieces, ranges(&[(100, 512), (512, 1024), (1024, 1124)]));
        assert_eq!(Range { start: 7, end: 7 }.pieces(512 * K).count(), 0);
    }

    #[test]
    fn begins_with_one_piece_of_each_block() {
        let found = ranges(&[(0, 4), (100, 104), (500, 600), (700, 704), (2000, 2004)]);
        let pieces = || found.iter().flat_map(|range| range.pieces(CHUNK));
        let expected = ranges(&[(0, 4), (512, 600), (2000, 2004), (100, 104), (500, 512), (700, 704)]);
        assert_eq!(blocks_first(pieces, |piece| piece.start).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn knows_what_is_left() {
        assert_eq!(without(&ranges(&[(4, 8), (8, 12), (100, 200)]), 128 * K), ranges(&[(0, 4), (12, 100)]));
        assert_eq!(without(&[], 8 * K), ranges(&[(0, 8)]));
        assert_eq!(without(&ranges(&[(0, 8)]), 8 * K), []);
        assert_eq!(total(&ranges(&[(0, 4), (8, 9)])), 5 * K);
    }

    #[test]
    fn keeps_all_buffers_together_small() {
        for (in_flight, expected) in [(1, 512), (64, 512), (128, 512), (129, 256), (256, 256), (1024, 64)] {
            assert_eq!(chunk(in_flight), expected * K, "{in_flight}");
        }
    }
}
