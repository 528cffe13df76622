//! What the edge says to the cloud.

use serde::{Deserialize, Serialize};

use crate::bounded::{MEDIA, TOKENS, at_most};
use crate::{Clip, KeepMask, Modality, RequestId, TokenId};

/// A message from the edge to the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// First message of a session; the server answers with [`ServerMessage::Welcome`](crate::ServerMessage::Welcome).
    Hello {
        /// Name and version of the client, for the server's log.
        client: String,
    },
    /// Answer this question.
    Ask(Ask),
    /// The media that an [`Ask`] announced as [`pending`](Ask::pending), all of them.
    Attach(Attach),
    /// The edge's proposal for how the answer goes on.
    Draft(Draft),
    /// What would the target make of these tokens behind an earlier answer?
    Verify(Verify),
    /// Drafts of a running answer come from elsewhere from now on. Ignored for an unknown id, since the answer may have
    /// crossed this message.
    Steer {
        /// The request.
        request_id: RequestId,
        /// As in [`Ask::speculation`].
        speculation: Speculation,
    },
    /// Stop working on a request. The server ends it with
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled); an unknown id is ignored, since the answer
    /// may have crossed this message.
    Cancel {
        /// The request to stop.
        request_id: RequestId,
    },
    /// Asks for a [`ServerMessage::Pong`](crate::ServerMessage::Pong) with the same nonce: the round-trip time
    /// of an idle session.
    Ping {
        /// Returned unchanged.
        nonce: u32,
    },
}

/// One question with the media it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Chosen by the client; every message about this question carries it.
    pub request_id: RequestId,
    /// The typed question. May be empty when [`Self::audio`] holds a spoken one.
    pub question: String,
    /// A single picture, or the frames of a clip in order of time.
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub images: Vec<ImageInput>,
    /// When the images were, if they are frames of one video and the model reads times
    /// ([`ModelInfo::clips`](crate::ModelInfo::clips)).
    pub clip: Option<Clip>,
    /// One recording.
    pub audio: Option<AudioInput>,
    /// What was asked and answered before, oldest first; empty begins a conversation.
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub history: Vec<Turn>,
    /// Instead of [`Self::history`]: the finished request of this session that this one goes on from, whose own history,
    /// media, question and answer the server still has.
    pub continues: Option<RequestId>,
    /// Modalities whose media follow in one [`Attach`]. The server begins without them; what it writes before they
    /// are there is a proposal, which the full context verifies.
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub pending: Vec<Modality>,
    /// Most tokens the answer may have; the server lowers it to its own limit.
    pub max_new_tokens: u32,
    /// How tokens are drawn; `None` takes the most likely one each time.
    pub sampling: Option<Sampling>,
    /// Where drafts come from.
    pub speculation: Speculation,
}

impl Ask {
    /// A question on its own, without media and anything before it, whose answer takes the most likely tokens, undrafted.
    pub fn new(request_id: RequestId, question: impl Into<String>, max_new_tokens: u32) -> Self {
        Self {
            request_id,
            question: question.into(),
            images: Vec::new(),
            clip: None,
            audio: None,
            history: Vec::new(),
            continues: None,
            pending: Vec::new(),
            max_new_tokens,
            sampling: None,
            speculation: Speculation::None,
        }
    }

    /// Media bytes of `modality` that this message carries, those of earlier turns included; for text, the bytes of
    /// questions and answers.
    pub fn bytes(&self, modality: Modality) -> u64 {
        let own = match modality {
            Modality::Text => self.question.len() as u64,
            _ => media_bytes(&self.images, self.audio.as_ref(), modality),
        };
        own + self.history.iter().map(|turn| turn.bytes(modality)).sum::<u64>()
    }
}

