//! The body of a chat completion: what is read of it, and what is refused by name.
//!
//! Fields that are not listed are ignored, as OpenAI's clients send many that only mean something there. Those that would
//! change the answer and are not supported are refused, so that nobody takes an answer for what it is not.

use msao_protocol::Sampling;
use serde::Deserialize;

use super::error::ApiError;
use super::lenient::{Asked, Bounded, TextOr};

/// Most messages of a conversation, and most parts of one message.
const MAX_MESSAGES: usize = 256;
const MAX_PARTS: usize = 64;
/// As OpenAI's: stop sequences, and log-probabilities beside each token.
const MAX_STOPS: usize = 4;
const MAX_TOP_LOGPROBS: u8 = 20;
/// Bytes of one stop sequence; so much text may be held back.
const MAX_STOP_BYTES: usize = 256;

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Bounded<Message, MAX_MESSAGES>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    stop: Option<TextOr<Bounded<String, MAX_STOPS>>>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<u8>,
    #[serde(default)]
    prediction: Option<Prediction>,
    #[serde(default)]
    msao: Option<MsaoOptions>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    modalities: Option<Bounded<String, 8>>,
    #[serde(default)]
    response_format: Option<ResponseFormat>,
    #[serde(default)]
    tools: Asked,
    #[serde(default)]
    functions: Asked,
    #[serde(default)]
    audio: Asked,
    #[serde(default)]
    logit_bias: Asked,
    #[serde(default)]
    frequency_penalty: Asked,
    #[serde(default)]
    presence_penalty: Asked,
    #[serde(default)]
    web_search_options: Asked,
}

/// What only this server knows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MsaoOptions {
    #[serde(default)]
    prune_tiles: Option<bool>,
}

/// One message of the conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    #[serde(default)]
    pub(super) content: Option<TextOr<Bounded<Part, MAX_PARTS>>>,
    #[serde(default)]
    pub(super) tool_calls: Asked,
    #[serde(default)]
    pub(super) audio: Asked,
}

/// A part of a message; which of the fields is set is said by its type.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) image_url: Option<ImageUrl>,
    #[serde(default)]
    pub(super) video_url: Option<VideoUrl>,
    #[serde(default)]
    pub(super) input_audio: Option<InputAudio>,
}

/// A picture by its address.
#[derive(Debug, Deserialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
}

/// A video by its address.
#[derive(Debug, Deserialize)]
pub(super) struct VideoUrl {
    pub(super) url: String,
    /// Frames a second of those in the address.
    #[serde(default)]
    pub(super) fps: Option<f64>,
}

/// A recording.
#[derive(Debug, Deserialize)]
pub(super) struct InputAudio {
    /// Base64.
    pub(super) data: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
}

