//! Options about what weights do not tell.

use std::path::PathBuf;

use clap::Args;
use xception::limits::Limits;
use xception::network::Output;
use xception::resize::{Filter, Fit, Pixels};
use xception::weights::Overrides;

use crate::{Failure, read_weights};

/// Caller overrides of what the weights say.
#[derive(Args)]
pub struct Options {
    /// Resampling filter, Pillow's or (tf-) TensorFlow's; by default what the weights say, else bilinear.
    #[arg(long)]
    filter: Option<Filter>,
    /// Treatment of other aspect ratios; by default what the weights say, else squash.
    #[arg(long)]
    fit: Option<Fit>,
    /// Share of the largest possible centre that --fit crop keeps, such as timm's crop_pct.
    #[arg(long)]
    crop: Option<f64>,
    /// Scale of pixel values; by default what the weights say, else tf, which is −1 to 1.
    #[arg(long)]
    pixels: Option<Pixels>,
    /// Mean of each channel, of pixels from 0 to 1: R,G,B. Needs --std.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// Deviation of each channel, of pixels from 0 to 1: R,G,B. Needs --mean.
    #[arg(long, value_delimiter = ',', num_args = 1)]
    std: Vec<f32>,
    /// Activation behind the last layer; by default what the weights say, else softmax, or sigmoid of a single output.
    #[arg(long)]
    activation: Option<Output>,
    /// Height and width of the network's input in pixels, 299 or 200x320; by default what the weights say, else 299.
    #[arg(long, value_parser = size)]
    size: Option<[usize; 2]>,
    /// Another file whose layers are the head, for "notop" weights: Keras's, or PyTorch's safetensors.
    #[arg(long)]
    head: Option<PathBuf>,
    /// The most that is read of a file. Those that are not named keep their defaults.
    #[arg(long, default_value_t, value_name = "NAME=NUMBER,…")]
    pub limits: Limits,
}

impl Options {
    /// The overrides of these options.
    pub fn overrides(&self) -> Result<Overrides, Failure> {
        let head = self.head.as_deref().map(|path| read_weights(path, &self.limits)).transpose()?;
        let by_channel = |option: &str, values: &[f32]| match *values {
            [] => Ok(None),
            [all] => Ok(Some([all; 3])),
            [red, green, blue] => Ok(Some([red, green, blue])),
            _ => Err(format!("--{option} takes a number for each of the three channels: R,G,B")),
        };
        Ok(Overrides {
            filter: self.filter,
            fit: self.fit,
            crop: self.crop,
            pixels: self.pixels,
            mean: by_channel("mean", &self.mean)?,
            std: by_channel("std", &self.std)?,
            activation: self.activation,
            input_size: self.size,
            head,
            limits: self.limits,
            ..Overrides::default()
        })
    }
}

/// Height and width: `299`, or `200x320`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once(['x', '×']).unwrap_or((text, text));
    let side =
        |side: &str| side.parse().map_err(|_| format!("{text} is no size: give 299, or height and width as 200x320"));
    Ok([side(height)?, side(width)?])
}
