//! The arrays that kernels read.

use crate::dtype::{Dtype, MAX_F16};
use crate::error::{Error, Result};

/// The role of an array of weights in its kernel, which decides how it may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One value for each output channel: always f32.
    Bias,
    /// Filters of convolutions over windows of few channels: too small to be worth 8 bits.
    Filter,
    /// A product over channels, whose output channels lie along this axis.
    Matrix(usize),
}

impl Role {
    /// The most input channels of a convolution over windows whose weights are few.
    const FEW: usize = 32;

    /// That of the weights of a convolution over windows.
    pub const fn of_filters(in_channels: usize) -> Self {
        if in_channels > Self::FEW { Self::Matrix(3) } else { Self::Filter }
    }
}

/// An array that the kernels read, batch norm folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layer.weight`, `layer.bias`, or with `depthwise`/`pointwise` between.
    pub name: String,
    /// Its shape, outermost dimension first. Rows are whole `vec4`s: those of dense layers are padded with zeros.
    pub shape: Vec<usize>,
    /// Its role.
    pub role: Role,
}

impl Tensor {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it is stored where weights are stored as `dtype`.
    pub fn dtype(&self, dtype: Dtype) -> Dtype {
        match (self.role, dtype) {
            (Role::Bias, _) => Dtype::F32,
            (Role::Filter, Dtype::I8) => Dtype::F16,
            _ => dtype,
        }
    }

    /// The output channel that a value belongs to.
    pub fn channel(&self, index: usize) -> usize {
        let row = self.shape.last().copied().unwrap_or(1);
        if self.role == Role::Matrix(0) { index / row } else { index % row }
    }

    /// The number of scales it has where it is stored as i8: its output channels, padded to whole `vec4`s.
    pub fn scales(&self) -> usize {
        let channels = if self.role == Role::Matrix(0) { self.shape.first() } else { self.shape.last() };
        channels.map_or(0, |channels| channels.next_multiple_of(4))
    }

    /// Values as f16.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if one is beyond f16's range.
    pub fn to_f16(&self, values: &[f32]) -> Result<Vec<u8>> {
        match values.iter().find(|value| value.abs() > MAX_F16) {
            None => Ok(Dtype::F16.encode(values)),
            // Without the value: printing floats is 5 % of the core's wasm.
            Some(_) => Err(Error::TooLarge(format!(
                "{} holds a value beyond f16, which ends at {}: use the dtype f32 for this model",
                self.name, MAX_F16 as u32
            ))),
        }
    }

    /// Its length in bytes where weights are stored as `dtype`.
    pub fn bytes(&self, dtype: Dtype) -> usize {
        self.len() * self.dtype(dtype).size()
    }
}