/// What the answer probably is.
#[derive(Debug, Deserialize)]
struct Prediction {
    content: TextOr<Bounded<Part, MAX_PARTS>>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let request: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let (path, cause) = (error.path().to_string(), error.inner().to_string());
            let param = if path == "." { "body".to_owned() } else { path };
            let message = format!("the request cannot be read at `{param}`: {cause}");
            ApiError::invalid(param, "invalid_json", message)
        })?;
        json.end().map_err(|error| {
            let message = format!("something follows the request's JSON: {error}");
            ApiError::invalid("body", "invalid_json", message)
        })?;
        request.check_supported()?;
        Ok(request)
    }

    fn check_supported(&self) -> Result<(), ApiError> {
        let refused = [
            ("tools", self.tools, "this model calls no tools"),
            ("functions", self.functions, "this model calls no functions"),
            ("audio", self.audio, "answers are text only"),
            ("logit_bias", self.logit_bias, "tokens cannot be biased"),
            ("frequency_penalty", self.frequency_penalty, "there are no penalties"),
            ("presence_penalty", self.presence_penalty, "there are no penalties"),
            ("web_search_options", self.web_search_options, "this model searches nothing"),
        ];
        if let Some((param, _, why)) = refused.into_iter().find(|(_, asked, _)| asked.0) {
            return Err(ApiError::unsupported(param, format!("{why}: leave `{param}` out")));
        }
        if let Some(n) = self.n.filter(|&n| n != 1) {
            let message = format!("n is {n}; one answer is given a request: ask again for another");
            return Err(ApiError::unsupported("n", message));
        }
        let modalities = self.modalities.iter().flat_map(|list| &list.0);
        if modalities.into_iter().any(|modality| modality != "text") {
            let message = "answers are text only: ask for the modality `text`, or leave `modalities` out";
            return Err(ApiError::unsupported("modalities", message));
        }
        if self.response_format.as_ref().is_some_and(|format| format.r#type != "text") {
            let message = "answers are plain text: leave `response_format` out";
            return Err(ApiError::unsupported("response_format", message));
        }
        Ok(())
    }

    /// Whether the answer comes while it is written.
    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a last chunk of the stream tells the usage.
    pub(super) fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// Whether tiles of pictures in which little stands out are left out; `None` is as the server has it.
    pub(super) fn prunes_tiles(&self) -> Option<bool> {
        self.msao.as_ref().and_then(|options| options.prune_tiles)
    }

    /// Most tokens of the answer, if that is bounded.
    ///
    /// # Errors
    /// For a bound of 0.
    pub(super) fn max_new_tokens(&self) -> Result<Option<u32>, ApiError> {
        let (name, bound) = match (self.max_completion_tokens, self.max_tokens) {
            (Some(bound), _) => ("max_completion_tokens", Some(bound)),
            (None, bound) => ("max_tokens", bound),
        };
        if bound == Some(0) {
            let message = format!("{name} is 0; an answer has at least 1 token: raise it or leave it out");
            return Err(ApiError::invalid(name, "invalid_value", message));
        }
        Ok(bound)
    }

    /// How tokens are drawn; `None` takes the most likely one each time, which is what nothing said and a temperature of 0
    /// mean. `random_seed` is used where the request has none.
    ///
    /// # Errors
    /// For numbers out of OpenAI's ranges.
    pub(super) fn sampling(&self, random_seed: u64) -> Result<Option<Sampling>, ApiError> {
        let (temperature, top_p) = match (self.temperature, self.top_p) {
            (None, None) => return Ok(None),
            (temperature, top_p) => (temperature.unwrap_or(1.0), top_p.unwrap_or(1.0)),
        };
        for (name, value, highest) in [("temperature", temperature, 2.0), ("top_p", top_p, 1.0)] {
            // Written so that what is no number fails.
            if !(value >= 0.0 && value <= highest) {
                let message = format!("{name} is {value}; it must be 0 to {highest}");
                return Err(ApiError::invalid(name, "invalid_value", message));
            }
        }
        let seed = self.seed.map_or(random_seed, i64::cast_unsigned);
        let draws = temperature > 0.0 && top_p > 0.0;
        Ok(draws.then_some(Sampling { temperature, top_p, seed }))
    }

    /// Log-probabilities beside each token; `None` for none at all.
    ///
    /// # Errors
    /// For more than there are, or some beside none.
    pub(super) fn top_logprobs(&self) -> Result<Option<u8>, ApiError> {
        let wanted = self.logprobs.unwrap_or(false);
        match self.top_logprobs {
            Some(top) if top > MAX_TOP_LOGPROBS => {
                let message = format!("top_logprobs is {top}; it must be 0 to {MAX_TOP_LOGPROBS}");
                Err(ApiError::invalid("top_logprobs", "invalid_value", message))
            }
            Some(top) if top > 0 && !wanted => {
                let message = "top_logprobs needs logprobs: set `logprobs` to true";
                Err(ApiError::invalid("top_logprobs", "invalid_value", message))
            }
            top => Ok(wanted.then_some(top.unwrap_or(0))),
        }
    }

    /// The texts before which the answer ends.
    ///
    /// # Errors
    /// For empty and very long ones.
    pub(super) fn stops(&self) -> Result<Vec<String>, ApiError> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(TextOr::Text(stop)) => vec![stop.clone()],
            Some(TextOr::List(stops)) => stops.0.clone(),
        };
        for stop in &stops {
            if stop.is_empty() || stop.len() > MAX_STOP_BYTES {
                let bytes = stop.len();
                let message =
                    format!("a stop sequence has {bytes} bytes; it must have 1 to {MAX_STOP_BYTES}");
                return Err(ApiError::invalid("stop", "invalid_value", message));
            }
        }
        Ok(stops)
    }

    /// The text that the answer probably is.
    ///
    /// # Errors
    /// For a prediction with other parts than text.
    pub(super) fn prediction(&self) -> Result<Option<String>, ApiError> {
        let Some(prediction) = &self.prediction else { return Ok(None) };
        text_of(&prediction.content).map(Some).ok_or_else(|| {
            let message = "a prediction is text: leave other parts out";
            ApiError::unsupported("prediction.content", message)
        })
    }
}

