//! Backends: devices that compute a plan.
//!
//! [`Gpu`] runs the plan's shaders, [`Cpu`] the same passes by vector instructions and threads, [`Reference`] each operation's slow
//! and obvious definition, to debug the other two. All of them load folded weights, run some passes, and read a slot.
//! A [`Classifier`](crate::classifier::Classifier) needs no more of them.

#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod host;
mod reference;

use std::ops::Range;

#[cfg(feature = "cpu")]
pub use cpu::Cpu;
#[cfg(feature = "gpu")]
pub use gpu::Gpu;
pub use host::{HostEngine, HostRunner, Values};
pub use reference::{Reference, ReferenceRunner};

use crate::dtype::Dtype;
use crate::error::Result;
use crate::plan::Plan;
use crate::resize::{Fit, Rgba};
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};

/// A device. Clones are handles to the same one.
pub trait Backend: Clone {
    /// The tensors of a plan in the device's memory.
    type Weights: Weights;
    /// A plan on the device.
    type Engine: Engine;

    /// The name of the device, for people.
    fn name(&self) -> String;

    /// The dtype in which the device stores a file's weights: `wanted`, or what suits it.
    ///
    /// # Errors
    /// [`crate::error::Error::Argument`] if it cannot store them so.
    fn storage(&self, header: &Header, wanted: Option<Dtype>) -> Result<Dtype>;

    /// The dtype of activations beside weights of some dtype.
    fn activations(&self, weights: Dtype) -> Dtype;

    /// The algorithms that are best known without measuring.
    fn untuned(&self) -> Tuning;

    /// The number of photos that can be computed at once by plans like this one.
    fn max_batch(&self, plan: &Plan) -> usize;

    /// Reports an error of the device that no call has reported yet.
    ///
    /// # Errors
    /// [`crate::error::Error::DeviceLost`] or [`crate::error::Error::Gpu`].
    fn check(&self) -> Result<()>;

    /// Makes room for a plan's tensors, stored as `dtype`.
    ///
    /// # Errors
    /// [`crate::error::Error::TooLarge`] or [`crate::error::Error::OutOfMemory`].
    fn allocate(&self, plan: &Plan, dtype: Dtype) -> impl Future<Output = Result<Self::Weights>>;

    /// Makes all that a plan needs besides its weights.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    fn engine(&self, plan: Plan, weights: Self::Weights, meta: &Meta) -> impl Future<Output = Result<Self::Engine>>;
}

/// Tensors in a device's memory.
pub trait Weights {
    /// Copies bytes into a tensor, from byte `offset` on.
    fn write(&mut self, tensor: usize, offset: usize, bytes: &[u8]);

    /// Takes the scales of a tensor's output channels, if it is stored as i8.
    fn scale(&mut self, _tensor: usize, _scales: &[f32]) {}
}

/// A plan, its weights and activations, and the photos that it will run on.
pub trait Engine: Sized {
    /// Values that the device will have computed.
    type Readback: Readback;

    /// The plan.
    fn plan(&self) -> &Plan;

    /// Bytes of the weights.
    fn weight_bytes(&self) -> u64;

    /// The same weights with another plan, such as one for more images.
    ///
    /// # Errors
    /// As [`Backend::engine`].
    fn replanned(&self, plan: Plan) -> impl Future<Output = Result<Self>>;

    /// Adds the slots and passes that a plan has more than this one's, at its end.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`]: then nothing is added.
    fn extend(&mut self, plan: Plan) -> impl Future<Output = Result<()>>;

    /// Takes a photo as image `index`, fitted as `fit` says or else the model.
    ///
    /// # Errors
    /// [`crate::error::Error::TooLarge`] if the photo is beyond the device's limits.
    fn upload(&mut self, index: usize, photo: &Rgba, fit: Option<Fit>) -> impl Future<Output = Result<()>>;

    /// Takes a resized photo as image `index`: levels from 0 to 255, `[height][width][3]`.
    fn upload_levels(&mut self, index: usize, levels: Vec<f32>);

    /// Copies values to the beginning of a slot.
    fn write_slot(&self, slot: usize, values: &[f32]);

    /// Runs some passes for the first `images` images, on their photos where the first pass is among them, and reads `len` values
    /// from the beginning of a slot; those of several images lie one behind the other.
    ///
    /// # Errors
    /// As [`Backend::check`].
    fn submit(&self, passes: Range<usize>, images: usize, slot: usize, len: usize) -> Result<Self::Readback>;
}

/// Values that a device will have computed.
pub trait Readback {
    /// Waits for the values.
    ///
    /// # Errors
    /// As [`Backend::check`].
    fn read(self) -> impl Future<Output = Result<Vec<f32>>>;
}
