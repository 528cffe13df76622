//! Files that the page hands to the user: made here, saved by the browser, sent nowhere.

use std::time::Duration;

use js_sys::Promise;
use leptos::leptos_dom::helpers::set_timeout;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlAnchorElement, HtmlImageElement};

use super::{
    ObjectUrl,
    picture::{canvas, png_of},
};

/// The browser reads the file some time after it was told to; then its memory is given back.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Pixels of a saved picture for each of the drawing's, so that it is sharp on fine screens.
const PIXELS: f64 = 2.0;

/// Lets the browser save bytes under a name.
///
/// # Errors
/// What the browser throws.
pub(crate) fn save(name: &str, bytes: &[u8], mime: &str) -> Result<(), JsValue> {
    let url = ObjectUrl::new(bytes, mime)?;
    let document = web_sys::window().and_then(|window| window.document()).ok_or("no document")?;
    let link: HtmlAnchorElement = document.create_element("a")?.dyn_into()?;
    link.set_href(url.as_str());
    link.set_download(name);
    link.click();
    set_timeout(move || drop(url), KEPT_FOR);
    Ok(())
}

/// An SVG file of so many pixels as a PNG, drawn by the browser.
///
/// # Errors
/// What the browser throws.
pub(crate) async fn png_of_svg(svg: &str, width: f64, height: f64) -> Result<Vec<u8>, JsValue> {
    let url = ObjectUrl::new(svg.as_bytes(), "image/svg+xml")?;
    let image = HtmlImageElement::new()?;
    let loaded = Promise::new(&mut |resolve, reject| {
        image.set_onload(Some(&resolve));
        image.set_onerror(Some(&reject));
    });
    image.set_src(url.as_str());
    JsFuture::from(loaded).await?;
    let (canvas, context) = canvas((width * PIXELS) as u32, (height * PIXELS) as u32)?;
    context.draw_image_with_html_image_element_and_dw_and_dh(
        &image,
        0.0,
        0.0,
        width * PIXELS,
        height * PIXELS,
    )?;
    png_of(&canvas).await
}
