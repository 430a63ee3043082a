//! Assumptions about a weights file: each is listed, and each option removes its line; and heads of a single output.

mod common;

use std::collections::HashMap;

use common::{Random, assert_close, block_on, fixture, golden, pattern};
use hdf5_pure::{AttrValue, FileBuilder};
use safetensors::tensor::{TensorView, serialize};
use xception::backend::{Cpu, Readback};
use xception::classifier::Classifier;
use xception::dtype::Dtype;
use xception::error::Result;
use xception::limits::Limits;
use xception::network::layer::Shape;
use xception::resize::{Filter, Fit, Pixels};
use xception::weights::head::{Head, Prefix};
use xception::weights::safetensors::{Header, Meta, Model};
use xception::weights::{Overrides, convert, keras};

const SIZE: [&str; 3] = ["input size", "299×299", "inputSize"];
const PIXELS: [&str; 3] = ["pixel values", "−1 to 1", "pixels"];
const FILTER: [&str; 3] = ["resize filter", "bilinear", "filter"];
const FIT: [&str; 3] = ["fit", "squash", "fit"];
const EPSILON: [&str; 3] = ["batch norm epsilon", "0.001", ""];
const POOLING: [&str; 3] = ["pooling", "average", ""];
const HIDDEN: [&str; 3] = ["activation between dense layers", "ReLU", ""];
const SOFTMAX: [&str; 3] = ["final activation", "softmax", "activation"];
const SIGMOID: [&str; 3] = ["final activation", "sigmoid", "activation"];
const LABELS: [&str; 3] = ["labels", "those of ImageNet", "labels"];

fn header(file: &str, head: Option<&str>, overrides: Overrides) -> Header {
    let head = head.map(fixture);
    Header::parse(&convert(fixture(file), Overrides { head, ..overrides }).unwrap()).unwrap()
}

/// Name, value and option of what is assumed.
fn assumed(meta: &Meta) -> Vec<[&str; 3]> {
    let all = meta.assumed.iter();
    all.map(|assumption| [&*assumption.name, &*assumption.value, assumption.option().unwrap_or_default()]).collect()
}

#[test]
fn what_a_file_does_not_tell_is_listed_until_an_option_says_it() {
    let alone = [SIZE, PIXELS, FILTER, FIT, EPSILON, POOLING, SOFTMAX];
    let timm = ["bicubic", "crop to 0.8975"];
    let mut random = Random(23);
    for (file, head, expected) in [
        ("keras1.h5", None, [&alone[..], &[LABELS]].concat()),
        ("keras2.h5", None, vec![FILTER, FIT]),
        ("keras3.h5", None, vec![PIXELS, FILTER, FIT, LABELS]),
        ("keras3.weights.h5", None, alone.to_vec()),
        ("sequential.keras", None, vec![FILTER, FIT]),
        (
            "timm.safetensors",
            None,
            vec![SIZE, PIXELS, [FILTER[0], timm[0], FILTER[2]], [FIT[0], timm[1], FIT[2]], POOLING, SOFTMAX, LABELS],
        ),
        // A head's file states its own part; the pooling between may be stated by neither file, or by one.
        ("notop.h5", Some("head.keras"), vec![PIXELS, FILTER, FIT, POOLING]),
        ("notop.h5", Some("head.h5"), vec![PIXELS, FILTER, FIT, POOLING]),
        ("notop.h5", Some("head.weights.h5"), vec![PIXELS, FILTER, FIT, POOLING, HIDDEN, SOFTMAX]),
        ("notop.h5", Some("sequential.keras"), vec![PIXELS, FILTER, FIT]),
        ("notop.h5", Some("timm.safetensors"), vec![PIXELS, FILTER, FIT, POOLING, SOFTMAX]),
        ("keras3.h5", Some("head.weights.h5"), vec![PIXELS, FILTER, FIT, HIDDEN, SOFTMAX]),
        ("keras3.weights.h5", Some("head.keras"), vec![SIZE, PIXELS, FILTER, FIT, EPSILON, POOLING]),
        ("notop.h5", Some("sigmoid.keras"), vec![PIXELS, FILTER, FIT, POOLING]),
        ("notop.h5", Some("sigmoid.weights.h5"), vec![PIXELS, FILTER, FIT, POOLING, HIDDEN, SIGMOID]),
    ] {
        let Header { meta, network, .. } = header(file, head, Overrides::default());
        assert_eq!(assumed(&meta), expected, "{file} with {head:?}");
        // Some of the options, then the others.
        let some = random.below(64);
        for chosen in [some, 63 - some] {
            let is_chosen = |option: &str| {
                let place = ["inputSize", "filter", "fit", "labels", "pixels", "activation"]
                    .iter()
                    .position(|name| *name == option);
                place.is_some_and(|place| chosen >> place & 1 == 1)
            };
            let overrides = Overrides {
                input_size: is_chosen("inputSize").then_some([150; 2]),
                filter: is_chosen("filter").then_some(meta.preprocessing.filter),
                fit: is_chosen("fit").then_some(meta.preprocessing.fit),
                labels: is_chosen("labels").then(|| vec!["the same".to_owned(); network.classes()]),
                pixels: is_chosen("pixels").then_some(Pixels::Tf),
                activation: is_chosen("activation").then_some(meta.output),
                license: Some("MIT".to_owned()),
                ..Overrides::default()
            };
            let left: Vec<_> = expected.iter().copied().filter(|line| !is_chosen(line[2])).collect();
            assert_eq!(assumed(&header(file, head, overrides).meta), left, "{file}, {head:?}, options {chosen:b}");
        }
    }
}

