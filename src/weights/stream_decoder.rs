//! Streaming decoder of a weights file: pieces of any size in, tensors in the caller's dtype out.

use std::borrow::Cow;

use super::safetensors::{Entry, Header};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::layer::Tensor;

/// Pieces are cut into words of this many bytes, so that a word of any dtype becomes whole words of 4 bytes.
const WORD: usize = 8;

/// Hands the tensors of a file on, piece by piece.
#[derive(Debug)]
pub struct StreamDecoder {
    /// By place in the file.
    entries: Vec<Entry>,
    tensors: Vec<Tensor>,
    storage: Dtype,
    /// The scales that have come, by tensor.
    scales: Vec<Vec<f32>>,
    data_start: usize,
    file_len: usize,
    position: usize,
    /// The first bytes of a word whose rest has not come yet.
    carry: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder at the start of the tensors, which are wanted stored as `storage`, f32, f16, or i8 where they
    /// are that.
    pub fn new(header: &Header, storage: Dtype) -> Self {
        let (entries, tensors) = (header.entries.clone(), header.network.tensors());
        Self {
            entries,
            scales: vec![Vec::new(); tensors.len()],
            tensors,
            storage,
            data_start: header.data_start,
            file_len: header.file_len,
            position: 0,
            carry: Vec::new(),
        }
    }

    /// Takes the next bytes of the file; `write(tensor, offset, bytes)` gets whole words of 4 bytes of one tensor, and
    /// where in it they belong.
    ///
    /// # Errors
    /// [`Error::Weights`] if a value is NaN or infinite, or bytes follow the last tensor; [`Error::TooLarge`] if a
    /// value is beyond f16's range.
    pub fn push(&mut self, mut bytes: &[u8], mut write: impl FnMut(usize, usize, &[u8])) -> Result<()> {
        let came = self.data_start + self.position + self.carry.len();
        let Some(left) = (self.file_len - came).checked_sub(bytes.len()) else {
            return Err(Error::Weights(format!("the file is longer than the {} bytes it describes", self.file_len)));
        };
        if !self.carry.is_empty() {
            let (first, rest) = bytes.split_at(bytes.len().min(WORD - self.carry.len()));
            self.carry.extend(first);
            bytes = rest;
            if self.carry.len() == WORD || left == 0 {
                let word = std::mem::take(&mut self.carry);
                self.words(&word, &mut write)?;
            }
        }
        let rest = if left == 0 { 0 } else { bytes.len() % WORD };
        let (whole, rest) = bytes.split_at(bytes.len() - rest);
        self.carry.extend(rest);
        self.words(whole, &mut write)
    }

    fn words(&mut self, bytes: &[u8], write: &mut impl FnMut(usize, usize, &[u8])) -> Result<()> {
        let (begin, end) = (self.position, self.position + bytes.len());
        self.position = end;
        let first = self.entries.partition_point(|entry| entry.range.1 <= begin);
        for entry in self.entries[first..].iter().take_while(|entry| entry.range.0 < end) {
            let (start, stop) = entry.range;
            let part = &bytes[start.max(begin) - begin..stop.min(end) - begin];
            let tensor = &self.tensors[entry.tensor];
            if !finite(part, entry.dtype) {
                return Err(Error::Weights(format!("{} holds a value that is not a finite number (NaN)", entry.name)));
            }
            if entry.is_scale {
                let scales = Dtype::F32.decode(part);
                if scales.iter().any(|scale| !(0.0..f32::MAX / 128.0).contains(scale)) {
                    return Err(Error::Weights(format!("{} holds a value that is no scale", entry.name)));
                }
                self.scales[entry.tensor].extend(scales);
                continue;
            }
            let first = (start.max(begin) - start) / entry.dtype.size();
            let storage = tensor.dtype(self.storage);
            let stored = restore(tensor, &self.scales[entry.tensor], entry.dtype, storage, first, part)?;
            write(entry.tensor, first * storage.size(), &stored);
        }
        Ok(())
    }

    /// The scales of i8 that have come, for each tensor.
    pub fn scales(&self) -> &[Vec<f32>] {
        &self.scales
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Weights`] if bytes are missing.
    pub fn finish(&self) -> Result<()> {
        let came = self.data_start + self.position + self.carry.len();
        if came != self.file_len {
            let want = self.file_len;
            return Err(Error::Weights(format!(
                "the file is cut short: {came} of its {want} bytes are there; fetch it again"
            )));
        }
        Ok(())
    }
}

/// Whether all values are numbers: an exponent of all ones is NaN or infinity.
fn finite(bytes: &[u8], dtype: Dtype) -> bool {
    match dtype {
        Dtype::F32 => bytes.chunks_exact(4).all(|value| value[3] & 0x7f != 0x7f || value[2] & 0x80 == 0),
        Dtype::F16 => bytes.chunks_exact(2).all(|value| value[1] & 0x7c != 0x7c),
        Dtype::I8 => true,
    }
}

/// A part of a tensor, from its value `first` on, in another dtype.
fn restore<'a>(
    tensor: &Tensor,
    scales: &[f32],
    from: Dtype,
    to: Dtype,
    first: usize,
    part: &'a [u8],
) -> Result<Cow<'a, [u8]>> {
    if from == to {
        return Ok(part.into());
    }
    let mut values = from.decode(part);
    if from == Dtype::I8 {
        values.iter_mut().zip(first..).for_each(|(value, index)| *value *= scales[tensor.channel(index)]);
    }
    Ok(if to == Dtype::F16 { tensor.to_f16(&values)? } else { to.encode(&values) }.into())
}
