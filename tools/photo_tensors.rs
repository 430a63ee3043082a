//! Writes the kitchenware photos as 8-bit tensors, decoded and resized as this project does, for `tools/make_golden.py`,
//! which gives them to Keras: `target/golden/photos.safetensors`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use xception::image::decode;
use xception::limits::Limits;
use xception::resize::{Filter, Preprocessing, resize};

fn main() -> Result<(), Box<dyn Error>> {
    let nearest = Preprocessing { filter: Filter::Nearest, ..Preprocessing::default() };
    let mut tensors = BTreeMap::new();
    for entry in fs::read_dir("models/kitchenware/photos")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let levels = resize(&decode(&fs::read(path)?, &Limits::default())?, nearest, [150, 150]);
        tensors.insert(name, levels.iter().map(|&level| level as u8).collect::<Vec<_>>());
    }
    let views = tensors.iter().map(|(name, pixels)| Ok((name, TensorView::new(Dtype::U8, vec![150, 150, 3], pixels)?)));
    fs::create_dir_all("target/golden")?;
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize_to_file(views, None, "target/golden/photos.safetensors".as_ref())?)
}
