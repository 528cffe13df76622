//! Preprocessing against Pillow, transformers and scipy; `reference/make_preprocess_golden.py` made the files.
#![expect(clippy::print_stdout, reason = "how close it comes is worth reading")]

mod tiny_config;

use msao_models::preprocess::{Pcm, Preprocessor, Resampler, ResizeFilter, RgbImage, resize};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tiny_config::config;

/// Breaks a file.
type Change = fn(&mut Value);

const GOLDEN: &[u8] = include_bytes!("golden/preprocess.safetensors");

fn golden_bytes(name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(GOLDEN).expect("a safetensors file");
    file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}")).data().to_vec()
}

fn golden_floats(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(GOLDEN).expect("a safetensors file");
    assert_eq!(file.tensor(name).expect(name).dtype(), Dtype::F32);
    golden_bytes(name).as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn assert_close(name: &str, actual: &[f32], tolerance: f32) {
    let expected = golden_floats(name);
    assert_eq!(actual.len(), expected.len(), "{name}");
    let error = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name}: largest difference {error:.1e}");
    assert!(error <= tolerance, "{name}: off by {error}");
}

/// The picture of the script's `picture`.
fn picture(width: u32, height: u32) -> RgbImage {
    let value = |x: u32, y: u32, c: u32| {
        let check = if (x / 4 + y / 3).is_multiple_of(2) { 90 } else { 0 };
        ((x * 7 + y * 13 + c * 50 + (x * y) / 5 + check) % 256) as u8
    };
    let rows = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(x, y, c))));
    RgbImage::from_rgb(width, height, rows.collect()).expect("a valid picture")
}

/// The recording of the script's `recording`.
fn recording(count: i64, period: i64) -> Vec<f32> {
    let mut state = 12_345_u32;
    (0..count)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (i64::from(state >> 16) - 32_768).div_euclid(16);
            let phase = n % period;
            let triangle = ((2 * phase.min(period - phase) - period / 2) * 16_000).div_euclid(period);
            let level = 4 - (4 * n) / count;
            ((triangle * level).div_euclid(4) + (noise * level).div_euclid(4)) as f32 / 32_768.0
        })
        .collect()
}

fn pocket_file() -> Value {
    json!({
        "image_processor_type": "MsaoImageProcessor", "size": {"height": 32, "width": 32}, "resample": 1,
        "do_center_crop": true, "rescale_factor": 1.0 / 255.0,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "audio": {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16_000, "n_fft": 400,
            "hop_length": 160, "feature_size": 80, "chunk_length_s": 1.0},
    })
}

fn smolvlm_file() -> Value {
    json!({
        "do_convert_rgb": true, "do_image_splitting": true, "do_normalize": true, "do_pad": true,
        "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "Idefics3ImageProcessor", "max_image_size": {"longest_edge": 32},
        "processor_class": "Idefics3Processor", "resample": 1, "rescale_factor": 0.003_921_568_627_450_98,
        "size": {"longest_edge": 128},
    })
}

fn preprocessor(file: &Value, audio: bool) -> Preprocessor {
    Preprocessor::from_json(file.to_string().as_bytes(), &config(audio)).expect("a valid file")
}

#[test]
fn resizing_equals_pillow_to_the_bit() {
    let sizes = [
        ((97, 61), (32, 32)),
        ((20, 30), (33, 47)),
        ((50, 9), (7, 40)),
        ((64, 40), (64, 16)),
        ((300, 3), (2, 1)),
        ((33, 34), (32, 32)),
        ((33, 35), (32, 32)),
        ((30, 30), (40, 20)),
        ((20, 30), (20, 16)),
    ];
    for ((width, height), (to_width, to_height)) in sizes {
        for (name, filter) in [
            ("lanczos", ResizeFilter::Lanczos),
            ("bilinear", ResizeFilter::Bilinear),
            ("bicubic", ResizeFilter::Bicubic),
        ] {
            let name = format!("resize.{name}.{width}x{height}.{to_width}x{to_height}");
            let resized = resize(&picture(width, height), to_width, to_height, filter);
            assert_eq!(resized.pixels(), golden_bytes(&name), "{name}");
        }
    }
}

