//! `bench`, `profile` and `compare`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use xception::backend::Readback;
use xception::classifier::Classifier;
use xception::dtype::Dtype;

use crate::common::{self, KITCHEN_LABELS};
use crate::tool::{model, photo, refused, scratch, stdout, xception};

/// Counts are asserted, times are not.
#[test]
fn bench_counts_and_times() {
    let bench = |dtype: &str| {
        let options =
            ["--backend", "webgpu", "--size", "71", "--json", "--runs", "2", "--model", &model(), "--dtype", dtype];
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
    let options = ["--backend", "reference", "--size", "71", "--json", "--runs", "1", "--model", &model()];
    let result: Value = serde_json::from_str(&stdout(&xception(&[&["bench"][..], &options].concat()))).unwrap();
    assert_eq!((&result["backend"], &result["dtype"]), (&"reference".into(), &"f32".into()), "{result}");
    refused(
        &xception(&["bench", "--backend", "cpu", "--layers", "--model", &model()]),
        1,
        &["only a GPU's passes are timed"],
    );
}

/// A batch with a tuned table: each photo has its own answer, equal to the CPU's, and a bad one its own sentence.
#[test]
fn batches_and_tuning() {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let _ = fs::remove_dir_all(&cache);
    let tuned = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xception"));
        // The cache folder of Linux, macOS and Windows.
        for variable in ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
            command.env(variable, &cache);
        }
        if let Some(shaders) = dirs::cache_dir() {
            // Mesa's shader cache, kept to avoid recompiling.
            command.env("MESA_SHADER_CACHE_DIR", shaders);
        }
        let options = ["--backend", "webgpu", "--tune", "again", "--batch", "2"];
        command.args(arguments).args(options).output().unwrap()
    };
    let text = scratch("batch.jpg", b"no photo");
    let photos = [0, 1, 2].map(|index| photo(&format!("{}.jpg", KITCHEN_LABELS[index].0)));
    let model = model();
    let classify = ["classify", "--json", "--size", "71", "--model", &model, &photos[0], &photos[1], &text, &photos[2]];
    let answers = |output| {
        refused(&output, 1, &["batch.jpg", "not a readable image"]);
        stdout(&output).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let [ours, cpu] = [tuned(&classify), xception(&[&classify[..], &["--backend", "cpu"]].concat())].map(answers);
    assert_eq!((ours.len(), cpu.len()), (3, 3));
    for (ours, cpu) in ours.iter().zip(&cpu) {
        let best = |answer: &Value| answer["predictions"][0].clone();
        let score = |answer: &Value| best(answer)["score"].as_f64().unwrap();
        assert_eq!((&ours["file"], &best(ours)["index"]), (&cpu["file"], &best(cpu)["index"]), "{ours}, {cpu}");
        assert!((score(ours) - score(cpu)).abs() < 1e-2, "{ours}, {cpu}");
    }

    let kept = if cfg!(target_os = "macos") { cache.join("Library/Caches") } else { cache.clone() };
    let kept = fs::read_to_string(kept.join("xception-webgpu/tuning.json")).unwrap();
    // For one photo, and for two.
    for batch in [1, 2] {
        assert!(kept.contains(&format!("to 728, {batch} at once: ")), "{kept}");
    }
    fs::remove_dir_all(&cache).unwrap();
    fs::remove_file(text).unwrap();
}

#[test]
fn bench_times_each_pass_of_photos_at_once() {
    let model = model();
    let options = ["--backend", "webgpu", "--json", "--runs", "1", "--batch", "2", "--size", "71", "--model", &model];
    let output = xception(&[&["bench", "--layers"][..], &options].concat());
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let passes = result["layers"]["passes"].as_array().unwrap();
    assert_eq!((&result["batch"], passes.len() as u64 + 2), (&2.into(), result["dispatches"].as_u64().unwrap()));
    for pass in passes {
        assert!(["ms", "gbps", "roofline"].iter().all(|key| pass[*key].as_f64().unwrap() > 0.0), "{pass}");
    }
}

