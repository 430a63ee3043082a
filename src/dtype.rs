//! Dtypes: the storage of values in files and in memory. Sums are always f32.

use half::f16;
use serde::{Deserialize, Serialize};

/// The largest finite f16. The kernels store nothing beyond it: see `pack` in the shaders.
pub const MAX_F16: f32 = 65504.0;

/// A type of stored values, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits, as training frameworks write them.
    #[default]
    F32,
    /// 16 bits: half the download and half the GPU memory.
    F16,
    /// 8 bits with an f32 scale for each output channel: a quarter of the download. In files only.
    I8,
}

crate::names! { Dtype { F32 = "f32", F16 = "f16", I8 = "i8" } }

impl From<Dtype> for safetensors::Dtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::I8 => Self::I8,
        }
    }
}

impl Dtype {
    /// Bytes of a value.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// Encodes values, rounded to the nearest: beyond the range f16 becomes infinite, and i8 saturates.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => bytemuck::cast_slice(values).to_vec(),
            Self::F16 => {
                let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
                bytemuck::cast_slice(&halves).to_vec()
            }
            Self::I8 => values.iter().map(|value| value.round_ties_even() as i8 as u8).collect(),
        }
    }

    /// Decodes bytes.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytemuck::pod_collect_to_vec(bytes),
            Self::F16 => {
                let halves: Vec<f16> = bytemuck::pod_collect_to_vec(bytes);
                halves.into_iter().map(f16::to_f32).collect()
            }
            Self::I8 => bytes.iter().map(|&byte| f32::from(byte as i8)).collect(),
        }
    }
}
