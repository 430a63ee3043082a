//! The command line tool as people call it: its output, its exit codes, and what it says of bad input.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use common::KITCHEN_LABELS;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use xception::classifier::Classifier;
use xception::dtype::Dtype;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn model() -> String {
    root().join("models/kitchenware/kitchenware.keras").display().to_string()
}

fn photo(name: &str) -> String {
    root().join("models/kitchenware/photos").join(name).display().to_string()
}

/// A file of this test run.
fn scratch(name: &str, content: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn xception(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xception")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// It failed with this exit code and one sentence that holds all of `words`, and did not panic.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let sentences: Vec<&str> = stderr.lines().filter(|line| line.starts_with("xception: ")).collect();
    let fits = |sentence: &&str| words.iter().all(|word| sentence.contains(word));
    assert!(sentences.iter().any(fits), "no sentence with {words:?} in: {stderr}");
}

/// A PNG that claims a size, without pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend(width.to_be_bytes());
    png.extend(height.to_be_bytes());
    png.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    png
}

#[test]
fn all_labelled_photos_are_right_from_jpeg_bytes() {
    let converted = scratch("kitchenware.safetensors", b"");
    let names = scratch("labels.txt", b"cup\nfork\nglass\nknife\nplate\nspoon\n");
    let output = xception(&["convert", &model(), &converted, "--labels", &names, "--filter", "nearest"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("6 classes, input 150×150"), "{output:?}");

    let photos: Vec<String> = KITCHEN_LABELS.iter().map(|(name, _)| photo(&format!("{name}.jpg"))).collect();
    let mut arguments = vec!["classify", "--json", "--top", "3", "--model", &converted];
    arguments.extend(photos.iter().map(String::as_str));
    let output = xception(&arguments);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), KITCHEN_LABELS.len());
    for ((object, (_, label)), photo) in objects.iter().zip(KITCHEN_LABELS).zip(&photos) {
        assert_eq!(object["file"], **photo);
        assert_eq!(object["predictions"].as_array().unwrap().len(), 3);
        assert_eq!(object["predictions"][0]["label"], label, "{object}");
        assert!(object["predictions"][0]["index"].is_u64() && object["predictions"][0]["score"].is_f64(), "{object}");
        for part in ["decode", "preprocess", "inference", "total"] {
            assert!(object["ms"][part].as_f64().unwrap() > 0.0, "{object}");
        }
    }
    fs::remove_file(converted).unwrap();
}

#[test]
fn a_keras_file_is_classified_with_chosen_preprocessing() {
    let photo = photo("0013.jpg");
    let run = |more: &[&str]| {
        let model = model();
        let mut arguments = vec!["classify", "--model", &model, "--json"];
        arguments.extend(more);
        arguments.push(&photo);
        let output = xception(&arguments);
        assert!(output.status.success(), "{output:?}");
        let object: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(object["predictions"][0]["label"], "class 3", "without labels classes have numbers: {object}");
        object["predictions"][0]["score"].as_f64().unwrap()
    };
    let scores = [run(&[]), run(&["--filter", "nearest"]), run(&["--filter", "bicubic"]), run(&["--fit", "crop"])];
    for (i, a) in scores.iter().enumerate() {
        assert!(scores[..i].iter().all(|b| a != b), "each way of resizing counts: {scores:?}");
    }
}

