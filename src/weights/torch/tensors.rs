//! Tensors of a file by PyTorch, by name: safetensors, a zip archive (PyTorch 1.6 and later), or pickles one behind the other (before).

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;

use half::{bf16, f16};
use safetensors::SafeTensors;

use super::super::Format;
use super::super::fold::finite;
use super::pickle::{Pickle, Storage};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The first of the pickles of PyTorch before 1.6: a number that has no meaning.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The length of the first pickle of a file of PyTorch before 1.6, whose protocol may be another than the second; none of another file.
pub(super) fn legacy_magic(file: &[u8]) -> Option<usize> {
    let start = &file[..file.len().min(MAGIC.len() + 11)];
    let at = start.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    Some(at + MAGIC.len())
}

/// The longest pickle of a zip archive.
const MAX_PICKLE: u64 = 64 << 20;

/// The tensors of a file.
pub(super) struct Tensors<'a> {
    file: &'a [u8],
    by_name: BTreeMap<String, Tensor>,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// Its dtype, such as `float32`.
    dtype: String,
    pub shape: Vec<usize>,
    /// Values between neighbours along each dimension.
    strides: Vec<usize>,
    /// Its first value in its bytes.
    offset: usize,
    /// The bytes of its storage in the file; none if they are not there.
    bytes: Option<Range<usize>>,
}

/// Bytes of a value of a dtype, and the dtype's name; none of what is no float.
fn float(dtype: &str) -> Option<usize> {
    match dtype {
        "float64" => Some(8),
        "float32" => Some(4),
        "float16" | "bfloat16" => Some(2),
        _ => None,
    }
}

/// The dtype of a storage's class, and the bytes of a value.
fn storage_dtype(class: &str) -> (&str, usize) {
    match class {
        "DoubleStorage" => ("float64", 8),
        "FloatStorage" => ("float32", 4),
        "HalfStorage" => ("float16", 2),
        "BFloat16Storage" => ("bfloat16", 2),
        "LongStorage" => ("int64", 8),
        "IntStorage" => ("int32", 4),
        "ShortStorage" => ("int16", 2),
        "ComplexFloatStorage" => ("complex64", 8),
        "ComplexDoubleStorage" => ("complex128", 16),
        other => (other, 1),
    }
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Weights(format!("the PyTorch file is damaged or cut short ({what}); fetch it again"))
}

/// Whether a zip archive is PyTorch's.
pub fn is_archive(file: &[u8]) -> bool {
    zip::ZipArchive::new(Cursor::new(file))
        .is_ok_and(|archive| archive.file_names().flatten().any(|name| name.ends_with("data.pkl")))
}

impl<'a> Tensors<'a> {
    /// The tensors of a file of any of the three formats.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is damaged, [`Error::TooLarge`] beyond the limit of tensors.
    pub(super) fn read(file: &'a [u8], limits: &Limits) -> Result<Self> {
        let by_name = if file.starts_with(b"PK") {
            archive(file)?
        } else if let Some(start) = legacy_magic(file) {
            legacy(file, start)?
        } else if Format::detect(file) == Ok(Format::Pickle) {
            return Err(Error::Format(
                "this is a Python pickle that torch.save did not make: load it in Python and save the model's state_dict with \
                 torch.save"
                    .to_owned(),
            ));
        } else {
            safetensors(file)?
        };
        limits.check_tensors(by_name.len())?;
        Ok(Self { file, by_name })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The values of a tensor, which must have this shape.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is missing, of another shape, no float, or beyond its storage.
    pub(super) fn values(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.get(name).ok_or_else(|| Error::Weights(format!("{name} is missing")))?;
        let size = float(&tensor.dtype).filter(|_| tensor.shape == expected).ok_or_else(|| {
            Error::Weights(format!("{name} is {} {:?} and must be a float {expected:?}", tensor.dtype, tensor.shape))
        })?;
        let beyond = || damaged(format!("{name} lies beyond what the file holds"));
        let bytes = &self.file[tensor.bytes.clone().ok_or_else(beyond)?];
        // The index of the last value.
        let last = tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |last, (&length, &stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        });
        if tensor.shape.contains(&0) || last.is_none_or(|last| last >= bytes.len() / size) {
            return Err(beyond());
        }
        let value = |index: usize| {
            let part = &bytes[index * size..][..size];
            match &*tensor.dtype {
                "float64" => f64::from_le_bytes(part.try_into().unwrap_or_default()) as f32,
                "float32" => f32::from_le_bytes(part.try_into().unwrap_or_default()),
                "float16" => f16::from_le_bytes(part.try_into().unwrap_or_default()).to_f32(),
                _ => bf16::from_le_bytes(part.try_into().unwrap_or_default()).to_f32(),
            }
        };
        let mut values = Vec::with_capacity(tensor.shape.iter().product());
        let mut place = vec![0; tensor.shape.len()];
        'all: loop {
            values.push(value(
                tensor.offset + place.iter().zip(&tensor.strides).map(|(at, stride)| at * stride).sum::<usize>(),
            ));
            for axis in (0..place.len()).rev() {
                place[axis] += 1;
                if place[axis] < tensor.shape[axis] {
                    continue 'all;
                }
                place[axis] = 0;
            }
            break;
        }
        finite(name, values)
    }
}

