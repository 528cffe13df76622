//! Pictures of which only some tiles came, held to the target's own layout.
//!
//! What is grey in the picture is never looked at: the layout follows from the picture's size, and the mask must be of exactly that
//! layout. The whole comes as a picture of its own, in the size that the target's tower takes.

use msao_models::KeptTokens;
use msao_models::preprocess::{ImageLayout, RgbImage, Tiling};
use msao_protocol::{ErrorCode, ModelInfo, TiledImage};

use super::Refusal;
use super::check::check_mask;

/// Holds what can be told without decoding: that the target looks at tiles, and a mask of as many as are announced.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check_tiled(tiled: &TiledImage, model: &ModelInfo) -> Result<(), Refusal> {
    let tiling = tiling(model)?;
    let (rows, columns) = (u32::from(tiled.rows), u32::from(tiled.columns));
    let most = tiling.max_per_side();
    if rows.max(columns) > most || rows * columns < 2 {
        return Err(mismatch(format!(
            "the picture is announced as {rows} rows of {columns} tiles; this model makes 2 tiles or more, and at most {most} a side: send it whole"
        )));
    }
    check_mask(&tiled.mask, rows * columns, "picture's tiles")
}

/// The kept tokens of a checked picture, which is not decoded for nothing: its size gives the target's layout.
///
/// # Errors
/// When the client has split it otherwise.
pub(super) fn kept_tokens(
    tiled: &TiledImage,
    picture: &RgbImage,
    model: &ModelInfo,
) -> Result<Vec<usize>, Refusal> {
    let (width, height) = (picture.width(), picture.height());
    let ImageLayout { rows, columns } = tiling(model)?.layout(width, height);
    if (rows, columns) != (tiled.rows.into(), tiled.columns.into()) {
        return Err(mismatch(format!(
            "a picture of {width}x{height} pixels came as {} rows of {} tiles; this model makes {rows} rows of {columns}: split it by the longest edge and the side told in Welcome, or send it whole",
            tiled.rows, tiled.columns
        )));
    }
    let tiles: Vec<bool> = (0..rows * columns).map(|tile| tiled.mask.is_kept(tile)).collect();
    Ok(KeptTokens::of_tiles(&tiles, model.image.tokens() as usize))
}

/// The square that shows the whole.
///
/// # Errors
/// When it has another size than the target's own.
pub(super) fn whole(whole: RgbImage, model: &ModelInfo) -> Result<RgbImage, Refusal> {
    let (width, height, side) = (whole.width(), whole.height(), model.pictures.tile_px);
    if (width, height) != (side, side) {
        return Err(mismatch(format!(
            "the whole beside a picture's tiles has {width}x{height} pixels; {side}x{side} are expected: scale it to the side told in Welcome"
        )));
    }
    Ok(whole)
}

fn tiling(model: &ModelInfo) -> Result<Tiling, Refusal> {
    match (model.pictures.longest_edge_px, model.pictures.tile_px) {
        (0, _) | (_, 0) => Err(mismatch(
            "this model looks at pictures in one piece, not in tiles: send them whole".to_owned(),
        )),
        (longest_edge, tile) => Ok(Tiling { longest_edge, tile }),
    }
}

fn mismatch(message: String) -> Refusal {
    Refusal::new(ErrorCode::KeptMismatch, message)
}

#[cfg(test)]
mod tests {
    use msao_protocol::{ImageGrid, KeepMask, Media, MediaKind, PictureSize};

    use super::super::check::tests::engine;
    use super::*;

    /// 64 pixels a tile with 4 tokens, 4 tiles along the longer side.
    fn model() -> ModelInfo {
        let image = ImageGrid { side_px: 64, tokens_per_side: 2 };
        ModelInfo { image, pictures: PictureSize { longest_edge_px: 256, tile_px: 64 }, ..engine().model }
    }

    fn tiled(rows: u8, columns: u8, mask: &[bool]) -> TiledImage {
        let media = || Media { kind: MediaKind::Png, bytes: vec![1] };
        TiledImage { rows, columns, mask: KeepMask::new(mask), picture: media(), whole: media() }
    }

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_rgb(width, height, vec![7; (width * height * 3) as usize]).unwrap()
    }

    #[test]
    fn kept_tiles_become_their_tokens_and_the_whole_s() {
        let tiled = tiled(2, 4, &[false, true, false, false, false, false, false, false]);
        check_tiled(&tiled, &model()).unwrap();
        assert_eq!(kept_tokens(&tiled, &picture(40, 20), &model()).unwrap(), [4, 5, 6, 7, 32, 33, 34, 35]);
        assert!(whole(picture(64, 64), &model()).is_ok());
    }

    #[test]
    fn what_the_target_would_split_otherwise_is_refused() {
        let refused = |tiled: TiledImage, model: &ModelInfo| check_tiled(&tiled, model).unwrap_err();
        for wrong in [
            tiled(2, 4, &[true; 7]),
            tiled(2, 4, &[true; 9]),
            tiled(2, 4, &[false; 8]),
            tiled(0, 4, &[]),
            tiled(1, 1, &[true]),
            tiled(1, 5, &[true; 5]),
            tiled(255, 255, &[true]),
        ] {
            let text = format!("{wrong:?}");
            assert_eq!(refused(wrong, &model()).code, ErrorCode::KeptMismatch, "{text}");
        }
        let in_one_piece = refused(tiled(2, 4, &[true; 8]), &engine().model);
        assert!(in_one_piece.message.contains("send them whole"), "{in_one_piece}");
        // 40x20 makes two rows of four.
        let other = kept_tokens(&tiled(4, 2, &[true; 8]), &picture(40, 20), &model()).unwrap_err();
        assert!(other.message.contains("2 rows of 4"), "{other}");
        let side = whole(picture(64, 63), &model()).unwrap_err();
        assert_eq!(side.code, ErrorCode::KeptMismatch);
        assert!(side.message.contains("64x64"), "{side}");
    }
}
