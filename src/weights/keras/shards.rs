//! TensorFlow.js's layers models: `model.json`, which has the model's config and lists its arrays, and files that have their bytes
//! ("shards"). They are read as one file: the JSON, and behind it the shards in the order in which it names them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::config::number;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// How an array's values are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    F32,
    F16,
    /// Bytes, each times the scale, plus the least value.
    U8(f64, f64),
    /// The same with two bytes.
    U16(f64, f64),
}

impl Values {
    const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::U16(..) => 2,
            Self::U8(..) => 1,
        }
    }

    /// Reads an entry's `dtype` and `quantization`; none of other ones.
    fn read(entry: &Value) -> Option<Self> {
        let how = &entry["quantization"];
        let scale = || Some((how["scale"].as_f64()?, how["min"].as_f64()?));
        match (entry["dtype"].as_str()?, how["dtype"].as_str()) {
            ("float32", None) if how.is_null() => Some(Self::F32),
            ("float32", Some("float16")) | ("float16", None) => Some(Self::F16),
            ("float32", Some("uint8")) => scale().map(|(scale, least)| Self::U8(scale, least)),
            ("float32", Some("uint16")) => scale().map(|(scale, least)| Self::U16(scale, least)),
            _ => None,
        }
    }
}

/// An array's place among the bytes.
#[derive(Clone, Debug)]
struct Entry {
    shape: Vec<usize>,
    values: Values,
    range: Range<usize>,
}

/// The arrays of a model, and its config.
pub(super) struct Shards {
    /// The model's JSON, as Keras has it.
    pub config: String,
    /// The JSON of its training, where it has one.
    pub training: Option<String>,
    entries: BTreeMap<String, Entry>,
    bytes: Vec<u8>,
}

/// The names of the files that a `model.json` lists.
///
/// # Errors
/// [`Error::Format`] if it is no layers model, [`Error::Weights`] if it names a file of another folder or host, or one twice.
pub fn names(json: &[u8]) -> Result<Vec<String>> {
    files(&parse(json)?.0)
}

