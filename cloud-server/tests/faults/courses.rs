//! What may come of a question, whatever happens on the way.

use msao_protocol::{Ask, TokenId};
use msao_runtime::cloud_events::CloudFailureCause;

use crate::page::Course;
use crate::support::TestServer;

/// The answer as it should be.
pub(crate) struct Truth {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) text: String,
}

impl Truth {
    /// Learns it from the server itself, on an undisturbed connection.
    pub(crate) async fn of(server: &TestServer, ask: Ask) -> Self {
        let mut client = server.session().await;
        client.send(&msao_protocol::ClientMessage::Ask(ask.clone())).await;
        let answer = client.answer(ask.request_id).await;
        let tokens = answer.settled.iter().map(|settled| settled.token.id).collect();
        Self { tokens, text: answer.text }
    }

    /// Either the answer is whole, or it failed in a way that names the reason, after nothing but right tokens; and it
    /// fails only where the page had shown something, since everything else can be asked again unseen.
    pub(crate) fn judge(&self, course: &Course, what: &str) {
        match &course.end {
            Ok(text) => {
                assert_eq!(text, &self.text, "{what}");
                assert_eq!(course.shown, self.tokens, "{what}");
            }
            Err(failure) => {
                assert_eq!(failure.cause, CloudFailureCause::ConnectionLost, "{what}: {failure:?}");
                assert!(failure.retryable, "{what}: {failure:?}");
                assert!(!course.shown.is_empty(), "{what}: could have been asked again: {failure:?}");
                assert!(self.tokens.starts_with(&course.shown), "{what}: {:?}", course.shown);
            }
        }
    }
}
