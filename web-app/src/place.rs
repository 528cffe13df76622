//! Which of the page's views the address asks for: the part behind its `#`, which never leaves the browser.
//!
//! A token for the server may stand there as well (`#token=...`); changing the view keeps it.

/// A view of the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Questions and answers.
    #[default]
    Conversation,
    /// Figures of this conversation and of the bench.
    Dashboard,
}

/// What the dashboard's part of an address begins with.
const DASHBOARD: &str = "/dashboard";

impl View {
    /// The view that an address asks for, by what stands behind its `#`.
    pub fn of(fragment: &str) -> Self {
        let asked = parts(fragment).any(|part| part == DASHBOARD);
        if asked { Self::Dashboard } else { Self::Conversation }
    }

    /// The address of this view, `#` included, with all else that stands in `fragment`.
    pub fn address(self, fragment: &str) -> String {
        let own = match self {
            Self::Conversation => None,
            Self::Dashboard => Some(DASHBOARD),
        };
        let others = parts(fragment).filter(|part| *part != DASHBOARD && *part != "/");
        format!("#{}", own.into_iter().chain(others).collect::<Vec<_>>().join("&"))
    }
}

fn parts(fragment: &str) -> impl Iterator<Item = &str> {
    fragment.trim_start_matches('#').split('&').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_the_view_and_keeps_the_token() {
        assert_eq!(View::of(""), View::Conversation);
        assert_eq!(View::of("#/dashboard"), View::Dashboard);
        assert_eq!(View::of("#/dashboard&token=abc"), View::Dashboard);
        assert_eq!(View::Dashboard.address("#token=a/dashboard"), "#/dashboard&token=a/dashboard");
        assert_eq!(View::Conversation.address("#/dashboard&token=abc"), "#token=abc");
        assert_eq!(View::Conversation.address("#/dashboard"), "#");
    }
}
