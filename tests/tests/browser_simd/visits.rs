//! First and later visits: downloads that are cut and gone on with, no room, no network, a newer page, and everything
//! removed again.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    drip::Drip,
    evaluation, places, scenario,
    server::Server,
    tab::{Tab, by_id},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{PLAIN, both_are_right, folder};

/// The file that takes long.
const WEIGHTS: &str = "/model.safetensors";
/// Of a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a line of what happened.
pub(crate) fn wait_for_line(app: &mut App, step: &str) -> Result<String> {
    let line = format!("{}[data-step=\"{step}\"]", by_id("happened-line"));
    app.tab.wait_for(&line, PATIENCE).with_context(|| format!("the page does not tell {step}"))?;
    app.tab.text(&line)
}

/// Waits until the page would open without a network.
pub(crate) fn wait_for_the_worker(tab: &mut Tab) -> Result<()> {
    tab.evaluate("navigator.serviceWorker.ready.then(() => 1)")?;
    let soon = "caches.open('msao-page-v1').then((cache) => cache.keys())
        .then((keys) => keys.some(({ url }) => url.includes('/gallery/') && url.includes('.wav')))";
    tab.wait_until(&format!("({soon})"), PATIENCE)?;
    // Kept one after the other: the list is whole when it grows no more.
    let count = "caches.open('msao-page-v1').then((cache) => cache.keys()).then((keys) => keys.length)";
    let mut before = json!(0);
    loop {
        let now = tab.evaluate(count)?;
        if now == before {
            return Ok(());
        }
        before = now;
        tab.wait(Duration::from_millis(1_500))?;
    }
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("cut-download", &Visitor::default(), |tab| {
        line.cut(WEIGHTS, 600_000, 2);
        let mut app = App::open_with(tab, &line.site(), Engine::Simd, "")?;
        let asked: Vec<_> = line.asked(WEIGHTS).iter().map(|asked| asked.from_byte).collect();
        // What has come may be lost with a cut: a browser throws away what the page had no time to read.
        let [None, first, Some(second)] = asked[..] else {
            anyhow::bail!("it should be asked for three times, at last from where it was: {asked:?}")
        };
        ensure!(0 < second && first.unwrap_or(0) <= second, "what had come is fetched again: {asked:?}");
        both_are_right(&mut app, &sample)
    })
}

#[test]
fn a_cancelled_download_tells_its_seconds_and_goes_on_later() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("cancelled-download", &Visitor::default(), |tab| {
        line.slow(WEIGHTS, Some(250_000));
        let mut app = App::visit_with(tab, &line.site(), Engine::Simd, "")?;
        let headline = json!(by_id("edge-headline"));
        let said = format!("/MB · \\d+ s left/.test(document.querySelector({headline})?.innerText)");
        app.tab.wait_until(&said, PATIENCE)?;
        app.tab.screenshot("downloading")?;
        app.tab.click(&by_id("edge-cancel"))?;
        app.wait_for_status(Side::Edge, "off")?;

        // On the same page, and, cut off again, on the next visit.
        app.tab.click(&by_id("edge-load"))?;
        app.tab.wait_until(&said, PATIENCE)?;
        let mut app = App::visit_with(app.tab, &line.site(), Engine::Simd, "")?;
        app.tab.wait_until(&said, PATIENCE)?;
        line.slow(WEIGHTS, None);
        app.wait_for_status(Side::Cloud, "ready")?;
        app.wait_for_status(Side::Edge, "ready")?;
        let asked: Vec<_> = line.asked(WEIGHTS).iter().map(|asked| asked.from_byte).collect();
        let [None, Some(first), Some(second)] = asked[..] else {
            anyhow::bail!("it should be asked for once whole and twice from where it was: {asked:?}")
        };
        ensure!(0 < first && first < second, "what was downloaded is lost: {asked:?}");
        both_are_right(&mut app, &sample)?;
        app.tab.click(&by_id("open-storage"))?;
        app.tab.wait_for(&by_id("storage-model"), PATIENCE)?;
        let kept = app.tab.text(&by_id("storage-model"))?;
        ensure!(kept.contains("on the disk"), "the dialog says {kept:?}");
        Ok(())
    })
}

#[test]
fn without_room_the_model_lives_in_memory_and_the_page_says_so() -> Result<()> {
    let server = Server::start()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("no-room", &Visitor::default(), |tab| {
        let quota = json!({"origin": server.url(""), "quotaSize": 400_000});
        tab.call("Storage.overrideQuotaForOrigin", quota)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        let said = wait_for_line(&mut app, "not-kept")?;
        ensure!(said.contains("no room"), "the page says {said:?}");
        app.tab.screenshot("no-room")?;
        both_are_right(&mut app, &sample)
    })
}

