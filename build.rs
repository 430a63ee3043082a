//! The kernels: each `shaders/*.wgsl` with the parts that it includes, as the statics of `shader.rs`.
//!
//! Browsers download the parts without comments and indentation, which are a third of the text; lines keep their numbers. A module without
//! a GPU has the kernels' names alone.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const INCLUDE: &str = "// #include ";

/// The declaration of a number that a shader reads from its last but one buffer.
const NUMBER: &str = "var<private> ";

/// Placeholder of the storage types: the precision of a pipeline chooses one of `shared/storage_*.wgsl`.
const STORAGE: &str = "storage.wgsl";

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let is_web = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    let is_text = !is_web || env::var("CARGO_FEATURE_GPU").is_ok();
    let mut parts = Parts { out, is_web, is_text, sources: BTreeMap::new() };
    let mut code = String::new();
    let mut names = Vec::new();
    for name in wgsl("shaders") {
        let _ = write!(code, "{}", parts.kernel(&name));
        names.push(format!("&{}", constant(&name)));
    }
    wgsl("shaders/shared").iter().for_each(|name| parts.read(&format!("shared/{name}")));
    for file in parts.sources.keys() {
        let source = parts.out.join(file.replace('/', "_"));
        let constant = constant(file);
        let _ = writeln!(
            code,
            "static {constant}_PART: Part = Part {{ file: {file:?}, source: include_str!({source:?}) }};"
        );
    }
    let _ = writeln!(code, "/// All kernels, by name.\npub static KERNELS: &[&Kernel] = &[{}];", names.join(", "));
    fs::write(parts.out.join("kernels.rs"), code).expect("OUT_DIR is writable");
}

/// The names of the WGSL files in a folder, sorted.
fn wgsl(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".wgsl")).collect();
    names.sort();
    names
}

/// `shared/storage_f32.wgsl` is `SHARED_STORAGE_F32`.
fn constant(file: &str) -> String {
    file.trim_end_matches(".wgsl").replace('/', "_").to_uppercase()
}

struct Parts {
    out: PathBuf,
    is_web: bool,
    /// Whether the program has use for the text.
    is_text: bool,
    /// The text of each file of `shaders/` that was read.
    sources: BTreeMap<String, String>,
}

impl Parts {
    fn read(&mut self, file: &str) {
        if self.sources.contains_key(file) {
            return;
        }
        let path = Path::new("shaders").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let code = |line: &str| {
            let line = line.trim_start();
            if line.starts_with("//") { String::new() } else { line.to_owned() }
        };
        let lines = if self.is_text { text.lines() } else { "".lines() };
        let stripped: String = lines.flat_map(|line| [code(line), "\n".to_owned()]).collect();
        fs::write(self.out.join(file.replace('/', "_")), if self.is_web { &stripped } else { &text })
            .expect("OUT_DIR is writable");
        self.sources.insert(file.to_owned(), text);
    }

    /// A file's parts in order: what it includes, each file once, then itself. `storage.wgsl` is none of them.
    fn collect(&mut self, file: &str, parts: &mut Vec<String>) {
        self.read(file);
        for include in self.sources[file].clone().lines().filter_map(|line| line.strip_prefix(INCLUDE)) {
            let included = include.trim_matches('"');
            let part = if included == STORAGE { STORAGE.to_owned() } else { format!("shared/{included}") };
            match part {
                part if parts.contains(&part) => {}
                part if part == STORAGE => parts.push(part),
                part => self.collect(&part, parts),
            }
        }
        parts.push(file.to_owned());
    }

    /// A kernel's static. Its documentation is the first paragraph of its file; the binding with the highest number is its result.
    fn kernel(&mut self, file: &str) -> String {
        let mut parts = Vec::new();
        self.collect(file, &mut parts);
        let stored = parts.iter().any(|part| part == STORAGE);
        parts.retain(|part| part != STORAGE);
        let text = &self.sources[file];
        let doc: String =
            text.lines().map_while(|line| line.strip_prefix("// ")).flat_map(|line| ["/// ", line, "\n"]).collect();
        let mut bindings = text.lines().filter(|line| line.starts_with("@group(0) @binding("));
        let reads = bindings.clone().count() - 1;
        let reads_texture = bindings.any(|line| line.contains("texture_2d"));
        let lines = parts.iter().flat_map(|part| self.sources[part].lines());
        let numbers: Vec<&str> = lines.filter_map(|line| line.strip_prefix(NUMBER)?.split(':').next()).collect();
        let parts: Vec<String> = parts.iter().map(|part| format!("&{}_PART", constant(part))).collect();
        format!(
            "{doc}pub static {}: Kernel = Kernel {{ name: {:?}, reads: {reads}, reads_texture: {reads_texture}, \
             numbers: &{numbers:?}, stored: {stored}, parts: &[{}] }};\n",
            constant(file),
            file.trim_end_matches(".wgsl"),
            parts.join(", ")
        )
    }
}