#[test]
fn inspect_lists_the_layers() {
    let output = xception(&["inspect", &model()]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for part in
        ["block1_conv1", "block13_shortcut", "5×5×2048", "dense_1", "parameters   21066986", "GMAC         1.925"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

/// Each dtype against f32 on four photos, of which three have labels; tests/golden.rs has all.
#[test]
fn eval_measures_every_dtype() {
    let names = scratch("eval.txt", b"cup\nfork\nglass\nknife\nplate\nspoon\n");
    let convert = |dtype: &str| {
        let file = scratch(&format!("eval.{dtype}.safetensors"), b"");
        let arguments = ["convert", &model(), &file, "--dtype", dtype, "--labels", &names, "--filter", "nearest"];
        assert!(xception(&arguments).status.success());
        file
    };
    let files = ["f32", "f16", "i8"].map(convert);
    let labels: String = KITCHEN_LABELS.iter().map(|(photo, label)| format!("{photo},{label}\n")).collect();
    let labels = scratch("labels.csv", format!("Id,label\n{labels}9999,cup\n").as_bytes());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("eval");
    fs::create_dir_all(&folder).unwrap();
    for name in ["0009.jpg", "0207.jpg", "0412.jpg", "0024.jpg"] {
        fs::copy(photo(name), folder.join(name)).unwrap();
    }
    let folder = folder.display().to_string();
    let mut lengths = Vec::new();
    for (file, most) in files[1..].iter().zip([2e-3, 2e-2]) {
        let output = xception(&[
            "eval",
            "--json",
            "--model",
            file,
            "--against",
            &files[0],
            "--images",
            &folder,
            "--labels",
            &labels,
        ]);
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&result["photos"], &result["labelled"]["photos"]), (&4.into(), &3.into()), "{result}");
        assert_eq!((&result["labelled"]["top1"], &result["labelled"]["top5"]), (&3.into(), &3.into()), "{result}");
        assert_eq!(result["against"]["agree"], 4, "{result}");
        let apart = result["against"]["largestDifference"].as_f64().unwrap();
        assert!(0.0 < apart && apart < most, "{result}");
        lengths.push(fs::metadata(file).unwrap().len());
    }
    assert!(lengths[1] < lengths[0] * 52 / 100, "{lengths:?}");

    // A label that the model has not, and a folder without a labelled photo.
    let fork = scratch("fork.csv", b"Id,label\n0412,pitchfork\n");
    let other = scratch("other.csv", b"photo,class\nno such photo,3\n");
    let eval = |labels: &str| xception(&["eval", "--model", &files[2], "--images", &folder, "--labels", labels]);
    refused(&eval(&fork), 1, &["fork.csv", "no class \"pitchfork\"", "0412"]);
    let twice = scratch("twice.txt", b"cup\nfork\nglass\nknife\ncup\nspoon\n");
    let ambiguous = scratch("ambiguous.safetensors", b"");
    assert!(xception(&["convert", &files[2], &ambiguous, "--labels", &twice]).status.success());
    let cup = scratch("cup.csv", b"Id,label\n0009,cup\n");
    let output = xception(&["eval", "--model", &ambiguous, "--images", &folder, "--labels", &cup]);
    refused(&output, 1, &["cup.csv", "two classes are called \"cup\""]);
    fs::remove_file(ambiguous).unwrap();
    refused(&eval(&other), 1, &["eval", "none of its photos"]);
    refused(&eval("none.csv"), 1, &["none.csv"]);
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
}

/// What is counted; times are anybody's.
#[test]
fn bench_counts_and_times() {
    let bench = |dtype: &str| {
        let options = ["--backend", "webgpu", "--json", "--runs", "2", "--model", &model(), "--dtype", dtype];
        let output = xception(&[&["bench"][..], &options].concat());
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&result["dtype"], &result["dispatches"]), (&dtype.into(), &80.into()), "{result}");
        let [min, median, max] = ["min", "median", "max"].map(|key| result["ms"][key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{result}");
        assert!(["loadMs", "firstMs", "gflops"].iter().all(|key| result[*key].as_f64().unwrap() > 0.0), "{result}");
        result["gpuBytes"].as_u64().unwrap()
    };
    let (single, half) = (bench("f32"), bench("f16"));
    assert!(half < single * 51 / 100, "{half} of {single} bytes");

    let options = ["--backend", "cpu", "--threads", "1", "--json", "--runs", "1", "--batch", "2", "--model", &model()];
    let output = xception(&[&["bench"][..], &options].concat());
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&result["backend"], &result["batch"]), (&"cpu".into(), &2.into()), "{result}");
    assert!(result["adapter"].as_str().unwrap().ends_with(", 1 thread"), "{result}");
    refused(&xception(&["bench", "--backend", "cpu", "--layers", "--model", &model()]), 1, &["leave out --layers"]);
}

