//! Where tensors meet the kernels: a pass is one operation in the device's queue.
//!
//! With fusion on, operations wait in a queue and run when a result is read. A pass waits there too, so that it comes
//! after what its inputs are made by; it therefore carries all it needs, and holds its slots of the cache until it ran.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Cube, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::Shared;
use super::encoder::EncoderPass;
use super::launch::{Buffer, Launcher};
use super::plan::Plan;
use super::pool::{Move, Slot};
use super::stored::Matrix;

/// What goes into a pass.
pub(super) enum Input {
    /// Ids inside the vocabulary.
    Tokens(Tensor<1, Int>),
    /// `[batch, positions, hidden]`
    Hidden(Tensor<3>),
}

/// What comes out of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassOutput {
    /// What the last layer gives.
    Hidden,
    /// The same behind the final norm.
    Normed,
    /// Scores; of what goes in as it is where no layer runs.
    Logits,
}

/// Some layers over some rows, with everything that this needs.
#[derive(Debug, Clone)]
pub(super) struct Pass(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    decoder: Arc<Shared>,
    layers: Range<usize>,
    plan: Plan,
    /// What to copy in the cache before the layers run.
    moves: Vec<Move>,
    /// Slots that the plan names: nobody else may have them before the pass ran.
    _slots: Vec<Arc<Slot>>,
    output: PassOutput,
    shape: [usize; 3],
}

impl Pass {
    pub(super) fn new(
        decoder: Arc<Shared>,
        layers: Range<usize>,
        plan: Plan,
        moves: Vec<Move>,
        slots: Vec<Arc<Slot>>,
        output: PassOutput,
        shape: [usize; 3],
    ) -> Self {
        Self(Arc::new(Contents { decoder, layers, plan, moves, _slots: slots, output, shape }))
    }

    fn spec(&self) -> Shape {
        Shape::from(self.0.shape)
    }

    /// Launches the pass over rows of hidden values, which it overwrites.
    fn launch(&self, x: Buffer) -> Buffer {
        let Contents { decoder, layers, plan, moves, output, .. } = &*self.0;
        let Shared { launcher, weights, pool, .. } = &**decoder;
        moves.iter().for_each(|step| pool.copy(step));
        if !layers.is_empty() {
            let caches = pool.buffers();
            launcher.run_layers(weights, layers.clone(), &caches[layers.clone()], plan, &x);
        }
        match output {
            PassOutput::Hidden => x,
            PassOutput::Normed => launcher.norm(weights, &x),
            PassOutput::Logits if layers.is_empty() => launcher.logits(&weights.head, &x),
            PassOutput::Logits => launcher.logits(&weights.head, &launcher.norm(weights, &x)),
        }
    }
}

/// The operations that burn's backends do not have.
#[backend_extension(Cube, Fusion: cfg(feature = "cuda"))]
pub(crate) trait DecoderPasses: Backend {
    /// Runs a pass over tokens.
    #[fusion(dtype = DType::F32, shape = pass.spec())]
    fn pass_over_tokens(ids: IntTensor<Self>, pass: Pass) -> FloatTensor<Self>;

    /// Runs a pass over hidden values.
    #[fusion(dtype = DType::F32, shape = pass.spec())]
    fn pass_over_hidden(hidden: FloatTensor<Self>, pass: Pass) -> FloatTensor<Self>;

    /// Runs an encoder's layers over `[batch, positions, hidden]`, with `[positions]` of a mask.
    #[fusion(dtype = DType::F32, shape = Shape::from(pass.shape))]
    fn encoder_pass(x: FloatTensor<Self>, mask: FloatTensor<Self>, pass: EncoderPass) -> FloatTensor<Self>;

