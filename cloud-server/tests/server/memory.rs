//! Memory for keys and values under a random crowd: never above its budget, and never a different answer.

use std::collections::HashMap;

use msao_planner::SplitMix64;
use msao_protocol::{Ask, ClientMessage, ErrorCode, ServerMessage, Speculation, TokenId, Verify};

use crate::speculation::ids;
use crate::support::{Client, Options, TestServer, ask, png, with_image};

/// What one client says and hears: each step is a question or a verification, and waits for its end.
struct Person {
    client: Client,
    rng: SplitMix64,
    /// Answers that may be gone on from, by their requests.
    answers: HashMap<u32, Vec<TokenId>>,
    next: u32,
}

/// What came of a step, comparable between servers.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(Vec<TokenId>),
    Verified(u32, Option<TokenId>, u32),
}

impl Person {
    fn below(&mut self, limit: usize) -> usize {
        (self.rng.uniform() * limit as f64) as usize
    }

    async fn step(&mut self) -> Outcome {
        self.next += 1;
        let id = self.next;
        // The youngest ones are kept for sure.
        let before = (id > 1).then(|| id - 1 - self.below(3.min(id as usize - 1)) as u32);
        match before.filter(|before| self.answers.contains_key(before)) {
            Some(before) if self.below(3) == 0 => self.verify(id, before).await,
            before => self.ask(id, before).await,
        }
    }

    async fn ask(&mut self, id: u32, before: Option<u32>) -> Outcome {
        let side = 40 + 8 * self.below(4) as u32;
        let words = ["what", "why", "where is the star"][self.below(3)];
        let plain = Ask { max_new_tokens: self.below(14) as u32, ..ask(id, &format!("{words} {id}?")) };
        let question = if self.below(2) == 0 { with_image(plain, png(side, 64)) } else { plain };
        let speculation = match self.below(3) {
            0 => Speculation::Distributed { patience_ms: 3 },
            1 => Speculation::CoLocated { draft_tokens: 2 },
            _ => Speculation::None,
        };
        // A conversation grows by at most a few turns, so that it fits what the tight server has.
        let continues = before.filter(|_| !id.is_multiple_of(4));
        self.client.send(&ClientMessage::Ask(Ask { speculation, continues, ..question })).await;
        let tokens = ids(&self.client.answer(id).await);
        self.answers.insert(id, tokens.clone());
        Outcome::Answered(tokens)
    }

    async fn verify(&mut self, id: u32, after: u32) -> Outcome {
        let tokens = self.answers[&after].clone();
        let start = self.below(tokens.len() + 1);
        let mut drafts = tokens[start..].to_vec();
        if !drafts.is_empty() && self.below(2) == 0 {
            let at = self.below(drafts.len());
            drafts[at] = (drafts[at] + 1) % 479;
        }
        let commit = self.below(3) == 0;
        let verify = Verify {
            request_id: id,
            after,
            start: start as u32,
            given: vec![],
            drafts: drafts.clone(),
            commit,
            log_probabilities: false,
        };
        self.client.send(&ClientMessage::Verify(verify)).await;
        let verified = match self.client.next().await {
            ServerMessage::Verified(verified) => verified,
            other => panic!("not verified behind {after}: {other:?}"),
        };
        if commit {
            let stands = [&tokens[..start], &drafts[..verified.accepted as usize]].concat();
            self.answers.insert(after, stands);
        }
        Outcome::Verified(verified.accepted, verified.next.map(|token| token.id), verified.standing)
    }
}

async fn crowd(server: &TestServer, seed: u64) -> Vec<Vec<Outcome>> {
    let mut people = Vec::new();
    for index in 0..4 {
        let client = server.session().await;
        let rng = SplitMix64::new(seed + index);
        people.push(Person { client, rng, answers: HashMap::new(), next: 0 });
    }
    let live = people.into_iter().map(|mut person| async move {
        let mut outcomes = Vec::new();
        for _ in 0..24 {
            outcomes.push(person.step().await);
            let kv = server.state.engine.statistics().kv;
            assert!(kv.used_bytes <= kv.budget_bytes && kv.retained_bytes <= kv.used_bytes, "{kv:?}");
        }
        outcomes
    });
    futures_util::future::join_all(live).await
}

#[actix_web::test]
async fn a_crowd_on_a_tiny_budget_hears_what_it_would_on_a_large_one() {
    // Room for what four people have under way and for their latest questions, and for a few of their caches.
    let tight = TestServer::start(Options { kv_budget_bytes: 448 << 10, ..Options::default() });
    let roomy = TestServer::start(Options::default());
    for seed in [1, 100] {
        assert_eq!(crowd(&tight, seed).await, crowd(&roomy, seed).await);
    }
    let [of_tight, of_roomy] = [&tight, &roomy].map(|server| server.state.engine.statistics().kv);
    assert!(of_tight.evictions > 10 && of_tight.re_prefills > 0, "{of_tight:?}");
    assert!(of_roomy.evictions == 0 && of_roomy.hits > 10, "{of_roomy:?}");
    // Everyone is gone, and so is everything that was kept for them.
    for server in [tight, roomy] {
        server.settle().await;
        assert_eq!(server.state.engine.statistics().kv.used_bytes, 0);
    }
}

#[actix_web::test]
async fn many_questions_of_one_leave_places_and_turns_to_others() {
    let limits = msao_protocol::Limits { requests_in_flight: 16, ..Default::default() };
    let server = TestServer::start(Options { limits, max_batch: 1, ..Options::default() });
    let (mut many, mut one) = (server.session().await, server.session().await);
    for id in 1..=8 {
        many.send(&ClientMessage::Ask(Ask { max_new_tokens: 40, ..ask(id, "all at once?") })).await;
    }
    // Of eight places one session gets five at most, so whoever comes finds one.
    one.send(&ClientMessage::Ask(ask(1, "me too?"))).await;
    one.answer(1).await;
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 8 {
        match many.next().await {
            ServerMessage::Done { .. } => answered += 1,
            ServerMessage::Error(report) => {
                assert_eq!(report.code, ErrorCode::Busy);
                refused += 1;
            }
            _ => {}
        }
    }
    // Four, should the other one have come between.
    assert!(answered >= 4, "{answered} answered, {refused} refused");
}
