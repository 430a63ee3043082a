//! A plan on the GPU, and what brings photos into it.

use std::ops::RangeBounds;
use std::time::Duration;

use super::{Gpu, Preprocessor, Readback, Runner};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::resize::{Fit, Preprocessing, Rgba};

/// A plan on the GPU, and what brings photos into it.
pub struct Engine {
    /// What runs.
    pub plan: Plan,
    /// The plan on the GPU.
    pub runner: Runner,
    gpu: Gpu,
    preprocessing: Preprocessing,
    /// Height and width of the network's input.
    size: [usize; 2],
    preprocessor: Preprocessor,
    /// Whether the photo at hand still has to be resized.
    waiting: bool,
}

impl Engine {
    /// Readies a plan's input for photos.
    ///
    /// # Errors
    /// As [`Preprocessor::new`].
    pub async fn new(
        gpu: &Gpu,
        plan: Plan,
        runner: Runner,
        preprocessing: Preprocessing,
        size: [usize; 2],
    ) -> Result<Self> {
        let image = runner.slot(plan.image);
        let preprocessor = Preprocessor::new(gpu, preprocessing, size, image, plan.storage).await?;
        Ok(Self { plan, runner, gpu: gpu.clone(), preprocessing, size, preprocessor, waiting: false })
    }

    /// Readies the GPU for a photo of this width and height, which becomes image `index`, fitted otherwise than the model's
    /// preprocessing does where `fit` says so; its pixels go into the returned texture.
    ///
    /// # Errors
    /// As [`Preprocessor::prepare`].
    pub async fn prepare(&mut self, index: usize, size: [u32; 2], fit: Option<Fit>) -> Result<&wgpu::Texture> {
        self.waiting = true;
        let output = self.runner.slot(self.plan.image);
        self.preprocessor.prepare(size, self.preprocessing.fitted(fit), index, output).await?;
        Ok(self.preprocessor.texture())
    }

    /// Brings a photo to the GPU as image `index`; one too large for that is resized here, but not in browsers.
    ///
    /// # Errors
    /// As [`Self::prepare`], and in browsers [`Error::TooLarge`].
    pub async fn upload(&mut self, index: usize, photo: &Rgba, fit: Option<Fit>) -> Result<()> {
        let max = self.gpu.max_photo_side() as usize;
        if photo.width() > max || photo.height() > max {
            // In browsers, which can do it themselves, it would be a part of every download.
            #[cfg(target_arch = "wasm32")]
            return Err(Error::TooLarge(format!(
                "a side of the image is beyond the GPU's {max} pixels: scale it down"
            )));
            #[cfg(not(target_arch = "wasm32"))]
            {
                let levels = crate::resize::resize(photo, self.preprocessing.fitted(fit), self.size);
                return self.upload_levels(index, &levels);
            }
        }
        self.prepare(index, [photo.width() as u32, photo.height() as u32], fit).await?;
        self.preprocessor.upload(photo);
        Ok(())
    }

    /// Brings RGB levels of the network's input size, 0 to 255, to the GPU as image `index`: `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are not as many.
    pub fn upload_levels(&mut self, index: usize, levels: &[f32]) -> Result<()> {
        let pixels: usize = self.size.iter().product();
        if levels.len() != 3 * pixels {
            return Err(Error::Argument(format!("the input has {} values, not {}", 3 * pixels, levels.len())));
        }
        let mut values = vec![0.0; 4 * pixels];
        self.preprocessing.normalise(levels, &mut values);
        self.runner.write_slot(self.plan.image, index * values.len(), &values);
        self.waiting = false;
        Ok(())
    }

    /// Resizes the photo that was uploaded last, so that its texture is free for another.
    pub fn resize(&mut self) {
        if std::mem::take(&mut self.waiting) {
            let encoder = self.gpu.encoder(|pass| self.preprocessor.encode(pass));
            self.gpu.queue.submit([encoder.finish()]);
        }
    }

    /// Submits some passes for the first `images` images, after the resize that may still wait, and the first `len` values
    /// of a slot to be read.
    ///
    /// # Errors
    /// As [`Runner::submit`].
    pub fn submit(&self, passes: impl RangeBounds<usize>, images: usize, slot: usize, len: usize) -> Result<Readback> {
        let before = |pass: &mut wgpu::ComputePass| {
            if self.waiting {
                self.preprocessor.encode(pass);
            }
        };
        self.runner.submit(before, passes, images, slot, len)
    }

    /// How long some passes take for `images` images, as [`Runner::time`] has it.
    ///
    /// # Errors
    /// As [`Runner::time`].
    pub async fn time(&self, passes: impl RangeBounds<usize>, images: usize) -> Result<Duration> {
        Ok(self.runner.time(passes, images, Duration::MAX).await?.unwrap_or_default())
    }
}
