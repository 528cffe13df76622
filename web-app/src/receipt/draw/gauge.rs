//! A gauge: half a circle, filled as far as its value goes.

use std::f64::consts::PI;

use super::Sheet;

const RADIUS: f64 = 40.0;
const CENTRE: (f64, f64) = (50.0, 50.0);

/// A gauge of a value in 0..=1, on a sheet of 100 by 60; what is out of range counts as the nearest end.
pub fn gauge(value: f64) -> Sheet {
    let mut sheet = Sheet::new(100.0, 60.0);
    sheet.path(&arc(1.0), "gauge-track");
    let value = if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
    if value > 0.0 {
        sheet.path(&arc(value), "gauge-value");
    }
    // A hand, so that the value shows without its colour.
    let (x, y) = end(value);
    let inner = |outer: f64, centre: f64| centre + (outer - centre) * 0.72;
    sheet.path(
        &format!("M {:.2} {:.2} L {x:.2} {y:.2}", inner(x, CENTRE.0), inner(y, CENTRE.1)),
        "gauge-hand",
    );
    sheet
}

/// The arc from the left end to `share` of the half circle.
fn arc(share: f64) -> String {
    let (x, y) = end(share);
    format!("M {} {} A {RADIUS} {RADIUS} 0 0 1 {x:.2} {y:.2}", CENTRE.0 - RADIUS, CENTRE.1)
}

fn end(share: f64) -> (f64, f64) {
    let angle = PI * (1.0 - share);
    (CENTRE.0 + RADIUS * angle.cos(), CENTRE.1 - RADIUS * angle.sin())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_where_they_belong() {
        let near = |(x, y): (f64, f64), (a, b): (f64, f64)| (x - a).abs() < 1e-9 && (y - b).abs() < 1e-9;
        assert!(near(end(0.0), (10.0, 50.0)) && near(end(0.5), (50.0, 10.0)) && near(end(1.0), (90.0, 50.0)));
        assert!(!gauge(0.0).svg(None).contains("gauge-value"), "nothing is filled at 0");
        assert_eq!(gauge(f64::NAN), gauge(0.0));
        assert_eq!(gauge(7.0), gauge(1.0));
    }

    proptest! {
        #[test]
        fn more_lies_further_right(a in 0.0..1.0, b in 0.0..1.0) {
            prop_assert!(a < b || end(a).0 >= end(b).0);
        }
    }
}
