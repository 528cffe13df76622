//! What the browser tells of this machine's memory, as far as it does.

use js_sys::{Function, Promise, Reflect};
use leptos::prelude::window;
use msao_planner::fitting::DeviceLimits;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// What a model may take in this tab on its processor.
pub(crate) fn limits() -> DeviceLimits {
    DeviceLimits::of_tab(number(&window().navigator(), "deviceMemory"), None)
}

/// As [`limits`], on the GPU that WebGPU would use; without one as on the processor.
pub(crate) async fn gpu_limits() -> DeviceLimits {
    DeviceLimits { buffer_bytes: buffer_bytes().await.ok().flatten(), ..limits() }
}

async fn buffer_bytes() -> Result<Option<u64>, JsValue> {
    let gpu = Reflect::get(&window().navigator(), &"gpu".into())?;
    let request = Reflect::get(&gpu, &"requestAdapter".into())?.dyn_into::<Function>()?;
    let adapter = JsFuture::from(request.call0(&gpu)?.dyn_into::<Promise>()?).await?;
    let limits = Reflect::get(&adapter, &"limits".into())?;
    let sizes = ["maxBufferSize", "maxStorageBufferBindingSize"].map(|name| number(&limits, name));
    Ok(sizes.into_iter().flatten().map(|bytes| bytes as u64).min())
}

fn number(object: &JsValue, name: &str) -> Option<f64> {
    Reflect::get(object, &name.into()).ok()?.as_f64()
}
