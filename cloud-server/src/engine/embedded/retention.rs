//! What is kept of finished requests: their conversation, their answer, and its keys and values while there is room.
//!
//! A later prompt of the same owner that begins alike goes on from there; a question may continue a kept one without its
//! media being sent again; drafts may be verified behind it. All of it counts against one budget with what runs. Where room
//! is needed, the keys and values used longest ago go first; a conversation stays a while longer, since it is small and
//! its cache can be made anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msao_models::{Assistant, Generation, ReadBefore};
use msao_protocol::{Ask, Modality, RequestId};

use super::content::Content;
use super::kv_budget::{Hold, KvBudget};
use crate::engine::{KvStatistics, Owner};

/// Finished requests that are kept of one owner; the one used longest ago makes way.
const KEPT_PER_OWNER: usize = 16;

/// A generation with what its prompt holds and the memory that it takes.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) generation: Generation,
    pub(super) content: Arc<Content>,
    /// Given back after the generation is freed: fields are dropped in this order.
    pub(super) hold: Hold,
}

impl Sequence {
    /// Bytes of a sequence of so many positions: keys, values, the scores of the first token, and the token ids.
    pub(super) fn bytes(target: &Assistant, positions: usize) -> u64 {
        let scores = target.config().text_config.vocab_size * size_of::<f32>();
        target.kv_bytes(positions) + (scores + positions * size_of::<u32>()) as u64
    }

    /// Gives back the room behind the tokens that stand.
    fn trim(&mut self, target: &Assistant) {
        let standing = self.generation.tokens().len();
        self.generation.resize(standing);
        self.hold.shrink_to(Self::bytes(target, self.generation.prompt_tokens() + standing));
    }
}

/// Names a kept request.
pub(super) type KeptKey = (Owner, RequestId);

/// What became of a kept request's keys and values.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are of the large one; without a GPU the rest is small"
)]
enum Cache {
    Held(Sequence),
    /// A verification has them.
    Lent,
    Evicted,
}

#[derive(Debug)]
struct Kept {
    key: KeptKey,
    ask: Arc<Ask>,
    /// The answer as it stands, without an end token.
    tokens: Vec<u32>,
    cache: Cache,
    last_used: u64,
    /// Of question and answer alone.
    hold: Hold,
}

impl Kept {
    fn is_idle(&self) -> bool {
        matches!(self.cache, Cache::Held(_))
    }

    /// Bytes that giving it up frees.
    fn evictable_bytes(&self) -> u64 {
        match &self.cache {
            Cache::Held(sequence) => sequence.hold.bytes() + self.hold.bytes(),
            Cache::Evicted => self.hold.bytes(),
            Cache::Lent => 0,
        }
    }

    /// The beginning of `content` whose keys and values are held here, in tokens.
    fn known_of(&self, content: &Content) -> usize {
        let Cache::Held(sequence) = &self.cache else { return 0 };
        let held = (*sequence.content).clone().with_answer(&self.tokens);
        // The last token of a prompt is read in any case, for the scores behind it.
        let most = sequence.generation.held_positions().min(content.len().saturating_sub(1));
        content.beginning_within(held.common_beginning(content).min(most))
    }
}

/// A kept request lent to a verification.
#[derive(Debug)]
pub(super) enum Lent {
    /// With its keys and values.
    Whole(Sequence),
    /// They have to be made anew, from this question and the tokens behind it.
    Evicted(Arc<Ask>, Vec<u32>),
    /// Another verification has it.
    Taken,
    /// There is none of that name.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Retention {
    budget: Arc<KvBudget>,
    kept: Mutex<Vec<Kept>>,
    clock: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    reused_tokens: AtomicU64,
    evictions: AtomicU64,
    re_prefills: AtomicU64,
}

