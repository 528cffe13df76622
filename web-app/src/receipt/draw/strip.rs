//! Sound on a strip: a bar for each window, as high as it is loud.

use super::Sheet;
use crate::receipt::squares::SoundWindow;

const HEIGHT: f64 = 40.0;
/// Width of a window with the gap behind it.
const STEP: f64 = 6.0;
/// A bar of silence, so that each window shows.
const LEAST: f64 = 3.0;

/// The windows in order of time: those that left the device are full and underlined, the others hollow.
pub fn sound_strip(windows: &[SoundWindow]) -> Sheet {
    let mut sheet = Sheet::new((windows.len().max(1) as f64) * STEP, HEIGHT + 6.0);
    for (index, window) in windows.iter().enumerate() {
        let height = LEAST + f64::from(window.level.clamp(0.0, 1.0)) * (HEIGHT - LEAST);
        let x = index as f64 * STEP;
        let area = (x + 0.75, (HEIGHT - height) / 2.0, STEP - 1.5, height);
        sheet.rect(area, if window.sent { "window-sent" } else { "window-stayed" });
        if window.sent {
            sheet.rect((x, HEIGHT + 3.0, STEP, 2.0), "window-line");
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_left_are_underlined() {
        let window = |sent| SoundWindow { level: 0.5, sent, kept: true };
        let svg = sound_strip(&[window(true), window(false), window(true)]).svg(None);
        let count = |class: &str| svg.matches(class).count();
        assert_eq!((count("window-sent"), count("window-stayed"), count("window-line")), (2, 1, 2));
    }
}