/// The text of a content that has no other parts; several parts are one text.
pub(super) fn text_of(content: &TextOr<Bounded<Part, MAX_PARTS>>) -> Option<String> {
    match content {
        TextOr::Text(text) => Some(text.clone()),
        TextOr::List(parts) => parts
            .0
            .iter()
            .map(|part| part.text.as_deref().filter(|_| part.r#type == "text"))
            .collect::<Option<Vec<&str>>>()
            .map(|texts| texts.concat()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;
    use serde_json::{Value, json};

    use super::*;

    fn request(more: &Value) -> Result<ChatRequest, ApiError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ChatRequest::from_json(body.to_string().as_bytes())
    }

    fn refusal(more: &Value) -> Value {
        let error = request(more).unwrap_err();
        assert_eq!(error.status_code().as_u16(), 400);
        serde_json::from_str(&error.to_json()).unwrap()
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name_and_the_unknown_is_ignored() {
        for (name, value) in [
            ("tools", json!([{"type": "function"}])),
            ("n", json!(2)),
            ("n", json!(0)),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({"voice": "alloy"})),
            ("response_format", json!({"type": "json_object"})),
            ("presence_penalty", json!(0.5)),
            ("logit_bias", json!({"7": 1})),
        ] {
            let refusal = refusal(&json!({name: value}));
            assert_eq!(refusal["error"]["param"], name);
            assert_eq!(refusal["error"]["code"], "unsupported_parameter");
        }
        let harmless = json!({"n": 1, "tools": [], "tool_choice": "auto", "user": "me", "store": false,
            "presence_penalty": 0.0, "response_format": {"type": "text"}, "top_k": 5, "metadata": null});
        assert!(request(&harmless).is_ok());
    }

    #[test]
    fn a_request_may_say_whether_tiles_are_left_unread() {
        let prunes = |more: Value| request(&more).unwrap().prunes_tiles();
        assert_eq!(prunes(json!({})), None);
        assert_eq!(prunes(json!({"msao": {}})), None);
        assert_eq!(prunes(json!({"msao": {"prune_tiles": true}})), Some(true));
        assert_eq!(prunes(json!({"msao": {"prune_tiles": false}})), Some(false));
        let misspelt = refusal(&json!({"msao": {"prune": true}}));
        assert!(misspelt["error"]["message"].as_str().unwrap().contains("prune_tiles"), "{misspelt}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let refusal = refusal(&json!({"messages": [{"role": "user", "content": [{"text": "no type"}]}]}));
        assert_eq!(refusal["error"]["param"], "messages[0].content[0]");
        let broken = ChatRequest::from_json(b"{\"model\": ").unwrap_err();
        assert!(broken.to_string().contains("EOF"), "{broken}");
        let trailing = ChatRequest::from_json(b"{\"model\":\"m\",\"messages\":[]} x").unwrap_err();
        assert!(trailing.to_string().contains("follows"), "{trailing}");
    }

    #[test]
    fn nothing_said_is_greedy_and_the_rest_has_openai_s_ranges() {
        let sampling = |more: Value| request(&more).unwrap().sampling(7);
        assert_eq!(sampling(json!({"seed": 1})), Ok(None));
        assert_eq!(sampling(json!({"temperature": 0, "top_p": 0.5})), Ok(None));
        let drawn = |temperature, top_p, seed| Ok(Some(Sampling { temperature, top_p, seed }));
        assert_eq!(sampling(json!({"top_p": 0.5})), drawn(1.0, 0.5, 7));
        assert_eq!(sampling(json!({"temperature": 1.5, "seed": -1})), drawn(1.5, 1.0, u64::MAX));
        for wrong in [json!({"temperature": -0.1}), json!({"temperature": 2.1}), json!({"top_p": 1.5})] {
            assert!(sampling(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bounds_stops_and_logprobs_are_held_to_their_ranges() {
        let some = request(&json!({"max_tokens": 5, "max_completion_tokens": 3, "stop": "x"})).unwrap();
        assert_eq!((some.max_new_tokens(), some.stops()), (Ok(Some(3)), Ok(vec!["x".to_owned()])));
        assert!(request(&json!({"max_tokens": 0})).unwrap().max_new_tokens().is_err());
        assert!(request(&json!({"stop": ["a", ""]})).unwrap().stops().is_err());
        assert!(request(&json!({"stop": ["a", "b", "c", "d", "e"]})).is_err());
        let top = |more: Value| request(&more).unwrap().top_logprobs();
        assert_eq!(top(json!({})), Ok(None));
        assert_eq!(top(json!({"logprobs": true})), Ok(Some(0)));
        assert_eq!(top(json!({"logprobs": true, "top_logprobs": 20})), Ok(Some(20)));
        assert!(top(json!({"logprobs": true, "top_logprobs": 21})).is_err());
        assert!(top(json!({"top_logprobs": 2})).is_err());
    }
}
