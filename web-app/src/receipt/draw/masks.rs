//! What lies over a picture: how much each patch mattered, and which squares left the device.

use super::Sheet;
use crate::receipt::squares::Heat;

/// Side of the sheets.
const SIDE: f64 = 100.0;
/// How much of the picture the hottest patch hides.
const HOTTEST: f32 = 0.82;

/// Patches are framed that matter more than this share of what the hottest one does.
pub const HOT: f32 = 0.5;

/// Patches that mattered more are covered more; the hottest ones are framed.
pub fn heat_map(heat: &Heat) -> Sheet {
    let mut sheet = Sheet::new(SIDE, SIDE);
    for (index, intensity) in heat.intensities().into_iter().enumerate() {
        let area = cell(index, heat.side);
        sheet.veil(area, "heat", intensity * HOTTEST);
        if intensity > HOT {
            sheet.rect(area, "hot");
        }
    }
    sheet
}

/// Squares that stayed on the device are dark and hatched; those that left are free.
pub fn squares(side: u32, sent: &[bool]) -> Sheet {
    let mut sheet = Sheet::new(SIDE, SIDE);
    for (index, sent) in sent.iter().enumerate() {
        let (x, y, width, height) = cell(index, side);
        if *sent {
            sheet.rect((x, y, width, height), "kept");
        } else {
            sheet.rect((x, y, width, height), "cut");
            sheet.path(&format!("M {x:.2} {:.2} l {width:.2} {:.2}", y + height, -height), "hatch");
        }
    }
    sheet
}

fn cell(index: usize, side: u32) -> (f64, f64, f64, f64) {
    let side = side.max(1) as usize;
    let size = SIDE / side as f64;
    ((index % side) as f64 * size, (index / side) as f64 * size, size, size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn count(sheet: &Sheet, class: &str) -> usize {
        sheet.svg(None).matches(&format!("class=\"{class}\"")).count()
    }

    #[test]
    fn the_last_cell_ends_at_the_corner() {
        let (x, y, width, height) = cell(35, 6);
        assert!((x + width - SIDE).abs() < 1e-9 && (y + height - SIDE).abs() < 1e-9);
    }

    #[test]
    fn only_hot_patches_are_framed() {
        let heat = Heat { side: 2, probabilities: vec![0.9, 0.1, 0.6, 0.2] };
        assert_eq!((count(&heat_map(&heat), "heat"), count(&heat_map(&heat), "hot")), (4, 2));
    }

    proptest! {
        #[test]
        fn each_square_is_kept_or_hatched(sent in proptest::collection::vec(any::<bool>(), 36)) {
            let sheet = squares(6, &sent);
            let kept = sent.iter().filter(|sent| **sent).count();
            prop_assert_eq!((count(&sheet, "kept"), count(&sheet, "hatch")), (kept, 36 - kept));
        }
    }
}