#[test]
fn the_second_visit_works_with_server_and_network_away() -> Result<()> {
    let server = Server::start()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("offline-visit", &Visitor::default(), move |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        both_are_right(&mut app, &sample)?;
        wait_for_the_worker(app.tab)?;
        let manifest = app.tab.call("Page.getAppManifest", json!({}))?;
        ensure!(manifest["errors"] == json!([]), "the manifest is not right: {manifest}");
        let faults = app.tab.call("Page.getInstallabilityErrors", json!({}))?;
        ensure!(faults["installabilityErrors"] == json!([]), "the page cannot be installed: {faults}");

        let site = server.url("");
        drop(server);
        app.tab.call(
            "Network.emulateNetworkConditions",
            json!({
                "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
            }),
        )?;
        let mut app = App::visit_with(app.tab, &site, Engine::Simd, "")?;
        app.wait_for_status(Side::Edge, "ready")?;
        app.wait_for_status(Side::Cloud, "failed")?;
        wait_for_line(&mut app, "cloud-lost")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        app.tab.screenshot("offline-visit")?;
        turn.edge.expect("edge", &sample.answer)?;
        ensure!(turn.cloud.state == "not-asked", "nobody can be asked, yet {:?}", turn.cloud);
        app.tab.click(&by_id("open-dashboard"))?;
        app.tab.wait_for(&by_id("bench-table"), PATIENCE).context("the bench's results are not kept")?;
        app.tab.wait_until(
            "Array.from(document.querySelectorAll('.plot img')).some((plot) => plot.naturalWidth > 0)",
            PATIENCE,
        )?;
        let kept = app.tab.evaluate(
            "(async () => (await Promise.all((await caches.keys()).map(async (name) =>
                (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)))).flat())()",
        )?;
        let kept: Vec<String> = serde_json::from_value(kept)?;
        let private: Vec<_> = kept
            .iter()
            .filter(|path| ["/v1", "/metrics", "/weights"].iter().any(|it| path.starts_with(it)))
            .collect();
        ensure!(private.is_empty(), "what is not the page's is kept by its worker: {private:?}");
        ensure!(kept.iter().any(|path| path.ends_with("index.html")), "the page is not kept: {kept:?}");
        Ok(())
    })
}

#[test]
fn everything_that_is_kept_can_be_removed() -> Result<()> {
    let server = Server::start()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("storage", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        wait_for_the_worker(app.tab)?;
        app.tab.click(&by_id("open-storage"))?;
        let used = json!(by_id("storage-used"));
        app.tab.wait_until(&format!("+document.querySelector({used})?.dataset.bytes > 2e6"), PATIENCE)?;
        app.tab.screenshot("storage")?;
        app.tab.click(&by_id("storage-clear"))?;
        let outcome = json!(by_id("storage-outcome"));
        app.tab.wait_until(&format!("document.querySelector({outcome})?.innerText"), PATIENCE)?;
        let said = app.tab.text(&by_id("storage-outcome"))?;
        ensure!(said.contains("Everything is removed"), "the page says {said:?}");
        app.tab.click(&by_id("storage-dialog-close"))?;
        let left = app.tab.evaluate(
            "(async () => {
                const root = await navigator.storage.getDirectory();
                const files = [];
                for await (const name of root.keys()) files.push(name);
                const workers = await navigator.serviceWorker.getRegistrations();
                return [...(await caches.keys()), ...files, ...workers.map(() => 'worker')];
            })()",
        )?;
        ensure!(left == json!([]), "left are {left}");
        // What is loaded goes on working, and keeps nothing; the next visit begins anew.
        both_are_right(&mut app, &sample)?;
        ensure!(
            app.tab.evaluate("caches.keys().then((keys) => keys.length)")? == 0,
            "something is kept again"
        );
        let mut app = App::open(app.tab, &server, Engine::Simd)?;
        both_are_right(&mut app, &sample)
    })
}

#[test]
fn a_newer_page_is_told_and_comes_with_a_reload() -> Result<()> {
    let server = Server::start()?;
    let port = server.address().port();
    let newer = folder("newer-page")?;
    let entry = make_newer_page(&newer)?;
    scenario::run("newer-page", &Visitor::default(), move |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        wait_for_the_worker(app.tab)?;
        let site = server.url("");
        drop(server);
        app.wait_for_status(Side::Cloud, "failed")?;
        let server = Server::start_as(port, &["--page".to_owned(), newer.display().to_string()])?;
        app.wait_for_status(Side::Cloud, "ready")?;
        wait_for_line(&mut app, "new-version")?;
        app.tab.screenshot("new-version")?;
        app.tab.click(&format!("[data-step=\"new-version\"] {}", by_id("happened-remedy")))?;
        let runs = format!("!!document.querySelector('link[rel=modulepreload][href$={}]')", json!(entry));
        app.tab.wait_until(&runs, PATIENCE)?;
        // The newer page knows that it is the newest.
        let mut app = App::open_with(app.tab, &site, Engine::Simd, "")?;
        app.tab.wait(Duration::from_secs(2))?;
        let line = format!("{}[data-step=\"new-version\"]", by_id("happened-line"));
        ensure!(app.tab.text(&line)?.is_empty(), "the newest page calls itself old");
        both_are_right(&mut app, &evaluation::sample(PLAIN)?)?;
        drop(server);
        Ok(())
    })
}

/// Copies the built page with its script under another name, as a newer build would have it; returns that name.
fn make_newer_page(to: &Path) -> Result<String> {
    copy_page(to)?;
    let mut names = fs::read_dir(to)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let old =
        names.find(|name| name.starts_with("msao-web-") && name.ends_with(".js")).context("no script")?;
    let new = "msao-web-0123456789abcdef.js".to_owned();
    fs::rename(to.join(&old), to.join(&new))?;
    let hash =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let index = fs::read_to_string(to.join("index.html"))?;
    let newer_index = index.replace(&old, &new);
    fs::write(to.join("index.html"), &newer_index)?;
    let worker = fs::read_to_string(to.join("sw.js")).context("the page's build wrote no sw.js")?;
    let worker = worker.replace(&old, &new).replace(&hash(index.as_bytes()), &hash(newer_index.as_bytes()));
    fs::write(to.join("sw.js"), worker)?;
    Ok(new)
}

/// Copies the built page, without its compressed copies.
pub(crate) fn copy_page(to: &Path) -> Result<()> {
    fs::remove_dir_all(to)?;
    copy(&places::page(), to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if !path.extension().is_some_and(|is| is == "gz" || is == "br") {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
