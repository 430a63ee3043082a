//! Caller overrides of what a weights file says.

use super::assumed::Assumption;
use super::safetensors::Meta;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::Output;
use crate::resize::{Filter, Fit, Pixels};

/// Caller overrides of what a weights file says.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// A name for each class, or output without classes, or none at all; a WordNet number may stand in front: `n02123045 tabby`.
    pub labels: Option<Vec<String>>,
    /// The resampling filter.
    pub filter: Option<Filter>,
    /// The treatment of photos of another aspect ratio.
    pub fit: Option<Fit>,
    /// The share of the largest possible centre that [`Fit::Crop`] keeps with Pillow's filters.
    pub crop: Option<f64>,
    /// The scale of pixel values.
    pub pixels: Option<Pixels>,
    /// The mean of each channel, of pixels from 0 to 1; with `std` instead of `pixels`.
    pub mean: Option<[f32; 3]>,
    /// The deviation of each channel, of pixels from 0 to 1.
    pub std: Option<[f32; 3]>,
    /// The activation behind the last layer: not [`Output::Features`].
    pub activation: Option<Output>,
    /// Height and width of the network's input, in pixels, for files of weights alone.
    pub input_size: Option<[usize; 2]>,
    /// How weights are stored: by default as they are in the project's own files, as f32 from all others.
    pub dtype: Option<Dtype>,
    /// The licence of the weights.
    pub license: Option<String>,
    /// Another file whose layers are the head, such as that of a "notop" model.
    #[serde(skip)]
    pub head: Option<Vec<u8>>,
    /// The most that is read.
    #[serde(skip)]
    pub limits: Limits,
}

impl Overrides {
    /// Whether there is anything to change in a file whose weights are stored as `dtype`.
    pub fn is_idle(&self, dtype: Dtype) -> bool {
        let Self { labels, license, head, dtype: wanted, .. } = self;
        let told = self.told().iter().any(|(_, is_told)| *is_told);
        !told && labels.is_none() && license.is_none() && head.is_none() && wanted.is_none_or(|wanted| wanted == dtype)
    }

    /// Whether a mismatch is the caller's mistake.
    pub(super) fn can_mismatch(&self) -> bool {
        let Self { labels, input_size, head, activation, crop, .. } = self;
        labels.is_some() || input_size.is_some() || head.is_some() || activation.is_some() || crop.is_some()
    }

    /// The options, each with whether it is given.
    fn told(&self) -> [(&'static str, bool); 6] {
        [
            ("labels", self.labels.is_some()),
            ("filter", self.filter.is_some()),
            ("fit", self.fit.is_some() || self.crop.is_some()),
            ("pixels", self.pixels.is_some() || self.mean.is_some() || self.std.is_some()),
            ("activation", self.activation.is_some()),
            ("inputSize", self.input_size.is_some()),
        ]
    }

    /// Changes what a file says to what is given; what is given is no longer assumed.
    ///
    /// # Errors
    /// [`Error::Argument`] if options contradict one another, or their numbers are out of range.
    pub(super) fn apply(self, meta: &mut Meta) -> Result<()> {
        let told = self.told();
        let is_told =
            |assumption: &Assumption| assumption.option().is_some_and(|option| told.contains(&(option, true)));
        meta.assumed.retain(|assumption| !is_told(assumption));
        let Self { labels, filter, fit, crop, pixels, mean, std, activation, input_size, license, .. } = self;
        let preprocessing = &mut meta.preprocessing;
        match (pixels, mean, std) {
            (None, None, None) => {}
            (Some(pixels), None, None) => {
                (preprocessing.scale, preprocessing.offset, preprocessing.bgr) = pixels.normalisation();
            }
            (None, Some(mean), Some(std)) => {
                let is_unit = mean.iter().all(|mean| (0.0..=1.0).contains(mean));
                if !is_unit || !std.iter().all(|std| *std > 0.0 && *std <= 1.0) {
                    let advice = "mean and std are those of pixels from 0 to 1: divide what is from 0 to 255 by 255";
                    return Err(Error::Argument(advice.to_owned()));
                }
                (preprocessing.scale, preprocessing.offset) = crate::resize::by_mean(mean, std);
                preprocessing.bgr = false;
            }
            _ => return Err(Error::Argument("give pixels, or both mean and std".to_owned())),
        }
        if activation == Some(Output::Features) {
            return Err(Error::Argument("the activation is softmax, sigmoid or linear".to_owned()));
        }
        preprocessing.filter = filter.unwrap_or(preprocessing.filter);
        preprocessing.fit = fit.unwrap_or(preprocessing.fit);
        preprocessing.crop = crop.unwrap_or(preprocessing.crop);
        meta.output = activation.unwrap_or(meta.output);
        meta.labels = labels.unwrap_or_else(|| std::mem::take(&mut meta.labels));
        meta.input_size = input_size.unwrap_or(meta.input_size);
        meta.source.license = license.unwrap_or_else(|| std::mem::take(&mut meta.source.license));
        Ok(())
    }
}
