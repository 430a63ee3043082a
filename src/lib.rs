//! Chollet's Xception (arXiv 1610.02357) as WGSL compute shaders on WebGPU.
pub mod error;
pub mod kernel;
pub mod layer;
pub mod network;
pub mod photo;
pub mod plan;
pub mod reference;
pub mod resize;
pub mod weights;

#[cfg(feature = "gpu")]
pub mod classifier;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "formats")]
pub mod image;

#[cfg(target_arch = "wasm32")]
mod web;
