//! When recording starts and stops: hold the button and let go, or tap it twice.
//!
//! Pure: time comes in as an argument, commands go out. Holding is impossible for some people and for a first
//! press that the browser answers with a permission question, so a short press keeps recording until the next.

/// A press shorter than this is a tap, in milliseconds.
const TAP_MS: f64 = 350.0;

/// What the recorder should do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Open the microphone and record.
    Start,
    /// Stop and keep what was recorded.
    Finish,
    /// Nothing.
    Wait,
}

/// The button's state.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum PushToTalk {
    /// Not recording.
    #[default]
    Idle,
    /// Recording while held, since this moment.
    Held {
        /// When it was pressed, in milliseconds.
        since_ms: f64,
    },
    /// Recording after a tap, until the next press.
    Latched,
}

impl PushToTalk {
    /// The button goes down. Repeats of a held key change nothing.
    pub fn press(&mut self, now_ms: f64) -> Command {
        match *self {
            Self::Idle => {
                *self = Self::Held { since_ms: now_ms };
                Command::Start
            }
            Self::Held { .. } => Command::Wait,
            Self::Latched => {
                *self = Self::Idle;
                Command::Finish
            }
        }
    }

    /// The button comes up; `recording` tells whether the microphone has opened by now.
    pub fn release(&mut self, now_ms: f64, recording: bool) -> Command {
        match *self {
            Self::Held { since_ms } if recording && now_ms - since_ms >= TAP_MS => {
                *self = Self::Idle;
                Command::Finish
            }
            Self::Held { .. } => {
                *self = Self::Latched;
                Command::Wait
            }
            Self::Idle | Self::Latched => Command::Wait,
        }
    }

    /// The recording has ended by itself: full, failed or cancelled.
    pub fn ended(&mut self) {
        *self = Self::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_and_let_go() {
        let mut button = PushToTalk::default();
        assert_eq!(button.press(0.0), Command::Start);
        assert_eq!(button.press(30.0), Command::Wait, "key repeat");
        assert_eq!(button.release(2_000.0, true), Command::Finish);
        assert_eq!(button, PushToTalk::Idle);
    }

    #[test]
    fn tap_and_tap_again() {
        let mut button = PushToTalk::default();
        assert_eq!(button.press(0.0), Command::Start);
        assert_eq!(button.release(100.0, true), Command::Wait);
        assert_eq!(button.press(1_500.0), Command::Finish);
        assert_eq!(button.release(1_600.0, true), Command::Wait);
        assert_eq!(button, PushToTalk::Idle);
    }

    #[test]
    fn letting_go_while_the_browser_asks_for_permission_does_not_lose_the_recording() {
        let mut button = PushToTalk::default();
        button.press(0.0);
        assert_eq!(button.release(5_000.0, false), Command::Wait);
        assert_eq!(button, PushToTalk::Latched);
    }

    #[test]
    fn a_full_recording_ends_the_press() {
        let mut button = PushToTalk::default();
        button.press(0.0);
        button.ended();
        assert_eq!(button.release(6_000.0, true), Command::Wait);
        assert_eq!(button.press(7_000.0), Command::Start);
    }
}
