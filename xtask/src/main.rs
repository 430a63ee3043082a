//! Builds the files of the npm package, `pkg/dist`: `cargo xtask wasm`.
//!
//! Cargo compiles, wasm-bindgen writes the JavaScript glue to `pkg/glue`, wasm-opt (npm's `binaryen`) makes the result smaller and
//! faster, and esbuild packs glue and `pkg/src` into few files. A module whose compiled bytes are those of the last time is left
//! alone. `cargo xtask wasm first` leaves out everything that a first photo does without: wasm-opt, threads and relaxed SIMD.

use std::error::Error;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs, thread};

use wasm_bindgen_cli_support::Bindgen;

/// The WebAssembly features that modules use, which all browsers with WebGPU have.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// wasm-opt's passes for size, in this order. Functions sorted by name lie beside similar ones, which helps brotli.
const SMALL: [&str; 6] = [
    "--strip-producers",
    "--strip-target-features",
    "-Os",
    "--merge-similar-functions",
    "-Oz",
    "--reorder-functions-by-name",
];

/// wasm-opt's passes for speed, which leave loops as LLVM made them.
const FAST: [&str; 5] =
    ["--enable-relaxed-simd", "--strip-producers", "--strip-target-features", "-O3", "--reorder-functions-by-name"];

/// Compiler options of every module. Those that have no others share their dependencies.
const SIMD: [&str; 1] = ["-Ctarget-feature=+simd128"];

/// Cargo's options for the kernels of the CPU: their crates are optimized for speed, their dependencies for size.
const KERNELS: [&str; 2] =
    ["profile.wasm.package.xception-webgpu.opt-level=2", "profile.wasm.package.rten-simd.opt-level=3"];

/// With a fused multiply-add, where the machine has one. Left to itself, LLVM moves all that a round of the product's loop loads to
/// its beginning, and V8 has no registers left for the sums then.
const RELAXED: [&str; 2] = ["-Ctarget-feature=+simd128,+relaxed-simd", "-Cllvm-args=-pre-RA-sched=source"];

/// Compiler options for a memory shared with other threads' instances: up to 4 GiB, made by JavaScript.
const SHARED_MEMORY: [&str; 8] = [
    "-Ctarget-feature=+atomics",
    "-Clink-arg=--shared-memory",
    "-Clink-arg=--import-memory",
    "-Clink-arg=--max-memory=4294967296",
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];

/// The wrapper of a module's exports that reports traps.
const WATCH: &str = include_str!("watch.js");

/// A wasm module of the crate.
struct Module {
    name: &'static str,
    feature: &'static str,
    /// The target folder. Modules of other compiler options have one of their own: `--remap-path-prefix` makes cargo forget about options,
    /// and modules would overwrite each other's dependencies.
    folder: &'static str,
    rustflags: &'static [&'static str],
    config: &'static [&'static str],
    /// Whether threads share its memory.
    threads: bool,
    /// wasm-opt's options.
    optimize: &'static [&'static str],
}

const fn small(name: &'static str, feature: &'static str) -> Module {
    Module { name, feature, folder: "wasm", rustflags: &SIMD, config: &[], threads: false, optimize: &SMALL }
}

const fn fast(
    name: &'static str,
    feature: &'static str,
    folder: &'static str,
    rustflags: &'static [&'static str],
    threads: bool,
) -> Module {
    Module { name, feature, folder, rustflags, config: &KERNELS, threads, optimize: &FAST }
}

/// How many modules a first photo may need.
const FIRST: usize = 4;

/// All modules, those that a first photo needs first.
const MODULES: [Module; 7] = [
    small("xception", "gpu"),
    small("formats", "formats"),
    fast("cpu", "cpu", "wasm", &SIMD, false),
    fast("learn", "learn", "wasm", &SIMD, false),
    fast("cpu_relaxed", "cpu", "cpu_relaxed", &RELAXED, false),
    fast("cpu_threads", "cpu", "cpu_threads", &SIMD, true),
    fast("cpu_threads_relaxed", "cpu", "cpu_threads_relaxed", &RELAXED, true),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let first = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["wasm"] => false,
        ["wasm", "first"] => true,
        ["isa", ..] => return isa(&arguments[1..]),
        _ => return Err("usage: cargo xtask wasm [first], or cargo xtask isa [--help]".into()),
    };
    let modules = if first { &MODULES[..FIRST] } else { &MODULES };
    // The end of each compilation has one thread: modules of two folders at once take two thirds of the time.
    let (next, changed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let folders: Vec<&[Module]> = modules.chunk_by(|one, other| one.folder == other.folder).collect();
    let work = || -> Result<(), String> {
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            let is_changed = build(folder, first).map_err(|error| error.to_string())?;
            changed.fetch_or(is_changed, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work()?;
        other.join().map_err(|_| "a panic, above".to_owned())?
    })?;
    if first && changed.into_inner() {
        // The others are of an earlier version until they are built.
        MODULES[FIRST..].iter().for_each(Module::forget);
    }
    scripts()?;
    imagenet()?;
    run(Command::new("node").arg("scripts/sbom.mjs"))
}

