//! Films a card: a picture on a desk, held at an angle, under uneven light, with sensor noise and a shaky hand.
//!
//! The film is y4m, which Chromium plays as its camera (`--use-file-for-fake-video-capture`). Perspective is a
//! real projective map; everything random comes from a seed, so that a failing film can be made again.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use image::RgbImage;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const FRAMES_PER_S: u32 = 10;
const SECONDS: u32 = 2;
/// Samples a pixel and axis: a lens blurs a little, and edges without it would flicker.
const SUPERSAMPLING: u32 = 2;

/// How a card is filmed.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    /// Where the card's corners are in the film, in pixels: top left, top right, bottom right, bottom left.
    pub corners: [(f32, f32); 4],
    /// Standard deviation of the sensor noise, in levels of 255.
    pub noise: f32,
    /// Brightness at the left and at the right edge of the film; 1 leaves the card as it is.
    pub light: (f32, f32),
    /// How far the hand moves, in pixels.
    pub shake: f32,
    /// Start of everything random.
    pub seed: u64,
}

impl Default for Shot {
    /// Nearly filling the middle of the film, tilted by some ten degrees on two axes, darker on the left.
    fn default() -> Self {
        Self {
            corners: [(108.0, 46.0), (520.0, 22.0), (548.0, 440.0), (92.0, 458.0)],
            noise: 5.0,
            light: (0.78, 1.04),
            shake: 1.5,
            seed: 7,
        }
    }
}

/// Films the picture in `card` and writes two seconds to the y4m file `film`.
///
/// # Errors
/// If the picture cannot be read or the film cannot be written.
pub fn film(card: &Path, shot: &Shot, film: &Path) -> Result<()> {
    let card = image::open(card).with_context(|| format!("cannot read {}", card.display()))?.to_rgb8();
    let file = File::create(film).with_context(|| format!("cannot make {}", film.display()))?;
    write_y4m(&mut BufWriter::new(file), frames(&card, *shot))
}

/// The pictures of the film, each made when it is asked for.
pub fn frames(card: &RgbImage, shot: Shot) -> impl Iterator<Item = RgbImage> {
    let mut random = Random(shot.seed);
    (0..SECONDS * FRAMES_PER_S).map(move |frame| {
        // The hand's drift closes with the film, because the film is looped.
        let phase = frame as f32 / (SECONDS * FRAMES_PER_S) as f32 * std::f32::consts::TAU;
        let (dx, dy) = (shot.shake * phase.sin(), shot.shake * (2.0 * phase).cos());
        take_picture(card, &shot.corners.map(|(x, y)| (x + dx, y + dy)), &shot, &mut random)
    })
}

fn take_picture(card: &RgbImage, corners: &[(f32, f32); 4], shot: &Shot, random: &mut Random) -> RgbImage {
    let to_card = Projection::onto_unit_square(corners);
    let samples = (SUPERSAMPLING * SUPERSAMPLING) as f32;
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let mut color = [0.0; 3];
        for step in 0..SUPERSAMPLING * SUPERSAMPLING {
            let offset = |step: u32| (step as f32 + 0.5) / SUPERSAMPLING as f32;
            let (px, py) = (x as f32 + offset(step % SUPERSAMPLING), y as f32 + offset(step / SUPERSAMPLING));
            let (u, v) = to_card.apply(px, py);
            let seen = if (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v) {
                bilinear(card, u, v)
            } else {
                desk(px, py)
            };
            for channel in 0..3 {
                color[channel] += seen[channel] / samples;
            }
        }
        let light = shot.light.0 + (shot.light.1 - shot.light.0) * x as f32 / WIDTH as f32;
        image::Rgb(color.map(|level| (level * light + shot.noise * random.normal()).clamp(0.0, 255.0) as u8))
    })
}

/// The desk below the card: brown, with a slow grain.
fn desk(x: f32, y: f32) -> [f32; 3] {
    let grain = 6.0 * (y * 0.11 + (x * 0.013).sin() * 2.0).sin();
    [118.0 + grain, 92.0 + grain, 70.0 + grain]
}

fn bilinear(picture: &RgbImage, u: f32, v: f32) -> [f32; 3] {
    let (width, height) = picture.dimensions();
    let x = (u * width as f32 - 0.5).clamp(0.0, (width - 1) as f32);
    let y = (v * height as f32 - 0.5).clamp(0.0, (height - 1) as f32);
    let (left, top) = (x as u32, y as u32);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x.fract(), y.fract());
    std::array::from_fn(|channel| {
        let level = |x, y| f32::from(picture.get_pixel(x, y)[channel]);
        let upper = level(left, top) * (1.0 - fx) + level(right, top) * fx;
        let lower = level(left, bottom) * (1.0 - fx) + level(right, bottom) * fx;
        upper * (1.0 - fy) + lower * fy
    })
}

