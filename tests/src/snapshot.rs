//! Pictures of the page's main states, kept in `tests/snapshots/`, and whether the page still looks like them.
//!
//! Compared is what a glance sees. Both pictures are cut into cells, each with its mean luminance and its contrast. A cell
//! has changed if nothing like it is at its place or beside it in the other picture, seen from either of them. Other
//! antialiasing moves edges within a cell or to the next one; a block that is lost, doubled or out of its place changes
//! many cells. What differs from visit to visit, such as times, is masked where it stands.
//!
//! Another font breaks lines elsewhere, which changes up to 10 % of a phone's window, as much as a broken style sheet may. So
//! pictures are taken in one font, and where that is not installed nothing is compared, which is said loudly.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use image::GrayImage;
use serde::Deserialize;
use serde_json::json;

use crate::{places, tab::Tab};

/// Environment variable: with `1` pictures are kept anew instead of compared. Look at them before they are committed.
pub const KEEP_VARIABLE: &str = "MSAO_KEEP_SNAPSHOTS";
/// The font of the pictures; Chromium's packages for Linux bring it along.
const FONT: &str = "DejaVu Sans";
/// Width and height of a cell in pixels.
const CELL: u32 = 20;
/// Levels of 255 by which the means of two cells that look alike differ at most.
const MEAN_LEVELS: f64 = 14.0;
/// The same of their standard deviations.
const CONTRAST_LEVELS: f64 = 22.0;
/// Share of the cells that may change.
pub const MOST_CHANGED: f64 = 0.04;
/// Of WebP, in percent: good enough to be looked at.
const QUALITY: u32 = 72;
/// Pictures and fonts of the page.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The window that a page is looked at in.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The system is set to dark.
    pub is_dark: bool,
}

impl Window {
    /// A laptop's.
    pub const DESK: Self = Self { width: 1280, height: 900, is_dark: false };
    /// A phone's.
    pub const PHONE: Self = Self { width: 390, height: 844, is_dark: false };

    /// The same, set to dark.
    pub const fn dark(self) -> Self {
        Self { is_dark: true, ..self }
    }

    /// Gives the tab this window, without motion.
    ///
    /// # Errors
    /// If the browser refuses it.
    pub fn open(self, tab: &mut Tab) -> Result<()> {
        let Self { width, height, is_dark } = self;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700});
        tab.call("Emulation.setDeviceMetricsOverride", size)?;
        let features = json!([
            {"name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        tab.call("Emulation.setEmulatedMedia", json!({ "features": features })).map(|_| ())
    }
}

/// A part of the window, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Mask {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Compares what the window shows with the kept picture of that name, or keeps it ([`KEEP_VARIABLE`]). What matches the CSS
/// selectors in `changing`, in open shadow roots too, may look different each time.
///
/// # Errors
/// If too much has changed; the picture as it is now lies in `target/screenshots/` then. If none is kept.
pub fn check(tab: &mut Tab, name: &str, changing: &[&str]) -> Result<()> {
    if std::env::var(KEEP_VARIABLE).is_ok_and(|value| value == "1") {
        let kept = kept(name);
        fs::create_dir_all(kept.parent().context("snapshots have no folder")?)?;
        return fs::write(&kept, take(tab)?).with_context(|| format!("cannot keep {}", kept.display()));
    }
    if !has_font(tab)? {
        // Not `eprintln`, whose output the runner keeps to itself when a test passes.
        let line = format!("LEFT OUT: {FONT} is not installed, so {name} has NOT been compared\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return Ok(());
    }
    let changed = share_changed(tab, name, changing)?;
    // Read by whoever doubts the bound.
    eprintln!("snapshot {name}: {:.2} % changed", changed * 100.0);
    ensure!(
        changed <= MOST_CHANGED,
        "{:.1} % of {name} does not look as it did: compare {} with {}; if it is to look so, keep it with {KEEP_VARIABLE}=1",
        changed * 100.0,
        now(name)?.display(),
        kept(name).display()
    );
    Ok(())
}

/// The share of what the window shows that differs from the kept picture of that name, as [`check`] sees it.
///
/// # Errors
/// If none is kept.
pub fn share_changed(tab: &mut Tab, name: &str, changing: &[&str]) -> Result<f64> {
    let (bytes, masks) = (take(tab)?, masks(tab, changing)?);
    fs::write(now(name)?, &bytes)?;
    let kept = kept(name);
    let before = fs::read(&kept).with_context(|| {
        format!(
            "no snapshot {name} is kept: run this test with {KEEP_VARIABLE}=1 and look at {}",
            kept.display()
        )
    })?;
    let luminance = |bytes: &[u8]| image::load_from_memory(bytes).map(|picture| picture.to_luma8());
    Ok(changed(&luminance(&before)?, &luminance(&bytes)?, &masks))
}

fn kept(name: &str) -> PathBuf {
    places::root().join("tests/snapshots").join(name).with_extension("webp")
}

fn now(name: &str) -> Result<PathBuf> {
    Ok(places::screenshots()?.join(format!("snapshot-{name}.webp")))
}

/// Whether the font of the pictures is installed: words in it are as wide before any other one.
///
/// # Errors
/// If the browser cannot be asked.
pub fn has_font(tab: &mut Tab) -> Result<bool> {
    let widths = tab.evaluate(&format!(
        "['serif', 'monospace'].map((other) => {{
            const pen = document.createElement('canvas').getContext('2d');
            pen.font = `40px '{FONT}', ${{other}}`;
            return pen.measureText('How wide are mimosas?').width;
        }})"
    ))?;
    Ok(widths[0] == widths[1])
}

