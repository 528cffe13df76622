//! Simulated figures as JSON for programs, and as Markdown for people.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::outcome::Outcome;
use super::replay::{Compared, table};
use super::settings::Setting;

/// Everything that one command simulated.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Step times and requests, in words.
    pub(crate) basis: String,
    /// Measured runs beside simulated ones.
    pub(crate) compared: Vec<Compared>,
    pub(crate) settings: Vec<Setting>,
}

const HEAD: &str = "\
| | p50 ms | p95 ms | p99 ms | TTFT ms | shown ms | TPOT ms | tokens/s | answers/s | up kB | edge GFLOP | cloud GFLOP | server busy | batch | accepted | right | edge alone |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

impl Report {
    /// A table for each setting.
    pub(crate) fn markdown(&self) -> Result<String> {
        let mut text = format!(
            "# Simulated, not measured\n\n{}\n\nLatencies are from asking to the settled end; TTFT and \"shown\" are medians, \
             to the first settled token and to the first token on the screen.\n",
            self.basis
        );
        if !self.compared.is_empty() {
            write!(text, "\n## Measured and simulated\n\n{}", table(&self.compared))?;
        }
        for setting in &self.settings {
            write!(text, "\n## {}\n\n{HEAD}", setting.title)?;
            for outcome in &setting.outcomes {
                writeln!(text, "{}", row(outcome))?;
            }
        }
        Ok(text)
    }

    /// Writes `simulated.json` and `simulated.md` into a folder, which is made if need be; returns the Markdown.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub(crate) fn write(&self, folder: &Path) -> Result<String> {
        let text = self.markdown()?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join("simulated.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(folder.join("simulated.md"), &text)?;
        Ok(text)
    }
}

fn row(outcome: &Outcome) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let cells = [
        outcome.contender.clone(),
        figure(outcome.latency_ms.p50),
        figure(outcome.latency_ms.p95),
        figure(outcome.latency_ms.p99),
        figure(outcome.time_to_first_token_ms.p50),
        figure(outcome.first_shown_ms.p50),
        figure(outcome.time_per_output_token_ms),
        figure(outcome.tokens_per_s),
        figure(outcome.answers_per_s),
        figure(outcome.uplink_bytes / 1000.0),
        figure(outcome.edge_gflop),
        figure(outcome.cloud_gflop),
        percent(outcome.server_utilisation),
        format!("{:.1}", outcome.batch),
        outcome.acceptance_rate.map_or_else(|| "-".to_owned(), percent),
        percent(outcome.accuracy),
        percent(outcome.edge_share),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Three digits that matter.
fn figure(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let outcome = Outcome { contender: "cloud-only".to_owned(), ..Outcome::default() };
        let columns = |line: &str| line.matches('|').count();
        assert!(HEAD.lines().all(|line| columns(line) == columns(&row(&outcome))));
        assert_eq!([0.5, 12.34, 1234.5].map(figure), ["0.50", "12.3", "1234"]);
    }
}
