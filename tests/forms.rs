//! Models as people have them against their frameworks' answers: every head, scale of pixels and file format of
//! `tools/make_heads.py`.

mod common;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use common::{assert_close, block_on, data, decompressed, gpu, pattern};
use safetensors::SafeTensors;
use xception::backend::{Backend, Cpu, Engine, Readback};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::network::Output;
use xception::ops::Op;
use xception::resize::Rgba;
use xception::weights::safetensors::Model;
use xception::weights::{Overrides, convert};

/// The side of the forms' input.
const SIDE: usize = 71;

/// What a form's output is and its number of classes, by its name.
const OUTPUTS: [(&str, &str, usize); 14] = [
    ("norm.keras", "softmax", 4),
    ("multi.h5", "sigmoid", 5),
    ("single.keras", "sigmoid", 2),
    ("regression.keras", "linear", 0),
    ("regression3.h5", "linear", 0),
    ("tanh.keras", "linear", 0),
    ("logits.keras", "softmax", 3),
    ("logits_multi.h5", "sigmoid", 3),
    ("features.keras", "features", 0),
    ("features_average.h5", "features", 0),
    ("features_max.keras", "features", 0),
    ("two_multi.h5", "sigmoid", 3),
    ("two_regression.h5", "linear", 0),
    ("two_joined.h5", "softmax", 4),
];

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(data(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter_map(|name| name.strip_suffix(".zst").map(str::to_owned)).collect();
    names.sort();
    names
}

/// The framework's answers, by form.
fn answer(answers: &SafeTensors, name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(answers.tensor(name).unwrap_or_else(|_| panic!("{name} has no answer")).data())
}

/// A form in the project's own format.
fn own(name: &str, dtype: Option<Dtype>) -> Result<Vec<u8>, String> {
    // Weights alone do not tell the size.
    let input_size = name.starts_with("subclassed").then_some([SIDE; 2]);
    let overrides = Overrides { dtype, input_size, ..Overrides::default() };
    convert(decompressed(&format!("forms/{name}")), overrides).map_err(|error| format!("{name}: {error}"))
}

fn load<B: Backend>(backend: &B, file: &[u8], name: &str, storage: Option<Dtype>) -> Classifier<B> {
    let options = Options { storage, ..Options::default() };
    let mut classifier =
        block_on(Classifier::load(backend, file, options)).unwrap_or_else(|error| panic!("{name}: {error}"));
    block_on(classifier.warm_up()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let [height, width] = classifier.meta().input_size;
    classifier.upload_pixels(&pattern(height, width)).unwrap();
    classifier
}

/// Panics unless the model's own output is the framework's.
fn check<B: Backend>(classifier: &mut Classifier<B>, name: &str, expected: &[f32], tolerance: f32) {
    let output = block_on(classifier.predict()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_close(name, &output, expected, &[expected.len()], tolerance, tolerance);
}

/// Runs `work` for each name, on as many threads as there are cores; panics with all that failed.
fn each(names: &[String], work: impl Fn(&str) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut failures = Vec::new();
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = catch_unwind(AssertUnwindSafe(|| work(name))) {
                failures.push(error.downcast_ref::<String>().cloned().unwrap_or_else(|| name.clone()));
            }
        }
        failures
    };
    let threads = thread::available_parallelism().map_or(1, Into::into);
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), names.len(), failures.join("\n"));
}

