//! Damaged and hostile files: an original with a few changes, most of them where it says how the rest is read.

use std::ops::Range;

use crate::common::Random;

/// The shortest run of weights or zeros that counts as data, in words.
const RUN: usize = 16;

/// A file to mutate.
pub struct Original {
    /// Its name.
    pub name: String,
    file: Vec<u8>,
    /// The ranges without data.
    structure: Vec<Range<usize>>,
    /// How many bytes that is.
    size: usize,
}

impl Original {
    /// A file and where its structure lies.
    pub fn new(name: String, file: Vec<u8>) -> Self {
        let structures = (0..4).map(|phase| structure(&file, phase));
        let size = |ranges: &Vec<Range<usize>>| ranges.iter().map(ExactSizeIterator::len).sum::<usize>();
        let structure = structures.min_by_key(size).unwrap_or_default();
        Self { size: size(&structure), structure, name, file }
    }

    /// A byte, mostly of the structure.
    fn place(&self, random: &mut Random) -> usize {
        if self.size == 0 || random.below(16) == 0 {
            return random.below(self.file.len().max(1));
        }
        let mut at = random.below(self.size);
        for range in &self.structure {
            match at.checked_sub(range.len()) {
                Some(rest) => at = rest,
                None => return range.start + at,
            }
        }
        0
    }
}

/// The bytes that are not in long runs of zeros and of f32 between 2⁻²⁰ and 2⁴, counted in words from `phase` on.
fn structure(file: &[u8], phase: usize) -> Vec<Range<usize>> {
    let is_data = |word: &[u8]| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word == 0 || (127 - 20..127 + 4).contains(&(word >> 23 & 0xff))
    };
    let mut ranges = Vec::new();
    let (mut begin, mut run) = (0, 0);
    let words = file.get(phase..).unwrap_or_default().chunks_exact(4);
    let count = words.len();
    for (index, word) in words.enumerate() {
        if is_data(word) {
            run += 1;
            continue;
        }
        if run >= RUN {
            ranges.push(begin..phase + 4 * (index - run));
            begin = phase + 4 * index;
        }
        run = 0;
    }
    if run >= RUN {
        ranges.push(begin..phase + 4 * (count - run));
        begin = file.len();
    }
    ranges.push(begin..file.len());
    ranges
}

/// Changes an original in one to four places.
pub fn mutate(original: &Original, random: &mut Random) -> Vec<u8> {
    let mut file = original.file.clone();
    loop {
        change(original, &mut file, random);
        if random.below(5) < 3 {
            return file;
        }
    }
}

fn pick<T: Copy>(values: &[T], random: &mut Random) -> T {
    values[random.below(values.len())]
}

fn change(original: &Original, file: &mut Vec<u8>, random: &mut Random) {
    let length = file.len();
    if length == 0 {
        return file.push(random.bits() as u8);
    }
    let at = original.place(random).min(length - 1);
    let block = match random.below(8) {
        0 => 1 + random.below(length),
        _ => 1 + random.below(64),
    };
    let range = at..(at + block).min(length);
    match random.below(16) {
        0..3 => file[at] ^= 1 << random.below(8),
        3 => file[at] = pick(&[0, 1, 0x7f, 0x80, 0xff], random),
        4 => file[at] = random.bits() as u8,
        5..9 => number(original, file, at, random),
        9 | 10 => digits(file, at, random),
        11 => {
            let token = pick(&["[", "]", "{", "}", "\"", ",", ":", "null", "-1", "1e999", "\\u0000", "\u{e9}"], random);
            let end = (at + token.len() * random.below(2)).min(length);
            file.splice(at..end, token.bytes());
        }
        12 => file[range].fill(pick(&[0, 0xff, b'0', b'['], random)),
        13 => {
            let copy = file[range].to_vec();
            let to = original.place(random).min(length - 1);
            if random.below(2) == 0 {
                file.splice(to..to, copy);
            } else {
                let end = (to + copy.len()).min(length);
                file[to..end].copy_from_slice(&copy[..end - to]);
            }
        }
        14 => drop(file.drain(range)),
        _ if random.below(3) == 0 => file.truncate(at),
        _ => drop(file.splice(at..at, (0..random.below(16)).map(|byte| byte as u8))),
    }
}

/// Overwrites a number of 1 to 8 bytes with an extreme length, count or offset.
fn number(original: &Original, file: &mut [u8], at: usize, random: &mut Random) {
    let width = pick(&[1, 2, 4, 4, 8, 8, 8], random);
    // Most formats align their numbers.
    let at = if random.below(2) == 0 { at - at % width } else { at };
    let end = (at + width).min(file.len());
    let mut word = [0; 8];
    word[..end - at].copy_from_slice(&file[at..end]);
    let (old, length) = (u64::from_le_bytes(word), file.len() as u64);
    let place = original.place(random);
    let elsewhere =
        file.get(place..place + 8).map_or(0, |word| word.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)));
    let edges = [
        0,
        1,
        u64::MAX,
        u64::MAX >> 1,
        1 << 31,
        1 << 32,
        length - 1,
        length,
        length + 1,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old.wrapping_mul(2),
        old ^ 1 << random.below(32),
        old.wrapping_add(1 << 32),
        at as u64,
        place as u64,
        elsewhere.swap_bytes(),
        1 << random.below(64),
        random.bits() >> random.below(64),
    ];
    let new = pick(&edges, random);
    let bytes = if random.below(3) == 0 { (new << (64 - 8 * width)).to_be_bytes() } else { new.to_le_bytes() };
    file[at..end].copy_from_slice(&bytes[..end - at]);
}

/// Replaces the next number in decimal digits.
fn digits(file: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(begin) = file[at..].iter().take(4096).position(u8::is_ascii_digit).map(|offset| at + offset) else {
        return;
    };
    let end = begin + file[begin..].iter().take(30).take_while(|byte| byte.is_ascii_digit()).count();
    let edges = [
        "0",
        "1",
        "-1",
        "2",
        "65536",
        "4294967295",
        "4294967296",
        "4294967299",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "1e40",
        "0.5",
        "1e-400",
    ];
    let new = if random.below(3) == 0 { random.below(1 << 20).to_string() } else { pick(&edges, random).to_owned() };
    file.splice(begin..end, new.bytes());
}
