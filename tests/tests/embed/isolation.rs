//! The frame that holds the package's Worker: isolated by itself, wherever it is shown, and open to allowed pages only.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::embedding::{Embedding, make_assistant, policy, run};

#[test]
fn the_frame_is_isolated_in_a_page_that_is_not() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    embedding.visit("embed-isolated", |tab| {
        make_assistant(tab, "")?;
        ensure!(tab.evaluate("crossOriginIsolated")? == false, "nothing is asked of the page around it");
        let isolated = tab.evaluate_in_frame("/engine/frame.html", "crossOriginIsolated")?;
        ensure!(isolated == true, "Document-Isolation-Policy should isolate the frame: {isolated}");
        let origin = tab.evaluate_in_frame("/engine/frame.html", "origin")?;
        ensure!(origin == json!(embedding.server.url("")), "{origin}");
        Ok(())
    })
}

#[test]
fn package_and_weights_are_for_all_origins_and_sessions_are_not() -> Result<()> {
    // A page without a policy, so that only the server's answers count.
    let embedding = Embedding::of_an_empty_page("default-src * 'unsafe-inline'")?;
    let stranger = Embedding::of_an_empty_page("default-src * 'unsafe-inline'")?;
    embedding.visit("embed-public", |tab| {
        let other = json!(stranger.server.url(""));
        let read = run(
            tab,
            &format!(
                "const can = (path) => fetch({other} + path).then((response) => response.ok, () => false);
                 const opens = (url) => new Promise((resolve) => {{
                    const socket = new WebSocket(url.replace('http', 'ws') + '/v1/session', ['msao.v1']);
                    socket.onopen = () => resolve(true);
                    socket.onerror = () => resolve(false);
                 }});
                 return [
                    await can('/engine/index.js'), await can('/engine/session/msao_runtime_bg.wasm'),
                    await can('/weights/pocket-edge/config.json'), await can('/index.html'), await can('/healthz'),
                    await can('/v1/models'), await opens({other}), await opens(server),
                 ];"
            ),
        )?;
        ensure!(read == json!([true, true, true, false, false, false, false, true]), "{read}");
        Ok(())
    })
}
