//! Methods of a classifier on a GPU: pipelines that can be compiled early, and photos that come as textures.

use super::{Classifier, Loader};
use crate::backend::gpu::{Preprocessor, Runner};
use crate::backend::{Backend, Gpu};
use crate::error::Result;
use crate::resize::Fit;
use crate::shader::PipelineDescriptor;
use crate::weights::safetensors::Meta;

impl Loader<Gpu> {
    /// Descriptors of the pipelines.
    pub fn pipelines(&self) -> Vec<PipelineDescriptor> {
        let Meta { preprocessing, input_size, .. } = self.meta;
        let resize = Preprocessor::pipelines(preprocessing, input_size, self.plan.storage);
        resize.into_iter().chain(self.plan.pipelines(&self.plan.passes).0).collect()
    }
}

impl Classifier<Gpu> {
    /// The plan for one photo on the GPU.
    pub fn runner(&self) -> &Runner {
        self.single.runner()
    }

    /// Readies the GPU for a photo of this width and height, by itself or as one of those that were reserved; its pixels go
    /// into the returned texture. `fit` is what happens to other aspect ratios, where that is not what the model says.
    ///
    /// # Errors
    /// [`crate::error::Error::TooLarge`] if the photo is beyond the GPU's limits, [`crate::error::Error::Argument`] if it has no
    /// place.
    pub async fn prepare(&mut self, place: Option<usize>, size: [u32; 2], fit: Option<Fit>) -> Result<&wgpu::Texture> {
        self.backend.check()?;
        self.place(place)?.prepare(place.unwrap_or(0), size, fit).await
    }
}
