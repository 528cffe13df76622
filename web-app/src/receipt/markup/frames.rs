//! Messages that crossed the network, as a table.

use std::fmt::Write;

use msao_runtime::frame_log::FrameRecord;

use super::add;
use crate::{
    format,
    network::{given_words, kind_name, kind_words, when},
};

/// The messages behind a line that opens; empty without any.
pub fn table(frames: &[FrameRecord]) -> String {
    if frames.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        r#"<details class="as-table"><summary>Each message</summary><div class="table-scroll" tabindex="0" role="region" aria-label="Messages"><table class="frames"><thead><tr><th scope="col">At</th><th scope="col">Way</th><th scope="col">What</th><th scope="col">Bytes</th><th scope="col">Yours in it</th></tr></thead><tbody>"#,
    );
    for frame in frames {
        let way = if frame.kind.is_sent() { "↑ sent" } else { "↓ came" };
        let own = given_words(frame);
        add!(
            html,
            r#"<tr data-testid="frame" data-kind="{}" data-bytes="{}" data-sent="{}"><td>{}</td><td class="way">{way}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            kind_name(frame.kind),
            frame.bytes,
            frame.kind.is_sent(),
            when(frame),
            kind_words(frame.kind),
            format::bytes(frame.bytes),
            if own.is_empty() { "–" } else { &own }
        );
    }
    html + "</tbody></table></div></details>"
}

#[cfg(test)]
mod tests {
    use msao_runtime::frame_log::{FrameKind, GivenBytes};

    use super::*;

    #[test]
    fn each_message_is_a_row() {
        let frame = |kind| FrameRecord {
            at_ms: 5.0,
            kind,
            request_id: None,
            bytes: 30,
            given_bytes: GivenBytes { text: 4, vision: 0, audio: 0 },
        };
        let html = table(&[frame(FrameKind::Question), frame(FrameKind::Done)]);
        assert_eq!(html.matches("data-testid=\"frame\"").count(), 2);
        assert!(html.contains("↑ sent") && html.contains("↓ came") && html.contains("words 4 B"), "{html}");
        assert_eq!(table(&[]), "");
    }
}
