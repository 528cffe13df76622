//! Answers of the edge that stand without the cloud, and those that do not.

use msao_planner::confidence::{Judged, JudgedPair};
use msao_protocol::PlanReason;

use super::{tests::*, *};

/// Knows a pair whose edge is right whenever its confidence is above one half.
pub(super) fn judged_knowledge() -> Knowledge {
    let samples: Vec<Judged> = (0..4_000)
        .map(|index| f64::from(index) / 4_000.0)
        .map(|confidence| Judged { confidence, agreed: confidence > 0.5 })
        .collect();
    let mut knowledge = knowledge();
    knowledge.confidence.learn(&JudgedPair::new(["target", "", ""].map(str::to_owned), &samples), "target");
    knowledge.confidence.control_risk(0.05);
    knowledge
}

/// The same, with a random state from which the next answer that stands is verified.
pub(super) fn always_verifying() -> Knowledge {
    let mut knowledge = (0..1_000)
        .map(Knowledge::new)
        .find(|knowledge| knowledge.clone().uniform() < 0.05)
        .expect("one seed in twenty draws below 0.05");
    knowledge.confidence = judged_knowledge().confidence;
    knowledge
}

fn risky() -> OneRequest {
    let mode = AnswerMode::RiskControlled { epsilon: 0.05 };
    OneRequest::new(Terms { mode, ..terms([false, false], Policy::Msao) })
}

#[test]
fn a_confident_answer_stands_and_nothing_is_sent() {
    let mut knowledge = judged_knowledge();
    // The first number drawn decides on verification; this one does not ask for it.
    assert!(knowledge.clone().uniform() > 0.1);
    let mut request = risky();
    assert_eq!(request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap(), []);
    assert!(request.is_held());
    assert_eq!(request.ask(media(), &[]), None, "the cloud is held back");
    assert_eq!(edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "red")]), []);
    let effects = request.edge_done(0, Receipt::default(), &mut knowledge);
    assert_eq!(effects, [Effect::ReleaseEdge]);
    assert!(request.is_complete() && text(&request) == "red");
    let receipt = request.receipt().unwrap();
    assert_eq!((receipt.strategy, receipt.reason), (Strategy::EdgeOnly, PlanReason::ConfidentEdge));
    assert_eq!((receipt.shadow, receipt.modalities[0].action), (None, ModalityAction::Edge));
    assert!(receipt.modalities.iter().all(|one| one.sent_bytes == 0));
    assert!(receipt.edge_confidence.is_some_and(|confidence| confidence > 0.9));
    assert_eq!(knowledge.confidence.risk().unwrap().report.stood, 1);
}

#[test]
fn an_unsure_token_sends_the_question_at_once_with_what_is_drafted() {
    let mut knowledge = judged_knowledge();
    let mut request = risky();
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    let unsure = Token { probability: 0.2, ..token(10, "red") };
    let effects = request.edge_token(0, 0, (unsure, Vec::new()), &mut knowledge);
    assert_eq!(effects, [Effect::Ask]);
    assert!(request.ask(media(), &[]).is_some());
    request.asked();
    request.edge_done(0, Receipt::default(), &mut knowledge);
    request.settled(0, vec![stands(10, "red", ACCEPTED)], 0, &mut knowledge);
    request.cloud_done(Receipt::default(), None, &mut knowledge);
    assert!(request.is_complete() && !request.is_held());
    let report = knowledge.confidence.risk().unwrap().report;
    assert_eq!((report.requests, report.stood), (1, 0));
}

#[test]
fn an_answer_that_stood_is_checked_afterwards_and_disagreement_is_told() {
    let mut knowledge = always_verifying();
    let before = knowledge.confidence.threshold();
    let mut request = risky();
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "red")]);
    let effects = request.edge_done(0, Receipt::default(), &mut knowledge);
    assert_eq!(effects, [Effect::ReleaseEdge, Effect::Ask]);
    assert!(request.is_complete(), "the user does not wait for the check");
    assert!(request.ask(media(), &[]).is_some());
    let effects = request.asked();
    assert_eq!(drafts(&effects)[0].tokens, [10]);
    let effects = request.settled(0, vec![stands(11, "blue", CORRECTED)], 1, &mut knowledge);
    assert_eq!(effects, [Effect::Steer(Speculation::None)], "the edge is gone: the target waits for nobody");
    request.cloud_done(Receipt { flops: 9, ..Receipt::default() }, None, &mut knowledge);
    assert_eq!((text(&request).as_str(), request.shadow_text().as_deref()), ("red", Some("blue")));
    let receipt = request.receipt().unwrap();
    assert_eq!((receipt.shadow, receipt.cloud_flops), (Some(ShadowCheck::Differed), 9));
    assert_eq!((receipt.tokens.len(), receipt.modalities[0].sent_bytes), (1, 900));
    assert!(knowledge.confidence.threshold() > before);
}

#[test]
fn an_answer_that_was_there_before_the_plan_stands_as_any_other() {
    let mut knowledge = always_verifying();
    let mut request = risky();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "red")]);
    request.edge_done(0, Receipt::default(), &mut knowledge);
    let effects = request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    assert_eq!(effects, [Effect::ReleaseEdge, Effect::Ask], "it stands, is counted and verified");
    assert_eq!(knowledge.confidence.risk().unwrap().report.stood, 1);
}

#[test]
fn a_confident_answer_overtakes_a_slow_cloud() {
    let mut knowledge = judged_knowledge();
    let mut request = risky();
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    // The cloud was asked after all, before the edge was done.
    (request.is_held, request.was_asked) = (false, true);
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "red")]);
    let effects = request.edge_done(0, Receipt::default(), &mut knowledge);
    assert!(effects.contains(&Effect::CancelCloud), "{effects:?}");
    request.cloud_cancelled(Receipt { flops: 4, ..Receipt::default() });
    let receipt = request.receipt().unwrap();
    assert_eq!((receipt.strategy, receipt.cloud_flops), (Strategy::EdgeOnly, 4));
}

#[test]
fn sampled_answers_never_stand() {
    let mut knowledge = judged_knowledge();
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, seed: 1 };
    let mut request = risky();
    request.terms.sampling = Some(sampling);
    let effects = request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    assert_eq!(effects, [Effect::Ask]);
    assert_eq!(request.ask(media(), &[]).unwrap().sampling, Some(sampling));
}
