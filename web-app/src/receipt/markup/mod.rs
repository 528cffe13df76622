//! The still parts of the receipt, of the panel of messages and of the dashboard as HTML text.
//!
//! They never change once they are shown, so no framework need know their elements: as text they take a fraction of the
//! download. Whatever is not this page's own words passes [`escaped`]; styles are widths and places only.

pub mod chart;
pub mod frames;
pub mod media;
pub mod time;
pub mod tokens;

use std::fmt::Write;

use msao_protocol::{Modality, ModalityPlanReceipt};

use super::{TurnReceipt, draw::escaped, words};
use crate::format;

/// What was given with a question, as far as it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct GivenMedia<'a> {
    /// Addresses of the pictures.
    pub pictures: &'a [&'a str],
    /// Samples of the recording, at 16 kHz.
    pub samples: Option<&'a [f32]>,
}

/// Adds to a text; writing to one does not fail.
macro_rules! add {
    ($text:expr, $($part:tt)*) => {{ let _ = write!($text, $($part)*); }};
}
use add;

/// All that is drawn of a receipt.
pub fn receipt(receipt: &TurnReceipt, given: GivenMedia<'_>) -> String {
    let mut html = String::new();
    for one in &receipt.plan.modalities {
        html += &modality(receipt, one, given);
    }
    html += &time::waterfall(receipt);
    html += &tokens::authors(&receipt.plan.tokens);
    html += &work(receipt);
    html += r#"<section class="receipt-part"><dl class="lines" data-testid="receipt-plan">"#;
    for (label, value) in receipt.plan_lines() {
        add!(html, r#"<div class="line"><dt>{label}</dt><dd>{}</dd></div>"#, escaped(&value));
    }
    html + "</dl></section>"
}

fn modality(receipt: &TurnReceipt, one: &ModalityPlanReceipt, given: GivenMedia<'_>) -> String {
    let (name, testid) = match one.modality {
        Modality::Text => ("Words", "receipt-text"),
        Modality::Vision => (words::modality(one.modality, given.pictures.len()), "receipt-vision"),
        Modality::Audio => ("Sound", "receipt-audio"),
    };
    let (action, words) = (words::action_name(one.action), words::action(one));
    let mut html = format!(
        r#"<section class="modality receipt-part" data-testid="{testid}" data-action="{action}"><h3>{name} <span>{words}</span></h3><div class="looked-at">"#
    );
    html += &media::gauge(one, testid);
    if one.modality == Modality::Vision {
        html += &media::maps(one, given.pictures, &receipt.patch_probabilities);
    }
    if let Some(samples) = given.samples.filter(|_| one.modality == Modality::Audio) {
        html += &media::strip(one, samples, receipt.whole_tokens[1]);
    }
    html += r#"<dl class="bytes">"#;
    let most = one.sent_bytes.max(one.cloud_only_bytes);
    for (label, suffix, class, bytes) in
        [("Sent", "sent", "sent", one.sent_bytes), ("Cloud only", "whole", "whole", one.cloud_only_bytes)]
    {
        let more = format!(r#" data-testid="{testid}-{suffix}" data-bytes="{bytes}""#);
        html += &bar(label, class, &more, share(bytes, most), &format::bytes(bytes));
    }
    for (label, value) in receipt.modality_lines(one) {
        add!(html, r#"<div class="bytes-row"><dt>{label}</dt><dd>{value}</dd></div>"#);
    }
    html + "</dl></div></section>"
}

/// Operations spent here and in the cloud, and spared there; empty where none were counted.
fn work(receipt: &TurnReceipt) -> String {
    let (edge, cloud) = (receipt.plan.edge_flops, receipt.plan.cloud_flops);
    let spared = receipt.spared_flops();
    let drawn = |flops: i64| u64::try_from(flops).unwrap_or(0);
    let most = edge.max(cloud).max(spared.map_or(0, drawn));
    if most == 0 {
        return String::new();
    }
    let told = spared.map(|flops| flops.to_string()).unwrap_or_default();
    let mut html = format!(
        r#"<section class="receipt-part" data-testid="receipt-work" data-spared="{told}"><h3>Work <span>floating-point operations; saved is an estimate, and a low one</span></h3><dl class="bytes wide">"#
    );
    html += &bar("This device", "device", "", share(edge, most), &format::operations(edge));
    html += &bar("Cloud", "sent", "", share(cloud, most), &format::operations(cloud));
    if let Some(spared) = spared {
        let words = format::saved_operations(spared);
        html += &bar("Saved there", "whole", "", share(drawn(spared), most), &words);
    }
    html += "</dl>";
    if let Some(why) = receipt.why_nothing_was_saved() {
        add!(html, r#"<p class="hint">{why}</p>"#);
    }
    html + "</section>"
}

/// A row with a bar. `more` are further attributes of the figure.
fn bar(label: &str, class: &str, more: &str, share: f64, words: &str) -> String {
    let percent = share * 100.0;
    let bar = if share > 0.0 {
        format!(r#"<i class="bytes-bar {class}" style="width:{percent:.2}%"></i>"#)
    } else {
        String::new()
    };
    format!(
        r#"<div class="bytes-row"><dt>{label}</dt><dd class="measured"{more}><span>{bar}</span>{words}</dd></div>"#
    )
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::fixtures;

    fn drawn() -> String {
        receipt(&fixtures::receipt(), GivenMedia { pictures: &["blob:a", "blob:\"b"], samples: None })
    }

    #[test]
    fn the_figures_of_the_receipt_stand_in_it() {
        let html = drawn();
        for part in [
            r#"data-testid="receipt-vision" data-action="pruned""#,
            r#"data-testid="receipt-vision-sent" data-bytes="900""#,
            r#"data-testid="receipt-vision-whole" data-bytes="12000""#,
            r#"data-mas="0.76""#,
            r#"data-spared="136000000""#,
            "<dt>Tokens</dt><dd>1 accepted, 1 corrected</dd>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert_eq!(html.matches(r#"class="kept""#).count(), 1);
        assert!(html.contains("blob:&quot;b"), "addresses are escaped");
    }

    #[test]
    fn every_element_that_begins_ends() {
        let html = drawn();
        for tag in ["section", "div", "dl", "dd", "figure", "svg", "details", "table", "ul", "li", "span"] {
            let (begins, ends) =
                (html.matches(&format!("<{tag}")).count(), html.matches(&format!("</{tag}>")).count());
            assert_eq!(begins, ends, "{tag}");
        }
    }

    #[test]
    fn nothing_sent_has_no_bar() {
        let mut nothing = fixtures::receipt();
        nothing.plan.modalities[0].sent_bytes = 0;
        let html = receipt(&nothing, GivenMedia { pictures: &[], samples: None });
        assert!(html.contains(r#"data-bytes="0"><span></span>0 B"#), "{html}");
    }
}
