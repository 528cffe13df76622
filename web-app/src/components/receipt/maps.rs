//! The pictures of a question: how much each part mattered, and what of them left the device.

use leptos::prelude::*;
use msao_protocol::{ModalityAction, ModalityPlanReceipt};

use crate::{
    receipt::{
        draw::{Sheet, masks},
        squares::{Heat, sent_squares},
        words,
    },
    state::Asked,
};

/// A picture, or the frames of a clip on a strip.
pub(super) fn maps_view(
    one: &ModalityPlanReceipt,
    asked: &Asked,
    patch_probabilities: &[Vec<f32>],
) -> impl IntoView + use<> {
    let frames = asked.pictures.len();
    let heats: Vec<_> = patch_probabilities.iter().filter_map(|patches| Heat::of(patches)).collect();
    // Of a picture that does not matter no part does: what the probe says of its parts then means nothing.
    let heats = (heats.len() == frames && one.mas.is_some()).then_some(heats);
    let heat_map = heats.map(|heats| {
        let all: Vec<_> = heats.iter().flat_map(Heat::intensities).collect();
        let hot = all.iter().filter(|intensity| **intensity > masks::HOT).count();
        let alt = format!(
            "How much each part of the picture mattered: {hot} of {} parts, the framed ones, mattered more than half as much \
             as the one that mattered most",
            all.len()
        );
        let sheets = heats.iter().map(masks::heat_map).collect();
        map_view(asked, sheets, "What mattered", alt, "receipt-heat", &[])
    });
    let squares = sent_squares(one, frames);
    let alt = match &squares {
        Some((_, frames)) => {
            let all = frames.concat();
            format!("{} of {} squares left this device", all.iter().filter(|sent| **sent).count(), all.len())
        }
        None => words::action(one).to_owned(),
    };
    let (sheets, captions) = match squares {
        Some((side, frames)) => {
            let captions: Vec<_> = (0..frames.len() as u32).map(|frame| caption(one, frame)).collect();
            (frames.iter().map(|sent| masks::squares(side, sent)).collect(), captions)
        }
        None => (vec![masks::squares(1, &[one.action.leaves_device()]); frames], Vec::new()),
    };
    view! {
        <div class="maps" class:clip=frames != 1>
            {heat_map}
            {map_view(asked, sheets, "What left", alt, "receipt-kept", if frames > 1 { &captions } else { &[] })}
        </div>
    }
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

fn map_view(
    asked: &Asked,
    sheets: Vec<Sheet>,
    title: &'static str,
    alt: String,
    testid: &'static str,
    captions: &[&'static str],
) -> impl IntoView + use<> {
    let frames = asked.pictures.iter().zip(sheets).enumerate().map(|(frame, (picture, sheet))| {
        let caption = captions.get(frame).copied();
        view! {
            <div class="map-frame">
                <div class="map-picture">
                    <img src=picture.url.as_str().to_owned() alt="" />
                    <div class="drawing" inner_html=sheet.svg(None)></div>
                </div>
                {caption.map(|caption| view! { <span>{format!("{}: {caption}", frame + 1)}</span> })}
            </div>
        }
    });
    view! {
        <figure class="map">
            <div class="map-frames" role="img" aria-label=alt.clone() title=alt data-testid=testid>
                {frames.collect_view()}
            </div>
            <figcaption>{title}</figcaption>
        </figure>
    }
}
