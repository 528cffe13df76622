//! The camera: opening it, and which ones there are.

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaDeviceInfo, MediaDeviceKind, MediaStream, MediaStreamConstraints};

use super::{Exception, media_devices, stop_tracks};

/// A camera to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CameraChoice {
    /// The browser's name for it.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) label: String,
}

/// Opens a camera: the chosen one, or the one that looks away from the user.
///
/// # Errors
/// The browser's exception.
pub(crate) async fn open(id: Option<&str>) -> Result<MediaStream, Exception> {
    let video = js_sys::JSON::parse(r#"{"width":{"ideal":1280},"height":{"ideal":720}}"#)?;
    match id {
        Some(id) => set(&video, "deviceId", "exact", id)?,
        None => set(&video, "facingMode", "ideal", "environment")?,
    }
    let constraints = MediaStreamConstraints::new();
    constraints.set_video(&video);
    let opened = media_devices()?.get_user_media_with_constraints(&constraints)?;
    Ok(JsFuture::from(opened).await?.dyn_into()?)
}

/// Turns the camera off.
pub(crate) fn close(stream: &MediaStream) {
    stop_tracks(stream);
}

/// Cameras there are; their names are known once one of them was allowed.
pub(crate) async fn list() -> Vec<CameraChoice> {
    let listed =
        async { JsFuture::from(media_devices()?.enumerate_devices()?).await?.dyn_into::<js_sys::Array>() };
    let Ok(listed) = listed.await else { return Vec::new() };
    listed
        .iter()
        .map(|device| device.unchecked_into::<MediaDeviceInfo>())
        .filter(|device| device.kind() == MediaDeviceKind::Videoinput)
        .enumerate()
        .map(|(index, device)| {
            let label = Some(device.label()).filter(|label| !label.is_empty());
            CameraChoice {
                id: device.device_id(),
                label: label.unwrap_or_else(|| format!("Camera {}", index + 1)),
            }
        })
        .collect()
}

fn set(constraints: &JsValue, name: &str, strength: &str, value: &str) -> Result<(), JsValue> {
    let constraint = js_sys::Object::new();
    js_sys::Reflect::set(&constraint, &strength.into(), &value.into())?;
    js_sys::Reflect::set(constraints, &name.into(), &constraint)?;
    Ok(())
}
