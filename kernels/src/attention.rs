//! Attention of new positions to the keys and values of their sequence, and the panels in which those are kept.
//!
//! Scores are a product with keys as weights, and the result one with values as weights, so both run as tiles of [`crate::tile`]: the
//! query heads that share a key head, and neighbouring positions, are the rows of a tile.

use macerator::Simd;

use crate::pool;
use crate::rows::exponentials;
use crate::tile::{Inputs, Line, MAX_ROWS, Outputs, PANEL, Panels, interleave, tiles, wants_interleaved};

/// Keys and values of some heads, each up to a number of positions.
#[derive(Debug, Clone)]
pub struct KeyValues {
    /// For every head, for every panel of positions, for every column, the panel's keys.
    keys: Vec<Line<f32>>,
    /// For every head, for every panel of columns, for every position, the panel's values.
    values: Vec<Line<f32>>,
    heads: usize,
    head_dim: usize,
    /// Positions, a multiple of [`PANEL`].
    capacity: usize,
}

/// The new positions of one sequence in a pass over several.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Where its keys and values are, those of the new positions included.
    pub cache: &'a KeyValues,
    /// The first head of the cache that is its.
    pub first_head: usize,
    /// Its first row in the pass.
    pub first_row: usize,
    /// Its new positions, each a row.
    pub rows: usize,
    /// Positions before them.
    pub held: usize,
    /// Whether a new position sees those after it as well.
    pub sees_all: bool,
}

/// The heads of queries, and those of keys that they share in groups.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys and values; divides `queries`.
    pub keys: usize,
    /// Columns of a head.
    pub head_dim: usize,
}

impl KeyValues {
    /// Room for `capacity` positions of so many heads.
    pub fn new(heads: usize, head_dim: usize, capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(PANEL);
        let lines = |count: usize| vec![Line([0.0; PANEL]); count];
        Self {
            keys: lines(heads * capacity / PANEL * head_dim),
            values: lines(heads * head_dim.div_ceil(PANEL) * capacity),
            heads,
            head_dim,
            capacity,
        }
    }

    /// Bytes that [`Self::new`] takes.
    pub fn bytes_of(heads: usize, head_dim: usize, capacity: usize) -> usize {
        let columns = head_dim + head_dim.next_multiple_of(PANEL);
        heads * capacity.next_multiple_of(PANEL) * columns * size_of::<f32>()
    }

    /// Bytes of all keys and values, free space included.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.heads, self.head_dim, self.capacity)
    }

    /// Writes one head's key and value of one position.
    ///
    /// # Shapes
    /// - key, value: `[head_dim]`
    ///
    /// # Panics
    /// If there is no such head or position.
    pub fn write(&mut self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        assert!(head < self.heads && position < self.capacity, "no position {position} of head {head}");
        let panel = (head * self.capacity + position) / PANEL;
        let lines = &mut self.keys[panel * self.head_dim..][..self.head_dim];
        for (line, key) in lines.iter_mut().zip(key) {
            line.0[position % PANEL] = *key;
        }
        let panels = self.head_dim.div_ceil(PANEL);
        for (panel, value) in value.chunks(PANEL).enumerate() {
            self.values[(head * panels + panel) * self.capacity + position].0[..value.len()]
                .copy_from_slice(value);
        }
    }

    /// A copy of the first `len` positions with room for `capacity`.
    ///
    /// # Panics
    /// If they do not fit, or are not there.
    #[must_use]
    pub fn resized(&self, len: usize, capacity: usize) -> Self {
        let mut new = Self::new(self.heads, self.head_dim, capacity);
        assert!(
            len <= new.capacity.min(self.capacity),
            "{len} of {} positions into {capacity}",
            self.capacity
        );
        let copy = |from: &[Line<f32>], to: &mut [Line<f32>], count: usize, stride: [usize; 2]| {
            for (from, to) in from.chunks_exact(stride[0]).zip(to.chunks_exact_mut(stride[1])) {
                to[..count].copy_from_slice(&from[..count]);
            }
        };
        let of_keys = |positions: usize| positions.div_ceil(PANEL) * self.head_dim;
        copy(&self.keys, &mut new.keys, of_keys(len), [of_keys(self.capacity), of_keys(new.capacity)]);
        copy(&self.values, &mut new.values, len, [self.capacity, new.capacity]);
        new
    }
}

/// `softmax(q k^T / sqrt(head_dim)) v` for each row and head, over the positions up to the row's own, or all.
///
/// # Shapes
/// - q: `[rows, q_stride]`, a row's queries first; out: `[rows, heads.queries * heads.head_dim]`
///
/// # Panics
/// If there are fewer rows, or positions, than the sequences say.
pub fn attend(q: &[f32], q_stride: usize, sequences: &[Sequence<'_>], heads: Heads, out: &mut [f32]) {
    let width = heads.queries * heads.head_dim;
    let group = heads.queries / heads.keys;
    let mut tasks = Vec::new();
    let mut multiplications = 0;
    for sequence in sequences {
        let Sequence { cache, first_head, first_row, rows, held, .. } = *sequence;
        let end = first_row + rows;
        assert!(
            q.len() >= end * q_stride && out.len() >= end * width && q_stride >= width,
            "rows up to {end}"
        );
        assert!(
            held + rows <= cache.capacity && first_head + heads.keys <= cache.heads,
            "positions are held"
        );
        assert_eq!(cache.head_dim, heads.head_dim, "columns of a head");
        multiplications += 2 * rows * (held + rows) * width;
        for head in 0..heads.keys {
            tasks.extend((0..rows * group).step_by(MAX_ROWS).map(|first| Task { sequence, head, first }));
        }
    }
    let pass = Pass { q, q_stride, heads, out: out.as_mut_ptr() };
    if pool::parts(multiplications) == 1 {
        return pool::alone(tasks.len(), &|task, scratch| attend_rows(&pass, &tasks[task], scratch));
    }
    pool::share(tasks.len(), &|task, scratch| attend_rows(&pass, &tasks[task], scratch));
}

/// A pass's queries and where its results go.
struct Pass<'a> {
    q: &'a [f32],
    q_stride: usize,
    heads: Heads,
    out: *mut f32,
}