impl Retention {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self {
            budget: KvBudget::new(budget_bytes),
            kept: Mutex::default(),
            clock: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            reused_tokens: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            re_prefills: AtomicU64::new(0),
        }
    }

    pub(super) fn budget_bytes(&self) -> u64 {
        self.budget.total_bytes()
    }

    /// Bytes that are free, or would be if everything kept were given up.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_beside(&self.lock())
    }

    fn free_beside(&self, kept: &[Kept]) -> u64 {
        self.budget.free_bytes() + kept.iter().map(Kept::evictable_bytes).sum::<u64>()
    }

    /// Takes room, evicting what is kept where there is not enough; `spared` goes last. Nothing is evicted in vain.
    pub(super) fn make_room(&self, bytes: u64, spared: Option<KeptKey>) -> Option<Hold> {
        let mut kept = self.lock();
        if bytes > self.free_beside(&kept) {
            return None;
        }
        loop {
            if let Some(hold) = self.budget.take(bytes) {
                return Some(hold);
            }
            let oldest = |of: &dyn Fn(&Kept) -> bool| {
                let candidates = kept.iter().enumerate().filter(|(_, one)| of(one));
                candidates.min_by_key(|(_, one)| one.last_used).map(|(index, _)| index)
            };
            let is_spared = |one: &Kept| Some(one.key) == spared;
            if let Some(index) = oldest(&|one| one.is_idle() && !is_spared(one)) {
                kept[index].cache = Cache::Evicted;
                self.count_eviction();
            } else if let Some(index) = oldest(&|one| !matches!(one.cache, Cache::Lent) && !is_spared(one)) {
                kept.remove(index);
            } else if let Some(index) = oldest(&Kept::is_idle) {
                kept[index].cache = Cache::Evicted;
                self.count_eviction();
            } else {
                return None;
            }
        }
    }

    /// The kept request of `owner` that holds most of the beginning of `content`.
    pub(super) fn find(&self, owner: Owner, content: &Content) -> Option<KeptKey> {
        let kept = self.lock();
        let known = kept.iter().filter(|one| one.key.0 == owner).map(|one| (one.known_of(content), one.key));
        known.filter(|(tokens, _)| *tokens > 0).max_by_key(|(tokens, _)| *tokens).map(|(_, key)| key)
    }

    /// Copies what the kept request, if it is still there, holds of the beginning of `content`, with room for
    /// `positions`; counts the hit or miss.
    pub(super) fn copy_beginning(
        &self,
        key: Option<KeptKey>,
        content: &Content,
        positions: usize,
    ) -> Option<ReadBefore> {
        let mut kept = self.lock();
        let copy = kept.iter_mut().find(|one| Some(one.key) == key).and_then(|one| {
            one.last_used = self.tick();
            let known = one.known_of(content);
            let Cache::Held(sequence) = &one.cache else { return None };
            (known > 0).then(|| sequence.generation.read_before(known, positions))
        });
        match &copy {
            Some(before) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                self.reused_tokens.fetch_add(before.tokens() as u64, Ordering::Relaxed);
            }
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
            }
        }
        copy
    }

    /// Keeps a finished request, if it is still wanted by then; one of the same name is given up.
    pub(super) fn keep(
        &self,
        key: KeptKey,
        ask: Arc<Ask>,
        tokens: Vec<u32>,
        mut sequence: Option<Sequence>,
        target: &Assistant,
        is_wanted: impl FnOnce() -> bool,
    ) {
        let media = [Modality::Text, Modality::Vision, Modality::Audio];
        let bytes = media.map(|modality| ask.bytes(modality)).iter().sum::<u64>()
            + (size_of::<Kept>() + size_of_val(tokens.as_slice())) as u64;
        self.lock().retain(|one| one.key != key);
        if let Some(sequence) = &mut sequence {
            sequence.trim(target);
        }
        let Some(hold) = self.make_room(bytes, None) else { return };
        let mut kept = self.lock();
        // Whoever goes away says so first and has everything forgotten then, under the same lock.
        if !is_wanted() {
            return;
        }
        if let Some(sequence) = &sequence {
            let content = (*sequence.content).clone().with_answer(&tokens);
            for one in kept.iter_mut().filter(|one| one.key.0 == key.0) {
                // Whatever goes on from that one finds its beginning here as well.
                if let Cache::Held(other) = &one.cache
                    && one.known_of(&content) == other.generation.held_positions()
                    && sequence.generation.held_positions() >= other.generation.held_positions()
                {
                    one.cache = Cache::Evicted;
                }
            }
        }
        while kept.iter().filter(|one| one.key.0 == key.0).count() >= KEPT_PER_OWNER {
            let of_owner = kept.iter().enumerate().filter(|(_, one)| one.key.0 == key.0);
            let Some((index, _)) = of_owner.min_by_key(|(_, one)| one.last_used) else { break };
            kept.remove(index);
        }
        let cache = sequence.map_or(Cache::Evicted, Cache::Held);
        kept.push(Kept { key, ask, tokens, cache, last_used: self.tick(), hold });
    }

    /// The question and the answer's tokens of a kept request.
    pub(super) fn recall(&self, key: KeptKey) -> Option<(Arc<Ask>, Vec<u32>)> {
        let mut kept = self.lock();
        let one = kept.iter_mut().find(|one| one.key == key)?;
        one.last_used = self.tick();
        Some((Arc::clone(&one.ask), one.tokens.clone()))
    }

    /// Lends a kept request until [`Self::give_back`].
    pub(super) fn lend(&self, key: KeptKey) -> Lent {
        let mut kept = self.lock();
        let Some(one) = kept.iter_mut().find(|one| one.key == key) else { return Lent::Unknown };
        one.last_used = self.tick();
        match std::mem::replace(&mut one.cache, Cache::Lent) {
            Cache::Held(sequence) => Lent::Whole(sequence),
            Cache::Evicted => Lent::Evicted(Arc::clone(&one.ask), one.tokens.clone()),
            Cache::Lent => Lent::Taken,
        }
    }

    /// Takes a lent request back, with the tokens that stand now; without a sequence its keys and values are gone.
    pub(super) fn give_back(&self, key: KeptKey, tokens: Option<Vec<u32>>, sequence: Option<Sequence>) {
        let mut kept = self.lock();
        let Some(one) = kept.iter_mut().find(|one| one.key == key) else { return };
        one.cache = sequence.map_or(Cache::Evicted, Cache::Held);
        if let Some(tokens) = tokens {
            one.tokens = tokens;
        }
    }

    /// Gives up everything of an owner.
    pub(super) fn forget(&self, owner: Owner) {
        self.lock().retain(|one| one.key.0 != owner);
    }

    /// Counts a cache given up for another one.
    pub(super) fn count_eviction(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a prompt read again.
    pub(super) fn count_re_prefill(&self) {
        self.re_prefills.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn statistics(&self) -> KvStatistics {
        let retained_bytes = self.lock().iter().map(Kept::evictable_bytes).sum();
        KvStatistics {
            budget_bytes: self.budget.total_bytes(),
            used_bytes: self.budget.used_bytes(),
            retained_bytes,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            reused_tokens: self.reused_tokens.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            re_prefills: self.re_prefills.load(Ordering::Relaxed),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
