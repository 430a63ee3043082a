//! Operations: the computation of one pass. Nothing here needs a GPU.
//!
//! A file each: parameters, formula, buffers, the shader with its constants and work, the cost, a slow reference, and the cases
//! that tests run on every backend. `operations!` is the registry; a new operation is its file, its `.wgsl`, a line there, and
//! the lowering that uses it ([`crate::plan`]). The CPU computes it by the reference where it has nothing faster.
//!
//! Activations are stored row by row, channels innermost (HWC) and padded with zeros to whole `vec4`s; those of several images
//! lie one behind the other.

mod buffer;
mod elementwise;
mod product;

pub use buffer::{Buffer, Slice};
pub use elementwise::Values;
pub use pool::Pooling;
pub use product::Add;

pub use crate::network::activation::Function;

use crate::dtype::Dtype;
use crate::network::layer::Role;
use crate::shader::{Constants, Kernel, Precision};
use crate::tile::Tile;

/// The most workgroups along a dimension that every WebGPU device grants.
const MAX_WORKGROUPS: usize = 65_535;

/// The work of an operation's invocations along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How much there is of it.
    pub extent: [usize; 3],
    /// How much one invocation computes.
    pub invocation: [usize; 3],
    /// Invocations of a workgroup, as the shader says.
    pub workgroup: [usize; 3],
}

impl Work {
    /// Workgroups that cover the extent. What is beyond the limit along y lies along z, if there is nothing else.
    pub fn grid(&self) -> [u32; 3] {
        let groups = |axis: usize| self.extent[axis].div_ceil(self.workgroup[axis] * self.invocation[axis]);
        let [x, y, z] = [groups(0), groups(1), groups(2)];
        let layers = if z == 1 { y.div_ceil(MAX_WORKGROUPS).max(1) } else { 1 };
        [x, y.div_ceil(layers), z * layers].map(|groups| groups as u32)
    }
}

/// An operation's description. [`Op`] has the same functions.
trait Operation: Sized {
    /// Whether the CPU has a kernel of its own for it, and needs no reference.
    const ON_CPU: bool = false;

    /// The shader.
    fn kernel(&self) -> &'static Kernel;

    /// The buffers that are read, in the shader's order.
    fn reads(&self) -> Vec<Buffer>;

    /// The buffer that is written.
    fn output(&self) -> Buffer;

    /// The shader's constants for up to `batch` images at once.
    fn constants(&self, batch: usize) -> Constants;

    /// The work for some images.
    fn work(&self, images: usize) -> Work;

    /// Multiply-accumulates for one image.
    fn macs(&self) -> u64 {
        0
    }

    /// Values of activations that are read for one image, each counted once.
    fn values_read(&self) -> usize {
        self.reads().iter().filter(|read| read.role.is_none()).map(Buffer::len).sum()
    }

    /// Whether operands are f16 where values are stored so.
    fn f16_operands(&self) -> bool {
        false
    }

    /// Whether nothing of it is stored as f16.
    fn always_f32(&self) -> bool {
        false
    }

    /// The colour in the browser's performance panel.
    fn color(&self) -> &'static str {
        "tertiary"
    }

    /// Computes one image, slowly and obviously: what every backend is tested against. Values that the operation does not write
    /// stay as they are.
    fn reference(&self, reads: &[&[f32]], out: &mut [f32]);

    /// atol and rtol of its tests, for values below 1: a sum of n products errs by about √n roundings, in whatever order.
    fn tolerance(&self) -> (f32, f32);

    /// The cases that tests run: usual, ragged and smallest shapes with every option.
    fn cases() -> Vec<Self>;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $module:ident::$name:ident),* $(,)?) => {
        $(mod $module; pub use $module::$name;)*

        /// The computation of one pass, with all sizes.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Op { $($(#[$doc])* $name($name)),* }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*

        impl Op {
            /// The shader that computes it.
            pub fn kernel(&self) -> &'static Kernel {
                match self { $(Self::$name(op) => op.kernel()),* }
            }

            /// The buffers that it reads, in the shader's order.
            pub fn reads(&self) -> Vec<Buffer> {
                match self { $(Self::$name(op) => op.reads()),* }
            }

            /// The buffer that it writes.
            pub fn output(&self) -> Buffer {
                match self { $(Self::$name(op) => op.output()),* }
            }

            /// The shader's constants for up to `batch` images at once.
            pub fn constants(&self, batch: usize) -> Constants {
                match self { $(Self::$name(op) => op.constants(batch)),* }
            }

            /// The work of its invocations for some images.
            pub fn work(&self, images: usize) -> Work {
                match self { $(Self::$name(op) => op.work(images)),* }
            }

            /// Multiply-accumulates for one image.
            pub fn macs(&self) -> u64 {
                match self { $(Self::$name(op) => op.macs()),* }
            }

            /// Values of activations that are read and written for one image, each counted once.
            pub fn activations(&self) -> u64 {
                let read = match self { $(Self::$name(op) => op.values_read()),* };
                (read + self.output_len()) as u64
            }

            fn f16_operands(&self) -> bool {
                match self { $(Self::$name(op) => op.f16_operands()),* }
            }

            fn always_f32(&self) -> bool {
                match self { $(Self::$name(op) => op.always_f32()),* }
            }

            /// The colour in the browser's performance panel.
            pub fn color(&self) -> &'static str {
                match self { $(Self::$name(op) => op.color()),* }
            }

            /// Computes one image, slowly; values that the operation does not write stay as they are.
            pub fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
                match self { $(Self::$name(op) => op.reference(reads, out)),* }
            }

            /// Computes one image as [`Self::reference`] does where the CPU has no kernel for the operation; else nothing.
            pub fn without_kernel(&self, reads: &[&[f32]], out: &mut [f32]) {
                match self {
                    $(Self::$name(op) => {
                        if !$name::ON_CPU {
                            op.reference(reads, out);
                        }
                    })*
                }
            }

            /// atol and rtol of its tests, for values below 1 in f32.
            pub fn tolerance(&self) -> (f32, f32) {
                match self { $(Self::$name(op) => op.tolerance()),* }
            }

            /// The cases of every operation, by its name.
            pub fn cases() -> Vec<(&'static str, Vec<Self>)> {
                vec![$((stringify!($name), $name::cases().into_iter().map(Self::from).collect())),*]
            }
        }
    };
}

