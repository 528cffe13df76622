//! Who writes down what is said to a model that cannot hear: the device, or the cloud that gets the sound.
//!
//! A transcript on the device is enough where it is confident: then words go on and no sound does. Where it is not, the sound is
//! offloaded, if it may leave and somebody there hears. A locked recording never leaves; its words are words, and what keeps those
//! on the device is the lock of words.
//!
//! | question | where |
//! |---|---|
//! | who listens first? | [`who_listens`] |
//! | is this transcript enough? | [`after_listening`] |
//! | from which confidence on? | [`calibrate`], from recordings whose words are known |

mod calibration;
mod listening;
mod word_errors;

pub use calibration::{Transcribed, calibrate};
pub use listening::{
    DEFAULT_THRESHOLD, Ears, Listener, ListeningCosts, Outcome, after_listening, who_listens,
};
pub use word_errors::word_error_rate;