fn files(model: &Value) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut known = BTreeSet::new();
    for path in groups(model).flat_map(|group| group["paths"].as_array().into_iter().flatten()) {
        let name = path.as_str().unwrap_or_default();
        if matches!(name, "" | "." | "..") || name.contains(['/', '\\', ':', '\0']) {
            return Err(Error::Weights(format!(
                "model.json names the file {path}, which is none beside it: put its files into its folder, and name them \
                 without a path"
            )));
        }
        if !known.insert(name) {
            return Err(Error::Weights(format!("model.json names the file {path} twice: convert the model again")));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn groups(model: &Value) -> impl Iterator<Item = &Value> {
    model["weightsManifest"].as_array().into_iter().flatten()
}

/// The JSON at the beginning of a file, and its length.
fn parse(file: &[u8]) -> Result<(Value, usize)> {
    let mut values = serde_json::Deserializer::from_slice(file).into_iter::<Value>();
    let model = values.next().and_then(std::result::Result::ok).unwrap_or_default();
    let what = match () {
        () if model["format"] == "graph-model" || model["modelTopology"]["node"].is_array() => {
            "this is a graph model of TensorFlow.js, which has no layers any more: give its layers model \
             (tfjs_layers_model), or the Keras file that it was made of"
        }
        () if model["modelTopology"].is_null() || model["weightsManifest"].is_null() => {
            "this JSON is not the model.json of a TensorFlow.js layers model"
        }
        () => return Ok((model, values.byte_offset())),
    };
    Err(Error::Format(what.to_owned()))
}

impl Shards {
    /// Takes a file of the JSON and the shards behind it.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no layers model, [`Error::Weights`] if bytes are missing, or an array is of another type,
    /// [`Error::TooLarge`] beyond the limit of arrays.
    pub(super) fn read(mut file: Vec<u8>, limits: &Limits) -> Result<Self> {
        let (model, length) = parse(&file)?;
        let names = files(&model)?;
        let mut entries = BTreeMap::new();
        let mut end: usize = 0;
        for entry in groups(&model).flat_map(|group| group["weights"].as_array().into_iter().flatten()) {
            let name = entry["name"].as_str().unwrap_or_default();
            let shape: Option<Vec<usize>> =
                entry["shape"].as_array().and_then(|sides| sides.iter().map(number).collect());
            let (Some(values), Some(shape)) = (Values::read(entry), shape) else {
                return Err(Error::Weights(format!("{name} is not of floating-point numbers, or has no shape")));
            };
            let len = shape.iter().try_fold(values.size(), |len, &side| len.checked_mul(side));
            let begin = end;
            end = len.and_then(|len| end.checked_add(len)).unwrap_or(usize::MAX);
            limits.check_tensors(entries.len() + 1)?;
            if entries.insert(name.to_owned(), Entry { shape, values, range: begin..end }).is_some() {
                return Err(Error::Weights(format!("model.json lists {name} twice: convert the model again")));
            }
        }
        let bytes = file.split_off(length);
        if bytes.len() != end {
            return Err(Error::Weights(format!(
                "model.json lists {end} bytes of weights, and its files have {}: give all that it names ({}), in whole",
                bytes.len(),
                names.first().map_or("none", String::as_str)
            )));
        }
        let topology = &model["modelTopology"];
        // TensorFlow.js itself leaves the outer level out.
        let config = [&topology["model_config"], topology].into_iter().find(|config| !config.is_null());
        let training =
            [&topology["training_config"], &model["trainingConfig"]].into_iter().find(|json| !json.is_null());
        let text = |json: &Value| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        let config = config.map(text).unwrap_or_default();
        Ok(Self { config, training: training.map(text), entries, bytes })
    }

    /// The names and shapes of all arrays.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries.iter().map(|(name, entry)| (&**name, &entry.shape[..]))
    }

    /// The values of an array.
    pub(super) fn values(&self, name: &str) -> Option<Vec<f32>> {
        let Entry { values, range, .. } = self.entries.get(name)?;
        let bytes = self.bytes.get(range.clone())?;
        let scaled = |value: u16, scale: f64, least: f64| (f64::from(value) * scale + least) as f32;
        Some(match *values {
            Values::F32 => Dtype::F32.decode(bytes),
            Values::F16 => Dtype::F16.decode(bytes),
            Values::U8(scale, least) => bytes.iter().map(|&byte| scaled(byte.into(), scale, least)).collect(),
            Values::U16(scale, least) => {
                let pairs = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                pairs.map(|value| scaled(value, scale, least)).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(weights: &Value) -> Value {
        let manifest = json!([{"paths": ["a.bin", "b.bin"], "weights": weights}]);
        json!({"modelTopology": {"model_config": {"class_name": "Model", "config": {}}}, "weightsManifest": manifest})
    }

    fn read(model: &Value, bytes: &[u8]) -> Result<Shards> {
        Shards::read([model.to_string().as_bytes(), bytes].concat(), &Limits::default())
    }

    #[test]
    fn every_way_to_store_values_is_read() {
        let quantized = |name: &str, dtype: &str, more: Value| {
            let mut entry = json!({"name": name, "shape": [2], "dtype": "float32", "quantization": more});
            entry["quantization"]["dtype"] = json!(dtype);
            entry
        };
        let weights = json!([
            {"name": "a/kernel", "shape": [1, 2], "dtype": "float32"},
            quantized("b/kernel", "uint8", json!({"scale": 0.5, "min": -1.0})),
            quantized("c/kernel", "uint16", json!({"scale": 0.25, "min": 2.0})),
            quantized("d/kernel", "float16", json!({})),
        ]);
        let mut bytes: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.extend([0, 255, 4, 0, 0, 1, 0x00, 0x3c, 0x00, 0xc0]);
        let shards = read(&model(&weights), &bytes).unwrap();
        let expected: [(&str, [f32; 2]); 4] =
            [("a", [1.5, -2.0]), ("b", [-1.0, 126.5]), ("c", [3.0, 66.0]), ("d", [1.0, -2.0])];
        for (name, values) in expected {
            assert_eq!(shards.values(&format!("{name}/kernel")).unwrap(), values, "{name}");
        }
        assert_eq!(shards.arrays().next(), Some(("a/kernel", &[1, 2][..])));
        for cut in 0..bytes.len() {
            let error = read(&model(&weights), &bytes[..cut]).err().expect("too few bytes").to_string();
            assert!(error.contains("lists 18 bytes of weights") && error.contains("a.bin"), "{error}");
        }
    }

    #[test]
    fn what_is_no_layers_model_is_refused() {
        for (json, reason) in [
            (json!({"format": "graph-model", "modelTopology": {"node": []}}), "graph model of TensorFlow.js"),
            (json!({"name": "npm"}), "not the model.json"),
            (json!([1, 2]), "not the model.json"),
            (model(&json!([{"name": "a", "shape": [1], "dtype": "int32"}])), "not of floating-point numbers"),
            (model(&json!(vec![json!({"name": "a", "shape": [1], "dtype": "float32"}); 2])), "lists a twice"),
            (model(&json!([{"name": "a", "shape": [-1], "dtype": "float32"}])), "has no shape"),
            (model(&json!([{"name": "a", "shape": [u64::MAX, 9], "dtype": "float32"}])), "give all that it names"),
        ] {
            let error = read(&json, &[]).err().expect(reason).to_string();
            assert!(error.contains(reason), "{error} does not mention {reason}");
        }
        for path in
            ["../a.bin", "/etc/passwd", "https://example.com/a", "file:///etc/passwd", "C:a", "a\\b", "a/b", "..", ""]
        {
            let mut model = model(&json!([]));
            model["weightsManifest"][0]["paths"][1] = json!(path);
            let error = names(model.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("{}, which is none beside it", json!(path))), "{path}: {error}");
            // Also where the other files have all bytes.
            assert!(read(&model, &[]).is_err(), "{path}");
        }
        let mut twice = model(&json!([]));
        twice["weightsManifest"][0]["paths"][1] = json!("a.bin");
        assert!(names(twice.to_string().as_bytes()).unwrap_err().to_string().contains("\"a.bin\" twice"));
        assert_eq!(names(model(&json!([])).to_string().as_bytes()).unwrap(), ["a.bin", "b.bin"]);
        assert!(names(b"{").is_err());
    }
}