/// Photos at once, by what was measured here: each has its own answer, and a bad one its own sentence.
#[test]
fn batches_and_tuning() {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let _ = fs::remove_dir_all(&cache);
    let tuned = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xception"));
        // Where Linux, macOS and Windows have it below.
        for variable in ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
            command.env(variable, &cache);
        }
        let model = model();
        let options = ["--backend", "webgpu", "--json", "--tune", "again", "--batch", "2", "--model", &model];
        command.args(arguments).args(options).output().unwrap()
    };
    let text = scratch("batch.jpg", b"no photo");
    let photos = KITCHEN_LABELS[..4].iter().map(|(name, _)| photo(&format!("{name}.jpg"))).collect::<Vec<_>>();
    let output = tuned(&["classify", &photos[0], &photos[1], &photos[2], &text, &photos[3]]);
    refused(&output, 1, &["batch.jpg", "not a readable image"]);
    let answers: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4);
    let classes = ["cup", "fork", "glass", "knife", "plate", "spoon"];
    for (answer, (name, label)) in answers.iter().zip(KITCHEN_LABELS) {
        let best = answer["predictions"][0]["index"].as_u64().unwrap() as usize;
        assert!(answer["file"].as_str().unwrap().contains(name) && classes[best] == label, "{answer}");
    }

    let kept = if cfg!(target_os = "macos") { cache.join("Library/Caches") } else { cache.clone() };
    let kept = fs::read_to_string(kept.join("xception-webgpu/tuning.json")).unwrap();
    // For one photo, and for two.
    for batch in [1, 2] {
        assert!(kept.contains(&format!("to 728, {batch} at once: ")), "{kept}");
    }

    let output = tuned(&["bench", "--runs", "1", "--layers"]);
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let passes = result["layers"]["passes"].as_array().unwrap();
    assert_eq!((&result["batch"], passes.len() as u64 + 2), (&2.into(), result["dispatches"].as_u64().unwrap()));
    for pass in passes {
        assert!(["ms", "gbps", "roofline"].iter().all(|key| pass[*key].as_f64().unwrap() > 0.0), "{pass}");
    }
    fs::remove_dir_all(&cache).unwrap();
    fs::remove_file(text).unwrap();
}

