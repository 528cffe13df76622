//! Byte-pair encoding of one word: the pair with the lowest rank merges first, the leftmost of equals.
//!
//! Sennrich et al. 2016, over bytes as in GPT-2. A heap keeps long words from taking quadratic time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A vocabulary's merges.
#[derive(Debug, Clone)]
pub(super) struct BytePairMerges {
    /// The token of each single byte; bytes without one are left out, as Hugging Face does.
    single: [Option<u32>; 256],
    /// Rank and result of each pair.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

/// A token of the word and its living neighbours.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    token: u32,
    previous: usize,
    next: usize,
    alive: bool,
}

/// Rank, left symbol and pair of a possible merge; the smallest comes first.
type Proposal = Reverse<(u32, usize, (u32, u32))>;

/// Marks the end of the chain of symbols.
const NONE: usize = usize::MAX;

impl BytePairMerges {
    pub(super) fn new(single: [Option<u32>; 256], merges: HashMap<(u32, u32), (u32, u32)>) -> Self {
        Self { single, merges }
    }

    /// Appends the tokens of a word.
    pub(super) fn encode_word(&self, word: &[u8], tokens: &mut Vec<u32>) {
        let singles = word.iter().filter_map(|&byte| self.single[usize::from(byte)]);
        let mut symbols: Vec<Symbol> = singles
            .enumerate()
            .map(|(index, token)| Symbol {
                token,
                previous: index.wrapping_sub(1),
                next: index + 1,
                alive: true,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let mut queue = BinaryHeap::new();
        for left in 0..symbols.len() {
            self.propose(&symbols, left, &mut queue);
        }
        while let Some(Reverse((rank, left, pair))) = queue.pop() {
            // A proposal is stale once either of its symbols has merged with something else.
            if !symbols[left].alive || self.pair_at(&symbols, left) != Some(pair) {
                continue;
            }
            let right = symbols[left].next;
            let Some(&(current_rank, merged)) = self.merges.get(&pair) else { continue };
            debug_assert_eq!(rank, current_rank);
            symbols[right].alive = false;
            let after = symbols[right].next;
            symbols[left].token = merged;
            symbols[left].next = after;
            if after != NONE {
                symbols[after].previous = left;
            }
            self.propose(&symbols, left, &mut queue);
            if symbols[left].previous != NONE {
                self.propose(&symbols, symbols[left].previous, &mut queue);
            }
        }
        tokens.extend(symbols.iter().filter(|symbol| symbol.alive).map(|symbol| symbol.token));
    }

    fn pair_at(&self, symbols: &[Symbol], left: usize) -> Option<(u32, u32)> {
        let right = symbols[left].next;
        (right != NONE).then(|| (symbols[left].token, symbols[right].token))
    }

    fn propose(&self, symbols: &[Symbol], left: usize, queue: &mut BinaryHeap<Proposal>) {
        if let Some(pair) = self.pair_at(symbols, left)
            && let Some(&(rank, _)) = self.merges.get(&pair)
        {
            queue.push(Reverse((rank, left, pair)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes are their own tokens; pairs merge in the given order into 256, 257, ...
    fn merges(pairs: &[(u32, u32)]) -> BytePairMerges {
        let single = std::array::from_fn(|byte| Some(byte as u32));
        let table = pairs.iter().zip(0..).map(|(&pair, rank)| (pair, (rank, 256 + rank))).collect();
        BytePairMerges::new(single, table)
    }

    fn encode(merges: &BytePairMerges, word: &[u8]) -> Vec<u32> {
        let mut tokens = Vec::new();
        merges.encode_word(word, &mut tokens);
        tokens
    }

    #[test]
    fn the_lowest_rank_merges_first_and_from_the_left() {
        let [a, b, c] = [b'a', b'b', b'c'].map(u32::from);
        let merges = merges(&[(b, c), (a, b), (a, a), (a, 256)]);
        assert_eq!(encode(&merges, b"abc"), [259]);
        assert_eq!(encode(&merges, b"ab"), [257]);
        assert_eq!(encode(&merges, b"aaa"), [258, a]);
        assert_eq!(encode(&merges, b"aaaa"), [258, 258]);
        assert_eq!(encode(&merges, b"cab"), [c, 257]);
        assert!(encode(&merges, b"").is_empty());
    }

    #[test]
    fn a_long_word_is_no_attack() {
        let a = u32::from(b'a');
        let merges = merges(&[(a, a), (256, 256), (257, 257)]);
        let start = std::time::Instant::now();
        assert_eq!(encode(&merges, &[b'a'; 80_000]), vec![258; 10_000]);
        assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
    }
}