#[test]
fn images_come_out_as_transformers_makes_them() {
    let pocket = preprocessor(&pocket_file(), true);
    assert_close("image.center_square", &pocket.image(&picture(97, 61)), 1e-6);
    let smolvlm = preprocessor(&smolvlm_file(), false);
    assert_close("image.smolvlm.97x61", &smolvlm.image(&picture(97, 61)), 1e-6);
    assert_close("image.smolvlm.40x75", &smolvlm.image(&picture(40, 75)), 1e-6);
}

#[test]
fn log_mel_equals_whispers() {
    let preprocessor = preprocessor(&pocket_file(), true);
    for (name, samples) in
        [("short", recording(7_000, 37)), ("full", recording(16_000, 91)), ("long", recording(20_000, 53))]
    {
        let pcm = Pcm::from_mono(16_000, samples).expect("a valid recording");
        let mel = preprocessor.audio(&pcm).expect("the checkpoint can hear");
        assert_close(&format!("mel.{name}"), &mel, 1e-5);
    }
}

#[test]
fn resampling_equals_scipys_with_the_same_filter() {
    for rate_hz in [8_000, 11_025, 24_000, 44_100, 48_000] {
        let samples = recording(i64::from(rate_hz / 20), 41);
        let output = Resampler::new(rate_hz, 16_000).resample(&samples, usize::MAX);
        assert_close(&format!("resample.{rate_hz}"), &output, 2e-6);
    }
}

#[test]
fn a_recording_at_any_rate_fills_the_chunk() {
    let preprocessor = preprocessor(&pocket_file(), true);
    for (rate_hz, count) in [(48_000, 1), (44_100, 30_000), (8_000, 80_000)] {
        let pcm = Pcm::from_mono(rate_hz, vec![0.1; count]).expect("a valid recording");
        assert_eq!(preprocessor.audio(&pcm).expect("a spectrogram").len(), 80 * 100);
    }
    let deaf = self::preprocessor(&smolvlm_file(), false);
    let pcm = Pcm::from_mono(16_000, vec![0.1; 100]).expect("a valid recording");
    assert!(deaf.audio(&pcm).expect_err("no audio tower").to_string().contains("leave the recording out"));
}

#[test]
fn files_that_do_not_fit_the_towers_are_refused_by_key() {
    let refusal = |change: Change| {
        let mut file = pocket_file();
        change(&mut file);
        Preprocessor::from_json(file.to_string().as_bytes(), &config(true)).expect_err("refused").to_string()
    };
    let cases: [(Change, &str); 9] = [
        (|file| file["size"]["height"] = json!(64), "size is 32x64"),
        (|file| file["size"] = json!({"longest_edge": 64}), "max_image_size"),
        (|file| file["resample"] = json!(0), "resample is 0"),
        (|file| file["image_std"] = json!([0.5, 0.0, 0.5]), "image_std"),
        (|file| file["do_resize"] = json!(false), "do_resize"),
        (|file| file["audio"] = Value::Null, "no `audio` section"),
        (|file| file["audio"]["feature_size"] = json!(128), "num_mel_bins"),
        (|file| file["audio"]["chunk_length_s"] = json!(30.0), "max_source_positions"),
        (|file| file["audio"]["n_fft"] = json!(0), "audio.n_fft"),
    ];
    for (change, key) in cases {
        let message = refusal(change);
        assert!(message.contains(key) && message.contains("preprocessor_config.json"), "{message}");
    }
    let broken = Preprocessor::from_json(b"{\"size\"", &config(true));
    assert!(broken.expect_err("refused").to_string().contains("preprocessor_config.json"));
}
