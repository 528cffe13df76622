//! What the browser keeps for this page between visits. A browser that keeps nothing, as in a private window, is as good as
//! an empty one.

use js_sys::{Function, Reflect};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue};

/// What is kept under a key.
pub(crate) fn read(key: &str) -> Option<String> {
    call("getItem", &[key]).ok()?.as_string()
}

/// Keeps a text under a key; a full or forbidden storage keeps what it had.
pub(crate) fn write(key: &str, text: &str) {
    let _ = call("setItem", &[key, text]);
}

/// Keeps nothing under a key any more.
pub(crate) fn forget(key: &str) {
    let _ = call("removeItem", &[key]);
}

fn call(method: &str, arguments: &[&str]) -> Result<JsValue, JsValue> {
    // Reading the property itself throws where the storage is forbidden.
    let storage = Reflect::get(&window(), &"localStorage".into())?;
    let method = Reflect::get(&storage, &method.into())?.dyn_into::<Function>()?;
    let arguments = arguments.iter().map(|argument| JsValue::from_str(argument)).collect::<js_sys::Array>();
    method.apply(&storage, &arguments)
}