/// A projective map of the plane, as the rows of its matrix.
struct Projection([[f32; 3]; 3]);

impl Projection {
    /// The map that takes four corners, in order around the figure, to (0,0), (1,0), (1,1), (0,1): the inverse,
    /// by adjugate, of the closed form in Heckbert, "Fundamentals of Texture Mapping and Image Warping", 2.2.3.
    fn onto_unit_square(corners: &[(f32, f32); 4]) -> Self {
        let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = *corners;
        let (dx1, dy1, dx2, dy2) = (x1 - x2, y1 - y2, x3 - x2, y3 - y2);
        let (sx, sy) = (x0 - x1 + x2 - x3, y0 - y1 + y2 - y3);
        let determinant = dx1 * dy2 - dx2 * dy1;
        let g = (sx * dy2 - dx2 * sy) / determinant;
        let h = (dx1 * sy - sx * dy1) / determinant;
        let (a, b, c) = (x1 - x0 + g * x1, x3 - x0 + h * x3, x0);
        let (d, e, f) = (y1 - y0 + g * y1, y3 - y0 + h * y3, y0);
        Self([
            [e - f * h, c * h - b, b * f - c * e],
            [f * g - d, a - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ])
    }

    fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        let [u, v, w] = self.0.map(|row| row[0] * x + row[1] * y + row[2]);
        (u / w, v / w)
    }
}

/// SplitMix64, and a normal variate from four of its uniforms (Irwin-Hall).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }
}

/// Writes frames as y4m 4:2:0, BT.601 limited range, which is what Chromium turns back to the same colours.
fn write_y4m(file: &mut impl Write, frames: impl Iterator<Item = RgbImage>) -> Result<()> {
    writeln!(file, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAMES_PER_S}:1 Ip A1:1 C420")?;
    for frame in frames {
        writeln!(file, "FRAME")?;
        let luma: Vec<u8> =
            frame.pixels().map(|pixel| weigh(pixel, [65.738, 129.057, 25.064], 16.0)).collect();
        file.write_all(&luma)?;
        for weights in [[-37.945, -74.494, 112.439], [112.439, -94.154, -18.285]] {
            file.write_all(&halved_plane(&frame, weights))?;
        }
    }
    file.flush()?;
    Ok(())
}

/// A colour-difference plane at half the resolution: the mean of each 2x2 block.
fn halved_plane(frame: &RgbImage, weights: [f32; 3]) -> Vec<u8> {
    let mut plane = Vec::with_capacity((WIDTH * HEIGHT / 4) as usize);
    for y in (0..HEIGHT).step_by(2) {
        for x in (0..WIDTH).step_by(2) {
            let mean: [u8; 3] = std::array::from_fn(|channel| {
                let block = [(0, 0), (1, 0), (0, 1), (1, 1)];
                let sum: u32 =
                    block.iter().map(|(i, j)| u32::from(frame.get_pixel(x + i, y + j)[channel])).sum();
                ((sum + 2) / 4) as u8
            });
            plane.push(weigh(&image::Rgb(mean), weights, 128.0));
        }
    }
    plane
}

fn weigh(pixel: &image::Rgb<u8>, weights: [f32; 3], offset: f32) -> u8 {
    let sum: f32 = (0..3).map(|channel| weights[channel] / 256.0 * f32::from(pixel[channel])).sum();
    (sum + offset).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corners_of_the_card_land_where_the_shot_says() {
        let corners = Shot::default().corners;
        let projection = Projection::onto_unit_square(&corners);
        for ((x, y), (u, v)) in corners.into_iter().zip([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) {
            let (got_u, got_v) = projection.apply(x, y);
            assert!(
                (got_u - u).abs() < 1e-4 && (got_v - v).abs() < 1e-4,
                "({x}, {y}) lands on ({got_u}, {got_v})"
            );
        }
    }

    #[test]
    fn the_same_seed_films_the_same_frames_and_another_seed_others() {
        let card = RgbImage::from_pixel(32, 32, image::Rgb([200, 30, 30]));
        let shot = Shot::default();
        let first = frames(&card, shot).next();
        assert_eq!(first, frames(&card, shot).next());
        assert_ne!(first, frames(&card, Shot { seed: 8, ..shot }).next());
    }

    #[test]
    fn noise_has_the_spread_it_is_said_to_have() {
        let mut random = Random(1);
        let draws: Vec<f32> = (0..20_000).map(|_| random.normal()).collect();
        let variance = draws.iter().map(|draw| draw * draw).sum::<f32>() / draws.len() as f32;
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }
}
