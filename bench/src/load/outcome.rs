//! What a load test found, and the file that keeps it.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Most bytes of a file that is gone on with.
const MOST_BYTES: u64 = 16 << 20;

/// A load test of some policies against one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// How it was measured.
    #[serde(flatten)]
    pub(crate) settings: LoadSettings,
    /// p95 latency that a rate must stay below, the same for every policy: see [`super::BOUND_OVER_UNLOADED`].
    pub(crate) bound_ms: f64,
    /// One entry for each policy.
    pub(crate) policies: Vec<PolicyLoad>,
}

/// What has to be the same for a load test to be gone on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadSettings {
    /// Names and hashes of the models; `None` in files of versions that measured the shipped ones only.
    #[serde(default)]
    pub(crate) models: Option<String>,
    /// Network of the recording; `None` in files of versions that did not note it.
    #[serde(default)]
    pub(crate) network: Option<String>,
    /// Requests that arrivals were drawn from.
    pub(crate) requests: usize,
    /// Seconds of arrivals at each rate, or as many more as bring 40 requests to the server.
    pub(crate) seconds: f64,
    /// Sessions that were open.
    pub(crate) sessions: usize,
    /// Processors of the server, where it was kept to some.
    pub(crate) server_cpus: Option<String>,
}

/// One policy under load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "PolicyLoadFile")]
pub(crate) struct PolicyLoad {
    /// Its name.
    pub(crate) policy: String,
    /// Share of user requests that the server sees.
    pub(crate) reaching_share: f64,
    /// Median latency of those, one at a time.
    pub(crate) unloaded_ms: f64,
    /// Most memory that the server held, where the system tells it.
    pub(crate) server_peak_bytes: Option<u64>,
    /// The same search with other draws of the arrivals, in order of `repeat`.
    pub(crate) searches: Vec<Searched>,
}

/// The search for the highest rate that is sustained, with one draw of the arrivals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Searched {
    /// Which draw, from 0 on.
    pub(crate) repeat: u32,
    /// The highest rate that was sustained, in user requests a second, standing answers included; 0 if none was.
    pub(crate) saturation_per_s: f64,
    /// The lowest rate above it that was not; `None` if all were sustained.
    pub(crate) overload_per_s: Option<f64>,
    /// Every rate that was tried, in order.
    pub(crate) trials: Vec<Trial>,
    /// What came of rates from saturation on, where that was asked for: see [`super::past`].
    #[serde(default)]
    pub(crate) past: Vec<Trial>,
}

/// As it stands in files, those of versions that searched once included.
#[derive(Deserialize)]
struct PolicyLoadFile {
    policy: String,
    reaching_share: f64,
    unloaded_ms: f64,
    server_peak_bytes: Option<u64>,
    #[serde(default)]
    searches: Vec<Searched>,
    saturation_per_s: Option<f64>,
    overload_per_s: Option<f64>,
    #[serde(default)]
    trials: Vec<Trial>,
}

impl From<PolicyLoadFile> for PolicyLoad {
    fn from(file: PolicyLoadFile) -> Self {
        let PolicyLoadFile { policy, reaching_share, unloaded_ms, server_peak_bytes, mut searches, .. } =
            file;
        if let (Some(saturation_per_s), true) = (file.saturation_per_s, searches.is_empty()) {
            let (overload_per_s, trials) = (file.overload_per_s, file.trials);
            searches.push(Searched { repeat: 0, saturation_per_s, overload_per_s, trials, past: Vec::new() });
        }
        Self { policy, reaching_share, unloaded_ms, server_peak_bytes, searches }
    }
}

impl LoadReport {
    /// What an earlier run has left in `file`, or nothing yet.
    ///
    /// # Errors
    /// If it was measured in another way, or has another form.
    pub(super) fn open(file: &Path, settings: LoadSettings) -> Result<Self> {
        if !file.is_file() {
            return Ok(Self { settings, bound_ms: 0.0, policies: Vec::new() });
        }
        let elsewhere = || format!("cannot go on with {}; choose another folder with --out", file.display());
        let bytes = file.metadata().with_context(elsewhere)?.len();
        ensure!(bytes <= MOST_BYTES, "{} has {bytes} bytes, at most {MOST_BYTES} are read", file.display());
        let json = fs::read(file).with_context(elsewhere)?;
        let kept: Self = serde_json::from_slice(&json).with_context(elsewhere)?;
        ensure!(
            kept.settings == settings,
            "{} was measured as {}, this run is {}; choose another folder with --out, or the same flags",
            file.display(),
            serde_json::to_string(&kept.settings)?,
            serde_json::to_string(&settings)?
        );
        Ok(kept)
    }

    /// Writes it, all or nothing.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        write(self, file)
    }

    /// What was found of a policy.
    pub(super) fn of(&self, policy: &str) -> Option<&PolicyLoad> {
        self.policies.iter().find(|one| one.policy == policy)
    }

    /// What was found of a policy; nothing yet if it is new.
    pub(super) fn of_or_new(
        &mut self,
        policy: &str,
        reaching_share: f64,
        unloaded_ms: f64,
    ) -> &mut PolicyLoad {
        let place = self.policies.iter().position(|one| one.policy == policy).unwrap_or_else(|| {
            self.policies.push(PolicyLoad {
                policy: policy.to_owned(),
                reaching_share,
                unloaded_ms,
                server_peak_bytes: None,
                searches: Vec::new(),
            });
            self.policies.len() - 1
        });
        &mut self.policies[place]
    }

    /// Whether a search of a policy was not gone past.
    pub(super) fn lacks_past(&self, policy: &str) -> bool {
        let found = self.policies.iter().filter(|one| one.policy == policy);
        found.flat_map(|one| &one.searches).any(Searched::lacks_past)
    }

    /// Searches that a policy has already.
    pub(super) fn repeats(&self, policy: &str) -> u32 {
        let found = self.policies.iter().find(|one| one.policy == policy);
        found.map_or(0, |one| one.searches.len() as u32)
    }
}

