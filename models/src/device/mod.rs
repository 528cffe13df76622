//! Which device the model runs on, chosen at run time; the only place that knows which backends were compiled.
//!
//! The rest of the crate sees a [`Device`] and asks [`is_cpu`] where CPU and GPU want different shapes.

use std::fmt;
use std::str::FromStr;

pub use burn::tensor::Device;

use crate::error::ModelError;

#[cfg(feature = "flex")]
mod cpu_linear;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(feature = "flex")]
mod host_decoder;
#[cfg(feature = "flex")]
mod host_encoder;
#[cfg(feature = "flex")]
mod host_speech;
#[cfg(not(feature = "gpu"))]
mod no_gpu;
#[cfg(not(feature = "flex"))]
mod no_host;

#[cfg(feature = "flex")]
pub(crate) use cpu_linear::PackedWeight;
#[cfg(feature = "gpu")]
pub(crate) use gpu::{FusedCache, FusedDecoder, FusedSegment, GpuEncoder, product};
#[cfg(feature = "flex")]
pub(crate) use host_decoder::{HostCache, HostDecoder, HostSegment};
#[cfg(feature = "flex")]
pub(crate) use host_encoder::HostEncoder;
#[cfg(feature = "flex")]
pub(crate) use host_speech::{Heard, SpeechDecoder};
#[cfg(not(feature = "gpu"))]
pub(crate) use no_gpu::{FusedCache, FusedDecoder, FusedSegment, GpuEncoder, product};
#[cfg(not(feature = "flex"))]
pub(crate) use no_host::{
    Heard, HostCache, HostDecoder, HostEncoder, HostSegment, PackedWeight, SpeechDecoder,
};

/// A kind of device, as named on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU through burn's flex backend; also in Wasm.
    Cpu,
    /// WebGPU, in a browser or through wgpu natively.
    WebGpu,
    /// Vulkan through wgpu.
    Vulkan,
    /// NVIDIA through CUDA.
    Cuda,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::WebGpu => "webgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceKind {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        [Self::Cpu, Self::WebGpu, Self::Vulkan, Self::Cuda]
            .into_iter()
            .find(|kind| kind.to_string() == name)
            .ok_or_else(|| unavailable(name, "known devices are cpu, webgpu, vulkan and cuda"))
    }
}

/// Opens a device; asynchronous because a browser hands out its GPU that way.
///
/// # Errors
/// [`ModelError::Device`] where the backend was not compiled in or no adapter answers.
pub async fn open(kind: DeviceKind) -> Result<Device, ModelError> {
    match kind {
        DeviceKind::Cpu => open_cpu(),
        DeviceKind::WebGpu => open_webgpu().await,
        DeviceKind::Vulkan => open_vulkan().await,
        DeviceKind::Cuda => open_cuda(),
    }
}

/// The CPU, for what runs there only.
#[cfg(feature = "flex")]
pub(crate) fn open_cpu() -> Result<Device, ModelError> {
    Ok(Device::flex())
}

/// The CPU, for what runs there only.
#[cfg(not(feature = "flex"))]
pub(crate) fn open_cpu() -> Result<Device, ModelError> {
    Err(not_compiled(DeviceKind::Cpu, "flex"))
}

#[cfg(feature = "webgpu")]
async fn open_webgpu() -> Result<Device, ModelError> {
    use burn::tensor::wgpu::WgpuBackend;
    open_wgpu(DeviceKind::WebGpu, WgpuBackend::WebGpu).await
}

#[cfg(not(feature = "webgpu"))]
async fn open_webgpu() -> Result<Device, ModelError> {
    Err(not_compiled(DeviceKind::WebGpu, "webgpu"))
}

#[cfg(feature = "vulkan")]
async fn open_vulkan() -> Result<Device, ModelError> {
    use burn::tensor::wgpu::WgpuBackend;
    open_wgpu(DeviceKind::Vulkan, WgpuBackend::Vulkan).await
}

#[cfg(not(feature = "vulkan"))]
async fn open_vulkan() -> Result<Device, ModelError> {
    Err(not_compiled(DeviceKind::Vulkan, "vulkan"))
}

/// Opens wgpu's default adapter once and hands out clones afterwards: a second initialisation is an error there.
#[cfg(any(feature = "webgpu", feature = "vulkan"))]
async fn open_wgpu(kind: DeviceKind, api: burn::tensor::wgpu::WgpuBackend) -> Result<Device, ModelError> {
    use std::sync::Mutex;
    static OPENED: Mutex<Vec<(DeviceKind, Device)>> = Mutex::new(Vec::new());
    let known = |kind| {
        let opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        opened.iter().find(|(known, _)| *known == kind).map(|(_, device)| device.clone())
    };
    if let Some(device) = known(kind) {
        return Ok(device);
    }
    match Device::wgpu_options().graphics_api(api).init_async().await {
        Ok(device) => {
            let mut opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            opened.push((kind, device.clone()));
            Ok(device)
        }
        // Another task may have won the race while this one waited for the adapter.
        Err(error) => known(kind).ok_or_else(|| unavailable(&kind.to_string(), &error.to_string())),
    }
}

#[cfg(feature = "cuda")]
fn open_cuda() -> Result<Device, ModelError> {
    Ok(Device::cuda(0_usize))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda() -> Result<Device, ModelError> {
    Err(not_compiled(DeviceKind::Cuda, "cuda"))
}

#[cfg(not(all(feature = "flex", feature = "webgpu", feature = "vulkan", feature = "cuda")))]
fn not_compiled(kind: DeviceKind, feature: &str) -> ModelError {
    unavailable(&kind.to_string(), &format!("rebuild with the cargo feature `{feature}`"))
}

fn unavailable(device: &str, reason: &str) -> ModelError {
    ModelError::Device { device: device.to_owned(), reason: reason.to_owned() }
}

/// Whether tensors on this device live in host memory, where exact shapes are free and padding is not.
#[cfg(feature = "flex")]
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether tensors on this device live in host memory, where exact shapes are free and padding is not.
#[cfg(not(feature = "flex"))]
pub fn is_cpu(_device: &Device) -> bool {
    false
}

/// Sets on how many threads the CPU multiplies.
#[cfg(all(feature = "flex", not(target_family = "wasm")))]
pub use msao_kernels::set_threads;
