//! Videos in which little happens: frames that say nothing new are left out where that is asked for, and what is answered is what
//! the others alone are answered with.

use std::io::Cursor;

use actix_web::web::Data;
use msao_models::{PastTurn, Prompt};
use msao_protocol::{
    Ask, ClientMessage, Clip, ImageInput, KeepMask, KeptImage, Media, MediaKind, Modality, ModalityReceipt,
};
use serde_json::{Value, json};

use crate::clips::{Alone, QUESTION, address, film, ids, post, prompt};
use crate::published::{folder, session, start, start_with, vision_of};
use crate::support::{Answer, ask};

/// What is new of [`eight`].
const NEW: [usize; 3] = [0, 3, 5];

/// A square that stands at one of three places, in a frame of one side and with noise of its own.
fn frame(place: u32, noise: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let level = if (x / 12, y / 12) == (place, 1) { 220 } else { 90 };
        image::Rgb([level, level / 2, 60].map(|value: u8| value + ((x * 7 + y * 13 + noise * 5) % 4) as u8))
    };
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_fn(60, 40, pixel).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Eight frames of 8 s, of which no two files are the same and five show what the one before them does.
fn eight() -> (Vec<Vec<u8>>, Clip) {
    let frames = [0, 0, 0, 1, 1, 2, 2, 2].into_iter().zip(0..).map(|(place, noise)| frame(place, noise));
    (frames.collect(), Clip { duration_ms: 8_000, times_ms: (0..8).map(|second| second * 1_000).collect() })
}

fn new_ones() -> (Vec<Vec<u8>>, Clip) {
    let (frames, clip) = eight();
    (NEW.map(|frame| frames[frame].clone()).to_vec(), clip.only(NEW))
}

fn about((frames, clip): (Vec<Vec<u8>>, Clip)) -> Prompt {
    prompt((frames, Some(clip)))
}

fn vision(answer: &Answer) -> ModalityReceipt {
    answer.receipt.modalities.iter().find(|one| one.modality == Modality::Vision).unwrap().clone()
}

#[actix_web::test]
async fn a_video_over_http_is_answered_as_its_frames_that_say_something_new() {
    let place = folder("SmolVLM2", "SmolVLM2-2.2B-Instruct");
    let folder = place.path().join("SmolVLM2-2.2B-Instruct");
    let alone = Alone::new(&folder);
    let state = Data::new(start(&folder).unwrap());
    let url = json!({"url": address(&eight().0)});
    let wish = |prunes: bool| json!({"msao": {"prune_tiles": prunes}});
    let content =
        |reply: &Value| reply["choices"][0]["message"]["content"].as_str().unwrap().trim().to_owned();

    let (_, whole) = post(&state, url.clone(), json!({})).await;
    let per_frame = vision_of(&whole)[0] / 8;
    assert_eq!(vision_of(&whole), [8 * per_frame, 8 * per_frame, 8, 8]);
    let (status, pruned) = post(&state, url.clone(), wish(true)).await;
    assert_eq!(status, 200, "{pruned}");
    assert_eq!(vision_of(&pruned), [3 * per_frame, 8 * per_frame, 8, 3]);
    let (expected, prompt_tokens) = alone.answer(&about(new_ones()));
    assert_eq!(content(&pruned), alone.0.tokenizer().decode(&expected).trim());
    assert_eq!(pruned["usage"]["prompt_tokens"], prompt_tokens, "no line of a frame that is not there");
    let flops = |reply: &Value| reply["receipt"]["flops"].as_u64().unwrap();
    assert!(flops(&pruned) < flops(&whole), "{} {}", flops(&pruned), flops(&whole));

    // A server that leaves out by itself, and a client that wants everything.
    let pruning = Data::new(start_with(&folder, &["--prune-tiles"]).unwrap());
    let (_, default) = post(&pruning, url.clone(), json!({})).await;
    assert_eq!((vision_of(&default), content(&default)), (vision_of(&pruned), content(&pruned)));
    let (_, refused) = post(&pruning, url, wish(false)).await;
    assert_eq!((vision_of(&refused), content(&refused)), (vision_of(&whole), content(&whole)));
}

#[actix_web::test]
async fn a_session_goes_on_from_a_video_of_which_frames_were_left_out() {
    let place = folder("SmolVLM2", "SmolVLM2-2.2B-Instruct");
    let folder = place.path().join("SmolVLM2-2.2B-Instruct");
    let alone = Alone::new(&folder);
    let state = start_with(&folder, &["--prune-tiles"]).unwrap();
    let grid = state.engine.info().model.image;
    let mut client = session(Data::new(state)).await;
    client.send(&ClientMessage::Ask(film(1, eight()))).await;
    let first = client.answer(1).await;
    let (expected, prompt_tokens) = alone.answer(&about(new_ones()));
    assert_eq!((ids(&first), first.receipt.prompt_tokens as usize), (expected.clone(), prompt_tokens));
    assert_eq!((vision(&first).inputs, vision(&first).kept_inputs), (8, 3));
    let sent: usize = eight().0.iter().map(Vec::len).sum();
    assert_eq!(vision(&first).bytes, sent as u64, "all of them came");

    // The new frames alone are the same prompt, of which nothing is read again; nothing more is left out of them.
    client.send(&ClientMessage::Ask(film(2, new_ones()))).await;
    let second = client.answer(2).await;
    assert_eq!((ids(&second), vision(&second).inputs, vision(&second).kept_inputs), (expected, 3, 3));
    assert!(second.receipt.reused_tokens + 1 >= second.receipt.prompt_tokens, "{:?}", second.receipt);

    // A later question may be about any frame.
    let past = PastTurn { asked: about(eight()), answer: first.text.clone() };
    let next = Prompt { question: "And then?".into(), history: vec![past], ..Prompt::default() };
    client.send(&ClientMessage::Ask(Ask { continues: Some(1), ..ask(3, "And then?") })).await;
    let third = client.answer(3).await;
    let (expected, prompt_tokens) = alone.answer(&next);
    assert_eq!((ids(&third), third.receipt.prompt_tokens as usize), (expected, prompt_tokens));
    assert_eq!((vision(&third).inputs, vision(&third).kept_inputs), (8, 8));

    // What a device has chosen is not chosen from once more.
    let columns = KeptImage::COLUMNS.min(grid.tokens());
    let square_px = grid.side_px / grid.tokens_per_side;
    let squares = image::RgbImage::new(columns * square_px, grid.tokens().div_ceil(columns) * square_px);
    let mut bytes = Cursor::new(Vec::new());
    squares.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let tiles = Media { kind: MediaKind::Png, bytes: bytes.into_inner() };
    let kept = KeptImage { mask: KeepMask::new(&vec![true; grid.tokens() as usize]), tiles };
    let clip = Some(Clip { duration_ms: 2_000, times_ms: vec![0, 1_000] });
    let chosen = Ask { images: vec![ImageInput::Kept(kept); 2], clip, ..ask(4, QUESTION) };
    client.send(&ClientMessage::Ask(chosen)).await;
    let fourth = vision(&client.answer(4).await);
    assert_eq!((fourth.inputs, fourth.kept_inputs), (2, 2));
}
