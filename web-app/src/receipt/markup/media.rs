//! One modality: its gauge, its pictures, its sound.

use std::fmt::Write;

use msao_protocol::{ModalityAction, ModalityPlanReceipt};

use super::add;
use crate::{
    format,
    input::pcm,
    receipt::{
        draw::{Sheet, escaped, gauge as gauge_drawing, masks, strip::sound_strip},
        squares::{Heat, sent_squares, sound_windows},
        words,
    },
};

/// Samples of a window where no model in the cloud sets another measure: a tenth of a second.
const OWN_WINDOW_SAMPLES: usize = pcm::SAMPLE_RATE_HZ as usize / 10;

/// The gauge; empty where nothing scored the modality.
pub(super) fn gauge(one: &ModalityPlanReceipt, testid: &str) -> String {
    let Some(mas) = one.mas else { return String::new() };
    let label = format!(
        "MAS {:.2}: the question does not need {:.0} % of it. Relevance {:.2}, density {:.2}.",
        mas.mas,
        mas.mas * 100.0,
        mas.relevance,
        mas.density
    );
    let drawing = gauge_drawing::gauge(f64::from(mas.mas)).svg(Some(&label));
    format!(
        r#"<div class="gauge" data-testid="{testid}-gauge" data-mas="{}" title="{label}"><div class="drawing">{drawing}</div><strong aria-hidden="true">{:.2}</strong><span aria-hidden="true">not needed (MAS)</span></div>"#,
        mas.mas, mas.mas
    )
}

/// The pictures, by their addresses: how much each part mattered, and what of them left the device.
pub(super) fn maps(one: &ModalityPlanReceipt, pictures: &[&str], patch_probabilities: &[Vec<f32>]) -> String {
    let frames = pictures.len();
    let clip = if frames == 1 { "" } else { " clip" };
    let mut html = format!(r#"<div class="maps{clip}">"#);
    let heats: Vec<_> = patch_probabilities.iter().filter_map(|patches| Heat::of(patches)).collect();
    if heats.len() == frames && one.mas.is_some() {
        let all: Vec<_> = heats.iter().flat_map(Heat::intensities).collect();
        let hot = all.iter().filter(|intensity| **intensity > masks::HOT).count();
        let alt = format!(
            "How much each part of the picture mattered: {hot} of {} parts, the framed ones, mattered more than half as much \
             as the one that mattered most",
            all.len()
        );
        let sheets: Vec<_> = heats.iter().map(masks::heat_map).collect();
        html += &map(pictures, &sheets, "What mattered", &alt, "receipt-heat", &[]);
    }
    let squares = sent_squares(one, frames);
    let alt = match &squares {
        Some((_, frames)) => {
            let all = frames.concat();
            format!("{} of {} squares left this device", all.iter().filter(|sent| **sent).count(), all.len())
        }
        None => words::action(one).to_owned(),
    };
    let (sheets, captions) = match squares {
        Some((side, sent)) => {
            let captions = (0..frames as u32).filter(|_| frames > 1).map(|frame| caption(one, frame));
            (sent.iter().map(|sent| masks::squares(side, sent)).collect(), captions.collect())
        }
        None => (vec![masks::squares(1, &[one.action.leaves_device()]); frames], Vec::new()),
    };
    html + &map(pictures, &sheets, "What left", &alt, "receipt-kept", &captions) + "</div>"
}

/// What became of a frame of a clip.
fn caption(one: &ModalityPlanReceipt, frame: u32) -> &'static str {
    match one.action {
        ModalityAction::Drop | ModalityAction::Edge => "stayed",
        ModalityAction::Whole => "sent",
        ModalityAction::Pruned if one.kept.frames.is_kept(frame) => "sent",
        ModalityAction::Pruned => "as before",
    }
}

fn map(
    pictures: &[&str],
    sheets: &[Sheet],
    title: &str,
    alt: &str,
    testid: &str,
    captions: &[&str],
) -> String {
    let mut html = format!(
        r#"<figure class="map"><div class="map-frames" role="img" aria-label="{alt}" title="{alt}" data-testid="{testid}">"#
    );
    for (frame, (picture, sheet)) in pictures.iter().zip(sheets).enumerate() {
        add!(
            html,
            r#"<div class="map-frame"><div class="map-picture"><img src="{}" alt=""><div class="drawing">{}</div></div>"#,
            escaped(picture),
            sheet.svg(None)
        );
        if let Some(caption) = captions.get(frame) {
            add!(html, "<span>{}: {caption}</span>", frame + 1);
        }
        html += "</div>";
    }
    html + "</div><figcaption>" + title + "</figcaption></figure>"
}

/// The sound on a strip; empty where nothing scored it. `target_windows` are those of the longest recording that the
/// cloud's model hears.
pub(super) fn strip(one: &ModalityPlanReceipt, samples: &[f32], target_windows: u32) -> String {
    let parts = one.kept.windows.parts();
    let window_samples = if parts == target_windows && parts > 0 {
        pcm::WINDOW_SAMPLES / parts as usize
    } else {
        OWN_WINDOW_SAMPLES
    };
    let windows = sound_windows(one, samples, window_samples);
    if windows.is_empty() {
        return String::new();
    }
    let kept = windows.iter().filter(|window| window.kept).count();
    let sent = windows.iter().filter(|window| window.sent).count();
    let alt = format!(
        "{sent} of {} windows of sound left this device; {kept} have something in them",
        windows.len()
    );
    let length_s = windows.len() as f64 * window_samples as f64 / f64::from(pcm::SAMPLE_RATE_HZ);
    format!(
        r#"<figure class="strip" data-testid="receipt-windows" data-kept="{kept}" data-sent="{sent}"><div class="drawing" title="{alt}">{}</div><figcaption><span>0 s</span><span>underlined: left this device</span><span>{}</span></figcaption></figure>"#,
        sound_strip(&windows).svg(Some(&alt)),
        format::seconds(length_s)
    )
}