operations! {
    /// Resizing of an image.
    resize::Resize,
    /// Convolution over windows.
    conv::Conv,
    /// Depthwise 3×3 convolution.
    depthwise::Depthwise,
    /// Depthwise 3×3 convolution with any stride and a bias.
    biased_depthwise::BiasedDepthwise,
    /// 1×1 convolution as a matrix product, with the block's other path and a ReLU in its epilogue.
    pointwise::Pointwise,
    /// Depthwise and pointwise convolution in one pass.
    sepconv::Sepconv,
    /// Mean over all pixels.
    global_average_pool::GlobalAveragePool,
    /// Maximum over all pixels.
    global_max_pool::GlobalMaxPool,
    /// Pooling by windows.
    pool::Pool,
    /// All values of an activation as a vector.
    flatten::Flatten,
    /// Fully connected layer.
    dense::Dense,
    /// Fully connected layer backwards.
    dense_transposed::DenseTransposed,
    /// Pooling by windows backwards.
    pool_gradient::PoolGradient,
    /// Scale of each channel backwards.
    scale_gradient::ScaleGradient,
    /// Activation function backwards.
    activation_gradient::ActivationGradient,
    /// Activation function with trained slopes backwards.
    prelu_gradient::PreluGradient,
    /// Class activation map.
    class_map::ClassMap,
    /// Scale and shift of each channel.
    scale_shift::ScaleShift,
    /// Activation function.
    activation::Activation,
    /// Activation function with trained slopes.
    prelu::Prelu,
    /// Softmax and the most likely classes.
    softmax_topk::SoftmaxTopk,
}

impl Op {
    /// The number of values that its result takes for each image.
    pub fn output_len(&self) -> usize {
        self.output().stored()
    }

    /// The shape of its result for one image: height, width and channels, or a number of values.
    pub fn output_shape(&self) -> Vec<usize> {
        match self {
            Self::SoftmaxTopk(op) => vec![op.classes],
            _ => self.output().shape,
        }
    }

    /// How values are stored and computed with where `storage` is how weights and activations are stored.
    pub fn precision(&self, storage: Dtype) -> Precision {
        match storage {
            Dtype::F16 if self.always_f32() => Precision::Single,
            Dtype::F16 if self.f16_operands() => Precision::Half,
            Dtype::F16 => Precision::Stored,
            _ => Precision::Single,
        }
    }

    /// The tile of a product, if it has one.
    pub fn tile(&self) -> Option<Tile> {
        match self {
            Self::Conv(conv) => conv.tile,
            Self::Pointwise(pointwise) => pointwise.tile,
            Self::Sepconv(sepconv) => Some(sepconv.tile),
            _ => None,
        }
    }

    /// Workgroups in x, y and z for some images.
    pub fn grid(&self, images: usize) -> [u32; 3] {
        self.work(images).grid()
    }
}

/// A constant of a shader.
fn n(name: &'static str, value: usize) -> (&'static str, f64) {
    (name, value as f64)
}

/// A flag of a shader.
fn flag(name: &'static str, value: bool) -> (&'static str, f64) {
    (name, f64::from(u8::from(value)))
}

fn relu(x: f32, on: bool) -> f32 {
    if on { x.max(0.0) } else { x }
}
