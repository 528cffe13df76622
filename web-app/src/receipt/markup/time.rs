//! Where the milliseconds went, as bars on a common axis, and as a table.

use std::fmt::Write;

use msao_protocol::SpanKind;

use super::add;
use crate::{
    format,
    receipt::{
        TurnReceipt,
        waterfall::{Place, Waterfall, ticks},
        words,
    },
};

/// Share of the axis from which a bar has room for its word.
const ROOM_FOR_A_WORD: f64 = 0.11;

/// The bars; empty where nothing was measured.
pub(super) fn waterfall(receipt: &TurnReceipt) -> String {
    let waterfall = Waterfall::of(receipt);
    let total_ms = waterfall.total_ms;
    if waterfall.lanes.is_empty() || total_ms <= 0.0 {
        return String::new();
    }
    let percent = |ms: f64| ms / total_ms * 100.0;
    let (total, said) = (format::duration_ms(total_ms), sentence(&waterfall));
    let mut html = format!(
        r#"<section class="receipt-part" data-testid="receipt-waterfall" data-total-ms="{total_ms:.1}"><h3>Time <span>{total}</span></h3><div class="waterfall" role="img" aria-label="{said}">"#
    );
    let mut rows = String::new();
    for lane in &waterfall.lanes {
        let (label, class) = match lane.place {
            Place::Device => (lane.place.label(), "device"),
            Place::Network => (lane.place.label(), "network"),
            Place::Server => (lane.place.label(), "server"),
        };
        add!(html, r#"<div class="lane"><span>{label}</span><div class="lane-bars {class}">"#);
        for bar in &lane.bars {
            let (word, took) = (word(bar.kind), format::duration_ms(bar.ms));
            let shown = if bar.ms / total_ms > ROOM_FOR_A_WORD { word } else { "" };
            add!(
                html,
                r#"<i title="{word}: {took}" style="left:{:.3}%;width:{:.3}%">{shown}</i>"#,
                percent(bar.start_ms),
                percent(bar.ms)
            );
            let from = format::duration_ms(bar.start_ms);
            add!(
                rows,
                r#"<tr><th scope="row">{label}</th><td>{word}</td><td>{from}</td><td>{took}</td></tr>"#
            );
        }
        html += "</div></div>";
    }
    html += r#"<div class="lane axis"><span></span><div class="lane-bars">"#;
    for tick in ticks(total_ms) {
        let class = if tick > total_ms * 0.9 { "tick end" } else { "tick" };
        let words = format::duration_ms(tick);
        add!(html, r#"<span class="{class}" style="left:{:.3}%">{words}</span>"#, percent(tick));
    }
    add!(
        html,
        r#"</div></div></div><details class="as-table"><summary>As a table</summary><table><thead><tr><th scope="col">Where</th><th scope="col">What</th><th scope="col">From</th><th scope="col">Took</th></tr></thead><tbody>{rows}</tbody></table><p class="hint">Both ways over the network are drawn equally long: no page can see when bytes arrive.</p></details></section>"#
    );
    html
}

fn sentence(waterfall: &Waterfall) -> String {
    let places = waterfall.lanes.iter().map(|lane| {
        let parts = waterfall.sums(lane.place).into_iter();
        let parts = parts.map(|(kind, ms)| format!("{} {}", word(kind), format::duration_ms(ms)));
        format!("{}: {}", lane.place.label(), parts.collect::<Vec<_>>().join(", "))
    });
    places.collect::<Vec<_>>().join(". ")
}

fn word(kind: Option<SpanKind>) -> &'static str {
    kind.map_or("on the way", words::span_word)
}