/// Each pass has its row in the tables, the trace and the CSV file, and their times sum to the network's.
#[test]
fn profile_times_each_pass() {
    let [trace, svg] = ["trace.json", "roofline.svg"].map(|name| scratch(name, b""));
    let (model, photo) = (model(), photo("0009.jpg"));
    let run = |runs: &str, more: &[&str]| {
        let output =
            xception(&[&["profile", "--runs", runs, "--size", "71", "--model", &model, &photo], more].concat());
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    let profile: Value = serde_json::from_str(&run("2", &["--json", "--trace", &trace, "--svg", &svg])).unwrap();
    let passes = profile["passes"].as_array().unwrap();
    assert_eq!(passes.len(), 78);
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    for pass in passes {
        assert!(0.0 < number(pass, "minMs") && number(pass, "minMs") <= number(pass, "ms"), "{pass}");
        assert!(number(pass, "gbps") > 0.0 && number(pass, "roofline") > 0.0, "{pass}");
    }
    let first = &passes[0];
    let fixed = json!({
        "label": "block1_conv1", "block": "block1", "flow": "entry", "kernel": "conv", "shape": [35, 35, 32],
        "dtype": "f32", "grid": [1, 20, 1],
    });
    assert!(fixed.as_object().unwrap().iter().all(|(key, value)| first[key] == *value), "{first}");
    let flows = |flow: &str| passes.iter().filter(|pass| pass["flow"] == flow).count();
    assert_eq!(["entry", "middle", "exit"].map(flows), [17, 48, 13]);
    let sum: f64 = passes.iter().map(|pass| number(pass, "ms")).sum();
    let shares: f64 = passes.iter().map(|pass| number(pass, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    // Other programs may disturb either measurement: the bound only shows that nothing is counted twice or not at all.
    assert!((0.5..2.0).contains(&(sum / number(&profile, "wholeMs"))), "{sum} of {}", profile["wholeMs"]);

    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let events: Vec<&Value> = trace["traceEvents"].as_array().unwrap().iter().filter(|it| it["ph"] == "X").collect();
    assert_eq!(events.len(), 78);
    for (pair, pass) in events.windows(2).zip(passes) {
        assert_eq!((&pair[0]["name"], &pair[0]["cat"]), (&pass["label"], &pass["kernel"]));
        assert!((number(pair[0], "ts") + number(pair[0], "dur") - number(pair[1], "ts")).abs() < 1e-6);
    }
    let svg = fs::read_to_string(svg).unwrap();
    // Softmax and global pooling multiply nothing; each kernel has a circle in the legend.
    assert_eq!(svg.matches("<circle").count(), 76 + 3, "{svg}");
    assert!(svg.contains("GFLOP/s"));

    let csv = run("1", &["--csv"]);
    assert_eq!(csv.lines().count(), 79);
    assert!(csv.starts_with("label,block,flow,kernel,shape,dtype,grid,min_ms,ms,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("block1_conv1,block1,entry,conv,35x35x32,f32,1x20x1,"), "{csv}");
    let tables = run("1", &[]);
    for word in ["timed by", "in one compute pass", "middle", "block14", "depthwise"] {
        assert!(tables.contains(word), "{word} in {tables}");
    }
    refused(&xception(&["profile", "--model", &model, "none.jpg"]), 1, &["none.jpg"]);
}

/// An oracle that agrees, one with a changed value, and files that are no oracle.
#[test]
fn compare_names_the_first_layer_that_is_off() {
    let gpu = common::gpu();
    let file = fs::read(model()).unwrap();
    let file = xception::weights::convert(file, Default::default()).unwrap();
    let mut classifier = common::block_on(Classifier::load(&gpu, &file, Default::default())).unwrap();
    let photo = photo("0009.jpg");
    let pixels = xception::image::decode(&fs::read(&photo).unwrap(), &Default::default()).unwrap();
    common::block_on(classifier.upload(&pixels)).unwrap();
    let read = |layer: &str| common::block_on(classifier.activations(layer).unwrap().read()).unwrap();
    let layers =
        [("block1_conv1", [74, 74, 32]), ("block5_sepconv3", [9, 9, 728]), ("global_average_pooling2d", [1, 1, 2048])];
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
    // A resized pixel halfway between two values may be rounded differently on the CPU.
    for output in [compare(&agrees), on(&["--backend", "cpu", "--atol", "0.1"], &agrees)] {
        assert!(output.status.success() && stdout(&output).contains("all 3 agree"), "{output:?}");
    }
    tensors[1].2[700] += 0.5;
    tensors[2].2[0] = f32::NAN;
    let output = compare(&write("off.safetensors", &tensors));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("block5_sepconv3 is the first that is off: value 700 is ")
            && !text.contains("global_average_pooling2d"),
        "{text}"
    );
    tensors[0].1 = vec![74, 37, 64];
    refused(&compare(&write("shape.safetensors", &tensors)), 1, &["block1_conv1 has the shape [74, 37, 64]"]);
    refused(&compare(&write("none.safetensors", &[])), 1, &["no tensor is called input or as a layer"]);
    refused(&compare(&scratch("text.safetensors", b"no tensors")), 1, &["text.safetensors"]);
}

/// Every network is there, with its counts; a model's answer too.
#[test]
fn networks_are_compared() {
    let svg = scratch("networks.svg", b"");
    let options = ["--backend", "cpu", "--runs", "1", "--json", "--photo", &photo("0009.jpg"), "--svg", &svg, &model()];
    let output = xception(&[&["compare-networks", "--network", "inception_v3,xception41p"][..], &options].concat());
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    let facts = |row: &Value| (row["network"].clone(), row["parameters"].clone(), row["passes"].clone());
    let expected = [("inception_v3", 23_851_784, 110), ("xception41p", 26_961_256, 52)];
    for (row, (network, parameters, passes)) in rows[1..].iter().zip(expected) {
        assert_eq!(facts(row), (network.into(), parameters.into(), passes.into()), "{row}");
        assert!(row["published"]["top1"].as_f64().unwrap() > 77.0 && row["predictions"] == json!([]), "{row}");
        assert!(row["ms"][1].as_f64().unwrap() > 0.0, "{row}");
    }
    let kitchen = &rows[0];
    assert_eq!((&kitchen["network"], &kitchen["published"]), (&"xception".into(), &Value::Null), "{kitchen}");
    assert_eq!(kitchen["predictions"].as_array().unwrap().len(), 5, "{kitchen}");
    assert!(fs::read_to_string(&svg).unwrap().contains("published top-1"), "the plot");
    let output = xception(&["compare-networks", "--backend", "cpu", "--network", "vgg16"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("vgg16") && stderr.contains("inception_v3"), "{stderr}");
}
