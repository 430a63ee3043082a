//! Every kind of file in every dtype: what is read back is what was written, to the precision of the dtype.

mod common;

use std::collections::HashMap;

use common::{assert_close, fixture};
use hdf5_pure::FileBuilder;
use safetensors::tensor::{TensorView, serialize};
use xception::dtype::Dtype;
use xception::error::Result;
use xception::limits::Limits;
use xception::network::Output;
use xception::network::layer::{Role, Shape};
use xception::resize::Filter;
use xception::weights::head::Prefix;
use xception::weights::safetensors::{Header, Model};
use xception::weights::stream_decoder::StreamDecoder;
use xception::weights::{Overrides, convert, keras, torch};

fn stored(dtype: Dtype) -> Overrides {
    Overrides { dtype: Some(dtype), ..Overrides::default() }
}

fn read(file: Vec<u8>) -> Result<Model> {
    Model::deserialize(&convert(file, Overrides::default())?)
}

/// Panics unless each tensor equals the original, to the precision of the dtype.
fn compare(what: &str, dtype: Dtype, actual: &Model, original: &Model) {
    assert_eq!(actual.meta, original.meta, "{what}");
    let tensors = original.meta.network().unwrap().tensors();
    for (tensor, (actual, expected)) in tensors.iter().zip(actual.tensors.iter().zip(&original.tensors)) {
        let what = format!("{what}: {} as {dtype}", tensor.name);
        match tensor.dtype(dtype) {
            Dtype::F32 => assert_eq!(actual, expected, "{what}"),
            Dtype::F16 => assert_close(&what, actual, expected, &tensor.shape, 1e-7, 1.0 / 2048.0),
            Dtype::I8 => {
                // Half a step of each output channel, of which the largest weight has 127.
                let mut largest = vec![0.0_f32; tensor.scales()];
                for (index, value) in expected.iter().enumerate() {
                    let channel = &mut largest[tensor.channel(index)];
                    *channel = channel.max(value.abs());
                }
                let off = |(index, (actual, expected)): (usize, (&f32, &f32))| {
                    (actual - expected).abs() > largest[tensor.channel(index)] / 127.0 * 0.501
                };
                assert!(!actual.iter().zip(expected).enumerate().any(off), "{what}");
            }
        }
    }
}

#[test]
fn every_source_in_every_dtype() {
    for name in ["keras1.h5", "keras2.h5", "keras3.h5", "keras3.weights.h5", "sequential.keras", "timm.safetensors"] {
        let original = read(fixture(name)).unwrap();
        assert_eq!(original.meta.source.sha256.len(), 64, "{name}");
        for dtype in [Dtype::F32, Dtype::F16, Dtype::I8] {
            let file = convert(fixture(name), stored(dtype)).unwrap();
            let header = Header::parse(&file).unwrap();
            assert_eq!((header.dtype, header.file_len), (dtype, file.len()), "{name}");
            let model = Model::deserialize(&file).unwrap();
            compare(name, dtype, &model, &original);
            assert_eq!(convert(file.clone(), Overrides::default()).unwrap(), file, "{name}: nothing to change");
            assert_eq!(convert(file.clone(), stored(dtype)).unwrap(), file, "{name}: {dtype} already");
            assert_eq!(model.serialize(dtype).unwrap(), file, "{name}: written again as {dtype}");
            // For the GPU as f16, read in pieces of arbitrary length.
            let tensors = original.meta.network().unwrap().tensors();
            let mut halves: Vec<Vec<u8>> = tensors.iter().map(|tensor| vec![0; tensor.bytes(Dtype::F16)]).collect();
            let mut decoder = StreamDecoder::new(&header, Dtype::F16);
            for piece in file[header.data_start..].chunks(1_000_003) {
                let keep = |tensor: usize, offset: usize, bytes: &[u8]| {
                    assert_eq!((offset % 4, bytes.len() % 4), (0, 0), "whole words");
                    halves[tensor][offset..offset + bytes.len()].copy_from_slice(bytes);
                };
                decoder.push(piece, keep).unwrap();
            }
            decoder.finish().unwrap();
            for (tensor, (half, values)) in tensors.iter().zip(halves.iter().zip(&model.tensors)) {
                assert!(*half == tensor.dtype(Dtype::F16).encode(values), "{name}: {} from {dtype}", tensor.name);
            }
        }
    }
}

