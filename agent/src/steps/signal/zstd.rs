//! Creates zstd frames from small texts, in one pass.
//!
//! `bundles:` decodes with libzstd, whose encoder would add 570 kB to the binary. This one finds repetitions greedily
//! with one table, packs literals with a Huffman code per block, and sequences with the predefined tables of the
//! format. A journal shrinks to a quarter, and every zstd decoder reads the result.
//!
//! Source: RFC 8878, <https://www.rfc-editor.org/rfc/rfc8878>; the order of a code's states in the encoder is that of
//! `FSE_buildCTable` in libzstd.

/// Maximum size of a block, in bytes.
const BLOCK: usize = 128 << 10;

/// Minimum length of a repetition, in bytes; also the length of the hashed text.
const SHORTEST: usize = 4;

/// Number of bits of a hash; the table remembers one place for each hash.
const TABLE_BITS: u32 = 15;

/// Offsets below this refer to earlier offsets.
const REPEATED: u32 = 3;

/// Maximum length of a literal's code, in bits.
const LONGEST_CODE: usize = 11;

/// Weights of Huffman codes are written directly up to this symbol; literals with others stay unpacked.
const LAST_SYMBOL: usize = 128;

/// The shortest length, and the number of extra bits of each length code.
const LITERAL_LENGTHS: (u32, [u32; 36]) =
    (0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
#[rustfmt::skip]
const MATCH_LENGTHS: (u32, [u32; 53]) = (3, [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8,
    9, 10, 11, 12, 13, 14, 15, 16,
]);

/// The number of bits of a state, and the expected frequency of each code.
#[rustfmt::skip]
const EXPECTED_LITERAL_LENGTHS: (u32, [i8; 36]) =
    (6, [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1]);
#[rustfmt::skip]
const EXPECTED_MATCH_LENGTHS: (u32, [i8; 53]) = (6, [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    -1, -1, -1, -1, -1, -1, -1,
]);
#[rustfmt::skip]
const EXPECTED_OFFSETS: (u32, [i8; 29]) =
    (5, [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1]);

/// A frame with `content`, which must be smaller than 4 GiB.
pub(super) fn packed(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend((content.len() as u32).to_le_bytes());
    let mut finder = Finder { content, places: vec![0; 1 << TABLE_BITS] };
    let mut at = 0;
    loop {
        let end = content.len().min(at + BLOCK);
        let (literals, sequences) = finder.block(at, end);
        let block = written(&literals, &sequences);
        let (kind, bytes) = if block.len() < end - at { (2, block.as_slice()) } else { (0, &content[at..end]) };
        let header = u32::from(end == content.len()) | kind << 1 | (bytes.len() as u32) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(bytes);
        at = end;
        if at == content.len() {
            return frame;
        }
    }
}

/// A number of literals, followed by `length` bytes copied from `offset` bytes back.
struct Sequence {
    literals: u32,
    length: u32,
    offset: u32,
}

struct Finder<'a> {
    content: &'a [u8],
    /// The place where each hash was last seen, plus one.
    places: Vec<u32>,
}

impl Finder<'_> {
    /// The literals and sequences of a block. Literals after the last sequence end the block.
    fn block(&mut self, from: usize, end: usize) -> (Vec<u8>, Vec<Sequence>) {
        let (mut literals, mut sequences) = (Vec::new(), Vec::new());
        let (mut at, mut copied) = (from, from);
        while at + SHORTEST <= end {
            let Some((offset, length)) = self.seen(at, end) else {
                at += 1;
                continue;
            };
            literals.extend(&self.content[copied..at]);
            sequences.push(Sequence { literals: (at - copied) as u32, length: length as u32, offset: offset as u32 });
            for place in at + 1..(at + length).min(self.content.len() - SHORTEST + 1) {
                self.replace(place);
            }
            at += length;
            copied = at;
        }
        literals.extend(&self.content[copied..end]);
        (literals, sequences)
    }

    /// How far back the bytes at a place occurred before, and how many of them match.
    fn seen(&mut self, at: usize, end: usize) -> Option<(usize, usize)> {
        let before = self.replace(at).checked_sub(1)? as usize;
        let same = self.content[at..end].iter().zip(&self.content[before..]).take_while(|(one, other)| one == other).count();
        (same >= SHORTEST).then_some((at - before, same))
    }

    /// Records a place, and returns the previous place with the same hash.
    fn replace(&mut self, at: usize) -> u32 {
        let bytes: [u8; SHORTEST] = self.content[at..at + SHORTEST].try_into().unwrap_or_default();
        let hash = u32::from_le_bytes(bytes).wrapping_mul(2_654_435_761) >> (32 - TABLE_BITS);
        std::mem::replace(&mut self.places[hash as usize], at as u32 + 1)
    }
}

