//! What the page's address asks for: `?engine=simd|webgpu|auto` and `?server=ws-url`.

use msao_planner::EngineKind;

/// Options of this visit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageOptions {
    /// The engine to use; `None` lets a measurement decide.
    pub engine: Option<EngineKind>,
    /// Address of the server's WebSocket; `None` means the server the page came from.
    pub server: Option<String>,
}

impl PageOptions {
    /// Reads the two parameters; what is not understood is left out and described.
    pub fn from_parameters(engine: Option<&str>, server: Option<&str>) -> (Self, Vec<String>) {
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
        (Self { engine, server }, notices)
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_the_default() {
        assert_eq!(PageOptions::from_parameters(None, None), (PageOptions::default(), vec![]));
        assert_eq!(PageOptions::from_parameters(Some("auto"), Some("")), (PageOptions::default(), vec![]));
    }

    #[test]
    fn engines_and_servers_are_read() {
        let (options, notices) =
            PageOptions::from_parameters(Some("webgpu"), Some("ws://127.0.0.1:9/v1/session"));
        assert_eq!(options.engine, Some(EngineKind::Webgpu));
        assert_eq!(options.server.as_deref(), Some("ws://127.0.0.1:9/v1/session"));
        assert!(notices.is_empty());
    }

    #[test]
    fn nonsense_is_named_and_left_out() {
        let (options, notices) = PageOptions::from_parameters(Some("cuda"), Some("javascript:alert(1)"));
        assert_eq!(options, PageOptions::default());
        assert_eq!(notices.len(), 2);
        assert!(notices[0].contains("cuda"));
    }
}
