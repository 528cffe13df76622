//! What holds of every plan: locks, optimality among what is allowed, monotony in the network, dominance over
//! the static policies.
//!
//! The candidates are enumerated here once more, by brute force and in other words than the planner's: every
//! strategy times every action for every modality, filtered by the rules as DESIGN.md states them.

use msao_planner::{
    cost::{Acceptance, TokenFlops, WireSizes, Work, expected_cost},
    estimate::{AffineMs, Estimates},
    plan::{Capabilities, Form, ModalityInput, NoPlan, Plan, PlanRequest, Standing, Weights, choose_plan},
};
use msao_protocol::{AnswerMode, Modality, ModalityAction, PlanReason, Policy, Strategy};
use proptest::{
    prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as _,
};

const DROP_BELOW: f64 = 0.08;

fn form() -> impl proptest::strategy::Strategy<Value = Form> {
    (0.0..400_000.0_f64, 1.0..200.0_f64, 1.0..200.0_f64).prop_map(|(bytes, edge_tokens, target_tokens)| {
        Form {
            bytes,
            edge_tokens,
            target_tokens,
            edge_flops: edge_tokens * 2e7,
            target_flops: target_tokens * 2e8,
        }
    })
}

fn modality(modality: Modality) -> impl proptest::strategy::Strategy<Value = ModalityInput> {
    let relevance = prop_oneof![0.0..0.12_f64, 0.0..=1.0_f64, Just(f64::NAN)];
    (relevance, prop_oneof![Just(1.0), 0.05..1.0_f64], any::<bool>(), form(), 0.05..1.3_f64).prop_map(
        move |(relevance, density, locked, whole, share)| ModalityInput {
            modality,
            relevance,
            density,
            locked,
            whole,
            // Now and then larger than the whole, as when a few patches are encoded badly.
            pruned: Form {
                bytes: whole.bytes * share,
                edge_tokens: whole.edge_tokens * share.min(1.0),
                target_tokens: whole.target_tokens * share.min(1.0),
                edge_flops: whole.edge_flops * share.min(1.0),
                target_flops: whole.target_flops * share.min(1.0),
            },
        },
    )
}

fn estimates() -> impl proptest::strategy::Strategy<Value = Estimates> {
    (
        (0.0..400.0_f64, 1e4..1e8_f64, 1e5..1e8_f64),
        (1.0..80.0_f64, 2.0..80.0_f64, 1.0..20.0_f64),
        (0.0..8.0_f64, 0.0..200.0_f64, 0.0..20.0_f64),
        (5.0..100.0_f64, 0.05..3.0_f64),
    )
        .prop_map(|(network, steps, server, prefill)| Estimates {
            rtt_ms: network.0,
            uplink_bytes_per_s: network.1,
            downlink_bytes_per_s: network.2,
            edge_prefill: AffineMs { base_ms: prefill.0, per_unit_ms: prefill.1 },
            edge_decode_ms: steps.0,
            target_prefill: AffineMs { base_ms: prefill.0, per_unit_ms: prefill.1 / 2.0 },
            target_decode_ms: steps.1,
            target_verify: AffineMs { base_ms: steps.1, per_unit_ms: server.0 },
            co_located_prefill: AffineMs { base_ms: prefill.0 / 4.0, per_unit_ms: prefill.1 / 8.0 },
            co_located_decode_ms: steps.2,
            queue_ms: server.1,
            round_queue_ms: server.2,
        })
}

