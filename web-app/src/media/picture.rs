//! A picture as both models see it: the centre square, at most 256 pixels a side.
//!
//! The crop is the models' own first preprocessing step, so it changes no answer; what it saves is upload.

use std::sync::Arc;

use js_sys::{Function, Promise, Uint8Array};
use msao_protocol::{Media, MediaKind};
use msao_runtime::messages::RgbaPixels;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, CanvasRenderingContext2d, HtmlCanvasElement, HtmlVideoElement, ImageBitmap, ImageData};

use super::{ObjectUrl, blob};

/// Longest side of a picture that leaves the page, in pixels.
const MAX_SIDE: u32 = 256;

/// A PNG up to this size travels as it is, without loss; noisy camera pictures are larger and become JPEG.
const PNG_BYTES: u32 = 48_000;

/// JPEG quality at which camera noise hides what is lost.
const JPEG_QUALITY: f64 = 0.92;

/// A square picture, decoded for this device and encoded for the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// Pixels a side.
    pub(crate) side: u32,
    /// RGBA, 8 bits each, row by row.
    pub(crate) rgba: Arc<Vec<u8>>,
    /// The same picture as a file.
    pub(crate) encoded: Arc<Media>,
    /// Address of that file for `<img>`.
    pub(crate) url: Arc<ObjectUrl>,
}

impl Picture {
    /// Takes what the camera shows now.
    ///
    /// # Errors
    /// What the browser throws; also when the video has no picture yet.
    pub(crate) async fn from_video(video: &HtmlVideoElement) -> Result<Self, JsValue> {
        Self::from_source(video.video_width(), video.video_height(), |context, x, y, source, side| {
            context.draw_image_with_html_video_element_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
                video, x, y, source, source, 0.0, 0.0, side, side,
            )
        })
        .await
    }

    /// Decodes a picture file.
    ///
    /// # Errors
    /// What the browser throws when it cannot decode the file.
    pub(crate) async fn from_file(bytes: &[u8], mime: &str) -> Result<Self, JsValue> {
        let window = web_sys::window().ok_or("no window")?;
        let decoded = JsFuture::from(window.create_image_bitmap_with_blob(&blob(bytes, mime)?)?).await?;
        let bitmap: ImageBitmap = decoded.dyn_into()?;
        let picture = Self::from_source(bitmap.width(), bitmap.height(), |context, x, y, source, side| {
            context.draw_image_with_image_bitmap_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
                &bitmap, x, y, source, source, 0.0, 0.0, side, side,
            )
        })
        .await;
        bitmap.close();
        picture
    }

    async fn from_source(
        width: u32,
        height: u32,
        draw: impl FnOnce(&CanvasRenderingContext2d, f64, f64, f64, f64) -> Result<(), JsValue>,
    ) -> Result<Self, JsValue> {
        let source = width.min(height);
        if source == 0 {
            return Err("there is no picture yet".into());
        }
        let side = source.min(MAX_SIDE);
        let (canvas, context) = canvas(side, side)?;
        // Transparent files are seen on white, as on the page.
        context.set_fill_style_str("white");
        context.fill_rect(0.0, 0.0, f64::from(side), f64::from(side));
        js_sys::Reflect::set(&context, &"imageSmoothingQuality".into(), &"high".into())?;
        let (x, y) = (f64::from((width - source) / 2), f64::from((height - source) / 2));
        draw(&context, x, y, f64::from(source), f64::from(side))?;

        let rgba = context.get_image_data(0.0, 0.0, f64::from(side), f64::from(side))?.data();
        let encoded = encode(&canvas).await?;
        let url = ObjectUrl::new(&encoded.bytes, mime(encoded.kind))?;
        Ok(Self { side, rgba: Arc::new(rgba.to_vec()), encoded: Arc::new(encoded), url: Arc::new(url) })
    }
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
