//! Who answers a question: the edge, the cloud, or both.

use serde::{Deserialize, Serialize};

/// What can answer at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The edge model is loaded.
    pub edge_ready: bool,
    /// The session with the cloud is open.
    pub cloud_connected: bool,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The edge answers at once and the cloud confirms or corrects.
    EdgeThenCloud,
    /// The edge answers; nothing leaves the device.
    EdgeOnly,
    /// The cloud answers, since the edge is not ready.
    CloudOnly,
}

impl Route {
    /// Whether the edge model works on the question.
    pub fn uses_edge(self) -> bool {
        self != Self::CloudOnly
    }

    /// Whether the question and its media go to the cloud.
    pub fn uses_cloud(self) -> bool {
        self != Self::EdgeOnly
    }
}

/// Nothing can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoute;

/// Today's rule: edge first, and the cloud always confirms; whichever is missing is done without.
///
/// # Errors
/// [`NoRoute`] when neither side can answer.
pub fn choose_route(conditions: Conditions) -> Result<Route, NoRoute> {
    match (conditions.edge_ready, conditions.cloud_connected) {
        (true, true) => Ok(Route::EdgeThenCloud),
        (true, false) => Ok(Route::EdgeOnly),
        (false, true) => Ok(Route::CloudOnly),
        (false, false) => Err(NoRoute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_never_uses_what_is_missing() {
        for edge_ready in [false, true] {
            for cloud_connected in [false, true] {
                match choose_route(Conditions { edge_ready, cloud_connected }) {
                    Ok(route) => {
                        assert_eq!(route.uses_edge(), edge_ready);
                        assert_eq!(route.uses_cloud(), cloud_connected);
                    }
                    Err(NoRoute) => assert!(!edge_ready && !cloud_connected),
                }
            }
        }
    }
}