impl Searched {
    /// Whether there is a rate to go past, and nobody did.
    pub(super) fn lacks_past(&self) -> bool {
        self.saturation_per_s > 0.0 && self.past.is_empty()
    }
}

impl PolicyLoad {
    /// Takes a search in, or more of one that is there.
    pub(super) fn note(&mut self, searched: Searched) {
        match self.searches.iter_mut().find(|known| known.repeat == searched.repeat) {
            Some(known) => *known = searched,
            None => self.searches.push(searched),
        }
    }
}

/// Arrivals at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// User requests a second that were asked for.
    pub(crate) rate_per_s: f64,
    /// Seconds of arrivals.
    pub(crate) seconds: f64,
    /// User requests that arrived.
    pub(crate) arrivals: usize,
    /// Of these, answers of the edge that stood and cost the server nothing.
    pub(crate) stood: usize,
    /// Of the others, those that were answered before the grace period was over.
    pub(crate) answered: usize,
    /// Of the others, those that the server refused as too many.
    pub(crate) busy: usize,
    /// Of the others, those that failed otherwise or had no answer in time.
    pub(crate) failed: usize,
    /// Median latency of what the server answered; 0 if it answered nothing.
    pub(crate) p50_ms: f64,
    /// 95th percentile of it.
    pub(crate) p95_ms: f64,
    /// 99th percentile of all that the server did not refuse; `None` if more than 1 % of that had no answer, and in files of
    /// versions that did not note it.
    #[serde(default)]
    pub(crate) p99_ms: Option<f64>,
    /// Answers of the server that came within the latency bound and while visitors still arrived; `None` in files of
    /// versions that did not note it.
    #[serde(default)]
    pub(crate) within_bound: Option<usize>,
    /// Memory that the server held when the last visitor had arrived, where the system tells it.
    #[serde(default)]
    pub(crate) server_resident_bytes: Option<u64>,
    /// Whether the rate was sustained.
    pub(crate) is_sustained: bool,
}

impl Trial {
    /// Answers of the server within the latency bound, a second. Answers of the edge that stood are not among them: they grow
    /// with the rate whatever becomes of the server.
    pub(crate) fn goodput_per_s(&self) -> Option<f64> {
        Some(self.within_bound? as f64 / self.seconds)
    }

    /// Share of what reached the server that it refused as too much.
    pub(crate) fn busy_share(&self) -> f64 {
        self.busy as f64 / self.reached().max(1) as f64
    }

    /// Share of what reached the server that it did not refuse, and had no answer in time.
    pub(crate) fn failed_share(&self) -> f64 {
        self.failed as f64 / self.reached().max(1) as f64
    }

    fn reached(&self) -> usize {
        self.answered + self.busy + self.failed
    }
}

/// Writes what was found to a file, all or nothing.
///
/// # Errors
/// If the disk does not take it.
pub(super) fn write(found: &impl Serialize, file: &Path) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let beside = file.with_extension("json.part");
    fs::write(&beside, serde_json::to_string_pretty(found)? + "\n").with_context(cannot)?;
    fs::rename(&beside, file).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LoadSettings {
        LoadSettings {
            models: Some("big@1".into()),
            network: Some("20ms-200mbit".into()),
            requests: 64,
            seconds: 20.0,
            sessions: 60,
            server_cpus: None,
        }
    }

    #[test]
    fn a_cut_test_goes_on_and_another_one_does_not() {
        let file = std::env::temp_dir().join(format!("msao-load-{}.json", std::process::id()));
        let mut report = LoadReport::open(&file, settings()).unwrap();
        assert_eq!(report.repeats("msao"), 0);
        let search = Searched {
            repeat: 0,
            saturation_per_s: 7.5,
            overload_per_s: None,
            trials: Vec::new(),
            past: Vec::new(),
        };
        report.policies.push(PolicyLoad {
            policy: "msao".into(),
            reaching_share: 1.0,
            unloaded_ms: 9.0,
            server_peak_bytes: None,
            searches: vec![search],
        });
        report.write(&file).unwrap();
        let again = LoadReport::open(&file, settings()).unwrap();
        assert_eq!((again.repeats("msao"), &again), (1, &report));
        let other = LoadSettings { models: Some("small@2".into()), ..settings() };
        let error = format!("{:#}", LoadReport::open(&file, other).unwrap_err());
        assert!(error.contains("big@1") && error.contains("small@2") && error.contains("--out"), "{error}");
        fs::write(&file, "{}").unwrap();
        assert!(format!("{:#}", LoadReport::open(&file, settings()).unwrap_err()).contains("--out"));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_file_of_a_version_that_searched_once_is_read() {
        let report: LoadReport = serde_json::from_value(serde_json::json!({
            "requests": 40, "bound_ms": 450.0, "seconds": 3.0, "sessions": 40, "server_cpus": "0",
            "policies": [{"policy": "msao", "reaching_share": 1.0, "unloaded_ms": 9.0, "saturation_per_s": 7.5,
                "overload_per_s": 8.0, "server_peak_bytes": null, "trials": []}]
        }))
        .unwrap();
        let searches = &report.policies[0].searches;
        assert_eq!(
            (searches.len(), searches[0].saturation_per_s, searches[0].overload_per_s),
            (1, 7.5, Some(8.0))
        );
        assert_eq!((report.settings.requests, report.settings.models), (40, None));
    }
}