// SAFETY: each task writes the queries of its own only; see `attend_rows`.
unsafe impl Sync for Pass<'_> {}

/// A tile of queries before one head of keys: `first` is one of `[positions, group]`.
struct Task<'a> {
    sequence: &'a Sequence<'a>,
    head: usize,
    first: usize,
}

/// What a thread keeps for its next tile.
pub(crate) struct Scratch {
    queries: Vec<f32>,
    scores: Vec<f32>,
    interleaved: Vec<f32>,
    results: Vec<f32>,
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self { queries: Vec::new(), scores: Vec::new(), interleaved: Vec::new(), results: Vec::new() }
    }
}

#[macerator::with_simd]
fn attend_rows<'a, S: Simd>(pass: &Pass<'a>, task: &Task<'a>, scratch: &mut Scratch) {
    let Heads { queries, keys: key_heads, head_dim } = pass.heads;
    let group = queries / key_heads;
    let Sequence { cache, first_head, first_row, rows, held, sees_all } = *task.sequence;
    let count = MAX_ROWS.min(rows * group - task.first);
    let place = |row: usize| {
        let (position, head) = ((task.first + row) / group, task.head * group + (task.first + row) % group);
        let last = if sees_all { rows - 1 } else { position };
        (first_row + position, head * head_dim, held + last + 1)
    };
    let (_, _, positions) = place(count - 1);
    let panels = positions.div_ceil(PANEL);
    let (padded, columns) = (panels * PANEL, head_dim.next_multiple_of(PANEL));
    let Scratch { queries, scores, interleaved, results } = scratch;
    for (buffer, size) in [
        (&mut *queries, head_dim),
        (&mut *scores, padded),
        (&mut *interleaved, padded.max(head_dim)),
        (&mut *results, columns),
    ] {
        buffer.resize((count * size).max(buffer.len()), 0.0);
    }

    let scale = (head_dim as f32).sqrt().recip();
    for (row, query) in queries.chunks_exact_mut(head_dim).enumerate().take(count) {
        let (from, column, _) = place(row);
        let from = &pass.q[from * pass.q_stride + column..][..head_dim];
        query.iter_mut().zip(from).for_each(|(query, from)| *query = from * scale);
    }
    let head = first_head + task.head;
    let lines = &cache.keys[head * cache.capacity / PANEL * head_dim..][..panels * head_dim];
    let start = laid_out::<S>(&queries[..count * head_dim], head_dim, interleaved);
    let x = Inputs { start, count: head_dim, row_stride: head_dim };
    let weights = Panels {
        start: lines.as_ptr(),
        stride: head_dim,
        scales: std::ptr::null(),
        group_scales: std::ptr::null(),
    };
    let out = Outputs { start: scores.as_mut_ptr(), row_stride: padded, width: padded, adds: false };
    // SAFETY: `count` queries of `head_dim`, as many panels of keys as the slice has, and scores for all of them.
    unsafe { tiles::<S, f32>(count, panels, x, weights, out) };

    let mut sums = [0.0; MAX_ROWS];
    for (row, scores) in scores.chunks_exact_mut(padded).enumerate().take(count) {
        let (_, _, limit) = place(row);
        sums[row] = exponentials::<S>(scores, limit);
    }
    let panels = columns / PANEL;
    let lines = &cache.values[head * panels * cache.capacity..][..panels * cache.capacity];
    let start = laid_out::<S>(&scores[..count * padded], padded, interleaved);
    let x = Inputs { start, count: positions, row_stride: padded };
    let weights = Panels {
        start: lines.as_ptr(),
        stride: cache.capacity,
        scales: std::ptr::null(),
        group_scales: std::ptr::null(),
    };
    let out = Outputs { start: results.as_mut_ptr(), row_stride: columns, width: columns, adds: false };
    // SAFETY: `count` rows of `positions` weights, as many lines of values in each panel, and results for all columns.
    unsafe { tiles::<S, f32>(count, panels, x, weights, out) };

    for (row, result) in results.chunks_exact(columns).enumerate().take(count) {
        let (to, column, _) = place(row);
        let factor = sums[row].recip();
        // SAFETY: inside `out`, whose size was asserted, and of this task's queries only.
        let to = unsafe {
            let start = pass.out.add(to * pass.heads.queries * head_dim + column);
            std::slice::from_raw_parts_mut(start, head_dim)
        };
        to.iter_mut().zip(result).for_each(|(to, result)| *to = result * factor);
    }
}

/// Rows as tiles want them, interleaved in the buffer if need be.
#[inline(always)]
fn laid_out<S: Simd>(x: &[f32], inputs: usize, buffer: &mut [f32]) -> *const f32 {
    if !wants_interleaved::<S>(x.len() / inputs) {
        return x.as_ptr();
    }
    interleave::<S>(x, inputs, &mut buffer[..x.len()]);
    buffer.as_ptr()
}

#[cfg(test)]
mod tests;
