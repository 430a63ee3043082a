//! Writes the kitchenware model's features of photos, a line of numbers for each of the files named, for `tools/make_learn_golden.py`.

use std::error::Error;
use std::{env, fs};

use xception::backend::{Cpu, Readback};
use xception::classifier::{Classifier, Options};
use xception::image::decode;
use xception::limits::Limits;

fn main() -> Result<(), Box<dyn Error>> {
    let file = fs::read("models/kitchenware.safetensors")?;
    let mut model = pollster::block_on(Classifier::load(&Cpu::new(), &file, Options::default()))?;
    for path in env::args().skip(1) {
        pollster::block_on(model.upload(&decode(&fs::read(path)?, &Limits::default())?))?;
        let features = pollster::block_on(model.embed(None)?.read())?;
        println!("{}", features.iter().map(f32::to_string).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}
