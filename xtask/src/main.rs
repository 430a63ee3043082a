//! Builds the wasm modules and the labels of `pkg/dist`: `cargo xtask wasm`.
//!
//! Cargo compiles, wasm-bindgen writes the JavaScript glue, wasm-opt (npm's `binaryen`) makes the result smaller and faster,
//! and esbuild the glue smaller. A module whose compiled bytes are those of the last time is left alone.

use std::error::Error;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use wasm_bindgen_cli_support::Bindgen;

/// The WebAssembly features that Rust compiles for by default, which all browsers with WebGPU have.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// What makes the module smaller, in this order.
const PASSES: [&str; 4] = ["--strip-producers", "--strip-target-features", "--merge-similar-functions", "-Oz"];

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() != Some("wasm") {
        return Err("usage: cargo xtask wasm".into());
    }
    env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    module("xception", "gpu")?;
    module("formats", "formats")?;
    imagenet()
}

/// Writes the labels of ImageNet, of which `src/weights/imagenet.txt` has a line each, as `pkg/dist/imagenet.js`.
fn imagenet() -> Result<(), Box<dyn Error>> {
    let mut script =
        "/** WordNet number and name of ImageNet's 1000 classes, as Keras has them. */\nexport default [\n".to_owned();
    for line in fs::read_to_string("src/weights/imagenet.txt")?.lines() {
        let (wnid, name) = line.split_once(' ').ok_or("imagenet.txt: a line is no number and name")?;
        script += &format!("  [{wnid:?}, {name:?}],\n");
    }
    fs::write("pkg/dist/imagenet.js", script + "];\n")?;
    for license in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(license, Path::new("pkg/dist").join(license))?;
    }
    Ok(())
}

/// Builds the crate with one feature into `pkg/dist/<name>.js` and `<name>_bg.wasm`.
fn module(name: &str, feature: &str) -> Result<(), Box<dyn Error>> {
    // Both modules are called xception.wasm: in one folder each would make cargo forget the other.
    let target = Path::new(&env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())).join(name);
    run(Command::new(env!("CARGO")).arg("build").arg("--target-dir").arg(&target).args([
        "--lib",
        "--profile=wasm",
        "--target=wasm32-unknown-unknown",
        "--no-default-features",
        "--features",
        feature,
    ]))?;
    let compiled = target.join("wasm32-unknown-unknown/wasm/xception.wasm");
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(&compiled)?);
    hasher.write([&FEATURES[..], &PASSES].concat().concat().as_bytes());
    let stamp = format!("{:016x}", hasher.finish());
    let dist = Path::new("pkg/dist");
    let stamp_file = dist.join(format!("{name}.stamp"));
    let output = dist.join(format!("{name}_bg.wasm"));
    if fs::read_to_string(&stamp_file).is_ok_and(|last| last == stamp) && output.exists() {
        return Ok(());
    }
    fs::create_dir_all(dist)?;
    Bindgen::new()
        .input_path(&compiled)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .out_name(name)
        .generate(dist)?;
    let [optimizer, minifier] =
        ["binaryen/bin/wasm-opt", "esbuild/bin/esbuild"].map(|tool| Path::new("node_modules").join(tool));
    if !optimizer.exists() || !minifier.exists() {
        return Err("wasm-opt or esbuild is missing: run `npm install --ignore-scripts` first".into());
    }
    let glue = dist.join(format!("{name}.js"));
    shorten(&output, &glue)?;
    run(Command::new("node").arg(optimizer).args(PASSES).args(FEATURES).arg(&output).arg("-o").arg(&output))?;
    let outfile = format!("--outfile={}", glue.display());
    run(Command::new("node").arg(minifier).arg(&glue).args([
        "--minify",
        "--log-level=warning",
        "--allow-overwrite",
        &outfile,
    ]))?;
    fs::write(stamp_file, stamp)?;
    Ok(())
}

/// Gives what the module imports short names, in it and in its glue: wasm-bindgen's end in 16 random digits, which no compression
/// makes smaller.
fn shorten(wasm: &Path, glue: &Path) -> Result<(), Box<dyn Error>> {
    let mut module = walrus::Module::from_file(wasm)?;
    let mut script = fs::read_to_string(glue)?;
    for (number, import) in module.imports.iter_mut().enumerate() {
        let short = format!("i{number}");
        let [old, new] = [&import.name, &short].map(|name| format!(" {name}: function("));
        if script.matches(&old).count() != 1 {
            return Err(format!("{} has not one {}", glue.display(), import.name).into());
        }
        script = script.replace(&old, &new);
        import.name = short;
    }
    module.emit_wasm_file(wasm)?;
    fs::write(glue, script)?;
    Ok(())
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
