//! A picture as the models see it: for the device, and for servers that see no more, the centre square of at most 256 pixels
//! a side.
//!
//! That crop is such models' own first preprocessing step, so it changes no answer; what it saves is upload. A server whose
//! model looks at large pictures in tiles says so, and is sent files uncropped, as large as it gains from. Of the camera it
//! gets the viewfinder's square, and nothing outside of it.

use std::sync::Arc;

use js_sys::{Function, Promise, Uint8Array};
use msao_protocol::{Media, MediaKind};
use msao_runtime::messages::RgbaPixels;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, CanvasRenderingContext2d, HtmlCanvasElement, HtmlVideoElement, ImageBitmap, ImageData};

use super::{ObjectUrl, blob};
use crate::film::Moment;

/// Longest side of a picture that a model sees in one piece, in pixels.
const MAX_SIDE: u32 = 256;
/// Longest side of any picture that leaves the page, whatever a server wants.
const MOST_SIDE: u32 = 4_096;

/// A PNG up to this size travels as it is, without loss; noisy camera pictures are larger and become JPEG.
const PNG_BYTES: u32 = 48_000;

/// JPEG quality at which camera noise hides what is lost.
const JPEG_QUALITY: f64 = 0.92;

/// How pictures are wanted on the wire, and how much of recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Longest edge that the server's model gains from; 0 where it sees what the device sees.
    pub(crate) longest_edge_px: u32,
    /// Most bytes of a file.
    pub(crate) most_bytes: u32,
    /// Whether the device is to look at large pictures too, and leave out tiles of them.
    pub(crate) with_pixels: bool,
    /// Samples of a recording that are heard, at 16 kHz.
    pub(crate) heard_samples: usize,
}

/// A picture: its square decoded for this device, and a file for the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// Pixels a side.
    pub(crate) side: u32,
    /// RGBA, 8 bits each, row by row.
    pub(crate) rgba: Arc<Vec<u8>>,
    /// The picture as a file.
    pub(crate) encoded: Arc<Media>,
    /// What the file shows, where that is more than the square and the device is to look at it.
    pub(crate) large: Option<Arc<RgbaPixels>>,
    /// Address of that file for `<img>`.
    pub(crate) url: Arc<ObjectUrl>,
    /// When it was, if it is a frame of a video.
    pub(crate) moment: Option<Moment>,
}

impl Picture {
    /// Takes what the camera shows now.
    ///
    /// # Errors
    /// What the browser throws; also when the video has no picture yet.
    pub(crate) async fn from_video(video: &HtmlVideoElement, wanted: Wanted) -> Result<Self, JsValue> {
        Self::of_video(video, Part::square((video.video_width(), video.video_height())), wanted).await
    }

    /// Takes the frame that a video file shows now, all of it.
    ///
    /// # Errors
    /// As [`Self::from_video`].
    pub(super) async fn from_film(video: &HtmlVideoElement, wanted: Wanted) -> Result<Self, JsValue> {
        Self::of_video(video, Part::whole((video.video_width(), video.video_height())), wanted).await
    }

    async fn of_video(video: &HtmlVideoElement, sendable: Part, wanted: Wanted) -> Result<Self, JsValue> {
        let all = (video.video_width(), video.video_height());
        Self::from_source(all, sendable, wanted, |context, part, (width, height)| {
            let Part { x, y, .. } = part;
            context.draw_image_with_html_video_element_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
                video,
                x,
                y,
                part.width,
                part.height,
                0.0,
                0.0,
                width,
                height,
            )
        })
        .await
    }

    /// Decodes a picture file.
    ///
    /// # Errors
    /// What the browser throws when it cannot decode the file.
    pub(crate) async fn from_file(bytes: &[u8], mime: &str, wanted: Wanted) -> Result<Self, JsValue> {
        let window = web_sys::window().ok_or("no window")?;
        let decoded = JsFuture::from(window.create_image_bitmap_with_blob(&blob(bytes, mime)?)?).await?;
        let bitmap: ImageBitmap = decoded.dyn_into()?;
        let all = (bitmap.width(), bitmap.height());
        let picture = Self::from_source(all, Part::whole(all), wanted, |context, part, (width, height)| {
            let Part { x, y, .. } = part;
            context.draw_image_with_image_bitmap_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
                &bitmap,
                x,
                y,
                part.width,
                part.height,
                0.0,
                0.0,
                width,
                height,
            )
        })
        .await;
        bitmap.close();
        picture
    }

    /// `sendable` is what may leave the page.
    async fn from_source(
        all: (u32, u32),
        sendable: Part,
        wanted: Wanted,
        draw: impl Fn(&CanvasRenderingContext2d, Part, (f64, f64)) -> Result<(), JsValue>,
    ) -> Result<Self, JsValue> {
        let square = Part::square(all);
        if square.width == 0.0 {
            return Err("there is no picture yet".into());
        }
        let side = (square.width as u32).min(MAX_SIDE);
        let (shown, context) = drawn(square, (side, side), &draw)?;
        let rgba = context.get_image_data(0.0, 0.0, f64::from(side), f64::from(side))?.data();
        let (mut encoded, mut pixels) = (None, None);
        if wanted.longest_edge_px > MAX_SIDE {
            let size = sendable.within(wanted.longest_edge_px.min(MOST_SIDE));
            let (large, context) = drawn(sendable, size, &draw)?;
            encoded =
                Some(encode(&large).await?).filter(|file| file.bytes.len() <= wanted.most_bytes as usize);
            if wanted.with_pixels && encoded.is_some() {
                let data = context.get_image_data(0.0, 0.0, f64::from(size.0), f64::from(size.1))?.data();
                pixels = Some(Arc::new(RgbaPixels { width: size.0, height: size.1, pixels: data.to_vec() }));
            }
        }
        let encoded = match encoded {
            Some(encoded) => encoded,
            None => encode(&shown).await?,
        };
        let url = ObjectUrl::new(&encoded.bytes, mime(encoded.kind))?;
        let (rgba, encoded, url) = (Arc::new(rgba.to_vec()), Arc::new(encoded), Arc::new(url));
        Ok(Self { side, rgba, encoded, large: pixels, url, moment: None })
    }
}

