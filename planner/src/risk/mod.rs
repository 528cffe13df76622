//! When an edge answer may stand without the target, and how that is watched.
//!
//! **Loss.** A request's loss is 1 if its edge answer stood *and* differs from what the target would have
//! said, else 0. The bound epsilon is on the mean loss over **all** requests, so a threshold that lets few
//! stand is safer; the share among those that stood is reported beside it and is the larger of the two.
//!
//! **Batch.** From judged samples, exchangeable with what comes, [`calibrate_threshold`] picks the least
//! confidence that may stand. Conformal risk control (Angelopoulos et al. 2022) bounds the *expected* loss,
//! `(n R + 1) / (n + 1) <= epsilon`: averaged over calibrations, the half of them being above. Issue 3 asks
//! that the realised disagreement stays below epsilon in at least 19 of 20 runs, so the default here is
//! stronger ([`RiskBound::Horizon`]): risk-controlling prediction sets (Bates et al. 2021) with the exact
//! binomial (Clopper-Pearson) bound for the calibration's luck, and a second binomial bound for the luck of
//! the run itself.
//!
//! **Online.** A random share of the answers that stood is verified afterwards, and [`RiskController`] raises
//! the threshold above the batch's as disagreements are seen and lets it sink back as none are, as in
//! adaptive conformal inference (Gibbs and Candès 2021). That holds under drift, when calibration and run are
//! not exchangeable.
//!
//! The same serves for dropping a modality: confidence `1 - r`, "stood" being "was left out".

mod binomial;
mod online;
mod threshold;

pub use online::{RiskController, RiskReport, ShadowSettings};
pub use threshold::{NOTHING_STANDS, RiskBound, StandThreshold, calibrate_threshold};
