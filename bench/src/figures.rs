//! All figures together, as JSON for programs and as a table for the README.

use std::fs;

use anyhow::{Context, Result};
use msao_tests::places;
use serde::Serialize;

use crate::{
    browser::{self, Visits},
    machine::Machine,
    native::{self, Speed},
    sizes::{self, Sizes},
};

/// What `bench/figures.json` holds.
#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    gzip_bytes: Sizes,
    visits: Visits,
    edge_native: Speed,
    cloud_native: Speed,
}

/// Measures everything, prints the table and writes both files.
///
/// # Errors
/// If something that is measured is not built, or does not work.
pub(crate) fn measure(runs: usize) -> Result<()> {
    let machine = Machine::describe();
    eprintln!("on {}", machine.line());
    eprintln!("sizes ...");
    let gzip_bytes = Sizes::measure()?;
    eprintln!("both models natively ...");
    let (edge_native, cloud_native) = (native::measure("pocket-edge")?, native::measure("pocket-cloud")?);
    eprintln!("{runs} visits ...");
    let visits = browser::measure(runs)?;
    let figures = Figures { machine, gzip_bytes, visits, edge_native, cloud_native };

    let table = figures.table();
    let folder = places::root().join("bench");
    let json = serde_json::to_string_pretty(&figures)? + "\n";
    for (name, content) in [("figures.json", &json), ("figures.md", &table)] {
        fs::write(folder.join(name), content).with_context(|| format!("cannot write bench/{name}"))?;
    }
    eprintln!("\n{table}\nwritten to bench/figures.json and bench/figures.md");
    Ok(())
}

impl Figures {
    /// The table of the README.
    fn table(&self) -> String {
        let Self { gzip_bytes, visits, .. } = self;
        let speed = |who: &str, speed: &Speed| {
            let first = speed.time_to_first_token_ms.show(0);
            let rate = speed.decode_tokens_per_s.show(0);
            [row(&format!("{who}: time to first token, ms"), &first), row(&format!("{who}: tokens/s"), &rate)]
        };
        let rows = [
            row("page, gzip", &size(gzip_bytes.page, sizes::PAGE_BUDGET)),
            row("SIMD engine, gzip", &size(gzip_bytes.simd_engine, sizes::SIMD_BUDGET)),
            row("WebGPU engine, gzip", &size(gzip_bytes.webgpu_engine, sizes::WEBGPU_BUDGET)),
            row("edge weights, gzip", &format!("{} kB", gzip_bytes.edge_weights / 1000)),
            row(
                "navigation to the edge's first token (SIMD, nothing cached), s",
                &visits.first_token_s.show(2),
            ),
            row(
                "navigation to the edge's whole answer (SIMD, nothing cached), s",
                &visits.first_answer_s.show(2),
            ),
        ];
        let speeds = [
            speed("edge, Wasm SIMD in Chromium", &visits.edge),
            speed("cloud, as the page sees it", &visits.cloud),
            speed("edge, native", &self.edge_native),
            speed("cloud, native", &self.cloud_native),
        ];
        format!(
            "| | median (range) |\n|---|---|\n{}{}\nMeasured by `cargo run -p msao-bench -- figures` on {}.\n",
            rows.concat(),
            speeds.concat().concat(),
            self.machine.line()
        )
    }
}

fn row(what: &str, value: &str) -> String {
    format!("| {what} | {value} |\n")
}

fn size(bytes: u64, budget: u64) -> String {
    format!("{} kB of at most {} kB", bytes.div_ceil(1000), budget / 1000)
}
