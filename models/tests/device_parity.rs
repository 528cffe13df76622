//! The same checkpoint on the CPU and on a GPU through Vulkan: towers and scores within 1e-3, same greedy text.
//!
//! Needs the feature `vulkan` and `MSAO_VULKAN=1`, which says that there is a real GPU: software drivers do not get
//! through (Mesa 22.3's lavapipe crashes while compiling kernels, SwiftShader fails).
#![cfg(feature = "vulkan")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail loudly and says what it skips"
)]

mod comparison;
mod support;

use burn::tensor::{Device, Tensor};
use comparison::{assert_close, values};
use msao_models::device::{self, DeviceKind};
use support::{Golden, greedy, run};

const TOLERANCE: f32 = 1e-3;

#[test]
fn vulkan_equals_the_cpu() {
    if std::env::var("MSAO_VULKAN").as_deref() != Ok("1") {
        eprintln!("SKIPPED: set MSAO_VULKAN=1 on a machine with a GPU");
        return;
    }
    let gpu = pollster::block_on(device::open(DeviceKind::Vulkan)).unwrap();
    let (cpu, gpu) = (Golden::load(&Device::flex()), Golden::load(&gpu));
    let towers = |golden: &Golden| -> [Tensor<3>; 2] {
        let hearing = golden.model.audio.as_ref().unwrap();
        [golden.model.encode_images(golden.tensor("pixels")), hearing.encode(golden.tensor("mel"))]
    };
    for (name, (cpu, gpu)) in ["images", "audio"].into_iter().zip(towers(&cpu).into_iter().zip(towers(&gpu)))
    {
        assert_close(name, gpu, &values(cpu), TOLERANCE);
    }
    let logits = |golden: &Golden| {
        let mut cache = golden.model.decoder.new_cache(1, 192);
        let prompt = run(&golden.model.decoder, golden.prompt_embeddings(), &mut cache);
        let drafts = golden.model.decoder.embed(&[vec![40, 41, 42, 43, 44]]);
        [prompt, run(&golden.model.decoder, drafts, &mut cache)]
    };
    for (name, (cpu, gpu)) in
        ["prefill", "verify"].into_iter().zip(logits(&cpu).into_iter().zip(logits(&gpu)))
    {
        assert_close(name, gpu, &values(cpu), TOLERANCE);
    }
    let text = |golden: &Golden| greedy(&golden.model.decoder, golden.prompt_embeddings(), 64);
    assert_eq!(text(&gpu), text(&cpu));
}
