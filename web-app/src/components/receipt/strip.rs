//! The sound of a question on a strip: which windows left the device.

use leptos::prelude::*;
use msao_protocol::ModalityPlanReceipt;

use crate::{
    format,
    input::pcm,
    receipt::{draw::strip::sound_strip, squares::sound_windows},
};

/// Samples of a window where no model in the cloud sets another measure: a tenth of a second.
const OWN_WINDOW_SAMPLES: usize = pcm::SAMPLE_RATE_HZ as usize / 10;

/// The strip; `None` where nothing scored the sound. `target_windows` are those of the longest recording that the cloud's
/// model hears.
pub(super) fn strip_view(
    one: &ModalityPlanReceipt,
    samples: &[f32],
    target_windows: u32,
) -> Option<impl IntoView + use<>> {
    let parts = one.kept.windows.parts();
    let window_samples = if parts == target_windows && parts > 0 {
        pcm::WINDOW_SAMPLES / parts as usize
    } else {
        OWN_WINDOW_SAMPLES
    };
    let windows = sound_windows(one, samples, window_samples);
    let count = |of: fn(&crate::receipt::squares::SoundWindow) -> bool| {
        windows.iter().filter(|window| of(window)).count()
    };
    let (kept, sent) = (count(|window| window.kept), count(|window| window.sent));
    let alt = format!(
        "{sent} of {} windows of sound left this device; {kept} have something in them",
        windows.len()
    );
    let length_s = windows.len() as f64 * window_samples as f64 / f64::from(pcm::SAMPLE_RATE_HZ);
    (!windows.is_empty()).then(|| view! {
        <figure class="strip" data-testid="receipt-windows" data-kept=kept.to_string() data-sent=sent.to_string()>
            <div class="drawing" inner_html=sound_strip(&windows).svg(Some(&alt)) title=alt></div>
            <figcaption><span>"0 s"</span><span>"underlined: left this device"</span><span>{format::seconds(length_s)}</span></figcaption>
        </figure>
    })
}
