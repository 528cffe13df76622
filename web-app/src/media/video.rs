//! Frames of a video file, by the browser's own decoder: sought one after the other and drawn.
//!
//! The file is never read as a whole: the browser takes what it needs of it. So a video may be as long as it likes; how many
//! frames are looked at is bounded.

use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Promise};
use msao_protocol::ClipSampling;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, HtmlVideoElement, Url};

use super::picture::{Picture, Wanted};
use crate::film::Moment;

/// How long one step of the browser's decoder is waited for, in milliseconds.
const PATIENCE_MS: i32 = 15_000;
const WAIT_MS: u32 = 20;
/// Of `readyState`: there is a frame to draw.
const HAVE_CURRENT_DATA: u16 = 2;
/// How long the last frame is taken to be shown: 25 frames a second.
const FRAME_MS: u32 = 40;
/// Behind the end of any video, in seconds: seeking there tells the length of one that does not say it.
const BEYOND_S: f64 = 1e7;

/// What became of a video file.
pub(crate) enum Film {
    /// Its frames that are looked at, in order, each with its moment.
    Frames(Vec<Picture>),
    /// The browser finds no pictures in it.
    NoPictures,
    /// The person did not want to wait for it.
    Stopped,
}

/// Takes the frames that are looked at. `progress` hears how many are taken of how many, and says whether to go on.
///
/// # Errors
/// What the browser throws; also when its decoder gets stuck.
pub(crate) async fn film(
    file: &File,
    sampling: ClipSampling,
    wanted: Wanted,
    progress: impl Fn(usize, usize) -> bool,
) -> Result<Film, JsValue> {
    let opened = Opened::new(file)?;
    let video = &opened.video;
    if opened.load().await.is_err() || video.video_width() == 0 {
        return Ok(Film::NoPictures);
    }
    let duration_ms = opened.duration_ms().await?;
    let times_ms = sampling.times_ms(duration_ms, FRAME_MS);
    let wanted = Wanted { longest_edge_px: sampling.longest_edge_px, ..wanted };
    let mut frames = Vec::with_capacity(times_ms.len());
    for (index, &at_ms) in times_ms.iter().enumerate() {
        if !progress(index + 1, times_ms.len()) {
            return Ok(Film::Stopped);
        }
        opened.seek(f64::from(at_ms) / 1e3).await?;
        let frame = Picture::from_film(video, wanted).await?;
        frames.push(Picture { moment: Some(Moment { at_ms, duration_ms }), ..frame });
    }
    Ok(Film::Frames(frames))
}

/// A video that is not on the page; its file is let go of with it.
struct Opened {
    video: HtmlVideoElement,
    url: String,
}

impl Opened {
    fn new(file: &File) -> Result<Self, JsValue> {
        let document = web_sys::window().and_then(|window| window.document()).ok_or("no document")?;
        let video: HtmlVideoElement = document.create_element("video")?.dyn_into()?;
        video.set_muted(true);
        video.set_preload("auto");
        let url = Url::create_object_url_with_blob(file)?;
        Ok(Self { video, url })
    }

    async fn load(&self) -> Result<(), JsValue> {
        let video = &self.video;
        heard(video, |resolve| video.set_onloadeddata(resolve), || video.set_src(&self.url)).await
    }

    async fn seek(&self, to_s: f64) -> Result<(), JsValue> {
        let video = &self.video;
        heard(video, |resolve| video.set_onseeked(resolve), || video.set_current_time(to_s)).await?;
        // After a seek across the whole video the frame comes a little later.
        for _ in 0..PATIENCE_MS as u32 / WAIT_MS {
            if video.ready_state() >= HAVE_CURRENT_DATA {
                return Ok(());
            }
            TimeoutFuture::new(WAIT_MS).await;
        }
        Err("the frame does not come".into())
    }

    /// Recorders that stream write no length; where the video ends is then where seeking ends.
    async fn duration_ms(&self) -> Result<u32, JsValue> {
        let mut duration_s = self.video.duration();
        if !duration_s.is_finite() {
            self.seek(BEYOND_S).await?;
            duration_s =
                Some(self.video.duration()).filter(|s| s.is_finite()).unwrap_or(self.video.current_time());
        }
        // A cast of what is no number gives 0.
        Ok((duration_s * 1e3) as u32)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.video.set_onloadeddata(None);
        self.video.set_onseeked(None);
        self.video.set_onerror(None);
        // Gives the decoder back at once. Neither fails where the address is one.
        let _ = self.video.remove_attribute("src");
        self.video.load();
        let _ = Url::revoke_object_url(&self.url);
    }
}

/// Acts, and waits for what is listened to by `listen`, or for an error.
async fn heard(
    video: &HtmlVideoElement,
    listen: impl Fn(Option<&Function>),
    act: impl FnOnce(),
) -> Result<(), JsValue> {
    let window = web_sys::window().ok_or("no window")?;
    let mut patience = Ok(0);
    let outcome = Promise::new(&mut |resolve: Function, reject: Function| {
        listen(Some(&resolve));
        video.set_onerror(Some(&reject));
        patience = window.set_timeout_with_callback_and_timeout_and_arguments_0(&reject, PATIENCE_MS);
    });
    act();
    let outcome = JsFuture::from(outcome).await;
    window.clear_timeout_with_handle(patience?);
    outcome.map(|_event| ())
}
