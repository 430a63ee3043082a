//! Answers that a backend will have.

use std::sync::Arc;

use crate::backend::Readback;
use crate::error::{Error, Result};
use crate::network::head;
use crate::prediction::{Prediction, rank};
use crate::weights::safetensors::Meta;

/// The answer that a backend will have.
#[must_use]
pub struct Answer<R> {
    pub(super) values: R,
    pub(super) meta: Arc<Meta>,
    pub(super) output: head::Output,
    pub(super) outputs: usize,
    pub(super) photos: usize,
    /// How many classes the backend ranks.
    pub(super) ranked: usize,
    pub(super) top: usize,
}

impl<R: Readback> Answer<R> {
    /// The most likely classes of each photo, in order.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed, [`Error::BadOutput`] if a result is not a number.
    pub async fn read(self) -> Result<Vec<Vec<Prediction>>> {
        let Self { values, meta, output, outputs, photos, ranked, top } = self;
        let values = values.read().await?;
        let scores = |photo: &[f32]| -> Vec<(usize, f32)> {
            let (best, all) = photo.split_at(2 * ranked);
            match all {
                _ if top <= ranked => {
                    (0..top).map(|rank| (best[rank].to_bits() as usize, best[ranked + rank])).collect()
                }
                &[second] if output == head::Output::Sigmoid => vec![(0, 1.0 - second), (1, second)],
                all => all.iter().copied().enumerate().collect(),
            }
        };
        let photos = values.chunks(values.len() / photos);
        photos.map(|photo| rank(&meta, output.classes(outputs), scores(photo), top)).collect()
    }
}

/// A model's own output that a backend will have.
#[must_use]
pub struct Output<R> {
    pub(super) values: R,
    /// The ranked classes in front of it.
    pub(super) skip: usize,
    /// Whether it must be numbers. Activations may be other values, which tell where a network goes wrong.
    pub(super) is_checked: bool,
}

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
impl<R> From<R> for Output<R> {
    /// Other values of a backend, whatever they are.
    fn from(values: R) -> Self {
        Self { values, skip: 0, is_checked: false }
    }
}

impl<R: Readback> Output<R> {
    /// The output.
    ///
    /// # Errors
    /// As [`Answer::read`].
    pub async fn read(self) -> Result<Vec<f32>> {
        let output = self.values.read().await?.split_off(self.skip);
        let is_good = !self.is_checked || output.iter().all(|value| value.is_finite());
        if is_good { Ok(output) } else { Err(Error::BadOutput) }
    }
}