/// Runs the tool that compiles shaders for GPUs that are not here, with the libraries that `npm run isa` unpacked for AMD's driver.
fn isa(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let cargo = |verb| {
        let mut command = Command::new("cargo");
        command.args([verb, "--release", "--quiet", "--package", "isa"]);
        command
    };
    run(&mut cargo("build"))?;
    let mut tool = cargo("run");
    let folder = Path::new("target/isa/lib");
    if env::var_os("VK_ICD_FILENAMES").is_none() && folder.exists() {
        tool.env("LD_LIBRARY_PATH", fs::canonicalize(folder)?);
    }
    run(tool.arg("--").args(arguments))
}

/// Builds modules of one folder; whether any is another than before.
fn build(modules: &[Module], first: bool) -> Result<bool, Box<dyn Error>> {
    thread::scope(|scope| {
        let mut finishing = Vec::new();
        for module in modules {
            let start = Instant::now();
            let compiled = module.compile()?;
            println!("  {}.wasm compiled, {} s", module.name, start.elapsed().as_secs());
            // wasm-opt has one thread, and takes as long as the next module.
            finishing.push(scope.spawn(move || module.finish(&compiled, first).map_err(|error| error.to_string())));
        }
        let mut changed = false;
        for finished in finishing {
            changed |= finished.join().map_err(|_| "a panic, above")??;
        }
        Ok(changed)
    })
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

impl Module {
    /// Compiles the crate with the module's feature; the file.
    fn compile(&self) -> Result<PathBuf, Box<dyn Error>> {
        let Self { name, feature, folder, rustflags, config, threads, .. } = *self;
        let target = PathBuf::from(env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())).join(folder);
        let mut flags = without_folders()?;
        let more = if threads { &SHARED_MEMORY[..] } else { &[] };
        flags.extend(rustflags.iter().chain(more).map(|flag| flag.to_string()));
        let mut cargo = Command::new(env!("CARGO"));
        if threads {
            // Rust's library as it is delivered has no atomics. That it can be built with them is not stable yet.
            cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=panic_abort,std");
        }
        run(cargo
            .args(["build", "--quiet", "--profile", "wasm", "--target-dir"])
            .arg(&target)
            .args(config.iter().flat_map(|setting| ["--config", setting]))
            .arg("--config")
            .arg(format!("target.wasm32-unknown-unknown.rustflags={flags:?}"))
            .args(["--package=wasm", "--target=wasm32-unknown-unknown", "--example", name, "--features", feature]))?;
        Ok(target.join("wasm32-unknown-unknown/wasm/examples").join(format!("{name}.wasm")))
    }

    /// Removes the module's glue, if there is any.
    fn forget(&self) {
        for ending in ["js", "stamp"] {
            let _ = fs::remove_file(format!("pkg/glue/{}.{ending}", self.name));
        }
    }

    /// Makes `pkg/glue/<name>.js` and `pkg/dist/<name>_bg.wasm` of the compiled file; whether they are others than before.
    fn finish(&self, compiled: &Path, first: bool) -> Result<bool, Box<dyn Error>> {
        let Self { name, threads, optimize, .. } = *self;
        let threaded = threads.then_some(&"--enable-threads");
        let options: Vec<&str> = FEATURES.iter().chain(threaded).chain(optimize).copied().collect();
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(compiled)?);
        hasher.write(options.concat().as_bytes());
        hasher.write(WATCH.as_bytes());
        let (stamp, draft) = (format!("{:016x}", hasher.finish()), format!("{:016x}, not optimized", hasher.finish()));
        let glue = Path::new("pkg/glue");
        let stamp_file = glue.join(format!("{name}.stamp"));
        let file = format!("{name}_bg.wasm");
        let output = Path::new("pkg/dist").join(&file);
        let is_current = |last: String| last == stamp || (first && last == draft);
        if fs::read_to_string(&stamp_file).is_ok_and(is_current) && output.exists() {
            return Ok(false);
        }
        Bindgen::new()
            .input_path(compiled)
            .web(true)?
            .typescript(true)
            .omit_default_module_path(false)
            .out_name(name)
            .generate(glue)?;
        let script = glue.join(format!("{name}.js"));
        shorten(&glue.join(&file), &script)?;
        watch(&script)?;
        fs::create_dir_all("pkg/dist")?;
        if first {
            fs::copy(glue.join(&file), output)?;
            fs::write(stamp_file, draft)?;
            return Ok(true);
        }
        run(tool("binaryen/bin/wasm-opt")?.args(options).arg(glue.join(&file)).arg("-o").arg(output))?;
        fs::write(stamp_file, stamp)?;
        Ok(true)
    }
}

