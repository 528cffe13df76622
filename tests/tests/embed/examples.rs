//! The examples of `examples/`, as their readers run them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};
use msao_tests::{evaluation, places, tab::Tab};
use serde_json::json;

use crate::embedding::{Embedding, TIMEOUT, YOUR_SERVER, expect_answer, policy};

const PLAIN: &str = "01-colour";

/// Asks about the sample with the page's form.
fn ask_with_the_form(tab: &mut Tab) -> Result<()> {
    let sample = evaluation::sample(PLAIN)?;
    tab.wait_for("#form", TIMEOUT)?;
    tab.choose_files("#picture", &sample.image_files())?;
    tab.type_into("#question", &sample.question)?;
    tab.click("#form button")?;
    tab.wait_until("document.getElementById('receipt').textContent || document.getElementById('answer').textContent.length > 40", TIMEOUT)?;
    expect_answer(&json!(tab.text("#answer")?), &sample)
}

#[test]
fn the_plain_example_answers_by_element_and_by_script() -> Result<()> {
    let folder = places::root().join("examples/plain");
    let embedding = Embedding::of(&policy("#### From a server")?, |site, server| {
        for name in ["index.html", "main.js"] {
            let text = fs::read_to_string(folder.join(name))?;
            ensure!(text.contains(YOUR_SERVER), "{name} names no server");
            let path = if name == "index.html" { "/" } else { "/main.js" };
            site.add(path, text.replace(YOUR_SERVER, server));
        }
        Ok(())
    })?;
    embedding.visit("example-plain", |tab| {
        ask_with_the_form(tab)?;
        let element = "document.querySelector('msao-assistant').ask('what is 2 plus 2?', { images: [] }).then(({ text }) => text)";
        let text = tab.evaluate_within(element, TIMEOUT)?;
        ensure!(text.is_string(), "the element says {text}");
        Ok(())
    })
}

#[test]
fn the_vite_example_is_built_and_answers_from_its_own_site() -> Result<()> {
    let Some(folder) = installed_example()? else {
        // Not `eprintln`, whose output the runner keeps to itself when a test passes.
        let line = "SKIPPED example-vite: there is no npm, so this has NOT been tested\n";
        let _ = std::io::stderr().write_all(line.as_bytes());
        return Ok(());
    };
    let embedding = Embedding::of(&policy("#### From your own site")?, |site, server| {
        npm(&folder, &["run", "build"], &[("VITE_MSAO_SERVER", server)])?;
        site.add_folder(&folder.join("dist"), "")
    })?;
    embedding.visit("example-vite", |tab| {
        ask_with_the_form(tab)?;
        ensure!(tab.evaluate("document.querySelectorAll('iframe').length")? == 0, "its Worker is its own");
        Ok(())
    })
}

/// A copy of the example with what it depends on; `None` where there is no npm.
fn installed_example() -> Result<Option<PathBuf>> {
    if !Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let (from, folder) = (places::root().join("examples/vite"), places::root().join("target/example-vite"));
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "package-lock.json" {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    let package = fs::read_to_string(folder.join("package.json"))?;
    // As the built page has it, which is what the other tests use.
    let engine = places::page().join("engine");
    fs::write(
        folder.join("package.json"),
        package.replace("file:../../wasm-runtime/pkg", &format!("file:{}", engine.display())),
    )?;
    npm(&folder, &["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"], &[])?;
    Ok(Some(folder))
}

fn npm(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let output =
        Command::new("npm").args(arguments).current_dir(folder).envs(variables.iter().copied()).output()?;
    if !output.status.success() {
        bail!(
            "npm {} failed: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
