//! Good files to mutate: small ones of every kind, and whole models.

// The fuzz corpus uses a part of this.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use hdf5_pure::{AttrValue, FileBuilder};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use xception::learn::{Examples, Head, Learner, Neighbours, Options};
use xception::network::Output;
use xception::weights::learned::LearnedHead;
use xception::weights::safetensors::{Header, Model};
use xception::weights::{Overrides, convert};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::common::{Random, fixture};

pub type Files = Vec<(String, Vec<u8>)>;

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Files of `tests/data`, decompressed.
pub fn fixtures(names: &[&str]) -> Files {
    names.iter().map(|name| ((*name).to_owned(), fixture(name))).collect()
}

/// A folder's files in the order of their names; none where there is no folder.
pub fn folder(path: &Path) -> Files {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap()))
        .collect()
}

/// A whole model in our own format, stored in each way.
pub fn own() -> Files {
    let model = Model::deserialize(&convert(fixture("keras3.h5"), Overrides::default()).unwrap()).unwrap();
    let store = |dtype: &str| (format!("{dtype}.safetensors"), model.serialize(dtype.parse().unwrap()).unwrap());
    ["f32", "f16", "i8"].map(store).into()
}

/// The headers of such files.
pub fn headers(own: &Files) -> Files {
    own.iter().map(|(name, file)| (name.clone(), file[..Header::len(file).unwrap()].to_vec())).collect()
}

/// The header of a model of f32 with other dense layers, `fc0` and so on, whose sizes are as they are in `usize`.
pub fn with_head(header: &[u8], units: &[usize]) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(&header[8..]).unwrap();
    let name = xception::weights::safetensors::FORMAT;
    let mut description: Value = serde_json::from_str(json["__metadata__"][name].as_str().unwrap()).unwrap();
    let layer = |name: &str, operation: Value, units: usize| json!({"name": name, "operation": operation, "units": units, "activation": null});
    let dense = |(i, &units): (usize, &usize)| layer(&format!("fc{i}"), json!("dense"), units);
    let average = layer("avg_pool", json!({"global_pool": "average"}), 0);
    description["model"]["head"] = [average].into_iter().chain(units.iter().enumerate().map(dense)).collect();
    description["model"]["labels"] = json!([]);
    json["__metadata__"][name] = description.to_string().into();
    let tensors = json.as_object_mut().unwrap();
    tensors.retain(|name, _| name.starts_with("block") || name.starts_with("__"));
    let end = |tensor: &Value| tensor["data_offsets"][1].as_u64().unwrap_or_default() as usize;
    let mut end = tensors.values().map(end).max().unwrap();
    let mut inputs = 2048;
    for (i, &outputs) in units.iter().enumerate() {
        let [row, bias] = [inputs, outputs].map(|length: usize| length.next_multiple_of(4));
        for (suffix, shape) in [("weight", vec![outputs, row]), ("bias", vec![bias])] {
            let begin = end;
            end = shape.iter().fold(4_usize, |size, &length| size.wrapping_mul(length)).wrapping_add(begin);
            let tensor = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
            tensors.insert(format!("fc{i}.{suffix}"), tensor);
        }
        inputs = outputs;
    }
    let json = json.to_string();
    [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
}

/// A head of three classes: its kernel `[2048, 3]` and its bias.
fn head() -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(7);
    (random.values(2048 * 3), random.values(3))
}

/// Small HDF5 files of a head: plain, and in compressed chunks.
pub fn small_h5() -> Files {
    let (kernel, bias) = head();
    let config = r#"{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config":
        {"name": "predictions", "units": 3, "activation": "softmax"}}]}}"#;
    let file = |is_chunked: bool| {
        let mut file = FileBuilder::new();
        file.set_attr("model_config", AttrValue::String(config.to_owned()));
        let mut group = file.create_group("predictions");
        let dataset = group.create_dataset("kernel:0").with_f32_data(&kernel).with_shape(&[2048, 3]);
        if is_chunked {
            dataset.with_chunks(&[256, 3]).with_shuffle().with_deflate(6);
        }
        group.create_dataset("bias:0").with_f32_data(&bias).with_shape(&[3]);
        file.add_group(group.finish());
        file.finish().unwrap()
    };
    vec![("plain.h5".to_owned(), file(false)), ("chunked.h5".to_owned(), file(true))]
}

