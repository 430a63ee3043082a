//! Writes the files that `npm run fuzz` begins with into a folder for each target: `cargo run --example fuzz_corpus FOLDER`.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/mutations/originals.rs"]
mod originals;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = env::args().nth(1).ok_or("usage: fuzz_corpus FOLDER")?;
    let heads = [originals::small_h5(), originals::small_archives(), vec![originals::small_json()]].concat();
    let timm = vec![originals::small_safetensors()];
    let all = [heads.clone(), timm.clone()].concat();
    for (target, files) in [
        ("own", originals::headers(&originals::own())),
        ("keras", heads),
        ("timm", timm),
        ("torch", originals::fixtures(&["head.pth", "head_module.pth", "head_legacy.pth"])),
        (
            "config",
            ["forms/joined.keras", "inception/model.keras"]
                .map(|name| {
                    let config = originals::member(&common::decompressed(name), "config.json");
                    (format!("{}.json", name.replace('/', "-")), config)
                })
                .into(),
        ),
        ("head", all),
        ("learned", originals::learned()),
        ("labels", originals::labels()),
        ("image", originals::folder(&originals::data("photos"))),
    ] {
        let folder = Path::new(&corpus).join(target);
        fs::create_dir_all(&folder)?;
        for (name, file) in files.iter().chain(&originals::folder(&originals::data("crashes").join(target))) {
            fs::write(folder.join(name), file)?;
        }
    }
    Ok(())
}
