//! From outcomes to the figures of `planner/RESULTS.md`.

use std::fmt::Write;

use anyhow::Result;
use msao_planner::confidence::{Judged, auc};
use serde::Serialize;

use super::{
    outcome::{LeftOut, Modality, Outcome},
    risk_runs::{self, ConfidenceReport, RiskRow},
    sampling::SamplingReport,
};
use crate::machine::Machine;

/// Families whose need depends on what is seen or heard, not on the wording alone.
const CONTENT_DEPENDENT: [&str; 2] = ["sign_else_sound", "beeps_else_count"];
const EPSILONS: [f64; 4] = [0.01, 0.02, 0.05, 0.1];
/// Two scores closer than this may change places when sums are ordered differently.
const NEAR_TIE: f64 = 1e-4;

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    machine: Machine,
    questions: usize,
    relevance: Relevance,
    content_dependent: Relevance,
    left_out_families: Relevance,
    accuracy: Accuracy,
    uplink: Uplink,
    overhead: Overhead,
    lossless: Lossless,
    acceptance: Vec<AcceptanceRow>,
    sampling: SamplingReport,
    confidence: ConfidenceReport,
    risk: Vec<RiskRow>,
}

#[derive(Debug, Serialize)]
struct Relevance {
    questions: usize,
    vision_auc: Option<f64>,
    audio_auc: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Accuracy {
    edge: f64,
    target_on_everything: f64,
    target_on_what_is_kept: f64,
    needed_but_dropped: usize,
}

#[derive(Debug, Serialize)]
struct Uplink {
    whole_bytes: u64,
    sent_bytes: u64,
    saved_vision: f64,
    saved_audio: f64,
    saved: f64,
    image_tokens_kept: f64,
    audio_tokens_kept: f64,
    frames_kept_of_clips: f64,
}

#[derive(Debug, Serialize)]
struct Overhead {
    /// Of all operations of edge and target for an answer with everything.
    flops_share: f64,
    /// Of edge and target time on this machine, no network between.
    latency_share: f64,
    probe_ms: f64,
    target_flops_saved: f64,
}

#[derive(Debug, Serialize)]
struct Lossless {
    prompts: usize,
    identical: usize,
    /// Of those that are not, the ones where the target's two best scores are that close.
    near_ties: usize,
}

#[derive(Debug, Serialize)]
struct AcceptanceRow {
    draft_tokens: usize,
    prompts: usize,
    acceptance_rate: f64,
    tokens_per_round: f64,
}

impl Figures {
    /// Works all figures out.
    pub(crate) fn of(outcomes: &[Outcome], sampling: SamplingReport) -> Self {
        let judged: Vec<Judged> = outcomes.iter().map(Outcome::judged).collect();
        Self {
            machine: Machine::describe(),
            questions: outcomes.len(),
            relevance: relevance(outcomes.iter(), by_shipped_probe),
            content_dependent: relevance(
                outcomes.iter().filter(|one| CONTENT_DEPENDENT.contains(&one.family.as_str())),
                by_shipped_probe,
            ),
            left_out_families: relevance(outcomes.iter(), by_probe_without_the_family),
            accuracy: accuracy(outcomes),
            uplink: uplink(outcomes),
            overhead: overhead(outcomes),
            lossless: lossless(outcomes),
            acceptance: acceptance(outcomes),
            sampling,
            confidence: risk_runs::confidence(&judged),
            risk: EPSILONS.iter().map(|&epsilon| risk_runs::run(&judged, epsilon)).collect(),
        }
    }

