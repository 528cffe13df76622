//! Pictures and sound on their way from the browser's devices and decoders to the models.

pub(crate) mod camera;
pub(crate) mod clipboard;
pub(crate) mod device;
pub(crate) mod fetch;
pub(crate) mod file;
pub(crate) mod picture;
pub(crate) mod prepare;
pub(crate) mod recorder;
pub(crate) mod save;
pub(crate) mod sound;
pub(crate) mod storage;
pub(crate) mod video;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, Url};

/// Bytes as an address that `<img>` and `<audio>` take; released when the last holder lets go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ObjectUrl(String);

impl ObjectUrl {
    /// Gives `bytes` of media type `mime` an address.
    ///
    /// # Errors
    /// What the browser throws.
    pub(crate) fn new(bytes: &[u8], mime: &str) -> Result<Self, JsValue> {
        Ok(Self(Url::create_object_url_with_blob(&blob(bytes, mime)?)?))
    }

    /// The address.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for ObjectUrl {
    fn drop(&mut self) {
        // Fails only for an address that is no address.
        let _ = Url::revoke_object_url(&self.0);
    }
}

fn blob(bytes: &[u8], mime: &str) -> Result<Blob, JsValue> {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes));
    let options = BlobPropertyBag::new();
    options.set_type(mime);
    Blob::new_with_u8_array_sequence_and_options(&parts, &options)
}

/// Name of what the browser threw, such as `NotAllowedError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the browser says {0}")]
pub(crate) struct Exception(String);

impl Exception {
    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl From<JsValue> for Exception {
    fn from(thrown: JsValue) -> Self {
        Self(if let Some(exception) = thrown.dyn_ref::<web_sys::DomException>() {
            exception.name()
        } else if let Some(error) = thrown.dyn_ref::<js_sys::Error>() {
            String::from(error.name())
        } else {
            thrown.as_string().unwrap_or_else(|| "unknown error".to_owned())
        })
    }
}

/// The browser's `MediaDevices`.
///
/// # Errors
/// `InsecureContext` where the page is not served securely: browsers hide it there.
fn media_devices() -> Result<web_sys::MediaDevices, JsValue> {
    let navigator = web_sys::window().ok_or("no window")?.navigator();
    let devices = js_sys::Reflect::get(&navigator, &"mediaDevices".into())?;
    if devices.is_undefined() { Err("InsecureContext".into()) } else { Ok(devices.unchecked_into()) }
}

/// Ends every track, which turns the device's light off.
fn stop_tracks(stream: &web_sys::MediaStream) {
    for track in stream.get_tracks().iter() {
        track.unchecked_into::<web_sys::MediaStreamTrack>().stop();
    }
}
