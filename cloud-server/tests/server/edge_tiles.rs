//! Pictures of which the edge has left out tiles: what is answered about them, and what is refused.

use std::io::Cursor;

use actix_web::web::Data;
use msao_models::preprocess::{ResizeFilter, Tiling};
use msao_models::{Assistant, CheckpointFiles, DeviceKind, KeptTokens, Prompt, RgbImage, device};
use msao_protocol::{
    Ask, ClientMessage, ErrorCode, ImageInput, KeepMask, Media, MediaKind, Modality, TiledImage,
};

use crate::published::{folder, session, start};
use crate::support::ask;

const MASK: [bool; 8] = [false, true, false, false, false, false, true, false];
const TOKENS: usize = 16;

/// Noise, so that whatever is left of it takes its bytes.
fn picture() -> RgbImage {
    let noise = |at: u32| (u64::from(at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8;
    RgbImage::from_rgb(480, 240, (0..480 * 240 * 3).map(noise).collect()).unwrap()
}

fn media(picture: &RgbImage) -> Media {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_raw(picture.width(), picture.height(), picture.pixels().to_vec())
        .unwrap()
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    Media { kind: MediaKind::Png, bytes: bytes.into_inner() }
}

/// What a device sends of a picture, by nothing but what the server tells.
fn tiled(picture: &RgbImage, tiling: Tiling) -> TiledImage {
    TiledImage {
        rows: 2,
        columns: 4,
        mask: KeepMask::new(&MASK),
        picture: media(&tiling.paint_over(picture, &MASK)),
        whole: media(&tiling.whole(picture, ResizeFilter::Lanczos)),
    }
}

fn with(request_id: u32, tiled: TiledImage) -> Ask {
    Ask { images: vec![ImageInput::Tiles(tiled)], ..ask(request_id, "What is this?") }
}

#[actix_web::test]
async fn tiles_that_the_edge_left_out_are_answered_as_if_the_server_had_left_them_out() {
    for (family, name) in [("Idefics3", "SmolVLM-256M-Instruct"), ("SmolVLM2", "SmolVLM2-2.2B-Instruct")] {
        let place = folder(family, name);
        let folder = place.path().join(name);
        let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
        let assistant = Assistant::load(&CheckpointFiles::from_dir(&folder).unwrap(), &device).unwrap();
        let kept = KeptTokens { images: vec![Some(assistant.tokens_of_tiles(&MASK))], audio: None };
        let prompt =
            Prompt { question: "What is this?".into(), images: vec![picture()], kept, ..Prompt::default() };
        let mut generation = pollster::block_on(assistant.start(&prompt)).unwrap();
        while generation.tokens().len() < TOKENS
            && pollster::block_on(generation.next_token()).unwrap().is_some()
        {}

        let state = Data::new(start(&folder).unwrap());
        let info = state.engine.info().model.clone();
        let tiling = Tiling { longest_edge: info.pictures.longest_edge_px, tile: info.pictures.tile_px };
        let sent = tiled(&picture(), tiling);
        let bytes = (sent.picture.bytes.len() + sent.whole.bytes.len()) as u64;
        // More than the quarter that is kept, since tiles of so small a tower read far beyond their edges.
        assert!(bytes * 4 < 3 * media(&picture()).bytes.len() as u64, "{name}: {bytes}");

        let mut client = session(state).await;
        client.send(&ClientMessage::Ask(Ask { max_new_tokens: 16, ..with(1, sent.clone()) })).await;
        let answer = client.answer(1).await;
        let ids: Vec<u32> = answer.settled.iter().map(|one| one.token.id).collect();
        assert_eq!(ids, generation.tokens(), "{name}");
        let vision = answer.receipt.modalities.iter().find(|one| one.modality == Modality::Vision).unwrap();
        assert_eq!((vision.inputs, vision.kept_inputs), (9, 3), "{name}");
        assert_eq!(vision.given_tokens, vision.prompt_tokens * 3, "{name}");

        // The same picture with other tiles is another one; the first goes on being what it was.
        let all = TiledImage { mask: KeepMask::new(&[true; 8]), ..tiled(&picture(), tiling) };
        client.send(&ClientMessage::Ask(with(2, all))).await;
        assert_eq!(client.answer(2).await.receipt.modalities[1].kept_inputs, 9, "{name}");
        let next = Ask { continues: Some(1), ..ask(3, "And now?") };
        client.send(&ClientMessage::Ask(next)).await;
        let on = client.answer(3).await.receipt;
        assert!(on.reused_tokens > vision.prompt_tokens, "{name}: {}", on.reused_tokens);

        let refuse = [
            (TiledImage { rows: 4, columns: 2, ..sent.clone() }, "2 rows of 4"),
            (TiledImage { mask: KeepMask::new(&[true; 4]), ..sent.clone() }, "4 parts"),
            (TiledImage { mask: KeepMask::new(&[false; 8]), ..sent.clone() }, "at least 1"),
            (TiledImage { whole: sent.picture.clone(), ..sent.clone() }, "480x240"),
        ];
        for (wrong, words) in refuse {
            client.refused_with(with(9, wrong), ErrorCode::KeptMismatch, &[words]).await;
        }
        let mut cut = sent.clone();
        cut.whole.bytes.truncate(60);
        let code = client.refused(with(9, cut)).await.code;
        assert!(matches!(code, ErrorCode::Truncated | ErrorCode::NotAnImage), "{code:?}");
    }
}