fn written(literals: &[u8], sequences: &[Sequence]) -> Vec<u8> {
    let mut block = huffman(literals).unwrap_or_else(|| as_they_are(literals));
    let count = sequences.len();
    match count {
        0..128 => block.push(count as u8),
        128..0x7f00 => block.extend([(count >> 8) as u8 + 128, count as u8]),
        _ => {
            block.push(255);
            block.extend(((count - 0x7f00) as u16).to_le_bytes());
        }
    }
    let Some((last, before)) = sequences.split_last() else { return block };
    // All three kinds of codes use the predefined tables.
    block.push(0);
    let mut bits = Bits::default();
    let mut literal_lengths = States::new(&EXPECTED_LITERAL_LENGTHS.1, EXPECTED_LITERAL_LENGTHS.0);
    let mut match_lengths = States::new(&EXPECTED_MATCH_LENGTHS.1, EXPECTED_MATCH_LENGTHS.0);
    let mut offsets = States::new(&EXPECTED_OFFSETS.1, EXPECTED_OFFSETS.0);
    let codes = |sequence: &Sequence| {
        let offset = sequence.offset + REPEATED;
        let log = offset.ilog2();
        let literals = code(sequence.literals, LITERAL_LENGTHS.0, &LITERAL_LENGTHS.1);
        let length = code(sequence.length, MATCH_LENGTHS.0, &MATCH_LENGTHS.1);
        (literals, length, (log as usize, offset - (1 << log), log))
    };
    let (literal, length, offset) = codes(last);
    match_lengths.begin(length.0);
    offsets.begin(offset.0);
    literal_lengths.begin(literal.0);
    [literal, length, offset].iter().for_each(|(_, more, count)| bits.add(*more, *count));
    for sequence in before.iter().rev() {
        let (literal, length, offset) = codes(sequence);
        offsets.next(offset.0, &mut bits);
        match_lengths.next(length.0, &mut bits);
        literal_lengths.next(literal.0, &mut bits);
        [literal, length, offset].iter().for_each(|(_, more, count)| bits.add(*more, *count));
    }
    [match_lengths, offsets, literal_lengths].iter().for_each(|states| bits.add(states.state, states.log));
    block.extend(bits.closed());
    block
}

/// The code of a length, the value of its extra bits, and their number.
fn code(length: u32, first: u32, more: &[u32]) -> (usize, u32, u32) {
    let mut base = first;
    let at = more.iter().position(|bits| {
        let within = length < base + (1 << bits);
        base += if within { 0 } else { 1 << bits };
        within
    });
    let at = at.unwrap_or(more.len() - 1);
    (at, length - base, more[at])
}

fn as_they_are(literals: &[u8]) -> Vec<u8> {
    let length = literals.len() as u32;
    let (header, bytes) = match length {
        0..32 => (length << 3, 1),
        32..4096 => (1 << 2 | length << 4, 2),
        _ => (3 << 2 | length << 4, 3),
    };
    let mut section = header.to_le_bytes()[..bytes].to_vec();
    section.extend(literals);
    section
}

