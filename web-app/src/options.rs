//! What the page's address asks for, and behind it the settings that the browser keeps.

use msao_planner::{EngineKind, fitting::Format};
use msao_protocol::Policy;

use crate::{context::ContextChoice, mode, policy, settings};

/// Longest delay of a picture.
const MAX_DELAY_MS: u32 = 60_000;

/// The parameters as the address has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parameters<'a> {
    /// `engine`
    pub engine: Option<&'a str>,
    /// `server`
    pub server: Option<&'a str>,
    /// `policy`
    pub policy: Option<&'a str>,
    /// `mode`
    pub mode: Option<&'a str>,
    /// `epsilon`
    pub epsilon: Option<&'a str>,
    /// `delay_image_ms`
    pub delay_image_ms: Option<&'a str>,
    /// `weights`
    pub weights: Option<&'a str>,
    /// `format`
    pub format: Option<&'a str>,
    /// `draft_tokens`
    pub draft_tokens: Option<&'a str>,
    /// `frugal`
    pub frugal: Option<&'a str>,
    /// `prune_tiles`
    pub prune_tiles: Option<&'a str>,
    /// `context`
    pub context: Option<&'a str>,
    /// `uplink_kbit_s`
    pub uplink_kbit_s: Option<&'a str>,
    /// `rtt_ms`
    pub rtt_ms: Option<&'a str>,
    /// `speech`
    pub speech: Option<&'a str>,
}

/// Options of this visit.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOptions {
    /// The engine to use; `None` lets a measurement decide.
    pub engine: Option<EngineKind>,
    /// Address of the server's WebSocket; `None` means the server the page came from.
    pub server: Option<String>,
    /// How questions may be answered, to begin with.
    pub policy: Policy,
    /// Whether confident answers of the device stand, to begin with.
    pub risk_controlled: bool,
    /// The bound under which they do, to begin with; a share of all questions.
    pub epsilon: f32,
    /// Holds every picture back for so long after its question, to show what a slow uplink would do.
    pub delay_image_ms: Option<u32>,
    /// Folder of the device's checkpoint, relative to the page; `None` means the shipped one.
    pub weights: Option<String>,
    /// How its weights are kept in memory; `None` means as they are stored.
    pub format: Option<Format>,
    /// Longest draft; `None` lets the planner choose.
    pub draft_tokens: Option<u8>,
    /// Send as little as possible, whatever time that takes.
    pub frugal: bool,
    /// Leave out tiles in which little stands out, where the server's model looks at tiles; answers may change.
    pub prune_tiles: bool,
    /// When questions go on from the last answer.
    pub context: ContextChoice,
    /// Rate of an emulated uplink.
    pub uplink_kbit_s: Option<u32>,
    /// Milliseconds that an emulated link adds to the round trip.
    pub rtt_ms: Option<u32>,
    /// Write recordings down on this device for a model that cannot hear.
    pub speech: bool,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            engine: None,
            server: None,
            policy: Policy::default(),
            risk_controlled: false,
            epsilon: mode::DEFAULT_EPSILON,
            delay_image_ms: None,
            weights: None,
            format: None,
            draft_tokens: None,
            frugal: false,
            prune_tiles: false,
            context: ContextChoice::default(),
            uplink_kbit_s: None,
            rtt_ms: None,
            speech: false,
        }
    }
}

impl PageOptions {
    /// Reads the parameters; what is not understood is left out and described.
    pub fn from_parameters(parameters: Parameters<'_>) -> (Self, Vec<String>) {
        let Parameters { engine, server, policy, mode, epsilon, delay_image_ms, .. } = parameters;
        let mut notices = Vec::new();
        let engine = match engine {
            None | Some("" | "auto") => None,
            Some("simd") => Some(EngineKind::Simd),
            Some("webgpu") => Some(EngineKind::Webgpu),
            Some(other) => {
                notices.push(format!(
                    "The address asks for the engine “{}”, which does not exist. Known are simd, webgpu and auto; auto is used.",
                    clip(other)
                ));
                None
            }
        };
        let server = match server {
            None | Some("") => None,
            Some(url) if url.starts_with("ws://") || url.starts_with("wss://") => Some(url.to_owned()),
            Some(other) => {
                notices.push(format!(
                    "The address names the server “{}”; it must begin with ws:// or wss://. The page's own server is used.",
                    clip(other)
                ));
                None
            }
        };
        let policy = match policy.filter(|policy| !policy.is_empty()) {
            None => Policy::default(),
            Some(asked) => policy::from_name(asked).unwrap_or_else(|| {
                let known: Vec<_> = Policy::ALL.into_iter().map(policy::name).collect();
                notices.push(format!(
                    "The address asks for the policy “{}”, which does not exist. Known are {}; msao is used.",
                    clip(asked),
                    known.join(", ")
                ));
                Policy::default()
            }),
        };
        let risk_controlled = mode.filter(|mode| !mode.is_empty()).is_some_and(|asked| {
            mode::from_name(asked).unwrap_or_else(|| {
                notices.push(format!(
                    "The address asks for the mode “{}”, which does not exist. Known are {}, {}; every token is verified.",
                    clip(asked),
                    mode::VERIFIED,
                    mode::RISK_CONTROLLED
                ));
                false
            })
        });
        let epsilon = epsilon.filter(|epsilon| !epsilon.is_empty()).map_or(mode::DEFAULT_EPSILON, |asked| {
            mode::epsilon(asked).unwrap_or_else(|| {
                notices.push(format!(
                    "The address bounds the risk by “{}”; it must be a share of the questions such as 0.05, from 0.001 to 0.5. {} is used.",
                    clip(asked),
                    mode::DEFAULT_EPSILON
                ));
                mode::DEFAULT_EPSILON
            })
        });
        let delay_image_ms = match delay_image_ms.filter(|delay| !delay.is_empty()) {
            None => None,
            Some(asked) => {
                let delay = asked.parse().ok().filter(|delay| *delay <= MAX_DELAY_MS);
                if delay.is_none() {
                    notices.push(format!(
                        "The address delays pictures by “{}”; it must be milliseconds, at most {MAX_DELAY_MS}. They are not delayed.",
                        clip(asked)
                    ));
                }
                delay
            }
        };
        let fine = Self::fine(parameters, &mut notices);
        (Self { engine, server, policy, risk_controlled, epsilon, delay_image_ms, ..fine }, notices)
    }

