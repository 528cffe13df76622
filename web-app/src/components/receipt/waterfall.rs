//! Where the milliseconds went, as bars on a common axis, and as a table.

use leptos::prelude::*;
use msao_protocol::SpanKind;

use crate::{
    format,
    receipt::{
        TurnReceipt,
        waterfall::{Bar, Lane, Place, Waterfall, ticks},
        words,
    },
};

/// Share of the axis from which a bar has room for its word.
const ROOM_FOR_A_WORD: f64 = 0.11;

/// The bars; `None` where nothing was measured.
pub(super) fn waterfall_view(receipt: &TurnReceipt) -> Option<impl IntoView + use<>> {
    let waterfall = Waterfall::of(receipt);
    let total_ms = waterfall.total_ms;
    if waterfall.lanes.is_empty() || total_ms <= 0.0 {
        return None;
    }
    let alt = waterfall.lanes.iter().map(|lane| {
        let parts = waterfall.sums(lane.place).into_iter();
        let parts = parts.map(|(kind, ms)| format!("{} {}", word(kind), format::duration_ms(ms)));
        format!("{}: {}", lane.place.label(), parts.collect::<Vec<_>>().join(", "))
    });
    let alt = alt.collect::<Vec<_>>().join(". ");
    let rows = waterfall.lanes.iter().flat_map(|lane| lane.bars.iter().map(|bar| (lane.place, *bar)));
    let rows = rows.map(|(place, bar)| {
        view! {
            <tr>
                <th scope="row">{place.label()}</th>
                <td>{word(bar.kind)}</td>
                <td>{format::duration_ms(bar.start_ms)}</td>
                <td>{format::duration_ms(bar.ms)}</td>
            </tr>
        }
    });
    Some(view! {
        <section class="receipt-part" data-testid="receipt-waterfall" data-total-ms=format!("{total_ms:.1}")>
            <h3>"Time" <span>{format::duration_ms(total_ms)}</span></h3>
            <div class="waterfall" role="img" aria-label=alt>
                {waterfall.lanes.iter().map(|lane| lane_view(lane, total_ms)).collect_view()}
                <div class="lane axis">
                    <span></span>
                    <div class="lane-bars">
                        {ticks(total_ms).into_iter().map(|tick| view! {
                            <span class="tick" class:end={tick > total_ms * 0.9} style:left=percent(tick, total_ms)>
                                {format::duration_ms(tick)}
                            </span>
                        }).collect_view()}
                    </div>
                </div>
            </div>
            <details class="as-table">
                <summary>"As a table"</summary>
                <table>
                    <thead><tr>
                        <th scope="col">"Where"</th><th scope="col">"What"</th>
                        <th scope="col">"From"</th><th scope="col">"Took"</th>
                    </tr></thead>
                    <tbody>{rows.collect_view()}</tbody>
                </table>
                <p class="hint">"Both ways over the network are drawn equally long: no page can see when bytes arrive."</p>
            </details>
        </section>
    })
}

fn lane_view(lane: &Lane, total_ms: f64) -> impl IntoView + use<> {
    let class = match lane.place {
        Place::Device => "lane-bars device",
        Place::Network => "lane-bars network",
        Place::Server => "lane-bars server",
    };
    let bars = lane.bars.iter().map(|bar: &Bar| {
        let said = format!("{}: {}", word(bar.kind), format::duration_ms(bar.ms));
        let fits = bar.ms / total_ms > ROOM_FOR_A_WORD;
        view! {
            <i title=said style:left=percent(bar.start_ms, total_ms) style:width=percent(bar.ms, total_ms)>
                {fits.then(|| word(bar.kind))}
            </i>
        }
    });
    view! {
        <div class="lane">
            <span>{lane.place.label()}</span>
            <div class=class>{bars.collect_view()}</div>
        </div>
    }
}

fn percent(ms: f64, total_ms: f64) -> String {
    format!("{:.3}%", ms / total_ms * 100.0)
}

fn word(kind: Option<SpanKind>) -> &'static str {
    kind.map_or("on the way", words::span_word)
}