#[test]
fn converted_files_still_tell() {
    let file = convert(fixture("keras3.weights.h5"), Overrides::default()).unwrap();
    let again = Overrides { filter: Some(Filter::Nearest), fit: Some(Fit::Crop), ..Overrides::default() };
    let converted = convert(file.clone(), again).unwrap();
    let model = Model::deserialize(&converted).unwrap();
    assert_eq!(assumed(&model.meta), [SIZE, PIXELS, EPSILON, POOLING, SOFTMAX]);
    // Files of earlier versions have no list, those of later ones other names.
    let text = String::from_utf8_lossy(&converted[8..Header::len(&converted).unwrap()]).into_owned();
    let at = text.find(r#",\"assumed\":["#).unwrap();
    let list = &text[at..=at + text[at..].find(']').unwrap()];
    let changed = |list: &str, other: &str| {
        let json = text.replace(list, other);
        Header::parse(&[&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat())
    };
    assert_eq!(changed(list, "").unwrap().meta.assumed, []);
    let renamed = changed("pooling", "colours").unwrap().meta;
    assert_eq!(assumed(&renamed)[3], ["colours", "average", ""]);
    for damaged in [r#",\"assumed\":{}"#, r#",\"assumed\":[{\"name\":\"fit\"}]"#] {
        assert!(changed(list, damaged).unwrap_err().to_string().contains("assumed is missing, or no such thing"));
    }
}

/// A Keras file of dense layers without a bias, by name and `[outputs, inputs]`.
fn keras_head(shapes: &[(&str, [usize; 2])], config: Option<&str>) -> Vec<u8> {
    let mut file = FileBuilder::new();
    if let Some(config) = config {
        file.set_attr("model_config", AttrValue::String(config.to_owned()));
    }
    for (name, [outputs, inputs]) in shapes {
        let mut group = file.create_group(&format!("dense_{name}"));
        let kernel = group.create_dataset("kernel:0").with_f32_data(&vec![0.0; outputs * inputs]);
        kernel.with_shape(&[*inputs as u64, *outputs as u64]);
        file.add_group(group.finish());
    }
    file.finish().unwrap()
}

fn read_head(shapes: &[(&str, [usize; 2])], config: Option<&str>) -> Result<Head> {
    keras::read_head(keras_head(shapes, config), Prefix::none(Shape::new(10, 10, 2048)), &Limits::default())
}

#[test]
fn a_config_that_lists_fewer_layers_is_refused() {
    let config = r#"{"config": {"layers": [{"class_name": "Dense", "config": {"name": "dense_0", "units": 64}}]}}"#;
    let layers = [("0", [64, 2048]), ("1", [7, 64])];
    assert_eq!(read_head(&layers[..1], Some(config)).unwrap().layers.len(), 2);
    let error = read_head(&layers, Some(config)).map(drop).unwrap_err().to_string();
    assert!(error.contains("dense_1 is a dense layer that the model's config does not have"), "{error}");
}

/// Their order does not matter.
#[test]
fn more_dense_layers_than_a_head_has_are_refused() {
    let names: Vec<String> = (0..17).map(|layer| layer.to_string()).collect();
    let layers: Vec<(&str, [usize; 2])> = names.iter().map(|name| (&**name, [1, 1])).collect();
    let error = read_head(&layers, None).map(drop).unwrap_err().to_string();
    assert!(error.contains("17 dense layers are more than the 16 supported"), "{error}");
}

/// Layers whose order their shapes leave open.
#[test]
fn an_order_of_equal_layers_is_assumed() {
    let shapes = [("0", [64, 2048]), ("2", [64, 64]), ("4", [64, 64]), ("6", [1, 64])];
    let zeros = vec![0; 4 * 64 * 2048];
    let head = |shapes: &[(&str, [usize; 2])]| {
        let weight = |&(name, shape): &(&str, [usize; 2])| {
            let bytes = &zeros[..4 * shape[0] * shape[1]];
            (format!("{name}.weight"), TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
        };
        Some(serialize(shapes.iter().map(weight), None::<HashMap<_, _>>).unwrap())
    };
    let order = |head| {
        let overrides = Overrides { head, ..Overrides::default() };
        let meta = Header::parse(&convert(fixture("notop.h5"), overrides).unwrap()).unwrap().meta;
        let lines = meta.assumed.into_iter().filter(|assumption| assumption.name == "order of dense layers");
        lines.map(|assumption| assumption.value).collect::<Vec<_>>()
    };
    assert_eq!(order(head(&shapes)), ["0, 2, 4, 6"]);
    assert_eq!(order(Some(keras_head(&shapes, None))), ["dense_0, dense_2, dense_4, dense_6"]);
    assert_eq!(order(head(&[shapes[0], shapes[1], shapes[3]])), [""; 0]);
}

/// Softmax of one output would always be 1: Keras's probability is that of the second class.
#[test]
fn one_output_is_a_sigmoid() {
    for (head, side, dtype) in [
        ("sigmoid.weights.h5", 150, Dtype::F32),
        ("sigmoid.keras", 299, Dtype::F32),
        ("sigmoid.keras", 150, Dtype::F16),
        ("sigmoid.keras", 150, Dtype::I8),
    ] {
        let labels = Some(vec!["dull".to_owned(), "shiny".to_owned()]);
        let (head, input_size) = (Some(fixture(head)), Some([side; 2]));
        let overrides = Overrides { head, input_size, labels, dtype: Some(dtype), ..Overrides::default() };
        let file = convert(fixture("keras3.weights.h5"), overrides).unwrap();
        let mut classifier = block_on(Classifier::load(&Cpu::new(), &file, Default::default())).unwrap();
        classifier.upload_pixels(&pattern(side, side)).unwrap();
        let ranked = block_on(classifier.classify(2)).unwrap();
        let what = format!("{side} as {dtype}: {ranked:?}");
        assert_eq!([&*ranked[0].label, &*ranked[1].label], ["shiny", "dull"], "{what}");
        let expected = golden().floats(&format!("{side}.sigmoid")).unwrap()[0];
        let tolerance = if dtype == Dtype::F32 { 1e-4 } else { 2e-2 };
        let scores = [ranked[0].score, ranked[1].score];
        assert_close(&what, &scores, &[expected, 1.0 - expected], &[2], tolerance, tolerance);
        // Evidence for one class is evidence against the other.
        let maps = [0, 1].map(|class| block_on(block_on(classifier.explain(class)).unwrap().read()).unwrap());
        let against: Vec<f32> = maps[0].iter().map(|value| -value).collect();
        assert_eq!(maps[1], against, "{what}");
        assert!(maps[1].iter().any(|value| *value != 0.0), "{what}");
    }
}

/// Files by earlier versions.
#[test]
fn own_files_of_a_single_output_are_refused() {
    let file = convert(fixture("keras3.h5"), Overrides::default()).unwrap();
    let mut model = Model::deserialize(&file).unwrap();
    model.meta.head[1].units = 1;
    model.meta.labels.clear();
    let error = model.serialize(Dtype::F32).unwrap_err();
    assert_eq!(error.code(), "bad-weights");
    assert!(error.to_string().contains("single output is 1 for any photo"), "{error}");
}
