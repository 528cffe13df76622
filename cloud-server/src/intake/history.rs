//! The turns before a question: how many there may be, and how much of everything.
//!
//! Each is held to what a question of its own is held to, and all together to the budgets of a conversation. Whether
//! their tokens fit the model is known only when they are read.

use msao_protocol::{ErrorCode, Limits, Turn};

use super::Refusal;
use super::check::{check_media, check_question, within};
use crate::engine::EngineInfo;

/// Holds earlier turns against the limits and what the engine can do.
///
/// # Errors
/// The first limit that is exceeded.
pub(crate) fn check_history(turns: &[Turn], limits: &Limits, engine: &EngineInfo) -> Result<(), Refusal> {
    let count = turns.len();
    within(count, limits.history_turns, ErrorCode::HistoryTooLong, |limit| {
        format!("{count} earlier turns were sent; at most {limit} are accepted: leave the oldest out")
    })?;
    let of_turns = |are_clips: bool| -> usize {
        let alike = turns.iter().filter(|turn| turn.clip.is_some() == are_clips);
        alike.map(|turn| turn.images.len()).sum()
    };
    let (images, frames) = (of_turns(false), of_turns(true));
    within(images, limits.history_images, ErrorCode::HistoryTooLong, |limit| {
        format!("the earlier turns have {images} images; at most {limit} are accepted: leave the oldest out")
    })?;
    within(frames, limits.clip_frames, ErrorCode::HistoryTooLong, |limit| {
        format!(
            "the earlier turns have {frames} frames of videos; at most {limit} are accepted: leave the oldest out"
        )
    })?;
    // The length in bytes bounds the characters, so most conversations are not walked.
    let bytes: usize = turns.iter().map(|turn| turn.question.len() + turn.answer.len()).sum();
    if bytes > limits.history_chars as usize {
        let of = |turn: &Turn| turn.question.chars().count() + turn.answer.chars().count();
        let chars: usize = turns.iter().map(of).sum();
        within(chars, limits.history_chars, ErrorCode::HistoryTooLong, |limit| {
            format!(
                "the earlier turns have {chars} characters; at most {limit} are accepted: leave the oldest out"
            )
        })?;
    }
    for turn in turns {
        check_question(&turn.question, limits)?;
        check_media((&turn.images, turn.clip.as_ref()), turn.audio.as_ref(), limits, engine)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use msao_protocol::{ImageInput, Media, MediaKind};

    use super::super::check::tests::engine;
    use super::*;

    fn turn(question: &str, answer: &str, images: usize) -> Turn {
        let image = ImageInput::Whole(Media { kind: MediaKind::Png, bytes: vec![0; 10] });
        let images = vec![image; images];
        Turn { images, clip: None, audio: None, question: question.into(), answer: answer.into() }
    }

    fn refused(turns: &[Turn], limits: &Limits) -> Option<ErrorCode> {
        check_history(turns, limits, &engine()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_conversation_is_held_to_its_budgets() {
        let limits = Limits { history_turns: 2, history_chars: 8, history_images: 2, ..Limits::default() };
        let two = [turn("äö", "üß", 1), turn("ab", "cd", 1)];
        assert_eq!(refused(&two, &limits), None);
        for wrong in [
            vec![turn("a", "b", 0); 3],
            vec![turn("a", "b", 1), turn("c", "d", 2)],
            vec![turn("abcd", "efgh", 0), turn("i", "", 0)],
        ] {
            assert_eq!(refused(&wrong, &limits), Some(ErrorCode::HistoryTooLong), "{wrong:?}");
        }
    }

    #[test]
    fn a_turn_is_held_to_what_a_question_is() {
        let limits = Limits { question_chars: 3, image_bytes: 9, ..Limits::default() };
        assert_eq!(refused(&[turn("abcd", "", 0)], &limits), Some(ErrorCode::QuestionTooLong));
        assert_eq!(refused(&[turn("abc", "", 1)], &limits), Some(ErrorCode::TooLarge));
    }
}
