//! The CPU: a plan by vector instructions, on any number of threads.
//!
//! Weights stay in the dtype they come in and are brought to f32 a panel at a time, activations are f32. A separable
//! convolution's depthwise half, a convolution's windows, and what a shortcut's pooling adds are made for some pixels at a
//! time, and used by the product while they are in the cache.
//!
//! Loops over vectors have no closures: one that is not inlined is compiled without its caller's instructions, which made a photo
//! take twice as long when something elsewhere changed what the compiler inlines.

mod buffer;
mod gemm;
mod im2col;
mod run;
mod threads;
mod weights;

use std::sync::Arc;

pub use run::Runner;
pub use threads::{MAX_THREADS, ThreadTeam};
pub use weights::Tensor;

use super::{Backend, HostEngine, Weights};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::plan::{BATCH, Plan};
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};

/// The CPU, and the threads of it that compute.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The team, and how many of its threads compute, the caller's included; none for the caller's alone.
    team: Option<(Arc<ThreadTeam>, usize)>,
}

impl Cpu {
    /// A thread for each core of this machine.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Self {
        Self::with_team(ThreadTeam::global(), MAX_THREADS)
    }

    /// The caller's thread alone.
    pub fn single_threaded() -> Self {
        Self { team: None }
    }

    /// Up to `threads` threads of a team, the caller's included.
    pub fn with_team(team: Arc<ThreadTeam>, threads: usize) -> Self {
        Self { team: (threads > 1).then_some((team, threads)) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Cpu {
    type Weights = Vec<Tensor>;
    type Engine = HostEngine<Runner>;

    /// The vector instructions that compute, and how many threads: `CPU: AVX-512, 2 threads`.
    fn name(&self) -> String {
        let instructions = match weights::lanes() {
            16 => "AVX-512",
            8 => "AVX2",
            _ if cfg!(target_arch = "aarch64") => "NEON",
            _ if cfg!(target_feature = "relaxed-simd") => "relaxed SIMD",
            _ if cfg!(target_arch = "wasm32") => "SIMD",
            _ => "SSE2",
        };
        let threads = self.team.as_ref().map_or(1, |(team, threads)| team.threads().min(*threads));
        format!("CPU: {instructions}, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }

    /// As in the file, unless asked otherwise.
    fn storage(&self, header: &Header, wanted: Option<Dtype>) -> Result<Dtype> {
        let storage = wanted.unwrap_or(header.dtype);
        if storage == Dtype::I8 && header.dtype != Dtype::I8 {
            return Err(Error::Argument(format!("weights of {} become i8 by `xception convert`", header.dtype)));
        }
        Ok(storage)
    }

    fn activations(&self, _weights: Dtype) -> Dtype {
        Dtype::F32
    }

    fn untuned(&self) -> Tuning {
        Tuning::default()
    }

    fn max_batch(&self, _plan: &Plan) -> usize {
        BATCH
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn allocate(&self, plan: &Plan, dtype: Dtype) -> Result<Vec<Tensor>> {
        Ok(plan.tensors.iter().map(|tensor| Tensor::new(tensor, dtype)).collect())
    }

    async fn engine(&self, plan: Plan, weights: Vec<Tensor>, meta: &Meta) -> Result<HostEngine<Runner>> {
        let runner = Runner::new(plan.clone(), weights.into(), self.team.clone());
        Ok(HostEngine::new(plan, runner, meta))
    }
}

impl Weights for Vec<Tensor> {
    fn write(&mut self, tensor: usize, offset: usize, bytes: &[u8]) {
        self[tensor].write(offset, bytes);
    }

    fn scale(&mut self, tensor: usize, scales: &[f32]) {
        self[tensor].scale(scales);
    }
}
