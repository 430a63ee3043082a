//! Shaders as they are compiled in: browsers download them without their comments, which are a third of the text.

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
        let is_code = |line: &&str| !web || !line.trim_start().starts_with("//");
        let text: String = text.split_inclusive('\n').filter(is_code).collect();
        let name = path.file_name().expect("a file has a name");
        fs::write(Path::new(&out).join(name), text).expect("OUT_DIR can be written to");
    }
}
