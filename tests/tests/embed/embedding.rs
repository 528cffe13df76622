//! A page of another site and the server that it takes MSAO from.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use msao_tests::{
    chromium::Visitor,
    evaluation::Sample,
    places, scenario,
    server::Server,
    site::{OtherSite, Site},
    tab::Tab,
};
use serde_json::{Value, json};

/// Loading engine and weights and answering, on a machine that is busy with other things.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(240);
/// What stands for the server's address in README and examples.
pub(crate) const YOUR_SERVER: &str = "https://your.server";

/// A server, and a site that embeds it.
pub(crate) struct Embedding {
    pub(crate) server: Server,
    pub(crate) site: Site,
}

impl Embedding {
    /// A site with one empty page, under a policy from the README. The server allows its origin.
    pub(crate) fn of_an_empty_page(policy: &str) -> Result<Self> {
        Self::of(policy, |site, _server| {
            site.add("/", "<!doctype html><html lang=\"en\"><title>Shop</title><h1>Shop</h1></html>");
            Ok(())
        })
    }

    /// A site that `fill` puts together, knowing the server's address.
    pub(crate) fn of(policy: &str, fill: impl FnOnce(&mut OtherSite, &str) -> Result<()>) -> Result<Self> {
        Self::with_flags(policy, &[], fill)
    }

    /// As [`Self::of`], with further flags for the server.
    pub(crate) fn with_flags(
        policy: &str,
        flags: &[String],
        fill: impl FnOnce(&mut OtherSite, &str) -> Result<()>,
    ) -> Result<Self> {
        let mut site = OtherSite::bind("127.0.0.1")?;
        let allow = ["--allow-origin".to_owned(), site.origin()?];
        let server = Server::start_with(&[&allow[..], flags].concat())?;
        let address = server.url("");
        let policy = policy.replace(YOUR_SERVER, &address);
        site.restrict(policy.replace("wss://your.server", &address.replacen("http", "ws", 1)));
        fill(&mut site, &address)?;
        Ok(Self { server, site: site.open() })
    }

    /// Opens the site's page, and tells scripts there the `server`; what its policy forbids is noted.
    pub(crate) fn open(&self, tab: &mut Tab) -> Result<()> {
        tab.inject(
            "globalThis.forbidden = [];
             addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => forbidden.push(`${effectiveDirective} ${blockedURI}`));",
        )?;
        tab.go_to(&self.site.url("/"))?;
        let server = json!(self.server.url(""));
        tab.evaluate(&format!("globalThis.server = {server}; 0"))?;
        Ok(())
    }

    /// Opens it in a browser of its own. Fails if anything was done that the page's policy forbids.
    pub(crate) fn visit(&self, name: &str, body: impl FnOnce(&mut Tab) -> Result<()>) -> Result<()> {
        scenario::run(name, &Visitor::default(), |tab| {
            self.open(tab)?;
            body(tab)?;
            let forbidden = tab.evaluate("forbidden")?;
            ensure!(forbidden == json!([]), "the page's policy forbids {forbidden}");
            Ok(())
        })
    }
}

/// The policy in the README behind the heading that begins with `heading`, as one line.
pub(crate) fn policy(heading: &str) -> Result<String> {
    let readme = fs::read_to_string(places::root().join("wasm-runtime/README.md"))?;
    let (_, rest) = readme.split_once(heading).with_context(|| format!("the README has no {heading:?}"))?;
    let (_, block) = rest.split_once("```csp\n").context("no policy follows")?;
    let (block, _) = block.split_once("```").context("the policy does not end")?;
    Ok(block.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Runs the body of an asynchronous function in the page.
pub(crate) fn run(tab: &mut Tab, body: &str) -> Result<Value> {
    tab.evaluate_within(&format!("(async () => {{ {body} }})()"), TIMEOUT)
}

/// Makes `globalThis.assistant` with these options besides the server's address.
pub(crate) fn make_assistant(tab: &mut Tab, options: &str) -> Result<()> {
    run(
        tab,
        &format!(
            "const {{ createAssistant }} = await import(`${{server}}/engine/index.js`);
             globalThis.assistant = await createAssistant({{ server, engine: 'simd', {options} }});"
        ),
    )?;
    Ok(())
}

/// The messages that ask about a sample, as OpenAI's API takes them.
pub(crate) fn messages(sample: &Sample) -> Result<String> {
    let mut content = vec![json!({"type": "text", "text": sample.question})];
    for file in sample.image_files() {
        let data = BASE64_STANDARD.encode(fs::read(file)?);
        content.push(
            json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}}),
        );
    }
    if let Some(file) = sample.audio_file() {
        let data = BASE64_STANDARD.encode(fs::read(file)?);
        content.push(json!({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}));
    }
    Ok(json!([{"role": "user", "content": content}]).to_string())
}

/// Requires an answer to be right, as people would judge it.
pub(crate) fn expect_answer(text: &Value, sample: &Sample) -> Result<()> {
    let text = text.as_str().unwrap_or_default().trim().trim_end_matches('.').to_lowercase();
    ensure!(text == sample.answer.to_lowercase(), "{:?} instead of {:?}", text, sample.answer);
    Ok(())
}
