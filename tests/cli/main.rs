//! The command-line tool as people call it: output, exit codes and messages.

#[path = "../common/mod.rs"]
mod common;
mod learn;
mod measure;
mod publish;
mod tool;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use common::KITCHEN_LABELS;
use serde_json::Value;
use tool::{model, photo, refused, scratch, stdout, xception};

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
fn what_the_file_does_not_tell_is_said() {
    let (model, photo) = (model(), photo("0009.jpg"));
    let lines = |output: &Output| {
        assert!(output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        let said = stderr.lines().filter_map(|line| line.split_once(": the file does not tell the "));
        said.map(|(_, said)| said.to_owned()).collect::<Vec<_>>()
    };
    let pixels = "pixel values: taken as −1 to 1; --pixels changes it";
    let filter = "resize filter: taken as bilinear; --filter changes it";
    let fit = "fit: taken as squash; --fit changes it";
    let output = xception(&["classify", "--json", "--model", &model, &photo]);
    assert_eq!(lines(&output), [pixels, filter, fit]);
    let text = stdout(&output);
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    let converted = scratch("assumed.safetensors", b"");
    assert_eq!(lines(&xception(&["convert", &model, &converted, "--filter", "nearest"])), [pixels, fit]);
    let output = xception(&["inspect", &converted, "--fit", "crop"]);
    assert_eq!(lines(&output), [""; 0], "they are among what it prints");
    let text = stdout(&output);
    let printed: Vec<&str> = text.lines().filter(|line| line.starts_with("assumed ")).collect();
    assert_eq!(printed, [pixels].map(|line| format!("assumed      {}", line.replace("taken as ", ""))));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("assumed");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(photo, folder.join("0009.jpg")).unwrap();
    let folder = folder.display().to_string();
    let output = xception(&["eval", "--json", "--model", &converted, "--against", &model, "--images", &folder]);
    assert_eq!(lines(&output), [pixels, fit, pixels], "the other model has this one's filter and fit");
    fs::remove_file(converted).unwrap();
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

/// Each dtype against f32 on four photos, of which three have labels; tests/golden/ has all.
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

    // A label unknown to the model, and a folder without labelled photos.
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

#[test]
fn bad_usage_exits_with_2() {
    for arguments in [
        &["classify"][..],
        &["classify", "--model", "m.keras"],
        &["classify", "--model", "m.keras", "--top", "0", "x.jpg"],
        &["classify", "--model", "m.keras", "--filter", "cubic", "x.jpg"],
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
fn limits_are_refused_by_name() {
    let (photo, model) = (photo("0009.jpg"), model());
    let with = |limits: &str| xception(&["classify", "--model", &model, "--limits", limits, &photo]);
    for (limits, words) in [
        ("pixels=1000", ["0009.jpg", "more than 1000", "raise the limit `pixels`"]),
        ("imageBytes=9", ["0009.jpg", "more than 9", "raise the limit `imageBytes`"]),
        ("weightsBytes=99,pixels=7", ["kitchenware.keras", "more than 99", "raise the limit `weightsBytes`"]),
        ("tensors=20", ["kitchenware.keras", "more than 20", "raise the limit `tensors`"]),
    ] {
        refused(&with(limits), 1, &words);
    }
    let unknown = with("pixel=7");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("pixel=7 is no limit: give pixels, imageBytes"));
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
    refused(&xception(&["inspect", &pytorch]), 1, &["model.pt", "pickle is damaged", "cut short"]);
    let pickle = scratch("model.pth", b"\x80\x02}q\x00.and so on until the end");
    refused(&xception(&["inspect", &pickle]), 1, &["model.pth", "pickle that torch.save did not make", "torch.save"]);
    refused(&xception(&["inspect", "no-such-file"]), 1, &["no-such-file"]);
    let labels = scratch("two.txt", b"one\ntwo\n");
    let target = scratch("never.safetensors", b"");
    let output = xception(&["convert", &model(), &target, "--labels", &labels]);
    refused(&output, 1, &["kitchenware.keras", "2 labels for 6 classes"]);
    assert_eq!(fs::read(target).unwrap(), b"", "nothing is written");
}

/// A `model.json` names files beside it; others are not even opened.
#[test]
fn files_of_other_folders_are_refused() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shards/model");
    fs::create_dir_all(&folder).unwrap();
    let secret = scratch("shards/secret.bin", b"secret");
    let model = folder.join("model.json");
    let link = "https://example.com/a.bin";
    for path in ["../secret.bin", &secret, link, "file:secret.bin", "sub/a.bin", "..\\secret.bin", ".."] {
        let manifest = serde_json::json!([{"paths": ["a.bin", path], "weights": []}]);
        let json = serde_json::json!({"modelTopology": {}, "weightsManifest": manifest});
        fs::write(&model, json.to_string()).unwrap();
        let named = serde_json::json!(path).to_string();
        let output = xception(&["inspect", &model.display().to_string()]);
        refused(&output, 1, &["model.json names the file", &named, "none beside it", "into its folder"]);
    }
}

/// A zip archive with one empty, stored entry.
fn zip_of(name: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(name, stored).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Without a driver the CPU answers, or the message says what to install.
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

/// A form of `tests/data/forms` as a file.
fn form(name: &str) -> String {
    scratch(name, &common::decompressed(&format!("forms/{name}")))
}

/// Each kind of output as text and as JSON.
#[test]
fn predict_gives_the_models_own_output() {
    let photo = photo("0009.jpg");
    let json = |arguments: &[&str]| -> Value {
        let output = xception(arguments);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let run = |command: &str, model: &str| json(&[command, "--json", "--backend", "cpu", "--model", model, &photo]);
    let floats = |json: &Value| json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    // Logits, of which `classify` has the softmax.
    let logits = floats(&run("predict", &model())["output"]);
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    for prediction in run("classify", &model())["predictions"].as_array().unwrap() {
        let (index, score) = (prediction["index"].as_u64().unwrap(), prediction["score"].as_f64().unwrap());
        assert!((logits[index as usize].exp() / sum - score).abs() < 1e-5, "{prediction}");
    }
    let multi = form("multi.h5");
    let scores: Vec<f64> = run("classify", &multi)["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|prediction| prediction["score"].as_f64().unwrap())
        .collect();
    assert!(scores.len() == 5 && scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
    assert!((scores.iter().sum::<f64>() - 1.0).abs() > 0.1, "each by itself: {scores:?}");
    let mut output = floats(&run("predict", &multi)["output"]);
    output.sort_by(|one, other| other.total_cmp(one));
    assert_eq!(output, scores);
    let number = form("regression.keras");
    let (values, output) = (run("classify", &number)["values"].clone(), run("predict", &number)["output"].clone());
    assert_eq!((floats(&values).len(), values), (1, output));
    assert_eq!(floats(&run("predict", &form("features_average.h5"))["output"]).len(), 2048);
    let text = stdout(&xception(&["classify", "--backend", "cpu", "--model", &number, &photo]));
    assert!(text.contains("output 0"), "{text}");
}

/// What a file does not tell, said by options: kept in a converted file.
#[test]
fn options_say_what_a_file_does_not_tell() {
    let (model, target) = (model(), scratch("told.safetensors", b""));
    let convert = |more: &[&str]| xception(&[&["convert", &model, &target][..], more].concat());
    let inspected = |more: &[&str]| {
        assert!(convert(more).status.success());
        stdout(&xception(&["inspect", &target]))
    };
    for (options, line) in [
        (&["--pixels", "caffe"][..], "pixels       BGR: level · 1 − 103.939, level · 1 − 116.779, level · 1 − 123.68"),
        (&["--pixels", "unit"], "pixels       RGB: level · 0.003921569 + 0"),
        (&["--mean", "0.5", "--std", "0.5"], "pixels       RGB: level · 0.007843138 − 1"),
        (&["--mean", "0.5,0.25,0", "--std", "1,0.5,1"], "level · 0.003921569 − 0.5, level · 0.007843138 − 0.5"),
        (&["--activation", "sigmoid"], "output       sigmoid, 6 classes"),
        (&["--activation", "linear"], "output       linear, 6 outputs (linear)"),
        (&["--size", "100x140"], "input        100×140"),
        (&["--fit", "crop", "--crop", "0.875"], "bilinear, crop to 0.875"),
    ] {
        let text = inspected(options);
        assert!(text.contains(line), "{options:?}: {text}");
    }
    refused(&convert(&["--pixels", "tf", "--mean", "0.5", "--std", "0.5"]), 1, &["give pixels, or both mean and std"]);
    refused(&convert(&["--mean", "0.5"]), 1, &["both mean and std"]);
    refused(&convert(&["--mean", "123.7,116.8,103.9", "--std", "1,1,1"]), 1, &["pixels from 0 to 1"]);
    refused(&convert(&["--mean", "1,2", "--std", "1"]), 1, &["--mean takes a number for each of the three channels"]);
    refused(&convert(&["--crop", "2"]), 1, &["a share outside of 0.01 to 1"]);
    assert_eq!(convert(&["--size", "wide"]).status.code(), Some(2));
    let flat = form("flatten.keras");
    let output = xception(&["convert", &flat, &target, "--size", "150"]);
    refused(&output, 1, &["flatten.keras", "another shape"]);
}
