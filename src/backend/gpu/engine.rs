//! A plan on the GPU, and what brings photos into it.

use std::ops::Range;

use super::{Gpu, Preprocessor, Readback, Runner, Tensors};
use crate::backend;
use crate::error::Result;
use crate::plan::Plan;
use crate::resize::{Fit, Preprocessing, Rgba};
use crate::weights::safetensors::Meta;

/// A plan on the GPU, and what brings photos into it.
pub struct Engine {
    plan: Plan,
    runner: Runner,
    gpu: Gpu,
    preprocessing: Preprocessing,
    /// Height and width of the network's input.
    size: [usize; 2],
    preprocessor: Preprocessor,
    /// The photo that came last, which each run brings to the network's input: later passes write where the image was.
    photo: Option<Photo>,
}

enum Photo {
    /// In the preprocessor's texture, for the image of this number.
    Texture(usize),
    /// Normalised values, for a plan of one image.
    Values(Vec<f32>),
}

impl Engine {
    /// Readies a plan for photos.
    ///
    /// # Errors
    /// As [`Runner::new`] and [`Preprocessor::new`].
    pub async fn new(gpu: &Gpu, plan: Plan, tensors: Tensors, meta: &Meta) -> Result<Self> {
        let runner = Runner::new(&plan, tensors).await?;
        Self::around(gpu, plan, runner, meta.preprocessing, meta.input_size).await
    }

    async fn around(
        gpu: &Gpu,
        plan: Plan,
        runner: Runner,
        preprocessing: Preprocessing,
        size: [usize; 2],
    ) -> Result<Self> {
        let image = runner.slot(plan.image);
        let preprocessor = Preprocessor::new(gpu, preprocessing, size, image, plan.storage).await?;
        Ok(Self { plan, runner, gpu: gpu.clone(), preprocessing, size, preprocessor, photo: None })
    }

    /// The plan on the GPU.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Readies the GPU for a photo of this width and height, which becomes image `index`, fitted as `fit` says or else the model; its
    /// pixels go into the returned texture.
    ///
    /// # Errors
    /// As [`Preprocessor::prepare`].
    pub async fn prepare(&mut self, index: usize, size: [u32; 2], fit: Option<Fit>) -> Result<&wgpu::Texture> {
        // The texture has one photo at a time.
        if matches!(self.photo, Some(Photo::Texture(last)) if last != index) {
            self.gpu.queue.submit([self.gpu.encoder(|pass| self.place(pass)).finish()]);
        }
        let output = self.runner.slot(self.plan.image);
        self.photo = Some(Photo::Texture(index));
        self.preprocessor.prepare(size, self.preprocessing.fitted(fit), index, output).await?;
        Ok(self.preprocessor.texture())
    }

    /// Brings the photo that came last to the network's input.
    fn place(&self, pass: &mut wgpu::ComputePass) {
        match &self.photo {
            Some(Photo::Texture(_)) => self.preprocessor.encode(pass),
            Some(Photo::Values(values)) => self.runner.write_slot(self.plan.image, 0, values),
            None => {}
        }
    }
}

impl backend::Engine for Engine {
    type Readback = Readback;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn weight_bytes(&self) -> u64 {
        self.plan.weight_bytes()
    }

    async fn replanned(&self, plan: Plan) -> Result<Self> {
        let runner = self.runner.replanned(&plan).await?;
        Self::around(&self.gpu, plan, runner, self.preprocessing, self.size).await
    }

    async fn extend(&mut self, plan: Plan) -> Result<()> {
        self.runner.extend(&plan).await
    }

    async fn upload(&mut self, index: usize, photo: &Rgba, fit: Option<Fit>) -> Result<()> {
        let max = self.gpu.max_photo_side() as usize;
        if photo.width() > max || photo.height() > max {
            // In browsers, which can do it themselves, it would be a part of every download.
            #[cfg(target_arch = "wasm32")]
            return Err(crate::error::Error::TooLarge(format!(
                "a side of the image is beyond the GPU's {max} pixels: scale it down"
            )));
            #[cfg(not(target_arch = "wasm32"))]
            {
                self.upload_levels(index, crate::resize::resize(photo, self.preprocessing.fitted(fit), self.size));
                return Ok(());
            }
        }
        self.prepare(index, [photo.width() as u32, photo.height() as u32], fit).await?;
        self.preprocessor.upload(photo);
        Ok(())
    }

    fn upload_levels(&mut self, index: usize, levels: Vec<f32>) {
        let mut values = vec![0.0; 4 * self.size[0] * self.size[1]];
        self.preprocessing.normalise(&levels, &mut values);
        if self.plan.batch == 1 {
            self.photo = Some(Photo::Values(values));
            return;
        }
        if matches!(self.photo, Some(Photo::Texture(last)) if last == index) {
            self.photo = None;
        }
        self.runner.write_slot(self.plan.image, index * values.len(), &values);
    }

    fn write_slot(&self, slot: usize, values: &[f32]) {
        self.runner.write_slot(slot, 0, values);
    }

    fn submit(&self, passes: Range<usize>, images: usize, slot: usize, len: usize) -> Result<Readback> {
        let before = |pass: &mut wgpu::ComputePass| {
            if passes.start == 0 {
                self.place(pass);
            }
        };
        self.runner.submit(before, passes.clone(), images, slot, len)
    }
}