/// A picture of the window once all that it shows is loaded, as WebP.
fn take(tab: &mut Tab) -> Result<Vec<u8>> {
    tab.evaluate(&format!("document.activeElement?.blur(); document.body.style.fontFamily = '{FONT}'; 0"))?;
    let is_loaded = "Array.from(document.images).every((image) => image.complete || image.loading === 'lazy')
        && document.fonts.status === 'loaded'";
    tab.wait_until(is_loaded, LOAD_TIMEOUT)?;
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")?;
    let picture = tab.call("Page.captureScreenshot", json!({"format": "webp", "quality": QUALITY}))?;
    tab.evaluate("document.body.style.fontFamily = ''; 0")?;
    Ok(BASE64_STANDARD.decode(picture["data"].as_str().unwrap_or_default())?)
}

fn masks(tab: &mut Tab, changing: &[&str]) -> Result<Vec<Mask>> {
    let found = tab.evaluate(&format!(
        "(() => {{
            const roots = (root) => [root, ...Array.from(root.querySelectorAll('*'))
                .filter((one) => one.shadowRoot).flatMap((one) => roots(one.shadowRoot))];
            const found = roots(document).flatMap((root) =>
                {}.flatMap((selector) => Array.from(root.querySelectorAll(selector))));
            return found.map((one) => {{
                const {{ x, y, width, height }} = one.getBoundingClientRect();
                return {{ x, y, width, height }};
            }});
        }})()",
        json!(changing)
    ))?;
    Ok(serde_json::from_value(found)?)
}

/// What a cell looks like: mean and standard deviation of its luminance.
#[derive(Debug, Clone, Copy)]
struct Look {
    mean: f64,
    deviation: f64,
}

impl Look {
    fn is_like(self, other: Self) -> bool {
        (self.mean - other.mean).abs() <= MEAN_LEVELS
            && (self.deviation - other.deviation).abs() <= CONTRAST_LEVELS
    }
}

/// A picture in cells, row by row.
struct Cells {
    columns: u32,
    rows: u32,
    looks: Vec<Look>,
}

