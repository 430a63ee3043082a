//! Resizing of a photo to the network's input, to the same values as in Python.
//!
//! A model answers as it did where it was trained or evaluated only if it sees the same pixels. [`Filter`] therefore names whose
//! arithmetic is computed, and [`Fit::Crop`] crops as the same program does:
//!
//! - **Pillow**: `Image.resize(size, filter)`. Its filters widen by the scale where they shrink (antialiasing). Weights are computed
//!   in f64 and rounded to integers of 22 fractional bits; the sums are 32-bit integers, rounded to 8 bits after each of the two
//!   passes, along x first. The bytes are those of Pillow up to 12.1. Later ones pass along y first for some photos, and levels
//!   differ by 1 there: 12.2 where the height is over 100 times the width, 13 where it shrinks much more than the width. Source:
//!   `src/libImaging/Resample.c`; nearest is that of `Geometry.c`. A crop is that of `ImageOps.fit`, a box with fractions of pixels.
//! - **timm**: Pillow's filters where [`Preprocessing::crop`] is below 1. `create_transform` resizes the photo to ⌊side / crop⌋, the
//!   longer side by the same factor to whole pixels, and keeps whole pixels of its centre. The bytes are equal. The pixels that are
//!   cropped away are not computed. Source: `timm/data/transforms_factory.py` and torchvision's `Resize` and `CenterCrop`.
//! - **TensorFlow**: `tf.image.resize`, which `image_dataset_from_directory` calls: no antialiasing, half-pixel centres, and floats
//!   that are not rounded. A crop is that of Keras's `smart_resize` (`crop_to_aspect_ratio=True`), a box of whole pixels. Source:
//!   `tensorflow/core/kernels/image/resize_bilinear_op.cc` and `keras/src/utils/image_utils.py`.
//!
//! [`taps()`] turns all of them into integers and shares, which the CPU ([`Resizer`]) and the GPU (`shaders/resize_*.wgsl`) apply.

mod resizer;
mod taps;

pub use resizer::{Resizer, resize};
pub use taps::{PRECISION, Taps, seen, smart_crop, taps};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Resampling filters: Pillow's, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Filter {
    /// Pillow's: the pixel at the place, as Keras's `load_img` does by default.
    Nearest,
    /// Pillow's: the mean of the pixels that an output pixel covers.
    Box,
    /// Pillow's: a triangle, two pixels wide or two output pixels when shrinking.
    #[default]
    Bilinear,
    /// Pillow's: a sinc in a Hamming window, as wide as the triangle and sharper.
    Hamming,
    /// Pillow's: Keys's cubic with a = −0.5, four pixels wide or four output pixels when shrinking.
    Bicubic,
    /// Pillow's: a sinc in a Lanczos window, six pixels wide or six output pixels when shrinking.
    Lanczos,
    /// TensorFlow's: between the two nearest pixels along each axis, also when shrinking; not rounded.
    TfBilinear,
    /// TensorFlow's: the pixel at the place, computed in f32.
    TfNearest,
}

/// The treatment of photos of another aspect ratio than the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Fit {
    /// The whole photo; its aspect ratio is not kept.
    #[default]
    Squash,
    /// Its centre, as large as the aspect ratio allows, times [`Preprocessing::crop`]: with Pillow's filters as `ImageOps.fit`
    /// or, where that share is below 1, as timm; with TensorFlow's as Keras's `smart_resize`, which knows no share.
    Crop,
}

crate::names! { Filter {
    Nearest = "nearest", Box = "box", Bilinear = "bilinear", Hamming = "hamming", Bicubic = "bicubic", Lanczos = "lanczos",
    TfBilinear = "tf-bilinear", TfNearest = "tf-nearest"
} }
/// The usual scales of pixel values, as `preprocess_input` of Keras names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Pixels {
    /// −1 to 1.
    Tf,
    /// 0 to 1, less ImageNet's mean, by ImageNet's deviation.
    Torch,
    /// BGR from 0 to 255, less ImageNet's mean.
    Caffe,
    /// 0 to 1.
    Unit,
    /// 0 to 255.
    Raw,
}

impl Pixels {
    /// Scale and offset of each channel, and whether channels are BGR.
    pub fn normalisation(self) -> ([f32; 3], [f32; 3], bool) {
        match self {
            Self::Tf => ([1.0 / 127.5; 3], [-1.0; 3], false),
            Self::Torch => {
                let (scale, offset) = by_mean([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
                (scale, offset, false)
            }
            Self::Caffe => ([1.0; 3], [-103.939, -116.779, -123.68], true),
            Self::Unit => ([1.0 / 255.0; 3], [0.0; 3], false),
            Self::Raw => ([1.0; 3], [0.0; 3], false),
        }
    }
}

/// Scale and offset of levels from 0 to 255 by mean and deviation of pixels from 0 to 1.
pub fn by_mean(mean: [f32; 3], std: [f32; 3]) -> ([f32; 3], [f32; 3]) {
    (std.map(|std| 1.0 / (255.0 * std)), [0, 1, 2].map(|c| -mean[c] / std[c]))
}

crate::names! { Fit { Squash = "squash", Crop = "crop" } }

/// Preprocessing of a photo: resize, then `value · scale + offset` on values 0 to 255, for each channel of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The resampling filter.
    pub filter: Filter,
    /// The treatment of other aspect ratios.
    pub fit: Fit,
    /// The share of the largest possible centre that [`Fit::Crop`] keeps with Pillow's filters, 0 to 1: timm's `crop_pct`.
    #[serde(default = "whole")]
    pub crop: f64,
    /// Factor on values 0 to 255.
    pub scale: [f32; 3],
    /// Added after the factor.
    pub offset: [f32; 3],
    /// Whether the network's channels are blue, green and red.
    pub bgr: bool,
}

fn whole() -> f64 {
    1.0
}

impl Preprocessing {
    /// This preprocessing with another [`Fit`], if one is given.
    #[must_use]
    pub fn fitted(self, fit: Option<Fit>) -> Self {
        Self { fit: fit.unwrap_or(self.fit), ..self }
    }

    /// Writes resized levels `[pixels][3]`, 0 to 255, as the network's input: `[pixels][4]`, the fourth channel zero.
    pub fn normalise(&self, levels: &[f32], input: &mut [f32]) {
        for (rgb, out) in levels.chunks_exact(3).zip(input.chunks_exact_mut(4)) {
            for c in 0..3 {
                out[c] = rgb[if self.bgr { 2 - c } else { c }] * self.scale[c] + self.offset[c];
            }
            out[3] = 0.0;
        }
    }
}

impl Default for Preprocessing {
    /// Bilinear, squashed, to −1…1.
    fn default() -> Self {
        let (scale, offset) = ([1.0 / 127.5; 3], [-1.0; 3]);
        Self { filter: Filter::default(), fit: Fit::default(), crop: whole(), scale, offset, bgr: false }
    }
}

/// Pixels of a photo: RGBA, 8 bits each, row by row, alpha not premultiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgba {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Rgba {
    /// # Errors
    /// [`Error::Argument`] if a side is 0 or `data` is not `width · height · 4` bytes.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        let bytes = (width as u128) * (height as u128) * 4;
        if bytes == 0 || data.len() as u128 != bytes {
            return Err(Error::Argument(format!(
                "{} bytes are no image of {width}×{height} RGBA pixels: {bytes} are needed, and each side at least 1",
                data.len(),
            )));
        }
        Ok(Self { width, height, data })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: `[height][width][4]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, to keep.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}