/// A rectangle of a picture, in its pixels.
#[derive(Debug, Clone, Copy)]
struct Part {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Part {
    fn whole((width, height): (u32, u32)) -> Self {
        Self { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The centre square.
    fn square((width, height): (u32, u32)) -> Self {
        let side = width.min(height);
        let at = |length: u32| f64::from((length - side) / 2);
        Self { x: at(width), y: at(height), width: f64::from(side), height: f64::from(side) }
    }

    /// Its size with the longer edge at most so long.
    fn within(self, longest: u32) -> (u32, u32) {
        let scale = (f64::from(longest) / self.width.max(self.height)).min(1.0);
        let scaled = |length: f64| ((length * scale).round() as u32).max(1);
        (scaled(self.width), scaled(self.height))
    }
}

/// A part of a picture on a canvas of this size.
fn drawn(
    part: Part,
    (width, height): (u32, u32),
    draw: impl Fn(&CanvasRenderingContext2d, Part, (f64, f64)) -> Result<(), JsValue>,
) -> Result<(HtmlCanvasElement, CanvasRenderingContext2d), JsValue> {
    let (canvas, context) = canvas(width, height)?;
    let size = (f64::from(width), f64::from(height));
    // Transparent files are seen on white, as on the page.
    context.set_fill_style_str("white");
    context.fill_rect(0.0, 0.0, size.0, size.1);
    js_sys::Reflect::set(&context, &"imageSmoothingQuality".into(), &"high".into())?;
    draw(&context, part, size)?;
    Ok((canvas, context))
}

/// Encodes pixels in a codec that pictures are encoded in: PNG or JPEG.
///
/// # Errors
/// What the browser throws.
pub(crate) async fn encode_pixels(pixels: &RgbaPixels, kind: MediaKind) -> Result<Media, JsValue> {
    let (canvas, context) = canvas(pixels.width, pixels.height)?;
    let data =
        ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels.pixels), pixels.width, pixels.height)?;
    context.put_image_data(&data, 0.0, 0.0)?;
    let file = to_blob(&canvas, mime(kind)).await?;
    Ok(Media { kind, bytes: bytes_of(&file).await? })
}

/// A canvas that is not on the page, and what draws on it.
///
/// # Errors
/// What the browser throws.
pub(super) fn canvas(
    width: u32,
    height: u32,
) -> Result<(HtmlCanvasElement, CanvasRenderingContext2d), JsValue> {
    let document = web_sys::window().and_then(|window| window.document()).ok_or("no document")?;
    let canvas: HtmlCanvasElement = document.create_element("canvas")?.dyn_into()?;
    canvas.set_width(width);
    canvas.set_height(height);
    let context = canvas.get_context("2d")?.ok_or("this browser draws no canvas")?.dyn_into()?;
    Ok((canvas, context))
}

/// A picture: PNG, or JPEG where that is large.
async fn encode(canvas: &HtmlCanvasElement) -> Result<Media, JsValue> {
    let png = to_blob(canvas, "image/png").await?;
    let (kind, file) = if png.size() <= f64::from(PNG_BYTES) {
        (MediaKind::Png, png)
    } else {
        (MediaKind::Jpeg, to_blob(canvas, "image/jpeg").await?)
    };
    Ok(Media { kind, bytes: bytes_of(&file).await? })
}

/// A canvas as a PNG file.
///
/// # Errors
/// What the browser throws.
pub(super) async fn png_of(canvas: &HtmlCanvasElement) -> Result<Vec<u8>, JsValue> {
    bytes_of(&to_blob(canvas, mime(MediaKind::Png)).await?).await
}

async fn bytes_of(file: &Blob) -> Result<Vec<u8>, JsValue> {
    Ok(Uint8Array::new(&JsFuture::from(file.array_buffer()).await?).to_vec())
}

async fn to_blob(canvas: &HtmlCanvasElement, mime: &str) -> Result<Blob, JsValue> {
    let mut thrown = Ok(());
    let encoded = Promise::new(&mut |resolve: Function, _reject| {
        thrown = canvas.to_blob_with_type_and_encoder_options(&resolve, mime, &JPEG_QUALITY.into());
    });
    thrown?;
    JsFuture::from(encoded).await?.dyn_into()
}

fn mime(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Png => "image/png",
        MediaKind::Jpeg => "image/jpeg",
        MediaKind::Webp => "image/webp",
        MediaKind::Wav => "audio/wav",
    }
}
