//! Step times from the spans of calibration requests.
//!
//! Reading a prompt takes what is in it: a line over counted operations for each combination of modalities, since an
//! operation of an encoder is not one of a decoder. Prompts are then in milliseconds that their operations lead to expect.
//! Passes, drafts and messages are lines as well, all by least squares.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use msao_planner::estimate::AffineMs;

use super::journal::ms;
use crate::record::Record;
use crate::simulate::pace::Paces;
use crate::simulate::times::{PassMs, SplitTimes, StepTimes};

/// The layer-wise split in a journal, whose spans are of other halves than everyone else's.
pub(super) const SPLIT: &str = "layer_split";
/// Spans of reading a prompt.
const CLOUD_READS: [&str; 3] = ["cloud.queue", "cloud.encode", "cloud.prefill"];
const EDGE_READS: [&str; 2] = ["edge.encode", "edge.prefill"];
const EDGE_SCORES: [&str; 3] = ["edge.score", "edge.prune", "edge.plan"];

/// Which modalities there are: pictures, sound.
type Kind = (bool, bool);

/// What the spans of some requests tell.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) times: StepTimes,
    pub(super) paces: Paces,
    cloud: Lines,
    edge: Lines,
}

/// Milliseconds of reading by operations: a line for each kind of prompt, and one for kinds that were not seen.
#[derive(Debug, Default)]
struct Lines {
    kinds: BTreeMap<Kind, Vec<[f64; 3]>>,
    all: Vec<[f64; 3]>,
}

impl Lines {
    fn add(&mut self, kind: Kind, ms: f64, flops: u64) {
        for points in [self.kinds.entry(kind).or_default(), &mut self.all] {
            points.push([1.0, flops as f64, ms]);
        }
    }

    /// Milliseconds to be expected.
    fn ms(&self, kind: Kind, flops: u64) -> f64 {
        let (base_ms, per_flop_ms) = plane(self.kinds.get(&kind).unwrap_or(&self.all));
        base_ms + per_flop_ms * flops as f64
    }
}

/// What was sent of a request.
pub(super) fn sent(record: &Record) -> Kind {
    (record.vision_bytes > 0, record.audio_bytes > 0)
}

/// The records of a request that say what there was to do: the same work under whichever policy.
pub(super) struct Work<'a> {
    /// Everything, read by the target.
    pub(super) whole: &'a Record,
    /// Everything, read by the edge.
    pub(super) edge: &'a Record,
}

impl Fitted {
    /// From all records of some requests, each with its request's work.
    ///
    /// # Errors
    /// If they lack passes of the target, or answers of the edge.
    pub(super) fn of<'a>(records: &[(&'a Record, Work<'a>)]) -> Result<Self> {
        let (mut cloud, mut edge) = (Lines::default(), Lines::default());
        for (record, work) in records.iter().filter(|(record, _)| record.policy != SPLIT) {
            // With a draft model's operations among them they would say less of the target's.
            if ms(record, &["cloud.prefill"]) > 0.0 && ms(record, &["cloud.propose"]) == 0.0 {
                cloud.add(sent(record), ms(record, &CLOUD_READS), record.cloud_flops);
            }
            if ms(record, &["edge.prefill"]) > 0.0 {
                edge.add(sent(work.whole), ms(record, &EDGE_READS), work.edge.edge_flops);
            }
        }
        let paces = paces(records, &cloud, &edge);
        let times = times(records, &cloud)?;
        Ok(Self { times, paces, cloud, edge })
    }

    /// Milliseconds that the target is expected to take for the prompt of a record.
    pub(super) fn cloud_ms(&self, record: &Record) -> f64 {
        self.cloud.ms(sent(record), record.cloud_flops)
    }

    /// The same of the edge for everything that was given.
    pub(super) fn edge_ms(&self, work: &Work<'_>) -> f64 {
        self.edge.ms(sent(work.whole), work.edge.edge_flops)
    }
}