    /// Those that settings are more often made of than addresses.
    fn fine(parameters: Parameters<'_>, notices: &mut Vec<String>) -> Self {
        fn told<T: Default>(read: Result<T, String>, notices: &mut Vec<String>) -> T {
            read.unwrap_or_else(|wrong| {
                notices.push(format!("The address or the settings ask for {wrong}."));
                T::default()
            })
        }
        let Parameters {
            weights,
            format,
            draft_tokens,
            frugal,
            prune_tiles,
            speech,
            context,
            uplink_kbit_s,
            rtt_ms,
            ..
        } = parameters;
        let choice = |written: &str| {
            ContextChoice::from_name(written).ok_or_else(|| {
                format!("the context “{}”; known are auto, on and off. auto is used", clip(written))
            })
        };
        Self {
            weights: told(settings::weights(weights.unwrap_or_default()), notices),
            format: told(settings::format(format.unwrap_or_default()), notices),
            draft_tokens: told(settings::draft_tokens(draft_tokens.unwrap_or_default()), notices),
            frugal: is_on(frugal),
            prune_tiles: is_on(prune_tiles),
            speech: is_on(speech),
            context: told(
                context.filter(|it| !it.is_empty()).map_or(Ok(ContextChoice::default()), choice),
                notices,
            ),
            uplink_kbit_s: told(settings::uplink_kbit_s(uplink_kbit_s.unwrap_or_default()), notices),
            rtt_ms: told(settings::rtt_ms(rtt_ms.unwrap_or_default()), notices),
            ..Self::default()
        }
    }
}

fn is_on(written: Option<&str>) -> bool {
    matches!(written, Some("on" | "1" | "true"))
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: Parameters<'_>) -> (PageOptions, Vec<String>) {
        PageOptions::from_parameters(parameters)
    }

    #[test]
    fn nothing_asked_is_the_default() {
        assert_eq!(read(Parameters::default()), (PageOptions::default(), vec![]));
        let empty = Parameters {
            engine: Some("auto"),
            server: Some(""),
            policy: Some(""),
            mode: Some(""),
            epsilon: Some(""),
            delay_image_ms: Some(""),
            weights: Some(""),
            format: Some(""),
            draft_tokens: Some(""),
            frugal: Some(""),
            prune_tiles: Some(""),
            context: Some(""),
            uplink_kbit_s: Some(""),
            rtt_ms: Some(""),
            speech: Some(""),
        };
        assert_eq!(read(empty), (PageOptions::default(), vec![]));
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let (options, notices) = read(Parameters {
            engine: Some("webgpu"),
            server: Some("ws://127.0.0.1:9/v1/session"),
            policy: Some("cloud_only"),
            mode: Some("risk_controlled"),
            epsilon: Some("0.02"),
            delay_image_ms: Some("500"),
            weights: Some("weights/mine"),
            format: Some("q4"),
            draft_tokens: Some("4"),
            frugal: Some("on"),
            prune_tiles: Some("on"),
            context: Some("on"),
            uplink_kbit_s: Some("256"),
            rtt_ms: Some("80"),
            speech: Some("on"),
        });
        assert_eq!(options.engine, Some(EngineKind::Webgpu));
        assert_eq!(options.server.as_deref(), Some("ws://127.0.0.1:9/v1/session"));
        assert_eq!((options.policy, options.delay_image_ms), (Policy::CloudOnly, Some(500)));
        assert_eq!((options.risk_controlled, options.epsilon), (true, 0.02));
        assert_eq!((options.weights.as_deref(), options.draft_tokens), (Some("weights/mine/"), Some(4)));
        assert_eq!((options.frugal, options.prune_tiles), (true, true));
        assert_eq!(options.context, ContextChoice::Always);
        assert_eq!((options.uplink_kbit_s, options.rtt_ms, options.speech), (Some(256), Some(80), true));
        assert!(notices.is_empty());
    }

    #[test]
    fn nonsense_is_named_and_left_out() {
        let (options, notices) = read(Parameters {
            engine: Some("cuda"),
            server: Some("javascript:alert(1)"),
            policy: Some("best"),
            mode: Some("bold"),
            epsilon: Some("5"),
            delay_image_ms: Some("-1"),
            weights: Some("https://example.org/"),
            format: Some("q3"),
            draft_tokens: Some("99"),
            frugal: None,
            prune_tiles: None,
            context: Some("sometimes"),
            uplink_kbit_s: Some("slow"),
            rtt_ms: Some("-3"),
            speech: Some("perhaps"),
        });
        assert_eq!(options, PageOptions::default());
        assert_eq!(notices.len(), 12, "{notices:?}");
        assert!(notices[0].contains("cuda") && notices[2].contains("cloud_only"));
        assert!(notices[3].contains("risk_controlled") && notices[4].contains("0.001"));
    }
}