fn request() -> impl proptest::strategy::Strategy<Value = PlanRequest> {
    let weights = prop_oneof![
        Just(Weights::default()),
        (0.0..2.0_f64, 0.0..2.0_f64, 0.0..2.0_f64, 0.0..2.0_f64).prop_map(
            |(per_ms, per_uplink_kib, per_edge_gflop, per_cloud_gflop)| Weights {
                per_ms,
                per_uplink_kib,
                per_edge_gflop,
                per_cloud_gflop,
            }
        ),
    ];
    let standing = (any::<bool>(), proptest::option::of(0.0..=1.0_f64), 0.0..=1.0_f64).prop_map(
        |(risky, edge_confidence, threshold)| Standing {
            mode: if risky { AnswerMode::RiskControlled { epsilon: 0.05 } } else { AnswerMode::Verified },
            edge_confidence,
            threshold,
        },
    );
    let capabilities = (
        proptest::bool::weighted(0.85),
        proptest::bool::weighted(0.85),
        any::<bool>(),
        any::<bool>(),
        0..6_u8,
        proptest::bool::weighted(0.85),
    )
        .prop_map(
            |(edge_ready, cloud_connected, co_located, pipelining, max_draft_tokens, edge_drafts)| {
                Capabilities {
                    edge_ready,
                    edge_drafts,
                    cloud_connected,
                    co_located,
                    pipelining,
                    max_draft_tokens,
                }
            },
        );
    (
        (proptest::sample::select(Policy::ALL.to_vec()), standing, weights, capabilities),
        (form(), modality(Modality::Vision), modality(Modality::Audio), 0..3_usize),
        (1.0..40.0_f64, 0.0..6.0_f64, 0.0..=1.0_f64, 0.0..=1.0_f64),
        estimates(),
    )
        .prop_map(
            |(
                (policy, standing, weights, capabilities),
                (question, vision, audio, given),
                answer,
                estimates,
            )| {
                PlanRequest {
                    policy,
                    standing,
                    drop_below: DROP_BELOW,
                    question,
                    modalities: [vision, audio][..given].to_vec(),
                    answer_tokens: answer.0,
                    edge_drafted_tokens: answer.1.floor(),
                    token_flops: TokenFlops { edge: 2e7, target: 2e8, co_located: 2e7 },
                    wire: WireSizes::default(),
                    weights,
                    estimates,
                    acceptance: Acceptance { edge: answer.2, co_located: answer.3 },
                    capabilities,
                }
            },
        )
}

/// Everything that could be done, allowed or not.
fn everything(request: &PlanRequest) -> Vec<(Strategy, Vec<ModalityAction>)> {
    use ModalityAction::{Drop, Edge, Pruned, Whole};
    let mut strategies = vec![Strategy::EdgeOnly, Strategy::Cloud];
    for draft_tokens in 1..=7 {
        strategies.push(Strategy::CoLocated { draft_tokens });
        strategies.push(Strategy::Distributed { draft_tokens, pipelined: false });
        strategies.push(Strategy::Distributed { draft_tokens, pipelined: true });
    }
    let mut all = Vec::new();
    for strategy in strategies {
        for code in 0..4_usize.pow(request.modalities.len() as u32) {
            let action = |index: usize| [Drop, Edge, Pruned, Whole][code >> (2 * index) & 3];
            all.push((strategy, (0..request.modalities.len()).map(action).collect()));
        }
    }
    all
}