/// Packs the scripts into `index.js`, `worker.js`, `thread.js`, what these share or fetch on demand, and the command `cli.js`.
fn scripts() -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir("pkg/dist")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js" || extension == "map") {
            fs::remove_file(path)?;
        }
    }
    let mut options =
        vec!["--bundle", "--format=esm", "--minify", "--sourcemap", "--loader:.wgsl=text", "--log-level=warning"];
    if !Path::new("pkg/glue/cpu_relaxed.js").exists() {
        // Both have the same script.
        fs::copy("pkg/dist/cpu_bg.wasm", "pkg/dist/cpu_relaxed_bg.wasm")?;
    }
    if !Path::new("pkg/glue/cpu_threads.js").exists() {
        // Without it the CPU computes with one thread.
        options.push("--external:../glue/cpu_threads.js");
    }
    let bundle = |entries: &[&str], more: &[&str]| {
        run(tool("esbuild/bin/esbuild")?.args(entries).args(&options).arg("--outdir=pkg/dist").args(more))
    };
    bundle(&["pkg/src/index.js", "pkg/src/worker.js"], &["--splitting"])?;
    bundle(&["pkg/src/react.js", "pkg/src/element.js"], &["--external:./index.js", "--external:react"])?;
    // Shared chunks would be one file more for every page, also without threads.
    bundle(&["pkg/src/thread.js"], &[])?;
    bundle(&["pkg/src/cli.js"], &["--platform=node"])
}

/// The compiler's options for panics in dependencies to name `crate/src/file.rs`, and in Rust's library `library/…`, without where the
/// builder keeps them.
fn without_folders() -> Result<Vec<String>, Box<dyn Error>> {
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registries = cargo.ok_or("there is no home folder with cargo's files")?.join("registry/src");
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output()?.stdout;
    let library = Path::new(str::from_utf8(&sysroot)?.trim()).join("lib/rustlib/src/rust");
    let folders = fs::read_dir(registries)?.map(|entry| entry.map(|entry| entry.path())).chain([Ok(library)]);
    folders.map(|folder| Ok(format!("--remap-path-prefix={}=", folder?.display()))).collect()
}

/// Gives what the module imports short names, in it and in its glue: wasm-bindgen's end in 16 random digits, which no compression
/// makes smaller. Modules that differ in their instructions alone have the same glue then.
fn shorten(wasm: &Path, glue: &Path) -> Result<(), Box<dyn Error>> {
    let mut module = walrus::Module::from_file(wasm)?;
    let mut script = fs::read_to_string(glue)?;
    for (number, import) in module.imports.iter_mut().enumerate() {
        let short = format!("i{number}");
        let value = if matches!(import.kind, walrus::ImportKind::Memory(_)) { "memory ||" } else { "function(" };
        let [old, new] = [&import.name, &short].map(|name| format!(" {name}: {value}"));
        if script.matches(&old).count() != 1 {
            return Err(format!("{} has not one {}", glue.display(), import.name).into());
        }
        script = script.replace(&old, &new);
        script = script.replace(&format!("{:?}: import", import.module), "a: import");
        import.module = "a".to_owned();
        import.name = short;
    }
    module.emit_wasm_file(wasm)?;
    fs::write(glue, script)?;
    Ok(())
}

/// Puts [`WATCH`] between the glue and the compiled code.
fn watch(glue: &Path) -> Result<(), Box<dyn Error>> {
    let script = fs::read_to_string(glue)?;
    let exports = "wasm = instance.exports;";
    if script.matches(exports).count() != 1 {
        return Err(format!("{} has not one {exports}", glue.display()).into());
    }
    fs::write(glue, script.replace(exports, "wasm = watched(instance.exports);") + WATCH)?;
    Ok(())
}

/// A program of an npm package.
fn tool(path: &str) -> Result<Command, Box<dyn Error>> {
    let path = Path::new("node_modules").join(path);
    if !path.exists() {
        return Err(format!("{} is missing: run `npm install --ignore-scripts` first", path.display()).into());
    }
    let mut command = Command::new("node");
    command.arg(path);
    Ok(command)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
