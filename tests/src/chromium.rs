//! A Chromium process of our own: a fresh profile, no network but this machine, fake devices where asked.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{devtools::Devtools, leash::Leash, tab::Tab};

/// Environment variable that names the browser.
pub const BROWSER_VARIABLE: &str = "MSAO_CHROMIUM";
/// Environment variable with more flags for it, separated by spaces; CONTRIBUTING.md has those that reach a GPU.
pub const FLAGS_VARIABLE: &str = "MSAO_CHROMIUM_FLAGS";

/// Where distributions put the binary itself; their wrapper scripts add flags of their own.
const KNOWN_PLACES: [&str; 6] = [
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
    "/usr/bin/chromium",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What a visitor brings along.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// A y4m file that the camera shows, over and over.
    pub camera: Option<PathBuf>,
    /// A WAV file that the microphone hears, over and over.
    pub microphone: Option<PathBuf>,
    /// Answers every permission question with no. Otherwise every answer is yes.
    pub refuses_devices: bool,
    /// Gives pages WebGPU, by the software adapter where there is no GPU.
    pub webgpu: bool,
}

/// A running browser, killed when dropped, with its profile.
pub struct Chromium {
    /// `None` only while the browser is being dropped.
    process: Option<Leash>,
    profile: PathBuf,
}

/// The browser to use: [`BROWSER_VARIABLE`], else a known place.
///
/// # Errors
/// In one line, what to install, if there is none.
pub fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BROWSER_VARIABLE) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{BROWSER_VARIABLE} names {}, where there is no file", path.display());
        }
        return Ok(path);
    }
    KNOWN_PLACES.iter().map(PathBuf::from).find(|path| path.is_file()).with_context(|| {
        format!(
            "no Chromium found: install it (Debian: `apt-get install chromium`), or name one in {BROWSER_VARIABLE}, \
             or set MSAO_SKIP_BROWSER=1 to skip the browser tests"
        )
    })
}

impl Chromium {
    /// Starts a browser with a new, empty profile and opens an empty tab in it.
    ///
    /// # Errors
    /// If there is no browser, or it does not start.
    pub fn open(visitor: &Visitor) -> Result<Tab> {
        let binary = find()?;
        let profile = new_folder()?;
        let process = Leash::start(&binary, &flags(visitor, &profile), &profile.join("stderr.log"))?;
        let mut chromium = Self { process: Some(process), profile };
        let (port, path) = chromium.devtools_address()?;
        Tab::new(Devtools::connect(port, &path)?, chromium)
    }

    /// Waits for the file in which the browser says where it listens.
    fn devtools_address(&mut self) -> Result<(u16, String)> {
        let file = self.profile.join("DevToolsActivePort");
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some((port, path)) = fs::read_to_string(&file).unwrap_or_default().split_once('\n')
                && !path.trim().is_empty()
            {
                return Ok((port.parse()?, path.trim().to_owned()));
            }
            if let Some(status) =
                self.process.as_mut().and_then(|process| process.ended().transpose()).transpose()?
            {
                bail!("Chromium ended at once ({status}): {}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("Chromium opened no DevTools port within {START_TIMEOUT:?}: {}", self.log_tail())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.profile.join("stderr.log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The other processes of the browser end when their pipes to this one close.
        self.process = None;
        for _ in 0..20 {
            if fs::remove_dir_all(&self.profile).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn flags(visitor: &Visitor, profile: &Path) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--headless=new",
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ]
    .map(str::to_owned)
    .into();
    flags.push(format!("--user-data-dir={}", profile.display()));
    if visitor.webgpu {
        flags.push("--enable-unsafe-webgpu".into());
    }
    flags.push("--use-fake-device-for-media-stream".into());
    if !visitor.refuses_devices {
        flags.push("--use-fake-ui-for-media-stream".into());
    }
    if let Some(file) = &visitor.camera {
        flags.push(format!("--use-file-for-fake-video-capture={}", file.display()));
    }
    if let Some(file) = &visitor.microphone {
        flags.push(format!("--use-file-for-fake-audio-capture={}", file.display()));
    }
    flags.extend(std::env::var(FLAGS_VARIABLE).unwrap_or_default().split_whitespace().map(str::to_owned));
    flags.push("about:blank".into());
    flags
}

/// A new folder for one browser's profile.
fn new_folder() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("msao-chromium-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
