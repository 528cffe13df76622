//! Text to the clipboard.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Copies text; returns whether the browser did it. It does not on pages that are not served securely.
pub(crate) async fn write(text: &str) -> bool {
    let copied = async {
        let navigator = web_sys::window().ok_or(JsValue::NULL)?.navigator();
        // By name, since the typed binding is still behind a flag.
        let clipboard = Reflect::get(&navigator, &"clipboard".into())?;
        let write: Function = Reflect::get(&clipboard, &"writeText".into())?.dyn_into()?;
        let written: Promise = write.call1(&clipboard, &text.into())?.dyn_into()?;
        JsFuture::from(written).await
    };
    copied.await.is_ok()
}