/// An earlier question of a conversation and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// As in [`Ask::images`].
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub images: Vec<ImageInput>,
    /// As in [`Ask::clip`].
    pub clip: Option<Clip>,
    /// As in [`Ask::audio`].
    pub audio: Option<AudioInput>,
    /// As in [`Ask::question`].
    pub question: String,
    /// What was answered: best the text of its [`Done`](crate::ServerMessage::Done) as it came.
    pub answer: String,
}

impl Turn {
    /// Media bytes of `modality`; for text, the bytes of question and answer.
    pub fn bytes(&self, modality: Modality) -> u64 {
        match modality {
            Modality::Text => (self.question.len() + self.answer.len()) as u64,
            _ => media_bytes(&self.images, self.audio.as_ref(), modality),
        }
    }
}

/// The media that an [`Ask`] announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// The request they belong to.
    pub request_id: RequestId,
    /// As in [`Ask::images`].
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub images: Vec<ImageInput>,
    /// As in [`Ask::clip`].
    pub clip: Option<Clip>,
    /// As in [`Ask::audio`].
    pub audio: Option<AudioInput>,
}

impl Attach {
    /// Media bytes of `modality` that this message carries.
    pub fn bytes(&self, modality: Modality) -> u64 {
        media_bytes(&self.images, self.audio.as_ref(), modality)
    }
}

fn media_bytes(images: &[ImageInput], audio: Option<&AudioInput>, modality: Modality) -> u64 {
    match modality {
        Modality::Text => 0,
        Modality::Vision => images.iter().map(ImageInput::bytes).sum(),
        Modality::Audio => audio.iter().map(|audio| audio.media().bytes.len() as u64).sum(),
    }
}

/// How tokens are drawn from the target's distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Scores are divided by it before softmax; in (0, 2].
    pub temperature: f32,
    /// Only the smallest set of most likely tokens whose probabilities sum to this is drawn from; in (0, 1], 1 is all.
    pub top_p: f32,
    /// Of the server's random numbers: the same request with the same seed and the same drafts draws the same tokens.
    pub seed: u64,
}

/// Where the drafts of an answer come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speculation {
    /// The target writes token by token.
    #[default]
    None,
    /// A draft model beside the target proposes.
    CoLocated {
        /// Draft tokens a round, 1 to 32.
        draft_tokens: u8,
    },
    /// The edge proposes, in [`Draft`] messages.
    Distributed {
        /// How long the target waits for the next draft before it writes a token itself, in milliseconds.
        patience_ms: u16,
    },
}

/// A run of tokens that the edge proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The request they are for.
    pub request_id: RequestId,
    /// How many corrections of the target the edge knew when it wrote them: drafts behind a correction that it
    /// did not know are void, and ignored.
    pub revision: u32,
    /// Position in the answer of the first one.
    pub start: u32,
    /// The tokens, an end token included where the edge wrote one.
    #[serde(deserialize_with = "at_most::<{TOKENS}, _, _>")]
    pub tokens: Vec<TokenId>,
    /// Where the answer is sampled and the drafts were too: for each of [`Self::tokens`] the distribution it was drawn
    /// from, most likely token first. Empty for drafts that are certain choices, which is always right and, where the
    /// edge draws as the target does, accepted less often.
    #[serde(deserialize_with = "at_most::<{TOKENS}, _, _>")]
    pub distributions: Vec<Vec<Candidate>>,
    /// Whether the edge proposes nothing further before it hears of a correction.
    pub is_last: bool,
}

/// Tokens to be looked at behind the prompt and answer of a finished request, whose keys and values the server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Of this verification; [`Verified`](crate::Verified) and errors carry it.
    pub request_id: RequestId,
    /// The finished request of this session that comes before.
    pub after: RequestId,
    /// How many tokens of its answer stay before [`Self::given`].
    pub start: u32,
    /// Tokens behind them that are not asked about: what the client has settled by itself.
    #[serde(deserialize_with = "at_most::<{TOKENS}, _, _>")]
    pub given: Vec<TokenId>,
    /// Tokens behind those that are looked at, an end token included where the client wrote one.
    #[serde(deserialize_with = "at_most::<{TOKENS}, _, _>")]
    pub drafts: Vec<TokenId>,
    /// Whether the given tokens and the accepted drafts are the answer from now on, in place of what was behind
    /// [`Self::start`]. Else nothing changes.
    pub commit: bool,
    /// Whether the log-probability of each draft is wanted.
    pub log_probabilities: bool,
}