/// The rules, as DESIGN.md and the issue state them.
fn is_allowed(request: &PlanRequest, strategy: Strategy, actions: &[ModalityAction]) -> bool {
    use Policy::{CloudOnly, CoLocated, Distributed, EdgeOnly, Msao, MsaoWithoutMas, MsaoWithoutSpeculation};
    let PlanRequest { policy, capabilities, standing, .. } = request;
    let scored = matches!(policy, Msao | MsaoWithoutSpeculation);
    // Written so that a relevance that is no number is needed.
    let unneeded = |input: &ModalityInput| scored && input.relevance < DROP_BELOW;
    let locked_out = request.modalities.iter().any(|input| input.locked && !unneeded(input));

    for (input, action) in request.modalities.iter().zip(actions) {
        let fine = match (strategy, unneeded(input)) {
            (_, true) => *action == ModalityAction::Drop,
            (Strategy::EdgeOnly, false) => *action == ModalityAction::Edge,
            (_, false) => match action {
                ModalityAction::Whole => !input.locked,
                ModalityAction::Pruned => !input.locked && scored && input.density < 1.0,
                ModalityAction::Drop | ModalityAction::Edge => false,
            },
        };
        if !fine {
            return false;
        }
    }

    let there = match strategy {
        Strategy::EdgeOnly => capabilities.edge_ready,
        Strategy::Cloud => capabilities.cloud_connected,
        Strategy::CoLocated { draft_tokens } => {
            capabilities.cloud_connected
                && capabilities.co_located
                && draft_tokens <= capabilities.max_draft_tokens
        }
        Strategy::Distributed { draft_tokens, pipelined } => {
            capabilities.cloud_connected
                && capabilities.edge_ready
                && capabilities.edge_drafts
                && (capabilities.pipelining || !pipelined)
                && draft_tokens <= capabilities.max_draft_tokens
        }
    };
    let risky = matches!(standing.mode, AnswerMode::RiskControlled { .. });
    let confident = risky && standing.edge_confidence.is_some_and(|it| it >= standing.threshold);
    let permitted = match (policy, strategy) {
        (EdgeOnly, _) => strategy == Strategy::EdgeOnly,
        (_, Strategy::EdgeOnly) if locked_out => true,
        (_, _) if locked_out => false,
        (Msao | MsaoWithoutMas | MsaoWithoutSpeculation, Strategy::EdgeOnly) => {
            confident || !capabilities.cloud_connected
        }
        (Msao | MsaoWithoutMas | MsaoWithoutSpeculation | CloudOnly, Strategy::Cloud) => true,
        (Msao | MsaoWithoutMas | CoLocated, Strategy::CoLocated { .. }) => true,
        (Msao | MsaoWithoutMas | Distributed, Strategy::Distributed { .. }) => true,
        _ => false,
    };
    there && permitted
}

/// The weighted cost of a candidate, put together from the request by hand.
fn total(request: &PlanRequest, strategy: Strategy, actions: &[ModalityAction]) -> f64 {
    let mut work = Work {
        answer_tokens: request.answer_tokens,
        upload_bytes: request.question.bytes,
        edge_prompt_tokens: request.question.edge_tokens,
        target_prompt_tokens: request.question.target_tokens,
        edge_prefill_flops: request.question.edge_flops,
        target_prefill_flops: request.question.target_flops,
        co_located_prefill_flops: 0.0,
        edge_drafted_tokens: request.edge_drafted_tokens,
        token_flops: request.token_flops,
        wire: request.wire,
    };
    for (input, action) in request.modalities.iter().zip(actions) {
        let on_edge = match action {
            ModalityAction::Drop => continue,
            ModalityAction::Pruned => input.pruned,
            ModalityAction::Edge | ModalityAction::Whole => input.whole,
        };
        work.edge_prompt_tokens += on_edge.edge_tokens;
        work.edge_prefill_flops += on_edge.edge_flops;
        if action.leaves_device() {
            work.upload_bytes += on_edge.bytes;
            work.target_prompt_tokens += on_edge.target_tokens;
            work.target_prefill_flops += on_edge.target_flops;
        }
    }
    work.co_located_prefill_flops = work.target_prompt_tokens * request.token_flops.co_located;
    let cost = expected_cost(strategy, &work, &request.estimates, request.acceptance);
    let weights = &request.weights;
    weights.per_ms * cost.latency_ms
        + weights.per_uplink_kib * cost.uplink_bytes / 1024.0
        + weights.per_edge_gflop * cost.edge_flops * 1e-9
        + weights.per_cloud_gflop * cost.cloud_flops * 1e-9
}

fn actions(plan: &Plan) -> Vec<ModalityAction> {
    plan.modalities.iter().map(|planned| planned.action).collect()
}