/// Where a pixel's features change, an output changes by what the map says.
fn check_map(classifier: &mut Classifier<Cpu>, name: &str) {
    let plan = classifier.plan().clone();
    if plan.output == Output::Features {
        assert_eq!(block_on(classifier.explain(0)).map(drop).unwrap_err().code(), "bad-argument", "{name}");
        return;
    }
    let map = block_on(block_on(classifier.explain(0)).unwrap().read()).unwrap();
    // Of a single sigmoid the first class is the other one.
    let sign = if classifier.network().classes() > plan.outputs { -1.0 } else { 1.0 };
    let (engine, shape) = (classifier.engine(1), plan.features_shape);
    let first = plan.passes.iter().position(|pass| pass.layer.is_some_and(|layer| layer >= plan.backbone)).unwrap();
    let features = block_on(engine.submit(0..first, 1, plan.features, shape.len()).unwrap().read()).unwrap();
    let logit = |pixels: Range<usize>, factor: f32| {
        let mut changed = features.clone();
        let range = pixels.start * shape.channels..pixels.end * shape.channels;
        changed[range].iter_mut().for_each(|value| *value *= factor);
        engine.write_slot(plan.features, &changed);
        let logits = engine.submit(first..plan.passes.len(), 1, plan.logits, plan.outputs).unwrap();
        f64::from(block_on(logits.read()).unwrap()[0])
    };
    // Where two pixels nearly have the maximum, any step is too large; but not where all pixels change alike.
    let has_maximum = plan.passes.iter().any(|pass| matches!(pass.op, Op::GlobalMaxPool(_) | Op::Pool(_)));
    let step = if has_maximum { 1.0 / 128.0 } else { 1.0 / 1024.0 };
    let slope = |pixels: Range<usize>| {
        let change = logit(pixels.clone(), 1.0 + step) - logit(pixels, 1.0 - step);
        sign * (change / f64::from(2.0 * step)) as f32 * shape.pixels() as f32
    };
    let part = if has_maximum { shape.pixels() } else { 1 };
    let parts: Vec<Range<usize>> = (0..shape.pixels()).step_by(part).map(|pixel| pixel..pixel + part).collect();
    let sums: Vec<f32> = parts.iter().map(|part| map[part.clone()].iter().sum()).collect();
    let slopes: Vec<f32> = parts.into_iter().map(slope).collect();
    let largest = slopes.iter().fold(0.0, |largest: f32, slope| largest.max(slope.abs()));
    assert_close(&format!("the map of {name}"), &sums, &slopes, &[slopes.len()], 0.02 * largest + 2e-2, 0.02);
}

#[test]
fn forms_answer_as_their_frameworks_do() {
    let file = fs::read(data("forms.safetensors")).unwrap();
    let answers = SafeTensors::deserialize(&file).unwrap();
    let names = names("forms");
    assert!(names.len() > 70, "{} forms", names.len());
    assert_eq!(names.len(), answers.len());
    let cpu = Cpu::single_threaded();
    each(&names, |name| {
        let file = own(name, None).unwrap();
        let mut classifier = load(&cpu, &file, name, None);
        let network = classifier.network();
        if let Some((_, output, classes)) = OUTPUTS.iter().find(|(form, ..)| *form == name) {
            assert_eq!((&*network.output.to_string(), network.classes()), (*output, *classes), "{name}");
        }
        check(&mut classifier, name, &answer(&answers, name), 1e-3);
        check_map(&mut classifier, name);
        // As f16 and as i8 the same, but for their rounding.
        let is_number = ["softmax", "sigmoid"].contains(&&*classifier.network().output.to_string());
        if is_number && !classifier.meta().is_logits {
            for (dtype, tolerance) in [(Dtype::F16, 1e-2), (Dtype::I8, 6e-2)] {
                let file = Model::deserialize(&file).unwrap().serialize(dtype).unwrap();
                check(&mut load(&cpu, &file, name, None), name, &answer(&answers, name), tolerance);
            }
        }
    });
}

/// Maps, f16, i8 and batches of a network that has branches.
#[test]
fn an_inception_is_explained_quantized_and_batched() {
    let overrides = Overrides { input_size: Some([107; 2]), ..Overrides::default() };
    let (name, cpu) = ("inception/model.keras", Cpu::single_threaded());
    let file = convert(decompressed(name), overrides).unwrap();
    let mut classifier = load(&cpu, &file, name, None);
    let expected = block_on(classifier.predict()).unwrap();
    check_map(&mut classifier, name);
    for (dtype, tolerance) in [(Dtype::F16, 1e-2), (Dtype::I8, 6e-2)] {
        let file = Model::deserialize(&file).unwrap().serialize(dtype).unwrap();
        check(&mut load(&cpu, &file, name, None), name, &expected, tolerance);
    }
    let photos = [[90, 130], [140, 75], [107, 107]].map(|[height, width]: [usize; 2]| {
        let rgba = pattern(height, width).chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        Rgba::new(width, height, rgba).unwrap()
    });
    let together = block_on(classifier.classify_batch(&photos, 5)).unwrap();
    for (photo, together) in photos.iter().zip(together) {
        block_on(classifier.upload(photo)).unwrap();
        assert_eq!(block_on(classifier.classify(5)).unwrap(), together);
    }
}

