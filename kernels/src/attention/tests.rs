//! Tests of attention against the plain softmax, and its bits whatever shares a pass.

use proptest::prelude::*;

use super::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// Keys and values of `positions` positions, `[head][position][column]` each, and a cache of them.
struct Filled {
    keys: Vec<f32>,
    values: Vec<f32>,
    cache: KeyValues,
}

fn filled(heads: Heads, positions: usize, capacity: usize, seed: u64) -> Filled {
    let size = heads.keys * positions * heads.head_dim;
    let (keys, values) = (numbers(size, seed), numbers(size, seed ^ 0xff));
    let mut cache = KeyValues::new(heads.keys, heads.head_dim, capacity);
    let rows = keys.chunks_exact(heads.head_dim).zip(values.chunks_exact(heads.head_dim));
    for (index, (key, value)) in rows.enumerate() {
        cache.write(index / positions, index % positions, key, value);
    }
    Filled { keys, values, cache }
}

fn run(q: &[f32], heads: Heads, sequences: &[Sequence<'_>]) -> Vec<f32> {
    let mut out = vec![f32::NAN; q.len()];
    attend(q, heads.queries * heads.head_dim, sequences, heads, &mut out);
    out
}

fn of(cache: &KeyValues, held: usize, rows: usize) -> Sequence<'_> {
    Sequence { cache, first_head: 0, first_row: 0, rows, held, sees_all: false }
}

fn heads() -> impl Strategy<Value = Heads> {
    (1_usize..4, 1_usize..4, 1_usize..70).prop_map(|(keys, group, head_dim)| Heads {
        queries: keys * group,
        keys,
        head_dim,
    })
}

proptest! {
    #[test]
    fn any_sizes_equal_the_plain_softmax(
        heads in heads(), held in 0_usize..90, rows in 1_usize..30, sees_all in any::<bool>(), seed in any::<u64>(),
    ) {
        let positions = held + rows;
        let Filled { keys, values, cache } = filled(heads, positions, positions, seed);
        let width = heads.queries * heads.head_dim;
        let q = numbers(rows * width, !seed);
        let out = run(&q, heads, &[Sequence { sees_all, ..of(&cache, held, rows) }]);
        for (index, (q, out)) in q.chunks_exact(heads.head_dim).zip(out.chunks_exact(heads.head_dim)).enumerate() {
            let (row, head) = (index / heads.queries, index % heads.queries / (heads.queries / heads.keys));
            let of_head = head * positions * heads.head_dim..(head + 1) * positions * heads.head_dim;
            let seen = if sees_all { positions } else { held + row + 1 };
            let scores: Vec<f64> = keys[of_head.clone()].chunks_exact(heads.head_dim).take(seen)
                .map(|key| key.iter().zip(q).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>())
                .map(|score| score / (heads.head_dim as f64).sqrt()).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            for (column, found) in out.iter().enumerate() {
                let rows = values[of_head.clone()].chunks_exact(heads.head_dim).zip(&scores);
                let plain: f64 = rows.map(|(value, score)| f64::from(value[column]) * (score - most).exp() / sum).sum();
                prop_assert!((plain - f64::from(*found)).abs() < 2e-5, "{plain} {found}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_result_bit_for_bit_whatever_shares_its_pass(
        heads in heads(), held in 0_usize..90, rows in 1_usize..30, room in 0_usize..40, seed in any::<u64>(),
    ) {
        let positions = held + rows;
        let one = filled(heads, positions, positions + room, seed).cache;
        let other = filled(heads, positions, positions, seed ^ 3).cache;
        let width = heads.queries * heads.head_dim;
        let q = numbers(2 * rows * width, !seed);
        let second = Sequence { first_row: rows, ..of(&other, held, rows) };
        let together = run(&q, heads, &[of(&one, held, rows), second]);
        for (row, (q, together)) in q.chunks_exact(width).zip(together.chunks_exact(width)).enumerate() {
            let cache = if row < rows { &one } else { &other };
            let apart = run(q, heads, &[of(cache, held + row % rows, 1)]);
            prop_assert!(together.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()), "row {row}");
        }
    }

    #[test]
    fn another_size_keeps_what_was_held(
        heads in heads(), len in 1_usize..70, room in 0_usize..50, more in 0_usize..50, seed in any::<u64>(),
    ) {
        let cache = filled(heads, len, len + room, seed).cache;
        let q = numbers(heads.queries * heads.head_dim, !seed);
        let before = run(&q, heads, &[of(&cache, len - 1, 1)]);
        let resized = cache.resized(len, len + more);
        prop_assert_eq!(resized.bytes(), KeyValues::bytes_of(heads.keys, heads.head_dim, len + more));
        prop_assert_eq!(before, run(&q, heads, &[of(&resized, len - 1, 1)]));
    }
}

#[test]
fn scores_far_apart_neither_overflow_nor_vanish() {
    let heads = Heads { queries: 1, keys: 1, head_dim: 1 };
    let mut cache = KeyValues::new(1, 1, 3);
    for (position, key) in [-3e4, 3e4, 2e4].into_iter().enumerate() {
        cache.write(0, position, &[key], &[position as f32]);
    }
    assert_eq!(run(&[1.0], heads, &[of(&cache, 2, 1)]), [1.0], "the greatest takes all");
    assert!(run(&[f32::NAN], heads, &[of(&cache, 2, 1)])[0].is_nan());
}
