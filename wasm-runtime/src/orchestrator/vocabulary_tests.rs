//! Two models whose tokens do not mean the same: the edge drafts nothing, and neither side goes on behind the other's tokens.

use msao_protocol::{Modality, PlanReason, Policy, Receipt, Strategy, TokenFate, TokenSource, Vocabulary};

use super::tests::{drafts, edge_writes, knowledge, media, present, scores, settled, terms, text};
use super::{Effect, OneRequest, Present};

fn vocabulary(tokens: u32, fingerprint: &str) -> Vocabulary {
    Vocabulary { tokens, fingerprint: fingerprint.into() }
}

fn both(edge: &Vocabulary, target: &Vocabulary) -> Present {
    let mut present = Present { edge_vocabulary: edge.clone(), ..present(true) };
    present.target.as_mut().unwrap().vocabulary = target.clone();
    present
}

#[test]
fn only_a_model_of_the_same_tokens_drafts() {
    let (smollm, other) = (vocabulary(49_152, "5e11"), vocabulary(49_152, "07e1"));
    for (edge, drafts) in [(&smollm, true), (&other, false)] {
        let mut request = OneRequest::new(terms([false, false], Policy::Distributed));
        let planned = request.plan(scores(0.9, 0.9), both(edge, &smollm), &mut knowledge());
        assert_eq!(planned.is_ok(), drafts);
    }
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.9, 0.9), both(&other, &smollm), &mut knowledge()).unwrap();
    assert_eq!(request.strategy(), Some(Strategy::Cloud));
    assert_eq!(request.receipt().unwrap().reason, PlanReason::OtherTokenizer);
    assert!(request.action(Modality::Vision).leaves_device());
}

#[test]
fn drafts_end_where_the_edge_has_tokens_of_its_own() {
    let mut knowledge = knowledge();
    let shared = vocabulary(100, "5e11");
    let mut request = OneRequest::new(terms([false, false], Policy::Distributed));
    request.plan(scores(0.9, 0.9), both(&shared, &shared), &mut knowledge).unwrap();
    request.ask(media(), &[]).unwrap();
    request.asked();
    let effects = edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (170, ""), (11, " b")]);
    let drafted: Vec<u32> = drafts(&effects).iter().flat_map(|draft| draft.tokens.clone()).collect();
    assert_eq!(drafted, [10], "{effects:?}");
    assert!(drafts(&effects).last().unwrap().is_last, "{effects:?}");
}

#[test]
fn an_edge_of_other_tokens_answers_anew_when_the_cloud_is_lost() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    let present = both(&vocabulary(9, "07e1"), &vocabulary(9, "5e11"));
    request.plan(scores(0.9, 0.9), present, &mut knowledge).unwrap();
    request.ask(media(), &[]).unwrap();
    request.asked();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(1, "my"), (2, " own")]);
    request.edge_done(0, Receipt::default(), &mut knowledge);
    let written = settled(8, "its", TokenSource::Target, TokenFate::Written);
    request.settled(0, vec![written], 0, &mut knowledge);
    let effects = request.cloud_failed(&mut knowledge);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::CorrectEdge(_))), "{effects:?}");
    assert!(request.is_complete());
    assert_eq!(text(&request), "my own");
}
