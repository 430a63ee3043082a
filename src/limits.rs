//! Limits of what is read from files, which may claim to hold anything.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use crate::error::{Error, Result};

/// The most that is taken from one file. Names in messages are those of the npm package's option `limits` and of the command line's
/// `--limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of an image, which take 4 bytes each: 134,217,728.
    pub pixels: u64,
    /// Bytes of an image's file: 268,435,456.
    pub image_bytes: u64,
    /// Bytes of a weights file, or of all files of one model: 1,073,741,824.
    pub weights_bytes: u64,
    /// Arrays of a weights file, with the groups that they lie in: 4,000, where an Inception V3 has about 1,200.
    pub tensors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pixels: 1 << 27, image_bytes: 1 << 28, weights_bytes: 1 << 30, tensors: 4000 }
    }
}

impl Limits {
    /// Refuses an image of too many pixels.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`Limits::pixels`].
    pub fn check_pixels(&self, width: usize, height: usize) -> Result<()> {
        let what = format_args!("the image has {width}×{height} pixels");
        check(
            (width as u64).saturating_mul(height as u64),
            self.pixels,
            what,
            "scale it down, or raise the limit `pixels`",
        )
    }

    /// Refuses an image's file of too many bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`Limits::image_bytes`].
    pub fn check_image(&self, bytes: u64) -> Result<()> {
        let what = format_args!("the image's file has {bytes} bytes");
        check(bytes, self.image_bytes, what, "give a smaller one, or raise the limit `imageBytes`")
    }

    /// Refuses weights of too many bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`Limits::weights_bytes`].
    pub fn check_weights(&self, bytes: u64) -> Result<()> {
        let what = format_args!("the weights have {bytes} bytes");
        check(
            bytes,
            self.weights_bytes,
            what,
            "an Xception has about 90 million; if this is one, raise the limit `weightsBytes`",
        )
    }

    /// Refuses a weights file of too many arrays.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`Limits::tensors`].
    pub fn check_tensors(&self, count: usize) -> Result<()> {
        let what = format_args!("the weights have {count} arrays and groups or more");
        check(
            count as u64,
            self.tensors as u64,
            what,
            "no network here has as many; if it is one, raise the limit `tensors`",
        )
    }
}

fn check(count: u64, most: u64, what: std::fmt::Arguments<'_>, remedy: &str) -> Result<()> {
    if count > most {
        return Err(Error::TooLarge(format!("{what}, more than {most}: {remedy}")));
    }
    Ok(())
}

impl Display for Limits {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { pixels, image_bytes, weights_bytes, tensors } = self;
        write!(f, "pixels={pixels},imageBytes={image_bytes},weightsBytes={weights_bytes},tensors={tensors}")
    }
}

/// `pixels=1000000,tensors=500`; those that are not named have their defaults.
impl FromStr for Limits {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut limits = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let known = part.split_once('=').and_then(|(name, number)| Some((name, number.parse::<u64>().ok()?)));
            match known {
                Some(("pixels", number)) => limits.pixels = number,
                Some(("imageBytes", number)) => limits.image_bytes = number,
                Some(("weightsBytes", number)) => limits.weights_bytes = number,
                Some(("tensors", number)) => limits.tensors = usize::try_from(number).unwrap_or(usize::MAX),
                _ => {
                    let message = format!(
                        "{part} is no limit: give pixels, imageBytes, weightsBytes or tensors, and a number, as pixels=1000000"
                    );
                    return Err(Error::Argument(message));
                }
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_limits() {
        let limits: Limits = "pixels=7,tensors=9".parse().unwrap();
        assert_eq!(limits, Limits { pixels: 7, tensors: 9, ..Limits::default() });
        assert_eq!(limits.to_string().parse(), Ok(limits));
        assert_eq!("".parse(), Ok(Limits::default()));
        for text in ["pixels", "pixels=", "pixels=-1", "pixels=1e6", "bytes=3", "pixels:3"] {
            assert!(
                matches!(text.parse::<Limits>(), Err(Error::Argument(message)) if message.contains(text)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_last_that_fits_is_taken() {
        let limits = Limits { pixels: 6, image_bytes: 6, weights_bytes: 6, tensors: 6 };
        limits.check_pixels(2, 3).unwrap();
        limits.check_image(6).unwrap();
        limits.check_weights(6).unwrap();
        limits.check_tensors(6).unwrap();
        let refused =
            [limits.check_pixels(7, 1), limits.check_image(7), limits.check_weights(7), limits.check_tensors(7)];
        for (refused, name) in refused.into_iter().zip(["`pixels`", "`imageBytes`", "`weightsBytes`", "`tensors`"]) {
            assert!(matches!(&refused, Err(Error::TooLarge(message)) if message.contains(name)), "{name}: {refused:?}");
        }
        assert!(limits.check_pixels(usize::MAX, usize::MAX).is_err());
    }
}
