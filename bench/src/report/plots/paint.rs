//! What all plots share: the canvas, colours, fonts and ranges.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::super::policies;

/// A drawing area that ends up as text.
pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Text and axes: as far from white as from black.
pub(super) const INK: RGBColor = RGBColor(128, 128, 128);
/// Grid lines.
pub(super) const GRID: RGBAColor = RGBAColor(128, 128, 128, 0.25);

/// Room at the sides of a chart.
pub(super) const MARGIN_PX: u32 = 12;
/// Room for a legend at the right.
pub(super) const LEGEND_PX: u32 = 190;

/// One colour a policy, told apart by the colour-blind too (after Okabe and Ito 2008), in tones that show on white and
/// on black.
const COLOURS: [RGBColor; 9] = [
    RGBColor(150, 150, 150),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(160, 130, 40),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 200),
    RGBColor(0, 158, 115),
    RGBColor(86, 160, 220),
    RGBColor(120, 100, 200),
];

/// The colour of a policy, everywhere the same.
pub(super) fn colour(policy: &str) -> RGBColor {
    COLOURS[policies::place(policy).0 % COLOURS.len()]
}

/// A font of so many pixels in the colour of text.
pub(super) fn font(pixels: u32) -> TextStyle<'static> {
    ("sans-serif", pixels).into_font().color(&INK)
}

/// A chart over a logarithmic axis.
pub(super) type LogChart<'canvas, 'svg> =
    ChartContext<'canvas, SVGBackend<'svg>, Cartesian2d<LogCoord<f64>, RangedCoordf64>>;

/// An axis: what it holds, and its name with the unit.
pub(super) type Axis<'a> = (Range<f64>, &'a str);

/// The axes of such a chart with their grid; `right_px` are left for a legend.
///
/// # Errors
/// If drawing fails.
pub(super) fn log_chart<'canvas, 'svg>(
    canvas: &'canvas Canvas<'svg>,
    right_px: u32,
    (across, across_name): Axis<'_>,
    (up, up_name): Axis<'_>,
) -> Result<LogChart<'canvas, 'svg>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(canvas)
        .margin(MARGIN_PX)
        .margin_right(right_px)
        .x_label_area_size(52)
        .y_label_area_size(68)
        .build_cartesian_2d(across.log_scale(), up)?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(font(14))
        .axis_desc_style(font(14))
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .x_desc(across_name)
        .y_desc(up_name)
        .draw()?;
    Ok(chart)
}

/// Names and colours of policies, one below the other; `at` is the upper left corner in pixels.
pub(super) fn legend(
    canvas: &Canvas<'_>,
    at: (i32, i32),
    names: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let style = font(13).pos(Pos::new(HPos::Left, VPos::Center));
    for (row, policy) in (0..).zip(names) {
        let (x, y) = (at.0, at.1 + row * 19);
        canvas.draw(&Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour(policy).filled()))?;
        canvas.draw(&Text::new(policies::title(policy), (x + 16, y), style.clone()))?;
    }
    Ok(())
}

/// Draws on a canvas of so many pixels and returns the SVG.
pub(super) fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String> {
    let mut text = String::new();
    {
        let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&canvas).map_err(|error| anyhow!("a plot cannot be drawn: {error}"))?;
        canvas.present()?;
    }
    Ok(text)
}

/// A range for a logarithmic axis that holds all values with some room; `None` without positive ones.
pub(super) fn log_range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    (low <= high).then(|| low / 1.3..high * 1.3)
}

/// A number on an axis: 12000 as `12 000`, 0.5 as `0.5`.
pub(super) fn number(value: &f64) -> String {
    if *value < 10.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut spaced = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            spaced.push('\u{2009}');
        }
        spaced.push(digit);
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes_are_short_and_grouped() {
        assert_eq!(
            [0.5, 2.0, 120.0, 12_000.0].map(|value| number(&value)),
            ["0.5", "2", "120", "12\u{2009}000"]
        );
    }

    #[test]
    fn ranges_hold_what_is_positive() {
        let range = log_range([0.0, 5.0, 50.0, f64::NAN].into_iter()).unwrap();
        assert!(range.start < 5.0 && range.start > 3.0 && range.end > 50.0);
        assert_eq!(log_range([0.0].into_iter()), None);
    }
}
