//! How tokens may be chosen, where drafts may come from, and what a draft may be.
//!
//! A draft that is let in can be wrong, and then costs time; its distributions are what the lossless rule believes, so
//! what they may be is checked here, and that they are true is the drafter's business.

use msao_protocol::{Candidate, Draft, ErrorCode, Limits, Sampling, Speculation, TokenId, Verify};

use super::Refusal;
use super::check::within;
use crate::engine::EngineInfo;

/// Most draft tokens of one round beside the target.
const MAX_CO_LOCATED_TOKENS: u8 = 32;
/// Highest temperature; above, what is drawn is hardly language.
const MAX_TEMPERATURE: f32 = 2.0;
/// How far from 1 a draft's probabilities may sum: what rounding leaves.
const SUM_TOLERANCE: f32 = 1e-3;

/// Holds the wish for drawn tokens against what can be drawn.
///
/// # Errors
/// When a number is out of its range.
pub(crate) fn check_sampling(sampling: &Sampling) -> Result<(), Refusal> {
    let Sampling { temperature, top_p, .. } = *sampling;
    // Written so that what is no number fails.
    if !(temperature > 0.0 && temperature <= MAX_TEMPERATURE) {
        let message = format!(
            "the temperature is {temperature}; it must be above 0 and at most {MAX_TEMPERATURE}: for the most likely tokens ask without sampling"
        );
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        let message =
            format!("top_p is {top_p}; it must be above 0 and at most 1: give 1 to draw from all tokens");
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    Ok(())
}

/// Holds the source of drafts, of a question or of one under way, against what the engine has.
///
/// # Errors
/// When there is no draft model, or too much is wanted of it.
pub(crate) fn check_speculation(speculation: Speculation, engine: &EngineInfo) -> Result<(), Refusal> {
    let Speculation::CoLocated { draft_tokens } = speculation else { return Ok(()) };
    if !engine.model.co_located_draft {
        let message = "no draft model runs beside this one: ask with another speculation, or start the server with --draft-model";
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    if !(1..=MAX_CO_LOCATED_TOKENS).contains(&draft_tokens) {
        let message = format!(
            "{draft_tokens} draft tokens a round are asked for; 1 to {MAX_CO_LOCATED_TOKENS} are accepted"
        );
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    Ok(())
}

/// Holds drafts against the request they are for.
///
/// # Errors
/// When the request takes none, the tokens are too many or none of the model's, or their distributions are none.
pub(crate) fn check_draft(
    draft: &Draft,
    speculation: Speculation,
    limits: &Limits,
    engine: &EngineInfo,
) -> Result<(), Refusal> {
    if !matches!(speculation, Speculation::Distributed { .. }) {
        let message = "drafts came for a question that asked for none: ask with distributed speculation";
        return Err(Refusal::new(ErrorCode::OutOfOrder, message));
    }
    // An end token may follow the longest answer.
    let (tokens, most) = (draft.tokens.len(), limits.max_new_tokens.saturating_add(1));
    within(tokens, most, ErrorCode::TooLarge, |limit| {
        format!("the draft has {tokens} tokens; at most {limit} are accepted: propose fewer at once")
    })?;
    check_vocabulary(draft.tokens.iter().copied(), engine)?;
    check_distributions(draft, engine)
}

/// Holds a verification against what an answer can have.
///
/// # Errors
/// When the tokens are too many or none of the model's.
pub(crate) fn check_verify(verify: &Verify, limits: &Limits, engine: &EngineInfo) -> Result<(), Refusal> {
    let (tokens, most) = (verify.given.len() + verify.drafts.len(), limits.max_new_tokens.saturating_add(1));
    within(tokens, most, ErrorCode::TooLarge, |limit| {
        format!("{tokens} tokens are to be looked at; at most {limit} are accepted: send fewer at once")
    })?;
    check_vocabulary(verify.given.iter().chain(&verify.drafts).copied(), engine)
}

fn check_distributions(draft: &Draft, engine: &EngineInfo) -> Result<(), Refusal> {
    let (tokens, distributions) = (draft.tokens.len(), draft.distributions.len());
    if distributions == 0 {
        return Ok(());
    }
    if distributions != tokens {
        let message = format!(
            "the draft has {tokens} tokens and {distributions} distributions: send one for each token, or none at all"
        );
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    for (&token, candidates) in draft.tokens.iter().zip(&draft.distributions) {
        check_candidates(token, candidates, engine)?;
    }
    Ok(())
}

fn check_candidates(token: TokenId, candidates: &[Candidate], engine: &EngineInfo) -> Result<(), Refusal> {
    let count = candidates.len();
    within(count, Candidate::MOST as u32, ErrorCode::TooLarge, |limit| {
        format!(
            "a draft token has {count} candidates; at most {limit} are accepted: draw from the {limit} most likely tokens"
        )
    })?;
    let refuse = |message: String| Err(Refusal::new(ErrorCode::Unsupported, message));
    check_vocabulary(candidates.iter().map(|candidate| candidate.id), engine)?;
    for (index, candidate) in candidates.iter().enumerate() {
        let Candidate { id, probability } = *candidate;
        // Written so that what is no number fails.
        if !(probability > 0.0 && probability <= 1.0 + SUM_TOLERANCE) {
            return refuse(format!(
                "candidate {id} has a probability of {probability}; it must be above 0 and at most 1: leave out what cannot be drawn"
            ));
        }
        if candidates[..index].iter().any(|other| other.id == id) {
            return refuse(format!("candidate {id} stands twice in one distribution: name it once"));
        }
    }
    if !candidates.iter().any(|candidate| candidate.id == token) {
        return refuse(format!(
            "draft token {token} is not among its own candidates: send the distribution it was drawn from"
        ));
    }
    let sum: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return refuse(format!(
            "the candidates of draft token {token} have probabilities that sum to {sum}; 1 is needed: renormalise where some were left out"
        ));
    }
    Ok(())
}

fn check_vocabulary(tokens: impl IntoIterator<Item = TokenId>, engine: &EngineInfo) -> Result<(), Refusal> {
    match tokens.into_iter().find(|&token| token >= engine.vocab_size) {
        None => Ok(()),
        Some(token) => {
            let (name, size) = (&engine.model.name, engine.vocab_size);
            let message = format!(
                "draft token {token} is outside the vocabulary of {size}: draft with a model that shares the tokenizer of {name}"
            );
            Err(Refusal::new(ErrorCode::Unsupported, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::check::tests::engine;

    /// A token and its probability.
    type Pair = (u32, f32);

    fn draft(tokens: &[u32]) -> Draft {
        Draft {
            request_id: 1,
            revision: 0,
            start: 0,
            tokens: tokens.to_vec(),
            distributions: Vec::new(),
            is_last: false,
        }
    }

    #[test]
    fn drafts_must_be_asked_for_and_the_model_s_own() {
        let limits = Limits { max_new_tokens: 2, ..Limits::default() };
        let code = |tokens: &[u32], speculation| {
            let draft = draft(tokens);
            check_draft(&draft, speculation, &limits, &engine()).err().map(|refusal| refusal.code)
        };
        let distributed = Speculation::Distributed { patience_ms: 1 };
        assert_eq!(code(&[99, 0, 1], distributed), None);
        assert_eq!(code(&[99; 4], distributed), Some(ErrorCode::TooLarge));
        assert_eq!(code(&[100], distributed), Some(ErrorCode::Unsupported));
        assert_eq!(code(&[1], Speculation::None), Some(ErrorCode::OutOfOrder));
    }

    #[test]
    fn co_located_drafts_need_a_draft_model() {
        let asked = |draft_tokens| Speculation::CoLocated { draft_tokens };
        let alone = check_speculation(asked(4), &engine()).unwrap_err();
        assert!(alone.message.contains("--draft-model"), "{alone}");
        let mut with_draft = engine();
        with_draft.model.co_located_draft = true;
        for (draft_tokens, accepted) in [(0, false), (1, true), (32, true), (33, false)] {
            assert_eq!(check_speculation(asked(draft_tokens), &with_draft).is_ok(), accepted);
        }
    }

    #[test]
    fn temperature_and_top_p_have_ranges() {
        let code = |temperature, top_p| {
            let refusal = check_sampling(&Sampling { temperature, top_p, seed: 1 }).err();
            refusal.inspect(|refusal| assert!(refusal.message.len() > 40)).map(|refusal| refusal.code)
        };
        for (temperature, top_p) in [(2.0, 1.0), (1e-30, 1e-30), (0.7, 0.9)] {
            assert_eq!(code(temperature, top_p), None);
        }
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(code(wrong, 1.0), Some(ErrorCode::Unsupported), "temperature {wrong}");
            assert_eq!(code(1.0, wrong), Some(ErrorCode::Unsupported), "top_p {wrong}");
        }
        assert_eq!(code(2.1, 1.0), Some(ErrorCode::Unsupported));
        assert_eq!(code(1.0, 1.1), Some(ErrorCode::Unsupported));
    }

    #[test]
    fn a_distribution_must_be_one_and_hold_its_token() {
        let refusal = |distributions: &[&[Pair]]| {
            let candidates = |pairs: &&[Pair]| {
                pairs.iter().map(|&(id, probability)| Candidate { id, probability }).collect()
            };
            let draft =
                Draft { distributions: distributions.iter().map(candidates).collect(), ..draft(&[7, 8]) };
            let distributed = Speculation::Distributed { patience_ms: 1 };
            check_draft(&draft, distributed, &Limits::default(), &engine()).err()
        };
        let sure: &[Pair] = &[(8, 1.0)];
        assert_eq!(refusal(&[&[(6, 0.5), (7, 0.4995)], sure]), None);
        let many: Vec<Pair> = (1..=17).map(|id| (id, 1.0 / 17.0)).collect();
        assert_eq!(refusal(&[&many, sure]).unwrap().code, ErrorCode::TooLarge);
        let wrong: [(&[&[Pair]], &str); 9] = [
            (&[&[(7, 1.0)]], "one for each token"),
            (&[&[], sure], "not among"),
            (&[&[(6, 1.0)], sure], "not among"),
            (&[&[(7, 0.9)], sure], "renormalise"),
            (&[&[(7, 0.7), (6, 0.4)], sure], "renormalise"),
            (&[&[(7, 1.0), (6, 0.0)], sure], "above 0"),
            (&[&[(7, f32::NAN)], sure], "above 0"),
            (&[&[(7, 0.5), (7, 0.5)], sure], "twice"),
            (&[&[(7, 0.5), (100, 0.5)], sure], "vocabulary"),
        ];
        for (distributions, word) in wrong {
            let refusal = refusal(distributions).unwrap();
            assert_eq!(refusal.code, ErrorCode::Unsupported);
            assert!(refusal.message.contains(word), "no `{word}` in {refusal}");
        }
    }
}