    /// The page that people read.
    pub(crate) fn markdown(&self) -> Result<String> {
        let mut page = String::new();
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let auc = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        let out = &mut page;
        writeln!(out, "## Measured\n\n{} held-out questions; {}.\n", self.questions, self.machine.line())?;
        writeln!(
            out,
            "### What matters: relevance\n\n| questions about scenes with picture and sound | | picture, AUC | sound, AUC |\n|---|---:|---:|---:|"
        )?;
        for (name, row) in [
            ("all families", &self.relevance),
            ("need depends on the content", &self.content_dependent),
            ("families that the probe has never seen (8 folds)", &self.left_out_families),
        ] {
            writeln!(
                out,
                "| {name} | {} | {} | {} |",
                row.questions,
                auc(row.vision_auc),
                auc(row.audio_auc)
            )?;
        }
        let a = &self.accuracy;
        writeln!(
            out,
            "\n### What dropping costs and saves\n\n| | exact match |\n|---|---:|\n| edge alone | {} |\n| target on everything | {} |\n| target on what MAS keeps | {} |\n\nNeeded modalities that were dropped: {}.\n",
            percent(a.edge),
            percent(a.target_on_everything),
            percent(a.target_on_what_is_kept),
            a.needed_but_dropped
        )?;
        let u = &self.uplink;
        writeln!(
            out,
            "| uplink | saved |\n|---|---:|\n| picture bytes | {} |\n| sound bytes | {} |\n| **all media bytes** | **{}** |\n",
            percent(u.saved_vision),
            percent(u.saved_audio),
            percent(u.saved)
        )?;
        writeln!(
            out,
            "Of the target's tokens {} of the image tokens and {} of the audio tokens are kept, of the frames of clips {}. The target's operations fall by {}.\n",
            percent(u.image_tokens_kept),
            percent(u.audio_tokens_kept),
            percent(u.frames_kept_of_clips),
            percent(self.overhead.target_flops_saved)
        )?;
        let o = &self.overhead;
        writeln!(
            out,
            "Overhead of scoring: {:.2} % of the operations of edge and target, {:.2} % of their time ({:.2} ms a question).\n",
            100.0 * o.flops_share,
            100.0 * o.latency_share,
            o.probe_ms
        )?;
        let l = &self.lossless;
        writeln!(
            out,
            "### Speculation\n\nVerified greedy answers against the target alone on the same kept inputs: {} of {} identical token for token; of the others, {} are near ties (best two scores within {NEAR_TIE:e}).\n",
            l.identical, l.prompts, l.near_ties
        )?;
        writeln!(
            out,
            "| draft tokens a round | prompts | acceptance rate | tokens a round |\n|---:|---:|---:|---:|"
        )?;
        for row in &self.acceptance {
            writeln!(
                out,
                "| {} | {} | {} | {:.2} |",
                row.draft_tokens,
                row.prompts,
                percent(row.acceptance_rate),
                row.tokens_per_round
            )?;
        }
        let s = &self.sampling;
        writeln!(
            out,
            "\nSampling at temperature {}: {} questions, {} draws each; p-value that what is emitted is the target's distribution {:.3} (least of a question {:.2e}); with the acceptance rule left out, {:.1e}. Drafts accepted: {}.\n",
            s.temperature,
            s.questions,
            s.draws_each,
            s.ks_p_value,
            s.least_p_value,
            s.ks_p_value_without_the_rule,
            percent(s.acceptance_rate)
        )?;
        let c = &self.confidence;
        writeln!(
            out,
            "### Confidence and risk\n\nThe edge's answer is the target's in {}; its least token probability tells which with AUC {:.3}. Expected calibration error (15 bins of equal mass, fitted on one half, tested on the other): {:.3} raw, **{:.3}** calibrated.\n",
            percent(c.agreement),
            c.auc,
            c.raw_ece,
            c.calibrated_ece
        )?;
        writeln!(
            out,
            "| epsilon | seeds within | mean disagreement | worst | answered on the edge alone | verified afterwards |\n|---:|---:|---:|---:|---:|---:|"
        )?;
        for row in &self.risk {
            writeln!(
                out,
                "| {} | {} of {} | {:.2} % | {:.2} % | {} | {} |",
                row.epsilon,
                row.seeds_within,
                row.seeds,
                100.0 * row.mean_disagreement,
                100.0 * row.worst_disagreement,
                percent(row.stood),
                percent(row.shadow_verified)
            )?;
        }
        Ok(page)
    }
}

/// How well the relevance of picture and sound tells which are needed, where `scores` has both.
fn relevance<'a>(
    outcomes: impl Iterator<Item = &'a Outcome>,
    scores: fn(&Outcome) -> Option<(f64, f64)>,
) -> Relevance {
    let (mut vision, mut audio) = (Vec::new(), Vec::new());
    for one in outcomes {
        if let Some((seen, heard)) = scores(one) {
            vision.push(Judged { confidence: seen, agreed: one.needs.vision });
            audio.push(Judged { confidence: heard, agreed: one.needs.audio });
        }
    }
    Relevance { questions: vision.len(), vision_auc: auc(&vision), audio_auc: auc(&audio) }
}

fn by_shipped_probe(one: &Outcome) -> Option<(f64, f64)> {
    Some((one.vision?.relevance, one.audio?.relevance))
}

