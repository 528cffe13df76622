//! Bars with intervals, in groups.

use anyhow::Result;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    super::{policies, statistics::Estimate},
    paint::{GRID, INK, LEGEND_PX, colour, font, legend, log_range, number, svg},
};

const SIZE: (u32, u32) = (1200, 460);
/// Share of a group's width that its bars take.
const FILLED: f64 = 0.84;

/// A bar.
pub(super) struct Bar {
    /// Gives it its colour.
    pub(super) policy: String,
    /// Its height, and the ends of the line on it.
    pub(super) height: Estimate,
}

/// Groups of bars on a logarithmic axis.
pub(super) struct Bars {
    /// What heights are, with their unit.
    pub(super) axis: String,
    /// Each with its name below it.
    pub(super) groups: Vec<(String, Vec<Bar>)>,
}

/// The SVG; `None` without a bar.
///
/// # Errors
/// If drawing fails.
pub(super) fn draw(bars: &Bars) -> Result<Option<String>> {
    let all = || bars.groups.iter().flat_map(|(_, bars)| bars);
    let ends = all().flat_map(|bar| [bar.height.low, bar.height.value, bar.height.high]);
    let Some(range) = log_range(ends) else { return Ok(None) };
    // Room for bars to be told apart at their feet.
    let (floor, groups) = (range.start / 1.5, bars.groups.len());
    // Where every group is one bar its name says what it is.
    let has_legend = bars.groups.iter().any(|(_, group)| group.len() > 1);
    let drawn = svg(SIZE, |canvas| {
        let mut chart = ChartBuilder::on(canvas)
            .margin(12)
            .margin_right(if has_legend { LEGEND_PX } else { 12 })
            .x_label_area_size(34)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..groups as f64, (floor..range.end).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(font(14))
            .axis_desc_style(font(14))
            .y_label_formatter(&number)
            .y_desc(&bars.axis)
            .draw()?;
        let mut named: Vec<&str> = Vec::new();
        for (place, (_, group)) in bars.groups.iter().enumerate() {
            let width = FILLED / group.len().max(1) as f64;
            for (index, bar) in group.iter().enumerate() {
                let left = place as f64 + (1.0 - FILLED) / 2.0 + index as f64 * width;
                let Estimate { value, low, high } = bar.height;
                let paint = colour(&bar.policy);
                let rectangle = Rectangle::new([(left, floor), (left + width * 0.9, value)], paint.filled());
                chart.draw_series(std::iter::once(rectangle))?;
                if !named.contains(&bar.policy.as_str()) {
                    named.push(&bar.policy);
                }
                let middle = left + width * 0.45;
                // An interval of few repeats can reach below 0, which a logarithmic axis does not have.
                let ends = [(middle, low.max(floor)), (middle, high)];
                let line = PathElement::new(ends, INK.stroke_width(2));
                chart.draw_series(std::iter::once(line))?;
            }
        }
        if has_legend {
            named.sort_by_key(|policy| policies::place(policy));
            legend(canvas, ((SIZE.0 - LEGEND_PX + 12) as i32, 30), &named)?;
        }
        let below = font(14).pos(Pos::new(HPos::Center, VPos::Top));
        for (place, (name, _)) in bars.groups.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(place as f64 + 0.5, floor));
            canvas.draw(&Text::new(name.clone(), (x, y + 8), below.clone()))?;
        }
        Ok(())
    })?;
    Ok(Some(drawn))
}
