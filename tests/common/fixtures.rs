//! The models of the golden tests: a trained one, and random ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use xception::dtype::Dtype;
use xception::resize::Filter;
use xception::weights::safetensors::Model;
use xception::weights::{Overrides, convert};

use super::fixture;

fn kitchenware() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/kitchenware");
    assert!(
        folder.join("kitchenware.keras").exists(),
        "the kitchenware model is missing: run `npm test`, which fetches it"
    );
    folder
}

/// The kitchenware model in a file of some dtype.
pub fn kitchen_file(dtype: Dtype) -> Vec<u8> {
    let labels = ["cup", "fork", "glass", "knife", "plate", "spoon"].map(str::to_owned).to_vec();
    let (labels, filter, dtype) = (Some(labels), Some(Filter::Nearest), Some(dtype));
    let overrides = Overrides { labels, filter, dtype, ..Overrides::default() };
    convert(fs::read(kitchenware().join("kitchenware.keras")).unwrap(), overrides).unwrap()
}

/// The kitchenware photos, by name.
pub fn photos() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(kitchenware().join("photos")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// The random network of a fixture for another input size, one of its weights changed where asked.
pub fn random_file(file: &str, side: usize, change: Option<&str>) -> Vec<u8> {
    let mut model = Model::deserialize(&convert(fixture(file), Overrides::default()).unwrap()).unwrap();
    model.meta.input_size = [side; 2];
    if let Some(name) = change {
        let names = model.meta.network().unwrap().tensors();
        let tensor = names.iter().position(|tensor| tensor.name == name).unwrap();
        model.tensors[tensor][0] += 1.0;
    }
    model.serialize(Dtype::F32).unwrap()
}

/// A random network with finite weights and infinite logits.
pub fn overflowing_file() -> Vec<u8> {
    let mut model = Model::deserialize(&random_file("keras3.weights.h5", 71, None)).unwrap();
    let head = model.tensors.len() - 2;
    model.tensors[head].fill(3e38);
    model.serialize(Dtype::F32).unwrap()
}