/// By the probe that was not trained on the question's family.
fn by_probe_without_the_family(one: &Outcome) -> Option<(f64, f64)> {
    let LeftOut { vision, audio } = one.left_out?;
    vision.zip(audio)
}

fn accuracy(outcomes: &[Outcome]) -> Accuracy {
    let share = |right: fn(&Outcome) -> bool| {
        outcomes.iter().filter(|one| right(one)).count() as f64 / outcomes.len().max(1) as f64
    };
    let lost =
        |modality: Option<Modality>, needed: bool| needed && modality.is_some_and(|it| it.kept_tokens == 0);
    Accuracy {
        edge: share(|one| one.edge.answer == one.right_answer),
        target_on_everything: share(|one| one.whole_answer == one.right_answer),
        target_on_what_is_kept: share(|one| one.kept_answer == one.right_answer),
        needed_but_dropped: outcomes
            .iter()
            .filter(|one| lost(one.vision, one.needs.vision) || lost(one.audio, one.needs.audio))
            .count(),
    }
}

fn uplink(outcomes: &[Outcome]) -> Uplink {
    let all = |of: fn(&Outcome) -> Option<Modality>, value: fn(Modality) -> usize| {
        outcomes.iter().filter_map(of).map(|modality| value(modality) as u64).sum::<u64>()
    };
    let seen = |one: &Outcome| one.vision;
    let heard = |one: &Outcome| one.audio;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let whole = [all(seen, |it| it.whole_bytes), all(heard, |it| it.whole_bytes)];
    let sent = [all(seen, |it| it.kept_bytes), all(heard, |it| it.kept_bytes)];
    let clips = || outcomes.iter().filter(|one| one.frames > 1 && one.needs.vision);
    Uplink {
        whole_bytes: whole[0] + whole[1],
        sent_bytes: sent[0] + sent[1],
        saved_vision: 1.0 - share(sent[0], whole[0]),
        saved_audio: 1.0 - share(sent[1], whole[1]),
        saved: 1.0 - share(sent[0] + sent[1], whole[0] + whole[1]),
        image_tokens_kept: share(all(seen, |it| it.kept_tokens), all(seen, |it| it.tokens)),
        audio_tokens_kept: share(all(heard, |it| it.kept_tokens), all(heard, |it| it.tokens)),
        frames_kept_of_clips: share(
            clips().map(|one| one.kept_frames as u64).sum(),
            clips().map(|one| one.frames as u64).sum(),
        ),
    }
}

fn overhead(outcomes: &[Outcome]) -> Overhead {
    let flops = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>() as f64;
    let ms = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>();
    let probe_ms = ms(|one| one.ms.probe);
    let (edge, whole, kept) = (
        flops(|one| one.flops.edge),
        flops(|one| one.flops.whole_target),
        flops(|one| one.flops.kept_target),
    );
    Overhead {
        flops_share: flops(|one| one.flops.probe) / (edge + whole),
        latency_share: probe_ms / (probe_ms + ms(|one| one.ms.edge) + ms(|one| one.ms.kept_target)),
        probe_ms: probe_ms / outcomes.len().max(1) as f64,
        target_flops_saved: 1.0 - kept / whole,
    }
}

fn lossless(outcomes: &[Outcome]) -> Lossless {
    let differing = || outcomes.iter().filter(|one| !one.speculation.is_lossless);
    Lossless {
        prompts: outcomes.len(),
        identical: outcomes.len() - differing().count(),
        near_ties: differing().filter(|one| one.speculation.least_margin < NEAR_TIE).count(),
    }
}

fn acceptance(outcomes: &[Outcome]) -> Vec<AcceptanceRow> {
    let mut lengths: Vec<usize> = outcomes.iter().map(|one| one.speculation.draft_tokens).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let row = |draft_tokens| {
        let of =
            || outcomes.iter().map(|one| one.speculation).filter(move |it| it.draft_tokens == draft_tokens);
        let sum = |value: fn(super::outcome::Speculation) -> usize| of().map(value).sum::<usize>() as f64;
        AcceptanceRow {
            draft_tokens,
            prompts: of().count(),
            acceptance_rate: sum(|it| it.accepted_drafts) / sum(|it| it.proposed_drafts).max(1.0),
            tokens_per_round: sum(|it| it.answer_tokens) / sum(|it| it.rounds).max(1.0),
        }
    };
    lengths.into_iter().map(row).collect()
}