/// Encodes literals with a Huffman code of their own. `None` if that would not be shorter, or is not possible.
fn huffman(literals: &[u8]) -> Option<Vec<u8>> {
    let mut counts = [0u32; 256];
    literals.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let last = counts.iter().rposition(|count| *count > 0).filter(|last| (1..=LAST_SYMBOL).contains(last))?;
    let lengths = lengths(&mut counts[..=last])?;
    let longest = lengths.iter().copied().max()?;
    let weight = |at: usize| lengths.get(at).filter(|length| at < last && **length > 0).map_or(0, |length| (longest + 1 - length) as u8);
    let mut section = vec![127 + last as u8];
    section.extend((0..last).step_by(2).map(|at| weight(at) << 4 | weight(at + 1)));

    // The longest codes have the lowest values.
    let mut codes = vec![(0, 0); last + 1];
    let mut next = 0;
    for bits in (1..=longest).rev() {
        for at in (0..=last).filter(|at| lengths[*at] == bits) {
            codes[at] = (next, bits as u32);
            next += 1;
        }
        next >>= 1;
    }
    let stream = |literals: &[u8]| {
        let mut bits = Bits::default();
        literals.iter().rev().map(|byte| codes[usize::from(*byte)]).for_each(|(code, count)| bits.add(code, count));
        bits.closed()
    };
    let (format, width) = match literals.len() {
        0..1024 => (0, 10),
        1024..16384 => (2, 14),
        _ => (3, 18),
    };
    if format == 0 {
        section.extend(stream(literals));
    } else {
        let streams: Vec<Vec<u8>> = literals.chunks(literals.len().div_ceil(4)).map(stream).collect();
        streams[..3].iter().for_each(|stream| section.extend((stream.len() as u16).to_le_bytes()));
        streams.iter().for_each(|stream| section.extend(stream));
    }
    let header = 2 | format << 2 | (literals.len() as u64) << 4 | (section.len() as u64) << (4 + width);
    let bytes = (4 + 2 * width) / 8;
    let mut whole = header.to_le_bytes()[..bytes].to_vec();
    whole.extend(&section);
    (section.len() < literals.len()).then_some(whole)
}

/// The code length of each symbol. `None` if there is only one symbol.
fn lengths(counts: &mut [u32]) -> Option<Vec<usize>> {
    loop {
        // Trees with their symbols, the rarest last.
        let mut trees: Vec<(u32, Vec<usize>)> = Vec::new();
        for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            trees.insert(trees.partition_point(|(other, _)| other >= count), (*count, vec![symbol]));
        }
        if trees.len() < 2 {
            return None;
        }
        let mut lengths = vec![0; counts.len()];
        while let (Some((one, mut symbols)), Some((other, others))) = (trees.pop(), trees.pop()) {
            symbols.extend(others);
            symbols.iter().for_each(|at| lengths[*at] += 1);
            let sum = one + other;
            if trees.is_empty() {
                break;
            }
            let at = trees.partition_point(|(count, _)| *count > sum);
            trees.insert(at, (sum, symbols));
        }
        if lengths.iter().all(|length| *length <= LONGEST_CODE) {
            return Some(lengths);
        }
        counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
    }
}

/// The states of a code, in the order needed for encoding.
struct States {
    log: u32,
    state: u32,
    states: Vec<u32>,
    /// For each symbol, the values added to a state to get the number of its bits, and the place of the next state.
    symbols: Vec<(u32, i32)>,
}