/// A latency-only request that every policy can serve.
fn unhindered(mut request: PlanRequest, policy: Policy) -> PlanRequest {
    request.policy = policy;
    request.weights = Weights::default();
    request.standing.mode = AnswerMode::Verified;
    request.modalities.iter_mut().for_each(|input| input.locked = false);
    request.capabilities = Capabilities {
        edge_ready: true,
        edge_drafts: true,
        cloud_connected: true,
        co_located: true,
        pipelining: true,
        max_draft_tokens: 5,
    };
    request
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_lock_is_never_broken(request in request()) {
        if let Ok(plan) = choose_plan(&request) {
            prop_assert_eq!(plan.modalities.len(), request.modalities.len());
            for (input, planned) in request.modalities.iter().zip(&plan.modalities) {
                prop_assert_eq!(input.modality, planned.modality);
                prop_assert!(!(input.locked && planned.action.leaves_device()));
                let needed = input.relevance.is_nan() || input.relevance >= DROP_BELOW;
                prop_assert!(!(input.locked && needed && plan.strategy.uses_cloud()));
                prop_assert!(plan.strategy.uses_cloud() || !planned.action.leaves_device());
            }
        }
    }

    #[test]
    fn no_allowed_plan_is_cheaper(request in request()) {
        let allowed: Vec<f64> = everything(&request)
            .iter()
            .filter(|(strategy, actions)| is_allowed(&request, *strategy, actions))
            .map(|(strategy, actions)| total(&request, *strategy, actions))
            .collect();
        match choose_plan(&request) {
            Err(_) => prop_assert!(allowed.is_empty(), "{} were allowed", allowed.len()),
            Ok(plan) => {
                prop_assert!(is_allowed(&request, plan.strategy, &actions(&plan)), "{plan:?}");
                let (own, least) = (
                    total(&request, plan.strategy, &actions(&plan)),
                    allowed.iter().copied().fold(f64::INFINITY, f64::min),
                );
                prop_assert!(own <= least * (1.0 + 1e-12) + 1e-9, "{own} above {least}");
                prop_assert!((plan.total - own).abs() <= 1e-9 * own.max(1.0));
            }
        }
    }

    #[test]
    fn verified_mode_leaves_the_edge_alone_only_where_there_is_no_choice(request in request()) {
        if let Ok(plan) = choose_plan(&request) {
            if plan.strategy == Strategy::EdgeOnly && request.standing.mode == AnswerMode::Verified {
                prop_assert!(matches!(
                    plan.reason,
                    PlanReason::ByPolicy | PlanReason::NeededModalityLocked | PlanReason::CloudAway
                ));
            }
            prop_assert_eq!(plan.reason == PlanReason::CloudAway, plan.strategy == Strategy::EdgeOnly
                && request.policy.is_adaptive() && !request.capabilities.cloud_connected
                && plan.reason != PlanReason::NeededModalityLocked);
        }
    }

    #[test]
    fn the_best_latency_grows_with_the_round_trip_and_falls_with_the_rate(
        request in request(), more_ms in 0.0..300.0_f64, faster in 1.0..50.0_f64,
    ) {
        let request = unhindered(request, Policy::Msao);
        let latency = |estimates: Estimates| {
            choose_plan(&PlanRequest { estimates, ..request.clone() }).map(|plan| plan.predicted.latency_ms)
        };
        let here = latency(request.estimates).unwrap();
        let far = Estimates { rtt_ms: request.estimates.rtt_ms + more_ms, ..request.estimates };
        let wide = Estimates {
            uplink_bytes_per_s: request.estimates.uplink_bytes_per_s * faster, ..request.estimates
        };
        prop_assert!(latency(far).unwrap() >= here - 1e-9);
        prop_assert!(latency(wide).unwrap() <= here + 1e-9);
    }

    #[test]
    fn an_answer_that_may_stand_is_left_to_the_edge_from_some_round_trip_on(
        request in request(), step_ms in 5.0..60.0_f64,
    ) {
        let mut request = unhindered(request, Policy::Msao);
        request.standing = Standing {
            mode: AnswerMode::RiskControlled { epsilon: 0.05 }, edge_confidence: Some(0.9), threshold: 0.8,
        };
        let stands: Vec<bool> = (0..12)
            .map(|step| {
                request.estimates.rtt_ms = f64::from(step) * step_ms;
                choose_plan(&request).unwrap().strategy == Strategy::EdgeOnly
            })
            .collect();
        prop_assert!(stands.is_sorted(), "{stands:?}");
    }

    #[test]
    fn fewer_round_trips_are_planned_the_longer_they_take(request in request(), step_ms in 5.0..60.0_f64) {
        // Without pipelining each strategy's latency is a line in the RTT, so the slope of the least falls
        // along it. The slope is read off the cost model itself.
        let mut request = unhindered(request, Policy::Msao);
        request.capabilities.pipelining = false;
        let slopes: Vec<f64> = (0..12)
            .map(|step| {
                request.estimates.rtt_ms = f64::from(step) * step_ms;
                let plan = choose_plan(&request).unwrap();
                let at = |rtt_ms| {
                    let estimates = Estimates { rtt_ms, ..request.estimates };
                    total(&PlanRequest { estimates, ..request.clone() }, plan.strategy, &actions(&plan))
                };
                at(request.estimates.rtt_ms + 1.0) - at(request.estimates.rtt_ms)
            })
            .collect();
        prop_assert!(slopes.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6), "{slopes:?}");
    }

    #[test]
    fn no_static_policy_is_predicted_to_be_faster(request in request()) {
        let adaptive = choose_plan(&unhindered(request.clone(), Policy::Msao)).unwrap();
        for policy in [Policy::CloudOnly, Policy::CoLocated, Policy::Distributed, Policy::MsaoWithoutMas,
            Policy::MsaoWithoutSpeculation] {
            let other = choose_plan(&unhindered(request.clone(), policy)).unwrap();
            let (least, total) = (adaptive.total, other.total);
            prop_assert!(least <= total + 1e-9, "{policy:?}: {total} below {least}");
        }
    }

    #[test]
    fn what_the_question_does_not_need_never_leaves(request in request()) {
        let mut request = unhindered(request, Policy::Msao);
        // Even where sending costs nothing at all.
        request.estimates.uplink_bytes_per_s = f64::INFINITY;
        for input in &mut request.modalities {
            input.relevance = 0.5 * DROP_BELOW;
            (input.whole, input.pruned) = (Form::default(), Form::default());
        }
        let plan = choose_plan(&request).unwrap();
        prop_assert!(plan.modalities.iter().all(|planned| planned.action == ModalityAction::Drop));
    }
}

#[test]
fn a_dead_network_is_planned_around_or_endured() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = proptest::strategy::Strategy::new_tree(&request(), &mut runner).unwrap();
    let mut request = unhindered(proptest::strategy::ValueTree::current(&tree), Policy::Msao);
    request.estimates.uplink_bytes_per_s = 0.0;
    request.weights.per_uplink_kib = 0.0;
    // Nothing finite is left, and verified mode still wants the target: the simplest of equals.
    assert_eq!(choose_plan(&request).unwrap().strategy, Strategy::Cloud);
    request.standing = Standing {
        mode: AnswerMode::RiskControlled { epsilon: 0.05 },
        edge_confidence: Some(1.0),
        threshold: 0.9,
    };
    let plan = choose_plan(&request).unwrap();
    assert_eq!((plan.strategy, plan.reason), (Strategy::EdgeOnly, PlanReason::ConfidentEdge));
    request.capabilities = Capabilities { edge_ready: false, cloud_connected: false, ..request.capabilities };
    assert_eq!(choose_plan(&request), Err(NoPlan::NothingCanAnswer));
}
