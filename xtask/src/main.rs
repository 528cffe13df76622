//! The commands of the README: `cargo xtask <command>`.
//!
//! | file | what |
//! |---|---|
//! | `workspace` | where things lie |
//! | `progress` | how a long step looks: a line, a heartbeat, a log, a remedy |
//! | `wasm_toolchain`, `tools`, `debian` | what is needed, at which version, and how it gets here |
//! | `engines`, `precompress`, `page` | the engines' modules and the page |
//! | `run` | the server in front of the page |
//! | `browser`, `clients`, `reference`, `upstreams`, `test` | every test, the browser and Python ones included |
//! | `eval`, `bench` | measurements: their held-out sets, and the programs that measure on them |
//! | `probe` | the MAS probe of a published pair |
//! | `fuzz` | fuzz targets, guided by coverage |
//! | `hub` | published checkpoints from the hub, held to `transformers` |
//! | `check`, `ci` | formatting, lints, dependencies; all of it with times |
//! | `tidy` | rules of the house that are checked as a test |

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

mod bench;
mod browser;
mod check;
mod ci;
mod clients;
mod debian;
mod engines;
mod eval;
mod fuzz;
mod hub;
mod offline;
mod page;
mod precompress;
mod probe;
mod progress;
mod reference;
mod run;
mod slim;
mod test;
#[cfg(test)]
mod tidy;
mod tools;
mod upstreams;
mod wasm_toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::tools::Tools;

const HELP: &str = "\
cargo xtask <command>

  run [--features LIST] [-- SERVER FLAGS]
           set up what is missing, build the page, start the server, print the URL
  test     every test: native, Vulkan, a real browser, the Python reference
  check    formatting, clippy (native and wasm32), cargo-deny
  ci       what continuous integration runs: formatting, clippy, test; with times

  eval [--questions N]
           measure MAS, speculation and risk control on held-out questions; writes planner/RESULTS.md and .json

  bench [--quick] [FLAGS OF msao-bench run]
           compare MSAO with its baselines over emulated networks; --quick asserts orderings in about 2 min;
           --model FOLDER or URL measures a target of your own

  fuzz TARGET [--minutes N]
           fuzz one target (wire, image, audio, json, chat), guided by coverage; finds go to target/fuzz, the corpus grows

  hub [OWNER/NAME ..]
           fetch published checkpoints from the hub and compare the server's answers with transformers

  probe --target FOLDER --edge FOLDER --images FOLDER --out FOLDER [--estimate]
           train a MAS probe for two published checkpoints from the target's own counterfactuals, on a GPU

  setup    install what is missing (Wasm target, wasm-bindgen, trunk, wasm-opt)
  engines  build the engines' modules into wasm-runtime/pkg/
  page     build the engines and the page into dist/

Variables: MSAO_TOOLS (folder of the installed tools), MSAO_CHROMIUM and MSAO_CHROMEDRIVER (paths),
MSAO_SKIP_BROWSER=1 (leave the browser tests out), MSAO_WASM_TOOLCHAIN=debian (use the fallback compiler).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    if !matches!(command, "run" | "eval" | "bench" | "fuzz" | "hub" | "probe") && !rest.is_empty() {
        bail!("`{command}` takes no arguments; see `cargo xtask help`");
    }
    match command {
        "setup" => Tools::ensure().map(|tools| println!("Ready: {}", tools.summary())),
        "engines" => engines::build(&Tools::ensure()?),
        "page" => page::build(&Tools::ensure()?),
        "run" => run::run(rest),
        "test" => test::test(&Tools::ensure()?),
        "check" => check::check(&Tools::ensure()?),
        "ci" => ci::ci(),
        "eval" => eval::eval(rest),
        "bench" => bench::bench(rest),
        "fuzz" => fuzz::fuzz(rest),
        "hub" => hub::hub(rest),
        "probe" => probe::probe(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("there is no command `{unknown}`; see `cargo xtask help`"),
    }
}