/// A token that could have been drawn. The probabilities of a draft's candidates sum to 1: where a drafter keeps only
/// the most likely tokens, it draws from these.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The token.
    pub id: TokenId,
    /// Its probability, in (0, 1].
    pub probability: f32,
}

impl Candidate {
    /// Most candidates of one draft token.
    pub const MOST: usize = 16;
}

/// A picture, or what the question needs of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ImageInput {
    /// All of it.
    Whole(Media),
    /// Some squares of it.
    Kept(KeptImage),
    /// Some tiles of it, and the whole in one small square.
    Tiles(TiledImage),
}

impl ImageInput {
    /// The encoded picture; of one in tiles that which shows the kept ones.
    pub fn media(&self) -> &Media {
        match self {
            Self::Whole(media) => media,
            Self::Kept(kept) => &kept.tiles,
            Self::Tiles(tiled) => &tiled.picture,
        }
    }

    /// All files that it is made of, [`Self::media`] first.
    pub fn files(&self) -> impl Iterator<Item = &Media> {
        let whole = if let Self::Tiles(tiled) = self { Some(&tiled.whole) } else { None };
        [self.media()].into_iter().chain(whole)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes.len() as u64).sum()
    }
}

/// Squares of a picture, each what one image token of the target sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptImage {
    /// The kept squares, row by row of the [`ImageGrid`](crate::ImageGrid) that the server told.
    pub mask: KeepMask,
    /// A picture of the kept squares at the grid's resolution, in the mask's order, [`Self::COLUMNS`] in a row.
    pub tiles: Media,
}

impl KeptImage {
    /// Squares in a row of [`Self::tiles`]; fewer squares make one shorter row.
    pub const COLUMNS: u32 = 4;
}

/// A picture of which a target that looks at tiles looks at some only.
///
/// Nothing of a tile that is left out is in here but at the resolution of [`Self::whole`]. How a target splits,
/// its [`PictureSize`](crate::PictureSize) tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TiledImage {
    /// Rows of tiles that the target makes of [`Self::picture`]'s size.
    pub rows: u8,
    /// Tiles of a row.
    pub columns: u8,
    /// The kept tiles, row by row.
    pub mask: KeepMask,
    /// The picture in its own size, one grey wherever no kept tile is made of it.
    pub picture: Media,
    /// All of it in a square of [`PictureSize::tile_px`](crate::PictureSize), scaled as the target scales it.
    pub whole: Media,
}

/// A recording, or what the question needs of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AudioInput {
    /// All of it.
    Whole(Media),
    /// Some windows of it.
    Kept(KeptAudio),
}

impl AudioInput {
    /// The encoded sound.
    pub fn media(&self) -> &Media {
        match self {
            Self::Whole(media) => media,
            Self::Kept(kept) => &kept.windows,
        }
    }
}

/// Windows of a recording, each what one audio token of the target hears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptAudio {
    /// The kept windows, in time, of the [`AudioGrid`](crate::AudioGrid) that the server told.
    pub mask: KeepMask,
    /// Their sound one behind the other, at the grid's sampling rate.
    pub windows: Media,
}

/// An encoded image or recording, as a file would hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// The format the sender says it is. The server trusts only what it finds in the bytes.
    pub kind: MediaKind,
    /// The file's content. Read and written in one piece, which takes a hundredth of the time that byte by byte would.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Media formats of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/webp`
    Webp,
    /// `audio/wav`, 16-bit or float PCM
    Wav,
}
