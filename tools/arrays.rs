//! Prints the arrays of weights files as JSON, a line for each file: `cargo run --example arrays FILE…`. Values are a SHA-256 of their f32s, or
//! why there are none.
//! `tools/differential.py` compares them with those of h5py, safetensors and PyTorch.

use std::error::Error;
use std::{env, fs};

use serde_json::json;
use sha2::{Digest, Sha256};
use xception::weights::arrays;

fn main() -> Result<(), Box<dyn Error>> {
    for path in env::args().skip(1) {
        let of = |(name, shape, values): (String, Vec<usize>, xception::error::Result<Vec<f32>>)| {
            let values = match values {
                Ok(values) => {
                    let hash = Sha256::digest(bytemuck::cast_slice::<f32, u8>(&values));
                    json!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
                }
                Err(error) => json!({"refused": error.to_string()}),
            };
            (name, json!([shape, values]))
        };
        let line = match arrays(fs::read(&path)?) {
            Ok(arrays) => {
                json!({"file": path, "arrays": arrays.into_iter().map(of).collect::<serde_json::Map<_, _>>()})
            }
            Err(error) => json!({"file": path, "error": error.to_string()}),
        };
        println!("{line}");
    }
    Ok(())
}