/// Tensors of safetensors.
fn safetensors(file: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let tensors = SafeTensors::deserialize(file).map_err(|error| {
        Error::Weights(format!("the safetensors file is damaged or cut short ({error}); fetch it again"))
    })?;
    let start = file.as_ptr() as usize;
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let shape = view.shape().to_vec();
        let begin = view.data().as_ptr() as usize - start;
        let dtype = match view.dtype() {
            safetensors::Dtype::F64 => "float64".to_owned(),
            safetensors::Dtype::F32 => "float32".to_owned(),
            safetensors::Dtype::F16 => "float16".to_owned(),
            safetensors::Dtype::BF16 => "bfloat16".to_owned(),
            other => other.to_string(),
        };
        let bytes = Some(begin..begin + view.data().len());
        (name, Tensor { dtype, strides: contiguous(&shape), shape, offset: 0, bytes })
    };
    Ok(tensors.tensors().into_iter().map(tensor).collect())
}

/// Strides of values that lie row by row.
fn contiguous(shape: &[usize]) -> Vec<usize> {
    (0..shape.len())
        .map(|axis| shape[axis + 1..].iter().fold(1, |product: usize, &length| product.saturating_mul(length)))
        .collect()
}

/// Tensors of a zip archive: a pickle `data.pkl`, and the bytes of each storage in `data/`.
fn archive(file: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(damaged)?;
    let root = archive.file_names().flatten().find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
    let root = root.ok_or_else(|| damaged("it has no data.pkl"))?;
    let mut text = |name: &str, limit: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let entry = archive.by_name(&format!("{root}{name}")).map_err(damaged)?;
        if entry.size() > limit {
            return Err(damaged(format!("{name} claims {} bytes", entry.size())));
        }
        entry.take(limit).read_to_end(&mut bytes).map_err(damaged)?;
        Ok(bytes)
    };
    let pickle = Pickle::read(&text("data.pkl", MAX_PICKLE.min(file.len() as u64 * 8))?)?;
    if text("byteorder", 16).is_ok_and(|order| order.trim_ascii() == b"big") {
        return Err(Error::Weights("the file's values are big-endian: save it on a little-endian machine".to_owned()));
    }
    let mut bytes = |storage: &Storage| -> Result<Option<Range<usize>>> {
        let name = format!("{root}data/{}", storage.key);
        let Ok(entry) = archive.by_name(&name) else { return Ok(None) };
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(Error::Weights(format!(
                "{name} is compressed, which torch.save does not do: save the model again"
            )));
        }
        let begin = entry.data_start().and_then(|begin| usize::try_from(begin).ok());
        let end = begin.and_then(|begin| begin.checked_add(usize::try_from(entry.size()).ok()?));
        Ok(begin.zip(end).map(|(begin, end)| begin..end).filter(|range| range.end <= file.len()))
    };
    let mut storages: BTreeMap<String, Option<Range<usize>>> = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in pickle.tensors() {
        let key = tensor.storage.key.clone();
        if !storages.contains_key(&key) {
            let range = bytes(&tensor.storage)?;
            storages.insert(key.clone(), range);
        }
        tensors.entry(name).or_insert_with(|| located(tensor, storages[&key].clone()));
    }
    Ok(tensors)
}

/// A tensor of a pickle, whose storage's bytes lie there.
fn located(tensor: super::pickle::TensorRef, bytes: Option<Range<usize>>) -> Tensor {
    let super::pickle::TensorRef { storage, dtype, offset, shape, strides } = tensor;
    let dtype = match &dtype {
        Some(dtype) => dtype.strip_prefix("torch.").unwrap_or(dtype).to_owned(),
        None => storage_dtype(&storage.class).0.to_owned(),
    };
    Tensor { dtype, shape, strides, offset: offset.saturating_add(storage.view), bytes }
}

/// Tensors of pickles one behind the other: a magic number, a version, facts about the machine, the object, and the names of the storages,
/// whose lengths and bytes follow.
fn legacy(file: &[u8], start: usize) -> Result<BTreeMap<String, Tensor>> {
    let mut at = start;
    let mut next = || -> Result<Pickle> {
        let pickle = Pickle::read(&file[at..])?;
        at += pickle.len;
        Ok(pickle)
    };
    let (version, machine, object, keys) = (next()?, next()?, next()?, next()?);
    if version.integer() != Some(1001) || machine.is_false("little_endian") {
        return Err(Error::Weights(
            "the file has another version or byte order than PyTorch's: save the model again".to_owned(),
        ));
    }
    let keys = keys.texts().ok_or_else(|| damaged("the names of its storages are missing"))?;
    let tensors = object.tensors();
    let size = |storage: &Storage| (storage.key.clone(), storage_dtype(&storage.class).1);
    let sizes: BTreeMap<String, usize> = object.storages().map(size).collect();
    let mut storages: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for key in keys {
        let count = file.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes));
        let (Some(count), Some(&size)) = (count, sizes.get(&key)) else { return Err(damaged("a storage is missing")) };
        let begin = at + 8;
        let end = usize::try_from(count).ok().and_then(|count| begin.checked_add(count.checked_mul(size)?));
        let Some(end) = end.filter(|&end| end <= file.len()) else { return Err(damaged("a storage is cut short")) };
        storages.insert(key, begin..end);
        at = end;
    }
    let found = tensors.into_iter().map(|(name, tensor)| {
        let bytes = storages.get(&tensor.storage.key).cloned();
        (name, located(tensor, bytes))
    });
    Ok(found.collect())
}