impl Cells {
    fn of(picture: &GrayImage) -> Self {
        let (columns, rows) = (picture.width() / CELL, picture.height() / CELL);
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        let looks = places.map(|(column, row)| {
            let pixels = (0..CELL * CELL).map(|at| {
                let (x, y) = (column * CELL + at % CELL, row * CELL + at / CELL);
                f64::from(picture.get_pixel(x, y).0[0])
            });
            let (sum, squares) =
                pixels.fold((0.0, 0.0), |(sum, squares), level| (sum + level, squares + level * level));
            let count = f64::from(CELL * CELL);
            let mean = sum / count;
            Look { mean, deviation: (squares / count - mean * mean).max(0.0).sqrt() }
        });
        Self { columns, rows, looks: looks.collect() }
    }

    /// Whether something like this is at the place or beside it.
    fn has(&self, look: Look, column: u32, row: u32) -> bool {
        let near = |at: u32, end: u32| at.saturating_sub(1)..end.min(at + 2);
        near(row, self.rows).any(|row| {
            near(column, self.columns)
                .any(|column| self.looks[(row * self.columns + column) as usize].is_like(look))
        })
    }
}

/// The share of the cells that look different, of those without a mask; all of them where the sizes differ.
fn changed(kept: &GrayImage, now: &GrayImage, masks: &[Mask]) -> f64 {
    if kept.dimensions() != now.dimensions() {
        return 1.0;
    }
    let (kept, now) = (Cells::of(kept), Cells::of(now));
    let is_masked = |column: u32, row: u32| {
        let (left, top, size) = (f64::from(column * CELL), f64::from(row * CELL), f64::from(CELL));
        masks.iter().any(|mask| {
            left < mask.x + mask.width
                && mask.x < left + size
                && top < mask.y + mask.height
                && mask.y < top + size
        })
    };
    let (mut changed, mut all) = (0_u32, 0_u32);
    for row in 0..now.rows {
        for column in (0..now.columns).filter(|&column| !is_masked(column, row)) {
            let at = (row * now.columns + column) as usize;
            let is_same = kept.has(now.looks[at], column, row) && now.has(kept.looks[at], column, row);
            changed += u32::from(!is_same);
            all += 1;
        }
    }
    f64::from(changed) / f64::from(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paper with dark blocks of 100 by 60 pixels at these places.
    fn page(blocks: &[(u32, u32)]) -> GrayImage {
        GrayImage::from_fn(600, 600, |x, y| {
            let is_in =
                |&(left, top): &(u32, u32)| (left..left + 100).contains(&x) && (top..top + 60).contains(&y);
            image::Luma([if blocks.iter().any(is_in) { 40 } else { 247 }])
        })
    }

    #[test]
    fn what_moves_by_less_than_a_cell_is_the_same() {
        let kept = page(&[(100, 100), (300, 220)]);
        assert_eq!(changed(&kept, &kept, &[]), 0.0);
        let moved = changed(&kept, &page(&[(108, 104), (296, 231)]), &[]);
        assert!(moved < MOST_CHANGED, "{moved}");
    }

    #[test]
    fn what_is_lost_added_or_elsewhere_is_seen() {
        let kept = page(&[(100, 100), (300, 220), (100, 400)]);
        for other in [
            &[(100, 100), (300, 220)][..],
            &[(100, 100), (300, 220), (100, 400), (400, 500)],
            &[(100, 100), (300, 220), (300, 400)],
        ] {
            let changed = changed(&kept, &page(other), &[]);
            assert!(changed > 0.01, "{other:?}: {changed}");
        }
        assert_eq!(changed(&kept, &GrayImage::new(300, 600), &[]), 1.0);
    }

    #[test]
    fn what_is_masked_does_not_count() {
        let mask = Mask { x: 300.0, y: 220.0, width: 100.0, height: 60.0 };
        let (kept, now) = (page(&[(100, 100), (300, 220)]), page(&[(100, 100)]));
        assert!(changed(&kept, &now, &[]) > 0.01);
        assert_eq!(changed(&kept, &now, &[mask]), 0.0);
    }
}