fn paces(records: &[(&Record, Work<'_>)], cloud: &Lines, edge: &Lines) -> Paces {
    let mut paces = Paces::default();
    for (record, work) in records.iter().filter(|(record, _)| record.policy != SPLIT) {
        if ms(record, &["cloud.prefill"]) > 0.0 && ms(record, &["cloud.propose"]) == 0.0 {
            let expected_ms = cloud.ms(sent(record), record.cloud_flops);
            paces.server.push(ratio(ms(record, &CLOUD_READS), expected_ms));
        }
        if ms(record, &["edge.prefill"]) > 0.0 {
            let expected_ms = edge.ms(sent(work.whole), work.edge.edge_flops);
            paces.edge.push(ratio(ms(record, &EDGE_READS), expected_ms));
        }
    }
    for side in [&mut paces.edge, &mut paces.server] {
        let mean = side.iter().sum::<f64>() / side.len().max(1) as f64;
        side.iter_mut().for_each(|pace| *pace = ratio(*pace, mean));
    }
    paces
}

fn times(records: &[(&Record, Work<'_>)], cloud: &Lines) -> Result<StepTimes> {
    let of = |policy: &'static str| {
        records.iter().map(|(record, _)| *record).filter(move |record| record.policy == policy)
    };
    let plain = || records.iter().map(|(record, _)| *record).filter(|record| record.policy != SPLIT);
    let sum = |of: &mut dyn Iterator<Item = f64>| of.sum::<f64>();
    let edge_read =
        |name| sum(&mut plain().filter(|it| ms(it, &["edge.prefill"]) > 0.0).map(|it| ms(it, &[name])));
    let [encode_ms, prefill_ms] = EDGE_READS.map(edge_read);
    let encode_share = ratio(encode_ms, encode_ms + prefill_ms);
    let proportional = |per_unit_ms| AffineMs { base_ms: 0.0, per_unit_ms };
    let steps = sum(&mut of("edge_only").map(|record| f64::from(record.tokens)));
    ensure!(steps > 0.0, "no answer of edge_only among the calibration requests: measure it as well");
    let scores: Vec<f64> =
        plain().filter(|it| ms(it, &["edge.score"]) > 0.0).map(|it| ms(it, &EDGE_SCORES)).collect();
    let by_bytes = |name: &str| {
        let points = plain().filter(|it| ms(it, &[name]) > 0.0 && it.up_bytes > 0);
        let points: Vec<[f64; 3]> = points.map(|it| [1.0, it.up_bytes as f64, ms(it, &[name])]).collect();
        let (base_ms, per_unit_ms) = plane(&points);
        AffineMs { base_ms, per_unit_ms }
    };
    let proposals: Vec<[f64; 3]> =
        of("co_located").map(|it| [1.0, f64::from(it.proposed_drafts), ms(it, &["cloud.propose"])]).collect();
    let (drafter_reads_ms, drafter_step_ms) = plane(&proposals);
    let passes: Vec<[f64; 3]> = plain().filter(|record| record.rounds > 0).map(pass).collect();
    ensure!(!passes.is_empty(), "no pass of the target among the calibration requests: measure cloud_only");
    let (base_ms, per_row_ms) = plane(&passes);
    Ok(StepTimes {
        probe_ms: ratio(scores.iter().sum(), scores.len() as f64),
        edge_encode: proportional(encode_share),
        edge_prefill: proportional(1.0 - encode_share),
        edge_decode_ms: ratio(sum(&mut of("edge_only").map(|it| ms(it, &["edge.decode"]))), steps),
        compress: by_bytes("edge.compress"),
        decode_media: by_bytes("cloud.decode_media"),
        target_prefill: proportional(1.0),
        target_pass: PassMs { base_ms, per_row_ms, ..PassMs::default() },
        co_located_prefill: AffineMs { base_ms: drafter_reads_ms, per_unit_ms: 0.0 },
        co_located_pass: PassMs { base_ms: drafter_step_ms, ..PassMs::default() },
        split: split(records, cloud),
    })
}

/// Passes and rows of an answer, and what they took. A first token comes with reading the prompt, so that without drafts
/// it needs no pass.
fn pass(record: &Record) -> [f64; 3] {
    let (rounds, drafts) = (f64::from(record.rounds), f64::from(record.proposed_drafts));
    let passes = if record.proposed_drafts > 0 { rounds } else { rounds - 1.0 };
    [passes, drafts + rounds - 1.0, ms(record, &["cloud.decode", "cloud.verify"])]
}

/// Steps of the layer-wise split, its prompts in the unit of everyone else's.
fn split(records: &[(&Record, Work<'_>)], cloud: &Lines) -> Option<SplitTimes> {
    let (mut reads, mut edge_ms, mut cloud_ms, mut bytes) = (0.0, 0.0, 0.0, 0.0);
    let (mut steps, mut edge_steps_ms, mut cloud_steps_ms) = (0.0, 0.0, 0.0);
    for (record, work) in records.iter().filter(|(record, _)| record.policy == SPLIT) {
        reads += cloud.ms(sent(work.whole), work.whole.cloud_flops);
        edge_ms += ms(record, &EDGE_READS);
        cloud_ms += ms(record, &CLOUD_READS);
        bytes += record.up_bytes as f64;
        steps += f64::from(record.rounds.saturating_sub(1));
        edge_steps_ms += ms(record, &["edge.decode"]);
        cloud_steps_ms += ms(record, &["cloud.decode"]);
    }
    let proportional = |ms| AffineMs { base_ms: 0.0, per_unit_ms: ratio(ms, reads) };
    (reads > 0.0).then(|| SplitTimes {
        edge_prefill: proportional(edge_ms),
        edge_step_ms: ratio(edge_steps_ms, steps),
        target_prefill: proportional(cloud_ms),
        target_pass: PassMs { base_ms: ratio(cloud_steps_ms, steps), ..PassMs::default() },
        activation_bytes: ratio(bytes, reads),
        // Operations are not compared.
        edge_prompt_share: 0.0,
        edge_token_share: 0.0,
    })
}

/// Least squares for `z = a x + b y`, neither of them negative: where one would be, the other alone explains `z`.
pub(super) fn plane(points: &[[f64; 3]]) -> (f64, f64) {
    let sum = |of: fn(&[f64; 3]) -> f64| points.iter().map(of).sum::<f64>();
    let (xx, xy, yy) = (sum(|it| it[0] * it[0]), sum(|it| it[0] * it[1]), sum(|it| it[1] * it[1]));
    let (xz, yz) = (sum(|it| it[0] * it[2]), sum(|it| it[1] * it[2]));
    let determinant = xx * yy - xy * xy;
    if determinant <= 1e-9 * xx * yy {
        return (ratio(xz, xx), 0.0);
    }
    match ((xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant) {
        (a, _) if a < 0.0 => (0.0, ratio(yz, yy).max(0.0)),
        (_, b) if b < 0.0 => (ratio(xz, xx).max(0.0), 0.0),
        both => both,
    }
}

/// 0 of nothing.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_found_and_never_leans_below_nothing() {
        let points = |a: f64, b: f64| -> Vec<[f64; 3]> {
            [(1.0, 1.0), (2.0, 9.0), (1.0, 4.0)].map(|(x, y)| [x, y, a * x + b * y]).to_vec()
        };
        let (a, b) = plane(&points(5.0, 1.0));
        assert!((a - 5.0).abs() < 1e-9 && (b - 1.0).abs() < 1e-9, "{a}, {b}");
        assert_eq!(plane(&points(5.0, -0.5)).1, 0.0);
        assert_eq!(plane(&points(-1.0, 3.0)).0, 0.0);
        assert_eq!(plane(&[[1.0, 2.0, 6.0], [2.0, 4.0, 12.0]]), (6.0, 0.0));
        assert_eq!(plane(&[]), (0.0, 0.0));
    }
}