/// Options by name, shared by Rust, the command line and JavaScript.
#[test]
fn every_filter_is_kept() {
    use clap::ValueEnum;
    let keras = read(fixture("keras3.h5")).unwrap();
    for &filter in Filter::value_variants() {
        let name = filter.to_possible_value().unwrap().get_name().to_owned();
        assert_eq!((filter.to_string(), name.parse().unwrap()), (name.clone(), filter));
        assert_eq!(serde_json::to_string(&filter).unwrap(), format!("{name:?}"));
        let mut model = keras.clone();
        (model.meta.preprocessing.filter, model.meta.preprocessing.crop) = (filter, 0.8975);
        let file = model.serialize(Dtype::F16).unwrap();
        assert_eq!(Header::parse(&file).unwrap().meta, model.meta, "{name}");
    }
    assert!("lanczos3".parse::<Filter>().unwrap_err().to_string().contains("lanczos, tf-bilinear, tf-nearest"));
}

#[test]
fn smaller_dtypes_make_smaller_files() {
    let lengths = [Dtype::F32, Dtype::F16, Dtype::I8].map(|dtype| {
        let file = convert(fixture("keras3.h5"), stored(dtype)).unwrap();
        let header = Header::parse(&file).unwrap();
        let quantized = |role| matches!(role, Role::Matrix(_)) && dtype == Dtype::I8;
        let tensors = header.network.tensors();
        for entry in header.entries.iter().filter(|entry| !entry.is_scale) {
            let tensor = &tensors[entry.tensor];
            assert_eq!(entry.dtype == Dtype::I8, quantized(tensor.role), "{}", tensor.name);
        }
        file.len() - header.data_start
    });
    // 22.8 million folded weights; biases stay f32, windows f16, and each output channel has a scale.
    assert_eq!(lengths, [91_314_752, 45_713_904, 23_252_880]);
}

#[test]
fn i8_becomes_f32_again() {
    let small = convert(fixture("sequential.keras"), stored(Dtype::I8)).unwrap();
    let large = convert(small.clone(), stored(Dtype::F32)).unwrap();
    assert_eq!(Model::deserialize(&large).unwrap(), Model::deserialize(&small).unwrap());
    assert_eq!(convert(large, stored(Dtype::I8)).unwrap(), small, "the same bytes and scales");
}

#[test]
fn weights_beyond_f16_are_refused() {
    let mut model = read(fixture("sequential.keras")).unwrap();
    model.tensors[2][5] = -70000.0;
    let names = "block2_sepconv1.depthwise.weight";
    let tensors = model.meta.network().unwrap().tensors();
    let place = tensors.iter().position(|tensor| tensor.name == names).unwrap();
    model.tensors[2][5] = 0.0;
    model.tensors[place][5] = -70000.0;
    let error = model.serialize(Dtype::F16).unwrap_err().to_string();
    assert!(error.contains(names) && error.contains("65504") && error.contains("dtype f32"), "{error}");
    let file = model.serialize(Dtype::F32).unwrap();
    let header = Header::parse(&file).unwrap();
    let load = |storage| StreamDecoder::new(&header, storage).push(&file[header.data_start..], |_, _, _| {});
    assert!(load(Dtype::F16).unwrap_err().to_string().contains(names));
    load(Dtype::F32).unwrap();
}

