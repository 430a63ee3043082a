//! Errors, each with a sentence that says what to do.

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error. The text is a sentence for people; [`Error::code`] is for programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A weights file of a known kind that cannot be used: cut short, a layer missing, a wrong shape, NaN.
    #[error("the weights cannot be used: {0}")]
    Weights(String),
    /// A file that is neither of the weight formats read here.
    #[error("{0}")]
    Format(String),
    /// An image that cannot be decoded.
    #[error("not a readable image: {0}; give a JPEG, PNG, WebP, GIF or BMP file that opens elsewhere")]
    Decode(String),
    /// An image or a model beyond what is accepted, or beyond what the GPU offers.
    #[error("{0}")]
    TooLarge(String),
    /// An argument outside its range.
    #[error("{0}")]
    Argument(String),
    /// The browser has no WebGPU, or the machine no driver for it.
    #[error("{0}")]
    NoAdapter(String),
    /// The GPU ran out of memory.
    #[error("the GPU has no memory left for {0}; close other pages or programs that use it")]
    OutOfMemory(String),
    /// The driver or the browser took the GPU away.
    #[error("the GPU was lost: {0}; load the model again")]
    DeviceLost(String),
    /// The GPU's API refused a call.
    #[error("the GPU's API reported an error, please report it: {0}")]
    Gpu(String),
    /// An output that is NaN or infinite.
    #[error("the network's output is not a number: the weights are damaged, or too large for f32")]
    BadOutput,
}

impl Error {
    /// A short stable name of the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Weights(_) => "bad-weights",
            Self::Format(_) => "unsupported-format",
            Self::Decode(_) => "decode",
            Self::TooLarge(_) => "too-large",
            Self::Argument(_) => "bad-argument",
            Self::NoAdapter(_) => "no-adapter",
            Self::OutOfMemory(_) => "out-of-memory",
            Self::DeviceLost(_) => "device-lost",
            Self::Gpu(_) => "gpu",
            Self::BadOutput => "bad-output",
        }
    }
}

/// The place of a name among others.
///
/// # Errors
/// [`Error::Argument`] if it is none of them.
pub(crate) fn place_of(name: &str, all: &[&str]) -> Result<usize> {
    let place = all.iter().position(|other| *other == name);
    place.ok_or_else(|| Error::Argument(format!("{name:?} is none of {}", all.join(", "))))
}
