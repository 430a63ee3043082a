//! The readers of untrusted files, and their limits of memory. The fuzz targets use these too.

use std::io::Cursor;

use ::image::{ImageDecoder, ImageReader};
use xception::dtype::Dtype;
use xception::error::{Error, Result};
use xception::explain::Explanation;
use xception::learn;
use xception::limits::Limits;
use xception::network::layer::Shape;
use xception::plan::Plan;
use xception::tile::{GpuKind, Tuning};
use xception::weights::head::Prefix;
use xception::weights::safetensors::Header;
use xception::weights::stream_decoder::StreamDecoder;
use xception::weights::{Format, Overrides, convert, keras, labels, torch};
use xception::{image, photo};

/// A way to read a file.
#[derive(Clone, Copy)]
pub struct Reader {
    /// Reads it.
    pub read: fn(&[u8]) -> Result<()>,
    /// The limit of memory for reading a file, in bytes.
    pub limit: fn(&[u8]) -> usize,
}

/// The allowance for tables, messages and buffers of decoders, whatever the file.
const BASE: usize = 2 << 20;

/// The header of our own format, and as much of the tensors as is there, in pieces, stored in both ways.
///
/// The header's JSON becomes maps and strings, several times its length. The tensors take what two pieces of 1 MB take.
pub const OWN: Reader = Reader {
    read: |file| {
        let header = Header::parse(file)?;
        for storage in [Dtype::F32, Dtype::F16] {
            let mut decoder = StreamDecoder::new(&header, storage);
            for piece in file[header.data_start..].chunks(1 << 20) {
                decoder.push(piece, |_, _, _| {})?;
            }
            decoder.finish()?;
        }
        Ok(())
    },
    limit: |file| {
        let header = Header::len(file).map_or(0, |length| length.min(file.len()));
        16 * header + 8 * file.len().min(1 << 20) + BASE
    },
};

/// The header of our own format before any tensor has arrived: the plan is made from it too.
pub const HEADER: Reader = Reader {
    read: |file| {
        let Header { network, .. } = Header::parse(file)?;
        for (storage, kind) in [(Dtype::F32, GpuKind::Software), (Dtype::F16, GpuKind::default())] {
            let plan = Explanation::new(&Plan::new(&network, storage, &Tuning::untuned(kind), 1))?.plan;
            assert!(plan.passes.len() > 40 && plan.weight_bytes() > 40_000_000 && plan.activation_bytes() > 100_000);
        }
        Ok(())
    },
    limit: |file| 16 * file.len() + BASE,
};

/// Any weights file that is converted: the file itself, its folded tensors, and the result.
pub const FOREIGN: Reader = Reader {
    read: |file| convert(file.to_vec(), Overrides::default()).map(drop),
    limit: |file| 4 * file.len() + PATHS + BASE,
};

/// The paths of an HDF5 file whose links repeat its groups, as far as they are followed.
const PATHS: usize = 8 << 20;

/// A Keras model's config.
pub const CONFIG: Reader = Reader {
    read: |file| match std::str::from_utf8(file) {
        Ok(json) => keras::check_config(json),
        Err(error) => Err(Error::Weights(error.to_string())),
    },
    // JSON becomes maps and strings, and each layer's is copied.
    limit: |file| 300 * file.len() + BASE,
};

/// A head.
pub const HEAD: Reader = Reader {
    read: |file| {
        let prefix = Prefix::none(Shape::new(5, 5, 2048));
        match Format::detect(file)? {
            Format::Safetensors | Format::Pickle => torch::read_head(file, &prefix, &Limits::default()).map(drop),
            Format::Zip if torch::is_archive(file) => torch::read_head(file, &prefix, &Limits::default()).map(drop),
            _ => keras::read_head(file.to_vec(), prefix, &Limits::default()).map(drop),
        }
    },
    limit: |file| 8 * file.len() + PATHS + BASE,
};

/// A head that was learned here: its description becomes strings, each of a letter maybe, its tensors lists.
pub const LEARNED: Reader = Reader {
    read: |file| {
        let head = learn::Head::read(file)?;
        head.predict(&[0.5; 3]).map(drop)
    },
    limit: |file| 32 * file.len() + BASE,
};

/// Labels: a line of one letter becomes a string of its own.
pub const LABELS: Reader = Reader {
    read: |file| {
        let text = str::from_utf8(file).map_err(|error| Error::Argument(error.to_string()))?;
        labels::parse(text).map(drop)
    },
    limit: |file| 128 * file.len() + BASE,
};

/// A colour profile.
const PROFILE: usize = 4 << 20;

/// Photos: three times the pixels where 16-bit samples are rotated. A lossy WebP has 24-bit lengths, for which its decoder allocates before
/// it reads.
pub const IMAGE: Reader = Reader {
    read: |file| {
        photo::check(file, &Limits::default())?;
        image::decode(file, &Limits::default()).map(drop)
    },
    limit: |file| {
        let decoder = ImageReader::new(Cursor::new(file)).with_guessed_format().ok().map(ImageReader::into_decoder);
        let pixels = match decoder {
            Some(Ok(decoder)) => u64::from(decoder.dimensions().0) * u64::from(decoder.dimensions().1),
            _ => 0,
        };
        let lengths = if file.get(8..12) == Some(b"WEBP") { 1 << 24 } else { 0 };
        24 * pixels.min(Limits::default().pixels) as usize + 16 * file.len() + lengths + PROFILE + BASE
    },
};