/// A PyTorch state dict of linear layers `[out, in]` and vectors, of zeros.
fn state_dict(shapes: &[(&str, &[usize])]) -> Vec<u8> {
    let zeros = vec![0; 4 * 64 * 2048];
    let tensors = shapes.iter().map(|&(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    serialize(tensors, None::<HashMap<_, _>>).unwrap()
}

#[test]
fn heads_are_ordered_as_people_count_or_refused() {
    let layers = [("b.10.weight", &[64, 64][..]), ("b.8.weight", &[64, 64]), ("b.0.weight", &[64, 2048])];
    let named = [&layers[..], &[("b.12.weight", &[7, 64])]].concat();
    let prefix = Prefix::none(Shape::new(10, 10, 2048));
    let layers = torch::read_head(&state_dict(&named), &prefix, &Limits::default()).unwrap().layers;
    let names: Vec<&str> = layers.iter().map(|layer| &*layer.name).collect();
    assert_eq!(names, ["avg_pool", "b.0", "b.8", "b.10", "b.12"]);
    let refused = |more: (&'static str, &'static [usize]), reason: &str| {
        let error = torch::read_head(&state_dict(&[&named[..], &[more]].concat()), &prefix, &Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    };
    refused(("norm.weight", &[64]), "norm.weight is not part of a head of linear layers");
    refused(("norm.running_mean", &[64]), "norm.running_mean is not part");
    refused(("c.weight", &[9, 9]), "c does not follow");
    let many: Vec<String> = (0..40).map(|layer| format!("{layer}.weight")).collect();
    let many: Vec<(&str, &[usize])> = many.iter().map(|name| (&**name, &[1, 1][..])).collect();
    let error = torch::read_head(&state_dict(&many), &prefix, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("40 arrays are more than"), "{error}");
    let norm = keras::read_head(batch_norm_head(), prefix, &Limits::default()).unwrap_err().to_string();
    assert!(norm.contains("weights alone do not tell where the others belong"), "{norm}");
}

/// A Keras head with a batch norm, in a file without a config.
fn batch_norm_head() -> Vec<u8> {
    let mut file = FileBuilder::new();
    let mut dense = file.create_group("dense");
    dense.create_dataset("kernel:0").with_f32_data(&[0.0; 4 * 2048]).with_shape(&[2048, 4]);
    file.add_group(dense.finish());
    let mut norm = file.create_group("batch_normalization");
    norm.create_dataset("gamma:0").with_f32_data(&[5.0; 4]).with_shape(&[4]);
    file.add_group(norm.finish());
    file.finish().unwrap()
}

#[test]
fn scales_that_make_infinities_are_refused() {
    let file = convert(fixture("sequential.keras"), stored(Dtype::I8)).unwrap();
    let header = Header::parse(&file).unwrap();
    let entry = header.entries.iter().find(|entry| entry.is_scale).unwrap();
    for scale in [3e38_f32, -1.0, f32::NAN] {
        let mut file = file.clone();
        let at = header.data_start + entry.range.0;
        file[at..at + 4].copy_from_slice(&scale.to_le_bytes());
        let error = Model::deserialize(&file).unwrap_err().to_string();
        assert!(error.contains(&entry.name), "{scale}: {error}");
    }
}

#[test]
fn a_head_of_its_own_file() {
    let whole = read(fixture("sequential.keras")).unwrap();
    let with = |head| Overrides { head: Some(head), ..Overrides::default() };
    let features = read(fixture("notop.h5")).unwrap();
    assert_eq!((features.meta.output, features.meta.network().unwrap().classes()), (Output::Features, 0));
    for name in ["head.keras", "head.h5", "head.weights.h5"] {
        let model = Model::deserialize(&convert(fixture("notop.h5"), with(fixture(name))).unwrap()).unwrap();
        let units = |model: &Model| {
            model.meta.head[1..].iter().map(|dense| (dense.units, dense.activation.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(units(&model), units(&whole), "{name}");
        assert_eq!(model.meta.input_size, [150, 150]);
        assert!(model.tensors == whole.tensors, "{name}");
    }
    // PyTorch's linear layers are [out, in]; they take the place of the head that a file has.
    let backbone = whole.tensors.len() - 6;
    let names = ["0", "3", "5"].map(|layer| ["weight", "bias"].map(|array| format!("{layer}.{array}"))).concat();
    let shapes = [vec![64, 2048], vec![64], vec![64, 64], vec![64], vec![7, 64], vec![7]];
    let tensors = names.iter().zip(&shapes).zip(&whole.tensors[backbone..]).map(|((name, shape), values)| {
        let len = shape.iter().product();
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytemuck::cast_slice(&values[..len])).unwrap())
    });
    let torch = serialize(tensors, None::<HashMap<_, _>>).unwrap();
    for name in ["notop.h5", "sequential.keras", "keras3.h5"] {
        let model = Model::deserialize(&convert(fixture(name), with(torch.clone())).unwrap()).unwrap();
        assert!(model.tensors == whole.tensors, "{name}");
        assert!(model.meta.labels.is_empty(), "labels are the head's");
    }
    let error = convert(fixture("notop.h5"), with(fixture("timm.safetensors"))).map(|file| read(file).unwrap());
    assert_eq!(error.unwrap().meta.head[1].units, 1000, "a whole model's head will do");
    let error = convert(fixture("notop.h5"), with(b"no weights".to_vec())).unwrap_err().to_string();
    assert!(error.starts_with("the head: not a weights file"), "{error}");
}
