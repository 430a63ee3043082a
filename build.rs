//! Shaders as they are compiled in: browsers download them without their comments, which are a third of the text, and indentation.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    let out = env::var("OUT_DIR").expect("cargo tells where to write");
    let web = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    for entry in fs::read_dir("shaders").expect("shaders/ is there") {
        let path = entry.expect("shaders/ can be listed").path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let code =
            text.split_inclusive('\n').map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
        let text = if web { code.collect() } else { text };
        let name = path.file_name().expect("a file has a name");
        fs::write(Path::new(&out).join(name), text).expect("OUT_DIR can be written to");
    }
}
