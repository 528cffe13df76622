//! The settings that a browser keeps between visits: the same names and values as in the page's address, which comes
//! first. Knows no browser.

use std::collections::BTreeMap;

use msao_planner::fitting::Format;

/// Key under which they are kept.
pub const STORAGE_KEY: &str = "msao.settings";
/// What may be kept, by its name in the address.
pub const NAMES: [&str; 15] = [
    "engine",
    "server",
    "weights",
    "format",
    "policy",
    "mode",
    "epsilon",
    "draft_tokens",
    "frugal",
    "prune_tiles",
    "context",
    "speech",
    "delay_image_ms",
    "uplink_kbit_s",
    "rtt_ms",
];
/// Longest value that is read.
const MOST_CHARS: usize = 300;
/// Longest text that is read.
const MOST_BYTES: usize = 8_192;
/// Bounds of the emulated link.
const MAX_RTT_MS: u32 = 10_000;
const MAX_UPLINK_KBIT_S: u32 = 1_000_000;
/// Drafts that may be asked for.
const DRAFT_TOKENS: std::ops::RangeInclusive<u8> = 1..=16;

/// Values by name.
pub type Stored = BTreeMap<String, String>;

/// Reads what was kept; anything else than known names with short values is left out.
pub fn read(text: &str) -> Stored {
    if text.len() > MOST_BYTES {
        return Stored::new();
    }
    let mut stored: Stored = serde_json::from_str(text).unwrap_or_default();
    stored.retain(|name, value| NAMES.contains(&name.as_str()) && value.chars().count() <= MOST_CHARS);
    stored
}

/// What is kept.
pub fn write(stored: &Stored) -> String {
    serde_json::to_string(stored).unwrap_or_default()
}

/// `draft_tokens`: the longest draft, or nothing for as long as pays.
///
/// # Errors
/// What is wrong with it.
pub fn draft_tokens(written: &str) -> Result<Option<u8>, String> {
    match written {
        "" | "auto" => Ok(None),
        written => {
            written.parse().ok().filter(|tokens| DRAFT_TOKENS.contains(tokens)).map(Some).ok_or_else(|| {
                format!("drafts of “{written}” tokens; 1 to 16 are possible, or auto, which is used")
            })
        }
    }
}

/// `rtt_ms`: milliseconds that the emulated link adds to the round trip.
///
/// # Errors
/// What is wrong with it.
pub fn rtt_ms(written: &str) -> Result<Option<u32>, String> {
    number(written, MAX_RTT_MS, "a round trip", "ms")
}

/// `uplink_kbit_s`: the rate of the emulated link.
///
/// # Errors
/// What is wrong with it.
pub fn uplink_kbit_s(written: &str) -> Result<Option<u32>, String> {
    number(written, MAX_UPLINK_KBIT_S, "an uplink", "kbit/s")
}

fn number(written: &str, most: u32, what: &str, unit: &str) -> Result<Option<u32>, String> {
    if written.is_empty() || written == "0" {
        return Ok(None);
    }
    let number = written.parse().ok().filter(|number| *number <= most);
    number.map(Some).ok_or_else(|| {
        format!("{what} of “{written}” {unit}; 1 to {most} are possible. The link stays as it is")
    })
}

/// `weights`: the folder of the device's checkpoint on the page's own server, such as `weights/pocket-edge/`.
///
/// # Errors
/// What is wrong with it.
pub fn weights(written: &str) -> Result<Option<String>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    let is_plain = written.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    // No other server, and nothing above the page: its policy would refuse both.
    if !is_plain || written.starts_with('/') || written.split('/').any(|part| part == "..") {
        return Err(format!(
            "the model folder “{}”; it must be a path below the page such as weights/pocket-edge/. The usual one is used",
            written.chars().take(60).collect::<String>()
        ));
    }
    let slash = if written.ends_with('/') { "" } else { "/" };
    Ok(Some(format!("{written}{slash}")))
}

/// `format`: how the weights of the device's model are kept in memory; empty is as they are stored.
///
/// # Errors
/// What is wrong with it.
pub fn format(written: &str) -> Result<Option<Format>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    written.parse().map(Some).map_err(|_unknown| {
        format!(
            "the format “{}” of weights; known are f32, f16, int8 and q4. They are kept as they are stored",
            written.chars().take(60).collect::<String>()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let mut stored = Stored::new();
        stored.insert("mode".into(), "risk_controlled".into());
        stored.insert("rtt_ms".into(), "80".into());
        assert_eq!(read(&write(&stored)), stored);
    }

    #[test]
    fn nonsense_in_the_storage_is_left_out() {
        assert!(read("no json").is_empty() && read("[1]").is_empty() && read(r#"{"mode":3}"#).is_empty());
        assert!(read(r#"{"sudo":"yes"}"#).is_empty());
        let long = "x".repeat(301);
        assert!(read(&format!(r#"{{"server":"{long}"}}"#)).is_empty());
        assert!(read(&" ".repeat(9_000)).is_empty());
    }

    #[test]
    fn values_are_bounded() {
        assert_eq!(draft_tokens("4"), Ok(Some(4)));
        assert_eq!(draft_tokens("auto"), Ok(None));
        assert!(draft_tokens("17").is_err() && draft_tokens("0").is_err());
        assert_eq!((rtt_ms("80"), rtt_ms("0"), rtt_ms("")), (Ok(Some(80)), Ok(None), Ok(None)));
        assert!(rtt_ms("-1").is_err() && uplink_kbit_s("fast").is_err());
    }

    #[test]
    fn weights_come_from_below_the_page() {
        assert_eq!(weights("weights/mine"), Ok(Some("weights/mine/".into())));
        for elsewhere in ["https://example.org/w/", "//example.org/w", "/etc", "weights/../..", "w?x"] {
            assert!(weights(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