impl States {
    fn new(expected: &[i8], log: u32) -> Self {
        let size = 1usize << log;
        let (mut spread, mut high) = (vec![0; size], size);
        for (symbol, _) in expected.iter().enumerate().filter(|(_, count)| **count < 0) {
            high -= 1;
            spread[high] = symbol;
        }
        let (mut at, step) = (0, (size >> 1) + (size >> 3) + 3);
        for (symbol, count) in expected.iter().enumerate() {
            for _ in 0..*count {
                spread[at] = symbol;
                at = (at + step) & (size - 1);
                while at >= high {
                    at = (at + step) & (size - 1);
                }
            }
        }
        let (mut symbols, mut places, mut total) = (Vec::new(), Vec::new(), 0i32);
        for count in expected {
            places.push(total as usize);
            let count = u32::from(count.unsigned_abs());
            let bits = if count == 1 { log } else { log - (count - 1).ilog2() };
            symbols.push(((bits << 16) - (count << bits), total - count as i32));
            total += count as i32;
        }
        let mut states = vec![0; size];
        for (state, symbol) in spread.into_iter().enumerate() {
            states[places[symbol]] = (size + state) as u32;
            places[symbol] += 1;
        }
        Self { log, state: 0, states, symbols }
    }

    fn begin(&mut self, symbol: usize) {
        let (more, _) = self.symbols[symbol];
        let bits = (more + (1 << 15)) >> 16;
        self.go_on(symbol, (bits << 16) - more, bits);
    }

    fn next(&mut self, symbol: usize, to: &mut Bits) {
        let bits = (self.state + self.symbols[symbol].0) >> 16;
        to.add(self.state & ((1 << bits) - 1), bits);
        self.go_on(symbol, self.state, bits);
    }

    fn go_on(&mut self, symbol: usize, state: u32, bits: u32) {
        let at = (state >> bits) as i32 + self.symbols[symbol].1;
        self.state = self.states[at as usize];
    }
}

/// A bit stream. The first bit is the lowest of the first byte; the decoder reads from the end.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    left: u64,
    count: u32,
}

impl Bits {
    fn add(&mut self, value: u32, count: u32) {
        let value = u64::from(value) & ((1 << count) - 1);
        self.left |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.left as u8);
            self.left >>= 8;
            self.count -= 8;
        }
    }

    /// All bytes, closed by a bit that marks the end.
    fn closed(mut self) -> Vec<u8> {
        self.add(1, 1);
        self.bytes.push(self.left as u8);
        if self.count == 0 {
            self.bytes.pop();
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(frame: &[u8]) -> Vec<u8> {
        zstd::stream::decode_all(frame).unwrap()
    }

    #[test]
    fn every_zstd_reads_what_it_makes() {
        let report = "{\"address\":\"services.shop.service\",\"outcome\":\"changed\",\"required\":true},".repeat(40);
        let noise: Vec<u8> = (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let letters: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 26).collect();
        let lines: String =
            (0..40_000).map(|at| format!("2026-11-30T15:{:02}:{:02} shop[{}]: GET /{at} 200\n", at / 60 % 60, at % 60, at * 7)).collect();
        for content in [
            Vec::new(),
            b"a".to_vec(),
            b"abcd".to_vec(),
            vec![b'x'; 5],
            vec![0; 1_000_000],
            report.clone().into_bytes(),
            "äöü€😀".repeat(1000).into_bytes(),
            lines.clone().into_bytes(),
            letters,
            noise,
        ] {
            assert!(unpacked(&packed(&content)) == content, "{:?}", &content[..content.len().min(80)]);
        }
        assert!(packed(report.as_bytes()).len() < 150, "{}", packed(report.as_bytes()).len());
        assert!(packed(lines.as_bytes()).len() < lines.len() / 3, "{} of {}", packed(lines.as_bytes()).len(), lines.len());
    }

    proptest! {
        #[test]
        fn whatever_it_holds(words in prop::collection::vec("[a-z]{1,9}|[0-9]{1,5}|\\PC{0,3}", 0..400), times in 1..200usize) {
            let content = words.join(" ").repeat(times).into_bytes();
            prop_assert_eq!(unpacked(&packed(&content)), content);
        }

        #[test]
        fn whatever_the_frequencies(bytes in prop::collection::vec(prop_oneof![9 => 0..4u8, 1 => 0..=255u8], 0..5000)) {
            prop_assert_eq!(unpacked(&packed(&bytes)), bytes);
        }
    }
}