/// A small safetensors file of a head, as PyTorch lays it out.
pub fn small_safetensors() -> (String, Vec<u8>) {
    let (kernel, bias) = head();
    let view = |shape: &[usize], values| TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values));
    let views = [("fc.weight", view(&[3, 2048], &kernel).unwrap()), ("fc.bias", view(&[3], &bias).unwrap())];
    ("small.safetensors".to_owned(), serialize(views, None::<HashMap<_, _>>).unwrap())
}

/// Learned heads of both kinds, on three features.
pub fn learned() -> Files {
    let mut examples = Examples::default();
    for index in 0..8 {
        examples.push(vec![1.0, (index % 2) as f32, index as f32 / 8.0], index % 2);
    }
    let labels = vec!["no".to_owned(), "yes".to_owned()];
    let description = LearnedHead::new("0".repeat(64), labels, Output::Softmax);
    let linear = Learner::new(examples.clone(), 2, Options::default()).unwrap().finish().linear;
    let neighbours = Neighbours::new(examples, 2, None).unwrap().0;
    vec![
        ("linear".to_owned(), Head::of_linear(&description, &linear).unwrap()),
        ("neighbours".to_owned(), Head::of_neighbours(description, &neighbours).unwrap()),
    ]
}

/// A small TensorFlow.js model of a head: its JSON, and its arrays behind it, one of them in bytes.
pub fn small_json() -> (String, Vec<u8>) {
    let config = json!({"class_name": "Dense", "config": {"name": "predictions", "units": 3, "activation": "softmax"}});
    let kernel = json!({"name": "predictions/kernel", "shape": [2048, 3], "dtype": "float32",
                        "quantization": {"dtype": "uint8", "scale": 0.01, "min": -1.0}});
    let bias = json!({"name": "predictions/bias", "shape": [3], "dtype": "float32"});
    let model = json!({
        "modelTopology": {"model_config": {"class_name": "Sequential", "config": {"layers": [config]}}},
        "weightsManifest": [{"paths": ["group1-shard1of1"], "weights": [kernel, bias]}],
    });
    let bytes = (0..2048 * 3).map(|at| (at % 251) as u8).chain([0; 12]);
    ("small.json".to_owned(), model.to_string().into_bytes().into_iter().chain(bytes).collect())
}

/// A zip archive.
pub fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Small archives of a head: stored and compressed.
pub fn small_archives() -> Files {
    let config = br#"{"config": {"layers": [{"class_name": "Dense", "config": {"name": "predictions", "units": 3}}]}}"#;
    let weights = &small_h5()[0].1;
    let methods = [("stored.keras", CompressionMethod::Stored), ("deflated.keras", CompressionMethod::Deflated)];
    let members: [(&str, &[u8]); 2] = [("config.json", config), ("model.weights.h5", weights)];
    methods.map(|(name, method)| (name.to_owned(), archive(&members, method))).into()
}

/// A member of an archive.
pub fn member(file: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ZipArchive::new(Cursor::new(file)).unwrap().by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Label files of each form.
pub fn labels() -> Files {
    let names: Vec<String> = (0..40).map(|class| format!("class {class} é\u{1F431}")).collect();
    let index: Vec<String> = (0..40).map(|class| format!(r#""{class}": ["n{class:08}", "class {class}"]"#)).collect();
    [
        ("lines.txt", names.join("\n")),
        ("array.json", format!("{names:?}")),
        ("index.json", format!("{{{}}}", index.join(", "))),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into()
}

/// Gives the chunks of a PNG their checksums, as far as they can be followed.
pub fn repair_png(file: &mut [u8]) {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    };
    if !file.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    let length = |file: &[u8], at: usize| Some(u32::from_be_bytes(*file.get(at..)?.first_chunk()?) as usize);
    let end = |length: usize, at: usize| length.saturating_add(at + 8);
    while let Some(end) = length(file, at).map(|length| end(length, at)).filter(|&end| end <= file.len() - 4) {
        let sum = crc(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}
