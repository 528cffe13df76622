//! A receipt as one picture, for showing around. No picture, sound, question or answer is on it.

use msao_protocol::{Modality, ModalityPlanReceipt};

use super::{Sheet, gauge::gauge, masks};
use crate::{
    format,
    receipt::{
        TurnReceipt, authors,
        squares::{Heat, sent_squares},
        waterfall::{Place, Waterfall, ticks},
        words,
    },
};

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 32.0;
/// Where bars begin, right of their labels.
const BARS_LEFT: f64 = 150.0;
/// Tokens that are drawn at most: the longest answer that the page asks for is shorter.
const MOST_TOKENS: usize = 120;
/// Frames of which squares are drawn: a clip's.
const MOST_FRAMES: usize = 4;

const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1b1d22;font-size:14px}\
.title{font-size:24px;font-weight:600}.head{font-size:16px;font-weight:600}.soft{fill:#5a5e69}.small{font-size:12px}\
.sheet{fill:#fff}.frame{fill:none;stroke:#85847d}.gauge-track{fill:none;stroke:#dcdad3;stroke-width:9}\
.gauge-value{fill:none;stroke:#0b6e5f;stroke-width:9}.gauge-hand{fill:none;stroke:#1b1d22;stroke-width:3}\
.kept{fill:#e2f2ee;stroke:#0b6e5f}.cut{fill:#5a5e69}.hatch{stroke:#fff;stroke-width:1;opacity:.5}.heat{fill:#c2410c}\
.hot{fill:none;stroke:#7c2d12;stroke-width:1}.whole{fill:none;stroke:#5a5e69}.sent{fill:#3f4bc4}.device{fill:#0b6e5f}\
.network{fill:#fff;stroke:#5a5e69;stroke-dasharray:3 2}.server{fill:#3f4bc4}.gap{stroke:#fff;stroke-width:1}\
.axis{stroke:#dcdad3}.on-dark{fill:#fff;font-size:11px}.edge_draft{fill:#0b6e5f}.target{fill:#3f4bc4}\
.co_located_draft{fill:#8a5a00}.partial_context{fill:#6b3fa0}.mark{stroke:#a4301f;stroke-width:3}";

/// The picture as an SVG file, with its width and height in pixels.
pub fn poster(receipt: &TurnReceipt) -> (String, f64, f64) {
    let mut sheet = Sheet::new(WIDTH, 0.0);
    let mut drawn = Sheet::new(WIDTH, 0.0);
    let mut y = MARGIN + 20.0;
    drawn.text((MARGIN, y), "title", "MSAO receipt");
    y += 26.0;
    drawn.text((MARGIN, y), "soft", &receipt.headline());
    y += 26.0;
    for one in &receipt.plan.modalities {
        y = modality(&mut drawn, receipt, one, y);
    }
    y = waterfall(&mut drawn, &Waterfall::of(receipt), y);
    y = tokens(&mut drawn, receipt, y);
    y = figures(&mut drawn, receipt, y) + MARGIN;
    sheet.resize(y);
    sheet.rect((0.0, 0.0, WIDTH, y), "sheet");
    sheet.place((0.0, 0.0), 1.0, &drawn);
    (sheet.file(STYLE), WIDTH, y)
}

fn modality(sheet: &mut Sheet, receipt: &TurnReceipt, one: &ModalityPlanReceipt, top: f64) -> f64 {
    let frames = receipt.patch_probabilities.len().max(1);
    let title = format!("{}: {}", words::modality(one.modality, frames), words::action(one));
    sheet.text((MARGIN, top + 14.0), "head", &title);
    let mut x = MARGIN;
    let y = top + 26.0;
    if let Some(mas) = &one.mas {
        sheet.place((x, y), 1.1, &gauge(f64::from(mas.mas)));
        sheet.text((x + 36.0, y + 60.0), "head", &format!("{:.2}", mas.mas));
        sheet.text(
            (x + 8.0, y + 78.0),
            "small soft",
            &format!("r {:.2}, d {:.2}", mas.relevance, mas.density),
        );
        x += 130.0;
    }
    if one.modality == Modality::Vision
        && let Some((side, squares)) = sent_squares(one, frames)
    {
        for (frame, sent) in squares.iter().enumerate().take(MOST_FRAMES) {
            let heat = receipt.patch_probabilities.get(frame).and_then(|patches| Heat::of(patches));
            if let Some(heat) = heat.filter(|_| frames == 1) {
                sheet.place((x, y), 0.8, &masks::heat_map(&heat));
                sheet.rect((x, y, 80.0, 80.0), "frame");
                x += 92.0;
            }
            sheet.place((x, y), 0.8, &masks::squares(side, sent));
            sheet.rect((x, y, 80.0, 80.0), "frame");
            x += 92.0;
        }
    }
    let left = x.clamp(MARGIN, WIDTH - MARGIN - 220.0);
    let most = one.sent_bytes.max(one.cloud_only_bytes).max(1) as f64;
    let room = WIDTH - MARGIN - left - 150.0;
    for (row, (label, bytes, class)) in
        [("Sent", one.sent_bytes, "sent"), ("Cloud only", one.cloud_only_bytes, "whole")]
            .into_iter()
            .enumerate()
    {
        let y = y + 14.0 + row as f64 * 34.0;
        sheet.text((left, y + 13.0), "small soft", label);
        let width = bytes as f64 / most * room;
        sheet.rect((left + 70.0, y, width, 18.0), class);
        sheet.text((left + 76.0 + width, y + 13.0), "small", &format::bytes(bytes));
    }
    y + 104.0
}

fn waterfall(sheet: &mut Sheet, waterfall: &Waterfall, top: f64) -> f64 {
    if waterfall.lanes.is_empty() || waterfall.total_ms <= 0.0 {
        return top;
    }
    sheet.text((MARGIN, top + 14.0), "head", &format!("Time: {}", format::duration_ms(waterfall.total_ms)));
    let room = WIDTH - MARGIN - BARS_LEFT;
    let at = |ms: f64| BARS_LEFT + ms / waterfall.total_ms * room;
    let bottom = top + 30.0 + waterfall.lanes.len() as f64 * 28.0;
    for tick in ticks(waterfall.total_ms) {
        sheet.path(&format!("M {:.1} {:.1} V {bottom:.1}", at(tick), top + 24.0), "axis");
        let words = format::duration_ms(tick);
        let x = (at(tick) - 14.0).min(WIDTH - MARGIN - 34.0);
        sheet.text((x, bottom + 14.0), "small soft", &words);
    }
    for (row, lane) in waterfall.lanes.iter().enumerate() {
        let y = top + 30.0 + row as f64 * 28.0;
        sheet.text((MARGIN, y + 14.0), "small", lane.place.label());
        let class = match lane.place {
            Place::Device => "device",
            Place::Network => "network",
            Place::Server => "server",
        };
        for bar in &lane.bars {
            let width = bar.ms / waterfall.total_ms * room;
            sheet.rect((at(bar.start_ms), y, width.max(1.0), 20.0), class);
            if lane.place != Place::Network {
                sheet.path(&format!("M {:.1} {y:.1} v 20", at(bar.end_ms())), "gap");
            }
            if let Some(word) = bar.kind.map(words::span_word).filter(|word| width > word.len() as f64 * 7.0)
            {
                sheet.text((at(bar.start_ms) + 4.0, y + 14.0), "on-dark", word);
            }
        }
    }
    bottom + 34.0
}

fn tokens(sheet: &mut Sheet, receipt: &TurnReceipt, top: f64) -> f64 {
    let tokens = &receipt.plan.tokens;
    if tokens.is_empty() {
        return top;
    }
    sheet.text((MARGIN, top + 14.0), "head", "Who wrote which token");
    let y = top + 26.0;
    let shown = tokens.len().min(MOST_TOKENS);
    let width = ((WIDTH - 2.0 * MARGIN) / shown as f64).min(24.0);
    for (index, token) in tokens.iter().take(shown).enumerate() {
        let x = MARGIN + index as f64 * width;
        sheet.rect((x, y, width - 1.0, 22.0), authors::name(token.source));
        if width > 12.0 {
            sheet.text((x + width / 2.0 - 4.0, y + 15.0), "on-dark", authors::letter(token.source));
        }
        if token.fate == msao_protocol::TokenFate::Corrected {
            sheet.path(&format!("M {x:.1} {:.1} h {:.1}", y + 26.0, width - 1.0), "mark");
        }
    }
    sheet.text((MARGIN, y + 46.0), "small soft", &legend(receipt));
    y + 64.0
}

/// The letters, and what is underlined.
fn legend(receipt: &TurnReceipt) -> String {
    let tokens = &receipt.plan.tokens;
    let shares = authors::shares(tokens).into_iter().map(|share| {
        format!("{}: {}, {}", authors::letter(share.author), authors::label(share.author), share.tokens)
    });
    let corrected = tokens.iter().any(|token| token.fate == msao_protocol::TokenFate::Corrected);
    let marked = corrected.then(|| "underlined: corrected".to_owned());
    shares.chain(marked).collect::<Vec<_>>().join(" · ")
}

fn figures(sheet: &mut Sheet, receipt: &TurnReceipt, top: f64) -> f64 {
    let spared = match receipt.spared_flops() {
        None => "not known".to_owned(),
        Some(flops @ 1..) => format!("at least {}", format::saved_operations(flops)),
        Some(flops) => format::saved_operations(flops),
    };
    let lines = [
        format!(
            "Operations: {} on the device, {} in the cloud; saved in the cloud: {spared}",
            format::operations(receipt.plan.edge_flops),
            format::operations(receipt.plan.cloud_flops)
        ),
        format!("Drafts: {} of {} accepted", receipt.plan.accepted_drafts, receipt.plan.proposed_drafts),
    ];
    for (row, line) in lines.iter().enumerate() {
        sheet.text((MARGIN, top + 14.0 + row as f64 * 20.0), "small", line);
    }
    top + 36.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::fixtures::receipt;

    #[test]
    fn the_poster_tells_the_receipts_figures() {
        let (svg, width, height) = poster(&receipt());
        assert!(width == WIDTH && height > 300.0);
        for words in [
            "0.76",
            "900 B of 12.0 kB",
            "900 B",
            "1 of 4 accepted",
            "saved in the cloud: at least 0.14 GFLOP",
        ] {
            assert!(svg.contains(words), "{words} is not on the poster");
        }
        // Of two frames of four squares one square left.
        assert_eq!(svg.matches("class=\"kept\"").count(), 1);
        assert_eq!(svg.matches("class=\"hatch\"").count(), 7);
        assert_eq!(svg.matches("class=\"edge_draft\"").count(), 1);
        assert!(!svg.contains("<image") && !svg.contains("href"), "nothing is drawn in from elsewhere");
    }

    #[test]
    fn an_empty_receipt_has_a_poster_too() {
        let mut empty = TurnReceipt { edge: None, cloud: None, ..receipt() };
        empty.plan.modalities.clear();
        empty.plan.tokens.clear();
        let (svg, _, height) = poster(&empty);
        assert!(height > 0.0 && svg.contains("no picture and no sound were given"));
    }
}
