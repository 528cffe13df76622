//! What the engine counts about itself, read anew whenever somebody asks for the metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::engine::{Engine, EngineStatistics, KvStatistics};

/// Upper bounds of batch sizes that are told apart; larger ones are the rest.
const BATCH_SIZES: [u32; 7] = [1, 2, 4, 8, 16, 32, 63];

/// An engine whose statistics are told.
pub(super) struct EngineMetrics(pub(super) Arc<dyn Engine>);

impl fmt::Debug for EngineMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("EngineMetrics").field(&self.0.info().model.name).finish()
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let statistics = self.0.statistics();
        let EngineStatistics { waiting, running, .. } = statistics;
        gauge(&mut encoder, "requests_waiting", "Requests that have a place and are not begun", waiting)?;
        gauge(&mut encoder, "requests_running", "Requests that are begun and not over", running)?;
        encode_batches(&mut encoder, &statistics.passes_by_batch_size)?;
        encode_positions(
            &mut encoder,
            ("drafts_proposed_by_position", "Draft tokens verified, by their position in a run"),
            &statistics.proposed_by_position,
        )?;
        encode_positions(
            &mut encoder,
            ("drafts_accepted_by_position", "Draft tokens that stand, by their position in a run"),
            &statistics.accepted_by_position,
        )?;
        encode_kv(&mut encoder, &statistics.kv)
    }
}

fn encode_kv(encoder: &mut DescriptorEncoder<'_>, kv: &KvStatistics) -> fmt::Result {
    for (name, help, value) in [
        ("kv_budget_bytes", "Memory that keys and values may take", kv.budget_bytes),
        ("kv_used_bytes", "Memory that keys and values take", kv.used_bytes),
        ("kv_retained_bytes", "Of that, what is kept of finished requests", kv.retained_bytes),
    ] {
        gauge(encoder, name, help, value)?;
    }
    for (name, help, value) in [
        ("kv_hits", "Prompts whose beginning had been read before", kv.hits),
        ("kv_misses", "Prompts of which nothing had been read", kv.misses),
        ("kv_reused_tokens", "Prompt tokens that were not read again", kv.reused_tokens),
        ("kv_evictions", "Caches given up for others", kv.evictions),
        ("kv_re_prefills", "Prompts read again since their cache was given up", kv.re_prefills),
    ] {
        ConstCounter::new(value).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Counter,
        )?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    // Levels stay far below 2^63.
    ConstGauge::new(value.cast_signed()).encode(encoder.encode_descriptor(
        name,
        help,
        None,
        MetricType::Gauge,
    )?)
}

fn encode_batches(encoder: &mut DescriptorEncoder<'_>, passes: &[u64]) -> fmt::Result {
    let sizes = || (1..).zip(passes.iter().copied());
    let count = passes.iter().sum();
    let sum: u64 = sizes().map(|(size, passes)| u64::from(size) * passes).sum();
    let between = |low: u32, high: u32| {
        sizes().filter(|&(size, _)| low < size && size <= high).map(|(_, count)| count).sum()
    };
    let mut buckets = Vec::with_capacity(BATCH_SIZES.len() + 1);
    let mut low = 0;
    for high in BATCH_SIZES {
        buckets.push((f64::from(high), between(low, high)));
        low = high;
    }
    buckets.push((f64::INFINITY, between(low, u32::MAX)));
    let help = "Requests that shared a pass of the model";
    let mut histogram = encoder.encode_descriptor("batch_size", help, None, MetricType::Histogram)?;
    histogram.encode_histogram::<NoLabelSet>(sum as f64, count, &buckets, None)
}

fn encode_positions(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    counts: &[u64],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (position, &count) in (1_u32..).zip(counts) {
        if count > 0 {
            ConstCounter::new(count).encode(family.encode_family(&[("position", position.to_string())])?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Batches(Vec<u64>);

    impl Collector for Batches {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            encode_batches(&mut encoder, &self.0)?;
            encode_positions(&mut encoder, ("accepted", "help"), &self.0)
        }
    }

    #[test]
    fn batches_are_a_histogram_and_positions_begin_at_one() {
        let mut registry = Registry::default();
        // Four passes of one request, two of three, one of seventy.
        let mut passes = vec![0; 70];
        (passes[0], passes[2], passes[69]) = (4, 2, 1);
        registry.register_collector(Box::new(Batches(passes)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "batch_size_sum 80.0",
            "batch_size_count 7",
            "batch_size_bucket{le=\"1.0\"} 4",
            "batch_size_bucket{le=\"2.0\"} 4",
            "batch_size_bucket{le=\"4.0\"} 6",
            "batch_size_bucket{le=\"63.0\"} 6",
            "batch_size_bucket{le=\"+Inf\"} 7",
            "accepted_total{position=\"3\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in {text}");
        }
    }
}
