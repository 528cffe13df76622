//! The page's handle on the speech model: starts its Worker, hands recordings over, hears it.
//!
//! What it can do is in [`ears_messages`](crate::ears_messages). To give it up, a download too, the client is dropped, which ends the
//! Worker and gives its memory back; what was fetched is kept, and gone on with.

use std::{cell::RefCell, rc::Rc};

use msao_planner::fitting::Format;
use msao_protocol::RequestId;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::{
    RuntimeError,
    ears_messages::{EarsEvent, EarsRequest},
    edge_client::{absolute_url, audio_to_js, get, post, read, set, to_js},
    messages::{EdgeErrorCode, EdgeFailure, PcmSamples},
};

/// The speech model in its Worker. Dropping it ends the Worker.
pub struct EarsClient {
    worker: Worker,
    format: Option<Format>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
}

impl EarsClient {
    /// Starts the Worker and lets it load. `engine_url` is the folder of the package, `weights_url` that of the checkpoint; both
    /// end in `/`; `format` is how weights are kept, f32 unless told otherwise. `on_event` hears everything, and must not drop the client.
    ///
    /// # Errors
    /// [`RuntimeError::Worker`] if the browser refuses at once, [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn spawn(
        engine_url: &str,
        weights_url: &str,
        format: Option<Format>,
        on_event: impl FnMut(EarsEvent) + 'static,
    ) -> Result<Self, RuntimeError> {
        let settings = WorkerOptions::new();
        settings.set_type(WorkerType::Module);
        settings.set_name("msao-ears");
        let worker = Worker::new_with_options(&format!("{engine_url}ears.js"), &settings)
            .map_err(|error| RuntimeError::Worker { reason: crate::edge_client::describe(&error) })?;
        let on_event = Rc::new(RefCell::new(on_event));
        let listener = Rc::clone(&on_event);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let event = read(&message.data()).unwrap_or_else(|reason| failed(&reason));
            (listener.borrow_mut())(event);
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let on_error = Closure::<dyn FnMut(Event)>::new(move |error: Event| {
            let reason = get(&error, "message").as_string();
            let reason = reason.unwrap_or_else(|| "its script could not be loaded".to_owned());
            (on_event.borrow_mut())(failed(&format!("the speech model stopped: {reason}; turn it on again")));
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let client = Self { worker, format, _on_message: on_message, _on_error: on_error };
        let load = to_js(&EarsRequest::Load { weights_url: absolute_url(weights_url)?, format })?;
        client.worker.post_message(&load).map_err(|error| post(&error))?;
        Ok(client)
    }

    /// How its weights are kept, as it was told.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Hands a recording over; one that comes before the model is ready waits for it.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn listen(&self, request_id: RequestId, recording: &PcmSamples) -> Result<(), RuntimeError> {
        let message = to_js(&EarsRequest::Listen { request_id })?;
        let transfer = js_sys::Array::new();
        set(&message, "audio", &audio_to_js(recording, &transfer));
        self.worker.post_message_with_transfer(&message, &transfer).map_err(|error| post(&error))
    }

    /// Ends the work on a recording that was handed over and is not answered yet; the model stays.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn cancel(&self, request_id: RequestId) -> Result<(), RuntimeError> {
        let message = to_js(&EarsRequest::Cancel { request_id })?;
        self.worker.post_message(&message).map_err(|error| post(&error))
    }
}

impl Drop for EarsClient {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

fn failed(message: &str) -> EarsEvent {
    let code = EdgeErrorCode::WorkerCrashed;
    EarsEvent::Error(EdgeFailure { request_id: None, code, message: message.to_owned(), fits_as: None })
}
