//! What a quick run asserts: orderings, never times, so that it holds on any machine.

use std::collections::HashMap;

use super::policy::BenchPolicy;
use crate::record::Record;

/// Networks of a quick run: the paper's, where the upload hardly counts, and a slow one, where it does.
pub(super) const NETWORKS: [&str; 2] = ["20ms-200mbit", SLOW_NETWORK];
/// The one on which sending less must show in time.
const SLOW_NETWORK: &str = "100ms-5mbit";
/// Policies of a quick run.
pub(super) const POLICIES: [BenchPolicy; 5] = [
    BenchPolicy::EdgeOnly,
    BenchPolicy::CloudOnly,
    BenchPolicy::CoLocated,
    BenchPolicy::Msao,
    BenchPolicy::MsaoRisk,
];
/// Requests of a quick run.
pub(super) const REQUESTS: usize = 6;
/// And those asked before them, of each policy over each network.
pub(super) const WARM_UP_REQUESTS: usize = 2;

/// Verified answers that may differ from the target's own on the same kept inputs: sums in another order can turn over
/// two tokens that are as likely as each other.
const MOST_DIFFERENT: f64 = 0.05;

/// Verified answers that were held to the target's own on the same kept inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Replays {
    /// Held to it.
    pub(super) compared: usize,
    /// Of these, those that differ.
    pub(super) different: usize,
}

impl Replays {
    /// Notes one.
    pub(super) fn count(&mut self, is_same: bool) {
        self.compared += 1;
        self.different += usize::from(!is_same);
    }
}

/// What was found to hold, and what was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) held: Vec<String>,
    pub(super) violated: Vec<String>,
}

impl Findings {
    /// Of all records of a run.
    pub(super) fn of(records: &[Record], replays: Replays) -> Self {
        let mut findings = Self::default();
        let failed: Vec<String> = records
            .iter()
            .filter_map(|one| {
                Some(format!("{} {} {}: {}", one.network, one.policy, one.request, one.failure.as_ref()?))
            })
            .collect();
        let without = format!("every request has an answer; without one: {}", failed.len());
        findings.note(failed.is_empty(), [vec![without], failed].concat().join("\n  "));
        let Replays { compared, different } = replays;
        findings.note(
            compared > 0 && different as f64 <= compared as f64 * MOST_DIFFERENT,
            format!("verified answers are the target's own on the same kept inputs: {different} of {compared} differ"),
        );
        let sums = up_bytes(records);
        let sum = |policy: BenchPolicy| sums.get(&policy.to_string()).copied();
        let in_bytes = |bytes: Option<u64>| {
            bytes.map_or("nothing measured".to_owned(), |bytes| format!("{bytes} bytes"))
        };
        let (edge, cloud) = (sum(BenchPolicy::EdgeOnly), sum(BenchPolicy::CloudOnly));
        let (msao, risk) = (sum(BenchPolicy::Msao), sum(BenchPolicy::MsaoRisk));
        findings.note(edge == Some(0), format!("edge_only sends nothing: {}", in_bytes(edge)));
        findings.note(
            msao.zip(cloud).is_some_and(|(msao, cloud)| msao < cloud),
            format!("msao sends less than cloud_only: {} and {}", in_bytes(msao), in_bytes(cloud)),
        );
        // Left out where there are no judged answers to calibrate on.
        if risk.is_some() {
            findings.note(
                risk < msao,
                format!("msao_risk sends less than msao: {} and {}", in_bytes(risk), in_bytes(msao)),
            );
        }
        let median = |policy| median_ms(records, SLOW_NETWORK, policy);
        let (msao, cloud) = (median(BenchPolicy::Msao), median(BenchPolicy::CloudOnly));
        findings.note(
            msao.zip(cloud).is_some_and(|(msao, cloud)| msao < cloud),
            format!(
                "at {SLOW_NETWORK} msao's median is below cloud_only's: {:.0} and {:.0} ms",
                msao.unwrap_or(f64::NAN),
                cloud.unwrap_or(f64::NAN)
            ),
        );
        findings
    }

    fn note(&mut self, holds: bool, what: String) {
        if holds { &mut self.held } else { &mut self.violated }.push(what);
    }
}

fn up_bytes(records: &[Record]) -> HashMap<String, u64> {
    let mut sums = HashMap::new();
    for record in records {
        *sums.entry(record.policy.clone()).or_default() += record.up_bytes;
    }
    sums
}

fn median_ms(records: &[Record], network: &str, policy: BenchPolicy) -> Option<f64> {
    let name = policy.to_string();
    let of = |one: &&Record| one.network == network && one.policy == name;
    let mut times: Vec<f64> = records.iter().filter(of).map(|one| one.total_ms).collect();
    times.sort_by(f64::total_cmp);
    let upper = *times.get(times.len() / 2)?;
    Some((times[(times.len() - 1) / 2] + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::journal::tests::record;

    fn run() -> Vec<Record> {
        let figures = [
            ("edge_only", 0, 5.0),
            ("cloud_only", 900, 400.0),
            ("msao", 300, 200.0),
            ("msao_risk", 90, 150.0),
        ];
        let with = |network: &'static str| {
            figures.map(|(policy, up_bytes, total_ms)| Record {
                up_bytes,
                total_ms,
                ..record("a", network, policy)
            })
        };
        NETWORKS.map(with).concat()
    }

    const SAME: Replays = Replays { compared: 20, different: 1 };

    #[test]
    fn a_run_as_it_should_be_violates_nothing() {
        let findings = Findings::of(&run(), SAME);
        assert_eq!(findings.violated, [""; 0]);
        assert_eq!(findings.held.len(), 6);
        let without_risk: Vec<Record> = run().into_iter().filter(|one| one.policy != "msao_risk").collect();
        assert_eq!(Findings::of(&without_risk, SAME).violated, [""; 0]);
    }

    type Change<'a> = &'a dyn Fn(&mut Record);

    #[test]
    fn whatever_is_out_of_order_is_named() {
        let violated = |change: Change<'_>| {
            let mut records = run();
            records.iter_mut().for_each(change);
            Findings::of(&records, SAME).violated
        };
        let of = |policy: &'static str| move |one: &Record| one.policy == policy;
        let cases: [(&str, Change<'_>); 5] = [
            ("edge_only sends", &|one| one.up_bytes += 1),
            ("msao sends", &|one| one.up_bytes += if of("msao")(one) { 700 } else { 0 }),
            ("msao_risk sends", &|one| one.up_bytes += if of("msao_risk")(one) { 250 } else { 0 }),
            ("median", &|one| one.total_ms += if of("msao")(one) { 300.0 } else { 0.0 }),
            ("has an answer", &|one| one.failure = of("msao")(one).then(|| "cut".to_owned())),
        ];
        for (expected, change) in cases {
            let violated = violated(change);
            assert!(violated.len() == 1 && violated[0].contains(expected), "{expected}: {violated:?}");
        }
        let wrong = Findings::of(&run(), Replays { compared: 20, different: 2 }).violated;
        assert!(wrong[0].contains("2 of 20 differ"), "{wrong:?}");
        assert_eq!(Findings::of(&[], Replays::default()).violated.len(), 4);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let records: Vec<Record> =
            [1.0, 9.0, 3.0, 5.0].map(|total_ms| Record { total_ms, ..record("a", "n", "msao") }).into();
        assert_eq!(median_ms(&records, "n", BenchPolicy::Msao), Some(4.0));
        assert_eq!(median_ms(&records, "m", BenchPolicy::Msao), None);
    }
}
