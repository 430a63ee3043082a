//! Chollet's Xception as WGSL compute shaders on WebGPU, natively and in browsers.
//!
//! # Theory
//!
//! Xception ([arXiv 1610.02357](https://arxiv.org/abs/1610.02357)) is a stack of depthwise separable convolutions: a 3×3
//! convolution of each channel by itself, then a 1×1 convolution across channels, which is a matrix product over
//! pixels. With residual connections 36 of these and ordinary convolutions make 2048 features, of which a mean and
//! dense layers make classes. [`network`] has the whole of it as a table, and tables of its relatives: timm's aligned Xceptions,
//! Inception V3, and the ablations of the paper.
//!
//! # Differences from the paper
//!
//! - Batch norm is folded into the weights before they reach the GPU, ReLU is applied where a value is loaded or
//!   stored, and residuals are added where the last product of a block is stored: none of them is a pass.
//! - The padding, the ε of batch norm and the preprocessing are those of the published weights:
//!   `keras.applications.Xception` or timm's `legacy_xception`. Dropout does nothing at inference.
//! - Any usual layers may follow the backbone ([`network::head`]), and images may have any size from 71×71 up.
//!
//! # Practice
//!
//! Data flows one way:
//!
//! ```text
//! bytes ─ decode ─ resize and normalise ─ passes ─ logits ─ softmax and top-k ─ predictions
//! ```
//!
//! [`weights`] turns any supported file into one format; [`network`] says what is computed, [`plan`] lowers it to
//! passes over a few buffers as [`tile`] advises for a device, each an operation of [`ops`] in some [`shader`]; a [`backend`] runs
//! them; [`classifier`] is all of it together:
//!
//! ```no_run
//! # async fn example() -> xception::error::Result<()> {
//! use xception::{backend::Gpu, classifier::{Classifier, Options}, image, limits::Limits, weights};
//!
//! let file = std::fs::read("xception.keras").expect("weights");
//! let photo = std::fs::read("photo.jpg").expect("a photo");
//! let model = weights::convert(file, weights::Overrides::default())?;
//! let mut classifier = Classifier::load(&Gpu::new().await?, &model, Options::default()).await?;
//! classifier.upload(&image::decode(&photo, &Limits::default())?).await?;
//! for prediction in classifier.classify(5).await? {
//!     println!("{:.3} {}", prediction.score, prediction.label);
//! }
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// Implements `Display` and `FromStr` for an enum.
macro_rules! names {
    ($enum:ident { $($value:ident = $name:literal),* }) => {
        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$value => $name),* })
            }
        }

        impl std::str::FromStr for $enum {
            type Err = crate::error::Error;

            fn from_str(name: &str) -> crate::error::Result<Self> {
                const VALUES: &[$enum] = &[$($enum::$value),*];
                crate::error::place_of(name, &[$($name),*]).map(|place| VALUES[place])
            }
        }
    };
}
use names;

pub mod backend;
pub mod classifier;
pub mod dtype;
pub mod error;
pub mod explain;
#[cfg(feature = "learn")]
pub mod learn;
pub mod limits;
pub mod network;
pub mod ops;
pub mod photo;
pub mod plan;
pub mod prediction;
pub mod resize;
pub mod shader;
pub mod tile;
pub mod weights;

#[cfg(feature = "formats")]
pub mod image;
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub mod profile;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod web;