    /// `x W^T`: `[rows, in]` and `[out, in]` to `[rows, out]`, where four divides `in`.
    #[fusion(dtype = x, shape = Shape::from([x[0], weight[0]]))]
    fn dense_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl DecoderPasses for CubeBackend {
    fn pass_over_tokens(ids: IntTensor<Self>, pass: Pass) -> FloatTensor<Self> {
        assert_eq!(ids.dtype, DType::I32, "ids are of 32 bits");
        let ids = into_contiguous(ids);
        let Shared { launcher, weights, .. } = &*pass.0.decoder;
        let x = launcher.embed(&weights.table, &ids.handle, pass.0.shape[1]);
        beside(&ids, pass.spec(), pass.launch(x))
    }

    fn pass_over_hidden(hidden: FloatTensor<Self>, pass: Pass) -> FloatTensor<Self> {
        let hidden = into_contiguous(hidden);
        let x =
            if pass.0.layers.is_empty() { buffer(&hidden) } else { own(&hidden, &pass.0.decoder.launcher) };
        beside(&hidden, pass.spec(), pass.launch(x))
    }

    fn encoder_pass(x: FloatTensor<Self>, mask: FloatTensor<Self>, pass: EncoderPass) -> FloatTensor<Self> {
        let (x, mask) = (into_contiguous(x), into_contiguous(mask));
        let values = own(&x, &Launcher::new(x.client.clone()));
        pass.launch(&values, &buffer(&mask));
        beside(&x, Shape::from(pass.shape), values)
    }

    fn dense_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let [rows, inputs] = [x.meta.shape()[0], x.meta.shape()[1]];
        let outputs = weight.meta.shape()[0];
        assert_eq!(inputs, weight.meta.shape()[1], "linear: x has {inputs} columns");
        let values = Launcher::new(x.client.clone())
            .multiply_any(&buffer(&x), &Matrix::of_values(&buffer(&weight), inputs));
        beside(&x, Shape::from([rows, outputs]), values)
    }
}

/// `x W^T` on a device of the kernels.
pub(super) fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as DecoderPasses>::dense_product(x, weight))
}

/// Puts an encoder's layers into the queue of their input's device.
pub(super) fn encode(x: Tensor<3>, mask: Tensor<1>, pass: EncoderPass) -> Tensor<3> {
    let (x, mask) = (x.into_dispatch(), mask.into_dispatch());
    Tensor::from_dispatch(<Dispatch as DecoderPasses>::encoder_pass(x, mask, pass))
}

/// Puts a pass into the queue of its input's device.
pub(super) fn run(input: Input, pass: Pass) -> Tensor<3> {
    Tensor::from_dispatch(match input {
        Input::Tokens(ids) => <Dispatch as DecoderPasses>::pass_over_tokens(ids.into_dispatch(), pass),
        Input::Hidden(hidden) => <Dispatch as DecoderPasses>::pass_over_hidden(hidden.into_dispatch(), pass),
    })
}

/// A tensor's buffer on its device, and what launches kernels there; `None` for a tensor elsewhere.
pub(super) fn buffer_of(tensor: &Tensor<2>) -> Option<(Buffer, Launcher)> {
    let tensor = tensor.clone().try_into_primitive::<Cube>().ok()?.into_cube();
    let tensor = into_contiguous(tensor);
    Some((buffer(&tensor), Launcher::new(tensor.client.clone())))
}

/// What launches kernels on a device; `None` where it is no GPU.
pub(super) fn launcher_of(device: &Device) -> Option<Launcher> {
    buffer_of(&Tensor::from_data(TensorData::new(vec![0.0_f32; 4], [1, 4]), device))
        .map(|(_, launcher)| launcher)
}

/// A buffer of a tensor's values to write into: the layers write where they read, and the tensor may be wanted again.
fn own(tensor: &CubeTensor, launcher: &Launcher) -> Buffer {
    let x = buffer(tensor);
    if tensor.handle.can_mut() {
        return x;
    }
    let copy = launcher.empty(x.len());
    launcher.copy(&x, &copy, x.len());
    copy
}

fn buffer(tensor: &CubeTensor) -> Buffer {
    assert_eq!(tensor.dtype, DType::F32, "the kernels compute in f32");
    Buffer::new(tensor.handle.clone(), tensor.meta.shape().num_elements())
}

/// A tensor of values on the device of another one.
fn beside(other: &CubeTensor, shape: Shape, values: Buffer) -> CubeTensor {
    assert_eq!(values.len(), shape.num_elements(), "a kernel gives what it says");
    let (client, device) = (other.client.clone(), other.device.clone());
    CubeTensor::new_contiguous(client, device, shape, values.handle().clone(), DType::F32)
}

/// Tensors of the backend as it is compiled, with fusion or without.
trait IntoCube {
    fn into_cube(self) -> CubeTensor;
}

impl IntoCube for CubeTensor {
    fn into_cube(self) -> CubeTensor {
        self
    }
}

#[cfg(feature = "cuda")]
impl IntoCube for burn::backend::fusion::FusionTensor<burn_cubecl::fusion::FusionCubeRuntime> {
    fn into_cube(self) -> CubeTensor {
        self.client.clone().resolve_tensor_float::<CubeBackend>(self)
    }
}