/// A form of each operation on a software adapter, which takes seconds for each; all of them on hardware, and where `ALL_FORMS` is set.
#[test]
fn forms_on_the_gpu() {
    let file = fs::read(data("forms.safetensors")).unwrap();
    let answers = SafeTensors::deserialize(&file).unwrap();
    let gpu = gpu();
    let some = ["spatial.keras", "joined.keras", "max_flatten.h5", "pixels_caffe.keras", "front_aspect.h5"];
    let is_all = !gpu.is_software() || env::var_os("ALL_FORMS").is_some();
    for name in names("forms").iter().filter(|name| is_all || some.contains(&&***name)) {
        let mut classifier = load(&gpu, &own(name, None).unwrap(), name, Some(Dtype::F32));
        check(&mut classifier, name, &answer(&answers, name), 1e-3);
        if classifier.network().output == Output::Features {
            continue;
        }
        let on_gpu = block_on(block_on(classifier.explain(0)).unwrap().read()).unwrap();
        let mut cpu = load(&Cpu::new(), &own(name, None).unwrap(), name, None);
        block_on(cpu.predict()).unwrap();
        let expected = block_on(block_on(cpu.explain(0)).unwrap().read()).unwrap();
        let pixels = cpu.plan().features_shape.pixels();
        assert_close(&format!("the map of {name}"), &on_gpu, &expected, &[pixels], 1e-3, 1e-2);
    }
}

/// Checkpoints of PyTorch: containers, prefixes, dtypes, strides.
#[test]
fn checkpoints_answer_as_pytorch_does() {
    let file = fs::read(data("checkpoints.safetensors")).unwrap();
    let answers = SafeTensors::deserialize(&file).unwrap();
    let names = names("checkpoints");
    assert_eq!(names.len(), answers.len());
    each(&names, |name| {
        let overrides = Overrides { input_size: Some([SIDE; 2]), ..Overrides::default() };
        let file = convert(decompressed(&format!("checkpoints/{name}")), overrides);
        let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut classifier = load(&Cpu::single_threaded(), &file, name, None);
        check(&mut classifier, name, &answer(&answers, name), 1e-3);
        let meta = classifier.meta();
        let ignored = match name {
            "deepfakebench.pth" => &["backbone.adjust_channel"][..],
            "lightning.ckpt" => &["optimizer_states"],
            "parallel.pth" => &["ema"],
            _ => &[],
        };
        assert_eq!(meta.ignored, ignored, "{name}");
        let weights = meta.assumed.iter().find(|assumption| assumption.name == "weights").map(|one| &*one.value);
        assert_eq!(
            weights,
            (name == "parallel.pth").then_some("those of model.module (the file has model.module, ema.module)")
        );
        let (output, classes) = (classifier.network().output, classifier.network().classes());
        let expected = match name {
            "features.pth" => (Output::Features, 0),
            "lightning.ckpt" => (Output::Sigmoid, 2),
            _ => (Output::Softmax, answer(&answers, name).len()),
        };
        assert_eq!((output, classes), expected, "{name}");
    });
}

/// Other models, and weights that do not tell enough, are refused by name.
#[test]
fn other_models_are_refused() {
    let expected = [
        ("bias.pth", "block3.rep.1.conv1.bias is part of the backbone, and none of Xception's"),
        ("convolution.h5", "odd (Conv2D, behind the backbone)"),
        ("convolution.pth", "fc does not follow from the backbone's 2048 features"),
        ("convolution.weights.h5", "its 1 dense layers do not form a head behind the backbone's 2048 features"),
        ("lambda.h5", "odd (Lambda) is not part of an Xception classifier"),
        ("layer_norm.keras", "odd (LayerNormalization) is not part of an Xception classifier"),
        ("layer_norm.pth", "fc.1.bias is part of the classifier"),
        ("layer_norm.weights.h5", "weights alone do not tell"),
        ("lstm.keras", "(LSTM) is not part of an Xception classifier"),
        ("no_residuals.h5", "the backbone is another network than keras.applications.Xception"),
        ("norm.pth", "fc.norm is not numbered as in a Sequential"),
        ("norm.weights.h5", "it has 41 batch norms, an Xception has 40"),
        ("padded.keras", "odd (ZeroPadding2D, in front of the backbone)"),
        ("prelu.pth", "fc.1.weight is part of the classifier"),
        ("prelu.weights.h5", "weights alone do not tell what that is for"),
        ("two_inputs.keras", "odd (Concatenate, which joins something else than the two global poolings)"),
        ("two_outputs.keras", "the model returns 2 results"),
    ];
    assert_eq!(names("refused"), expected.map(|(name, _)| name));
    for (name, reason) in expected {
        let overrides = Overrides { input_size: Some([SIDE; 2]), ..Overrides::default() };
        let error = convert(decompressed(&format!("refused/{name}")), overrides).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error} does not mention {reason}");
    }
}
