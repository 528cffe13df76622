//! How sure the edge really is: from a raw confidence to the probability that its answer equals the target's.
//!
//! A raw confidence, such as the least probability of the answer's tokens, orders answers well and is no
//! probability. [`Calibrator`] learns the monotone map between them; [`expected_calibration_error`] and
//! [`auc`] tell how good the result is. The same serves for relevance: whether an answer really changed
//! without a modality.

mod calibrator;
mod judged_pair;
mod metrics;

pub use calibrator::{CalibrationPoint, Calibrator};
pub use judged_pair::JudgedPair;
pub use metrics::{Judged, auc, expected_calibration_error};