/// Each pass has its row in the tables, in the trace and in the CSV file, and all together take what the network takes.
#[test]
fn profile_times_each_pass() {
    let [trace, svg] = ["trace.json", "roofline.svg"].map(|name| scratch(name, b""));
    let (model, photo) = (model(), photo("0009.jpg"));
    let run = |more: &[&str]| {
        let output = xception(&[&["profile", "--runs", "3", "--model", &model, &photo], more].concat());
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    let profile: Value = serde_json::from_str(&run(&["--json", "--trace", &trace, "--svg", &svg])).unwrap();
    let passes = profile["passes"].as_array().unwrap();
    assert_eq!(passes.len(), 78);
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    for pass in passes {
        assert!(0.0 < number(pass, "minMs") && number(pass, "minMs") <= number(pass, "ms"), "{pass}");
        assert!(number(pass, "gbps") > 0.0 && number(pass, "roofline") > 0.0, "{pass}");
    }
    let first = &passes[0];
    let fixed = json!({
        "label": "block1_conv1", "block": "block1", "flow": "entry", "kernel": "conv3x3", "shape": [74, 74, 32],
        "dtype": "f32", "grid": [1, 3, 74],
    });
    assert!(fixed.as_object().unwrap().iter().all(|(key, value)| first[key] == *value), "{first}");
    let flows = |flow: &str| passes.iter().filter(|pass| pass["flow"] == flow).count();
    assert_eq!(["entry", "middle", "exit"].map(flows), [17, 48, 13]);
    let sum: f64 = passes.iter().map(|pass| number(pass, "ms")).sum();
    let shares: f64 = passes.iter().map(|pass| number(pass, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    // Other programs may run beside one of both: the least that must hold is that nothing is counted twice or not at all.
    assert!((0.5..2.0).contains(&(sum / number(&profile, "wholeMs"))), "{sum} of {}", profile["wholeMs"]);

    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let events: Vec<&Value> = trace["traceEvents"].as_array().unwrap().iter().filter(|it| it["ph"] == "X").collect();
    assert_eq!(events.len(), 78);
    for (pair, pass) in events.windows(2).zip(passes) {
        assert_eq!((&pair[0]["name"], &pair[0]["cat"]), (&pass["label"], &pass["kernel"]));
        assert!((number(pair[0], "ts") + number(pair[0], "dur") - number(pair[1], "ts")).abs() < 1e-6);
    }
    let svg = fs::read_to_string(svg).unwrap();
    // Softmax and mean multiply nothing; each kernel has a circle in the legend.
    assert_eq!(svg.matches("<circle").count(), 76 + 4, "{svg}");
    assert!(svg.contains("GFLOP/s"));

    let csv = run(&["--csv"]);
    assert_eq!(csv.lines().count(), 79);
    assert!(csv.starts_with("label,block,flow,kernel,shape,dtype,grid,min_ms,ms,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("block1_conv1,block1,entry,conv3x3,74x74x32,f32,1x3x74,"), "{csv}");
    let tables = run(&[]);
    for word in ["timed by", "in one compute pass", "middle", "block14", "depthwise"] {
        assert!(tables.contains(word), "{word} in {tables}");
    }
    refused(&xception(&["profile", "--model", &model, "none.jpg"]), 1, &["none.jpg"]);
}

/// A witness that agrees, one with a value changed in the middle, and files that are none.
#[test]
fn compare_names_the_first_layer_that_is_off() {
    let gpu = common::gpu();
    let file = fs::read(model()).unwrap();
    let file = xception::weights::convert(file, Default::default()).unwrap();
    let mut classifier = common::block_on(Classifier::load(&gpu, &file, Default::default())).unwrap();
    let photo = photo("0009.jpg");
    let pixels = xception::image::decode(&fs::read(&photo).unwrap()).unwrap();
    common::block_on(classifier.upload(&pixels)).unwrap();
    let read = |layer: &str| common::block_on(classifier.activations(layer).unwrap().read()).unwrap();
    let layers = [("block1_conv1", [74, 74, 32]), ("block5_sepconv3", [9, 9, 728]), ("avg_pool", [1, 1, 2048])];
    let mut tensors: Vec<(&str, Vec<usize>, Vec<f32>)> =
        layers.into_iter().map(|(name, shape)| (name, shape.to_vec(), read(name))).collect();
    let write = |name: &str, tensors: &[(&str, Vec<usize>, Vec<f32>)]| {
        let bytes = |values: &[f32]| Dtype::F32.encode(values);
        let bytes: Vec<_> = tensors.iter().map(|(name, shape, values)| (*name, shape, bytes(values))).collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (*name, TensorView::new(safetensors::Dtype::F32, (*shape).clone(), bytes).unwrap())
        });
        scratch(name, &safetensors::serialize(views, None).unwrap())
    };
    let model = model();
    let on = |more: &[&str], against: &str| {
        xception(&[&["compare", "--model", &model, "--against", against, &photo], more].concat())
    };
    let compare = |against: &str| on(&["--backend", "webgpu"], against);

    let agrees = write("agrees.safetensors", &tensors);
    // Where a pixel of the resized photo lies between two values, the CPU may take the other one.
    for output in [compare(&agrees), on(&["--backend", "cpu", "--atol", "0.1"], &agrees)] {
        assert!(output.status.success() && stdout(&output).contains("all 3 agree"), "{output:?}");
    }
    tensors[1].2[700] += 0.5;
    tensors[2].2[0] = f32::NAN;
    let output = compare(&write("off.safetensors", &tensors));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("block5_sepconv3 is the first that is off: value 700 is ") && !text.contains("avg_pool"),
        "{text}"
    );
    tensors[0].1 = vec![74, 37, 64];
    refused(&compare(&write("shape.safetensors", &tensors)), 1, &["block1_conv1 has the shape [74, 37, 64]"]);
    refused(&compare(&write("none.safetensors", &[])), 1, &["no tensor is called input or as a layer"]);
    refused(&compare(&scratch("text.safetensors", b"no tensors")), 1, &["text.safetensors"]);
}

#[test]
fn bad_usage_exits_with_2() {
    for arguments in [
        &["classify"][..],
        &["classify", "--model", "m.keras"],
        &["classify", "--model", "m.keras", "--top", "0", "x.jpg"],
        &["classify", "--model", "m.keras", "--filter", "lanczos", "x.jpg"],
        &["convert", "m.keras", "out.safetensors", "--dtype", "i4"],
        &["classify", "--model", "m.keras", "--dtype", "i8", "x.jpg"],
        &["eval", "--model", "m.keras", "--images", "photos"],
        &["bench", "--model", "m.keras", "--runs", "0"],
        &["nonsense"],
        &[],
    ] {
        assert_eq!(xception(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn bad_images_exit_with_1_and_the_good_ones_are_answered() {
    let jpeg = fs::read(photo("0009.jpg")).unwrap();
    let text = scratch("text.jpg", b"this is no image at all");
    let empty = scratch("empty.png", b"");
    let cut = scratch("cut.jpg", &jpeg[..jpeg.len() / 2]);
    let huge = scratch("huge.png", &png_header(30_000, 30_000));
    let headless = scratch("headless.png", &png_header(100, 100));
    let broken = scratch("broken.png", &[png_header(100, 100), b"IEND".to_vec()].concat());
    let missing = "no-such-photo.jpg".to_owned();
    let good = photo("0009.jpg");
    let images = [&text, &empty, &cut, &huge, &headless, &broken, &missing, &good];
    let model = model();
    let mut arguments = vec!["classify", "--json", "--model", &model];
    arguments.extend(images.map(String::as_str));
    let output = xception(&arguments);
    refused(&output, 1, &["text.jpg", "not a readable image"]);
    refused(&output, 1, &["empty.png", "empty"]);
    refused(&output, 1, &["cut.jpg", "cut short"]);
    refused(&output, 1, &["huge.png", "30000×30000", "scale it down"]);
    refused(&output, 1, &["headless.png", "cut short"]);
    refused(&output, 1, &["broken.png", "not a readable image"]);
    refused(&output, 1, &["no-such-photo.jpg"]);
    assert_eq!(stdout(&output).lines().count(), 1, "the good photo is answered: {output:?}");
}

#[test]
fn bad_weights_exit_with_1() {
    let keras = fs::read(model()).unwrap();
    let cut = scratch("cut.keras", &keras[..keras.len() / 2]);
    let text = scratch("text.h5", b"<!doctype html><title>Not found</title>");
    let empty = scratch("empty.h5", b"");
    let pytorch = scratch("model.pt", &zip_of("archive/data.pkl"));
    refused(&xception(&["inspect", &cut]), 1, &["cut.keras", "damaged"]);
    refused(&xception(&["inspect", &text]), 1, &["text.h5", "not a weights file"]);
    refused(&xception(&["inspect", &empty]), 1, &["empty.h5", "empty"]);
    refused(&xception(&["inspect", &pytorch]), 1, &["model.pt", "not a .keras file", "safetensors.torch.save_file"]);
    let pickle = scratch("model.pth", b"\x80\x02}q\x00.and so on until the end");
    refused(&xception(&["inspect", &pickle]), 1, &["model.pth", "pickle", "safetensors.torch.save_file"]);
    refused(&xception(&["inspect", "no-such-file"]), 1, &["no-such-file"]);
    let labels = scratch("two.txt", b"one\ntwo\n");
    let target = scratch("never.safetensors", b"");
    let output = xception(&["convert", &model(), &target, "--labels", &labels]);
    refused(&output, 1, &["kitchenware.keras", "2 labels for 6 classes"]);
    assert_eq!(fs::read(target).unwrap(), b"", "nothing is written");
}

/// A zip archive with one empty, stored entry.
fn zip_of(name: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(name, stored).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Without any driver the CPU answers, or the sentence says what to install.
#[test]
#[cfg(target_os = "linux")]
fn no_adapter_is_named() {
    let classify = |backend: &str| {
        Command::new(env!("CARGO_BIN_EXE_xception"))
            .args(["classify", "--backend", backend, "--model", &model(), &photo("0009.jpg")])
            .env("VK_DRIVER_FILES", "/nonexistent.json")
            .env("VK_ICD_FILENAMES", "/nonexistent.json")
            .output()
            .unwrap()
    };
    assert!(classify("auto").status.success());
    refused(&classify("webgpu"), 1, &["no GPU adapter", "mesa-vulkan-drivers"]);
}
