//! Messages whose lists are much larger in memory than on the wire.

use msao_protocol::{Ask, ClientMessage, Draft, ErrorCode, Modality};

use crate::support::ask;
use crate::{Bomb, Fate};

/// Bytes of the messages here.
const MANY: usize = 8 << 20;

pub(crate) fn all() -> Vec<Bomb> {
    let fate = Fate::Ended(ErrorCode::MalformedFrame);
    let draft =
        Draft { request_id: 1, revision: 0, start: 0, tokens: vec![], distributions: vec![], is_last: false };
    let empties = Draft { distributions: vec![Vec::new(); MANY], ..draft.clone() };
    let tokens = Draft { tokens: vec![0; MANY], ..draft };
    let pending = Ask { pending: vec![Modality::Vision; MANY], ..ask(1, "a?") };
    vec![
        Bomb { name: "8 million empty distributions", message: ClientMessage::Draft(empties), fate },
        Bomb { name: "8 million draft tokens", message: ClientMessage::Draft(tokens), fate },
        Bomb { name: "8 million announced media", message: ClientMessage::Ask(pending), fate },
    ]
}
