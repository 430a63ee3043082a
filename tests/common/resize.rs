//! Photos and ways to resize them.

use clap::ValueEnum;
use xception::resize::{Filter, Fit, Preprocessing, Rgba};

/// Every way to resize, with its name.
pub fn ways() -> impl Iterator<Item = (Preprocessing, String)> {
    Filter::value_variants().iter().flat_map(|&filter| {
        [Fit::Squash, Fit::Crop]
            .map(|fit| (Preprocessing { filter, fit, ..Preprocessing::default() }, format!("{filter}.{fit}")))
    })
}

/// A photo of RGB values and one alpha.
pub fn photo(width: usize, height: usize, rgb: &[u8], alpha: u8) -> Rgba {
    let data = rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], alpha]).collect();
    Rgba::new(width, height, data).unwrap()
}
