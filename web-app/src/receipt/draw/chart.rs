//! A line chart of a series over time.

use super::Sheet;
use crate::{
    format,
    series::{Chart, Line, Series},
};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// The chart, on a sheet of 520 by 190. The first line is full with round marks, the second one dashed with square ones.
pub fn chart(series: &Series) -> Sheet {
    let mut sheet = Sheet::new(WIDTH, HEIGHT);
    let axes = Chart::of(series);
    let (room_x, room_y) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    for tick in &axes.ticks {
        let (low, high) = axes.values;
        let y = TOP + (1.0 - (tick - low) / (high - low)) * room_y;
        sheet.path(&format!("M {LEFT} {y:.1} H {:.1}", WIDTH - RIGHT), "axis");
        sheet.text((2.0, y + 4.0), "tick", &series.unit.words(*tick));
    }
    if series.lines.iter().all(|line| line.points.is_empty()) {
        sheet.text((LEFT + room_x / 2.0 - 45.0, TOP + room_y / 2.0), "tick", "nothing to show yet");
        return sheet;
    }
    for (index, line) in series.lines.iter().enumerate() {
        draw(&mut sheet, line, index, |point| {
            let (x, y) = axes.place(point);
            (LEFT + x * room_x, TOP + y * room_y)
        });
    }
    let (from, to) = axes.times_s;
    sheet.text((LEFT, HEIGHT - 6.0), "tick", &format::seconds(from.max(0.0)));
    sheet.text((WIDTH - RIGHT - 52.0, HEIGHT - 6.0), "tick", &format::seconds(to.max(0.0)));
    sheet
}

fn draw(sheet: &mut Sheet, line: &Line, index: usize, place: impl Fn(crate::series::Point) -> (f64, f64)) {
    let places: Vec<_> = line.points.iter().copied().map(place).collect();
    let path: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(step, (x, y))| format!("{} {x:.1} {y:.1}", if step == 0 { "M" } else { "L" }))
        .collect();
    if places.len() > 1 {
        sheet.path(&path.join(" "), if index == 0 { "line-first" } else { "line-second" });
    }
    for (x, y) in places {
        if index == 0 {
            sheet.path(&format!("M {:.1} {y:.1} a 3 3 0 1 0 6 0 a 3 3 0 1 0 -6 0", x - 3.0), "mark-first");
        } else {
            sheet.rect((x - 3.0, y - 3.0, 6.0, 6.0), "mark-second");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{receipt::fixtures::receipt, series};

    #[test]
    fn each_point_has_a_mark_on_the_sheet() {
        let mut later = receipt();
        later.timing.asked_at_ms = 9_000.0;
        let series = series::of(&[receipt(), later]);
        let svg = chart(&series[0]).svg(None);
        assert_eq!(svg.matches("mark-first").count(), 2);
        assert_eq!(svg.matches("line-first").count(), 1);
        assert!(svg.contains(">5.0 s<") && svg.contains(">9.0 s<"), "{svg}");
        assert!(chart(&series::of(&[])[0]).svg(None).contains("nothing to show yet"));
    }
}
