//! Weights files: every Keras layout gives the same model, and every damaged file an error.

mod common;

use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::ops::Range;
use std::sync::LazyLock;

use common::{Random, assert_close, dense_head, fixture};
use hdf5_pure::FileBuilder;
use safetensors::tensor::{Dtype, TensorView, serialize};
use xception::dtype::Dtype as Stored;
use xception::error::{Error, Result};
use xception::limits::Limits;
use xception::network::layer::Shape;
use xception::network::{Architecture, Output};
use xception::resize::{Filter, Fit, Preprocessing};
use xception::weights::head::Prefix;
use xception::weights::safetensors::{Header, Model};
use xception::weights::stream_decoder::StreamDecoder;
use xception::weights::{Overrides, convert, keras, labels};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A whole model of Keras 3, with 1000 classes.
static KERAS: LazyLock<Vec<u8>> = LazyLock::new(|| fixture("keras3.h5"));

/// The same in the project's own format.
static OWN: LazyLock<Vec<u8>> = LazyLock::new(|| convert(KERAS.clone(), Overrides::default()).unwrap());

fn read(file: Vec<u8>) -> Result<Model> {
    Model::deserialize(&convert(file, Overrides::default())?)
}

/// Panics unless it is an error whose text mentions `reason`.
fn refused<T>(what: &str, result: Result<T>, reason: &str) {
    let Err(error) = result else { panic!("{what} is accepted") };
    assert!(error.to_string().contains(reason), "{what}: {error:?} does not mention {reason:?}");
}

/// The first position of some bytes.
fn find(file: &[u8], bytes: &[u8]) -> usize {
    file.windows(bytes.len()).position(|window| window == bytes).expect("the bytes are in the file")
}

/// Replaces all occurrences with other bytes of the same length.
fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut file = file.to_vec();
    let places: Vec<usize> =
        file.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the bytes to replace are in the file");
    places.into_iter().for_each(|at| file[at..at + to.len()].copy_from_slice(to));
    file
}

#[test]
fn every_layout_gives_the_same_tensors() {
    let expected = Model::deserialize(&OWN).unwrap();
    assert_eq!(expected.meta.input_size, [299, 299]);
    assert_eq!((&expected.meta.head, expected.meta.output), (&dense_head(&[("predictions", 1000)]), Output::Softmax));
    for name in ["keras3.weights.h5", "keras1.h5"] {
        let model = read(fixture(name)).unwrap();
        assert_eq!(model.meta.network().unwrap().classes(), 1000, "{name}");
        assert!(model.tensors == expected.tensors, "{name} has other tensors");
    }
    let backbone = expected.tensors.len() - 2;
    let head = dense_head(&[("dense_1", 64), ("dense", 64), ("predictions", 7)]);
    let nested = ["keras2.h5", "sequential.keras"].map(|name| {
        let model = read(fixture(name)).unwrap();
        assert_eq!((model.meta.input_size, &model.meta.head[1..]), ([150, 150], &head[1..]), "{name}");
        let Preprocessing { scale, offset, .. } = model.meta.preprocessing;
        assert_close(
            "scale and offset",
            &[scale, offset].concat(),
            &[[1.0 / 127.5; 3], [-1.0; 3]].concat(),
            &[6],
            0.0,
            1e-6,
        );
        assert!(model.tensors[..backbone] == expected.tensors[..backbone], "{name} has another backbone");
        model
    });
    assert!(nested[0].tensors == nested[1].tensors, "the dense layers are the same, whatever their groups are called");
    assert_eq!(nested[0].tensors[backbone + 3], [0.0; 64], "a layer without a bias");
    let mut other = expected.clone();
    other.tensors[backbone - 1][0] += 1.0;
    assert!(other != expected);
}

#[test]
fn overrides_change_the_meta_alone() {
    let names: Vec<String> = (0..1000).map(|class| format!("name {class}")).collect();
    let (labels, filter, fit, license) =
        (Some(names.clone()), Some(Filter::Bicubic), Some(Fit::Crop), Some("MIT".into()));
    let overrides = Overrides { labels, filter, fit, license, input_size: Some([150, 150]), ..Overrides::default() };
    let (before, after) =
        (Model::deserialize(&OWN).unwrap(), Model::deserialize(&convert(OWN.clone(), overrides).unwrap()).unwrap());
    assert_eq!(after.meta.input_size, [150, 150]);
    assert_eq!((after.meta.preprocessing.filter, after.meta.preprocessing.fit), (Filter::Bicubic, Fit::Crop));
    assert_eq!((after.meta.label(999), before.meta.label(999)), ("name 999".to_owned(), "toilet tissue".to_owned()));
    assert_eq!((&*after.meta.source.license, &*before.meta.source.license), ("MIT", ""));
    assert_eq!(
        after.meta.source.sha256, before.meta.source.sha256,
        "the original's, also where our own file is converted"
    );
    assert!(after.tensors == before.tensors);
    let few = Overrides { labels: Some(names[..7].to_vec()), ..Overrides::default() };
    for file in [&OWN, &KERAS] {
        refused("7 labels", convert(file.to_vec(), few.clone()), "there are 7 labels for 1000 classes");
    }
}

#[test]
fn published_models_have_the_labels_of_imagenet() {
    let imagenet = labels::imagenet();
    assert_eq!(imagenet.len(), 1000);
    let meta = Model::deserialize(&OWN).unwrap().meta;
    assert_eq!((meta.wnid(281), &*meta.label(281), meta.wnid(1000)), (Some("n02123045"), "tabby", None));
    for name in ["keras3.h5", "keras1.h5", "timm.safetensors"] {
        assert_eq!(read(fixture(name)).unwrap().meta.labels, imagenet, "{name}");
    }
    // Seven classes are not ImageNet's, nor are a thousand of a layer without the published name.
    for name in ["sequential.keras", "keras3.weights.h5"] {
        assert!(read(fixture(name)).unwrap().meta.labels.is_empty(), "{name}");
    }
    let none = Overrides { labels: Some(Vec::new()), ..Overrides::default() };
    assert!(Model::deserialize(&convert(KERAS.clone(), none).unwrap()).unwrap().meta.labels.is_empty());
}

#[test]
fn other_files_are_refused() {
    let mut random = Random(10);
    let noise: Vec<u8> = (0..5000).map(|_| random.bits() as u8).collect();
    refused("an empty file", read(vec![]), "the file is empty");
    refused("noise", read(noise), "not a weights file");
    refused("a web page", read(b"\n <!DOCTYPE html><html>Not found</html>".to_vec()), "this is a web page");
    refused("a pointer", read(b"version https://git-lfs.github.com/spec/v1".to_vec()), "Git LFS pointer");
    let values = [0; 24];
    let foreign = TensorView::new(Dtype::F32, vec![2, 3], &values).unwrap();
    let foreign = serialize([("conv.weight", &foreign)], None::<HashMap<_, _>>).unwrap();
    refused("another's safetensors", read(foreign), "has no Xception whose layers");
    let mut file = FileBuilder::new();
    for (layer, shape) in [("conv2d", &[3, 3, 3, 8][..]), ("conv2d_1", &[3, 3, 8, 8]), ("dense", &[2048, 10])] {
        let mut group = file.create_group(layer);
        let kernel = vec![0.5; shape.iter().product::<u64>() as usize];
        group.create_dataset("kernel:0").with_f32_data(&kernel).with_shape(shape);
        file.add_group(group.finish());
    }
    refused("another network", read(file.finish().unwrap()), "not a whole Xception");
}

#[test]
fn a_wrong_layer_is_named() {
    // Under another name everywhere it is the same layer, by its place in the config.
    let renamed = replaced(&KERAS, b"block7_sepconv2", b"block7_sepconvX");
    assert_eq!(read(renamed.clone()).unwrap().tensors, Model::deserialize(&OWN).unwrap().tensors);
    let renamed = replaced(&renamed, b"\"block7_sepconvX", b"\"block7_sepconv2");
    refused("a missing layer", read(renamed), "block7_sepconv2 is missing");
    let dimensions = |shape: [u64; 4]| shape.map(u64::to_le_bytes).concat();
    let reshaped = replaced(&KERAS, &dimensions([3, 3, 32, 64]), &dimensions([3, 3, 64, 32]));
    refused("a wrong shape", read(reshaped), "must have [3, 3, 32, 64]");
    let model = Model::deserialize(&OWN).unwrap();
    let bias = bytemuck::cast_slice(&model.tensors.last().unwrap()[..16]);
    let mut poked = KERAS.clone();
    let at = find(&KERAS, bias);
    poked[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused("NaN", read(poked), "bias holds a value that is not a finite number");
}

#[test]
fn a_wrong_tensor_is_named() {
    let head = &OWN[..Header::len(&OWN).unwrap()];
    for (from, to, reason) in [
        (r#""block5_sepconv1.pointwise.bias""#, r#""block5_sepconv1.pointwise.bibs""#, "pointwise.bias is missing"),
        ("[3,3,3,32]", "[3,3,32,3]", "block1_conv1.weight is F32 [3, 3, 32, 3] and must be F32 [3, 3, 3, 32]"),
        (r#"\"version\":3"#, r#"\"version\":1"#, "format version 1, and versions 2 to 3 are read here: convert"),
        (r#"\"version\":3"#, r#"\"version\":4"#, "format version 4, and versions 2 to 3 are read here: update"),
        (r#"\"dtype\":\"f32"#, r#"\"dtype\":\"f16"#, "block1_conv1.weight is F32 [3, 3, 3, 32] and must be F16"),
        (r#"\"dtype\":\"f32"#, r#"\"dtype\":\"f64"#, "dtype is missing, or no such thing"),
        (r#""xception-webgpu":"#, r#""xception-webGPU":"#, "not made by this project"),
        ("[299,299]", "[29,2999]", "29×2999"),
        (r#"\"units\":1000"#, r#"\"units\":1001"#, "1000 labels for 1001 classes"),
        (r#"\"labels\":["#, r#"\"labels\":{"#, "description of the model is damaged"),
        (r#"{"__metadata__""#, r#"["__metadata__""#, "header is damaged"),
    ] {
        refused(to, Header::parse(&replaced(head, from.as_bytes(), to.as_bytes())), reason);
    }
    for length in [0, 1, (16 << 20) + 1, 1 << 40, u64::MAX] {
        let start = [&length.to_le_bytes()[..], &head[8..]].concat();
        refused("an absurd header", Header::parse(&start), &format!("claims a length of {length} bytes"));
    }
    refused("a byte too many", Model::deserialize(&[&OWN[..], &[0]].concat()), "longer than");

    let header = Header::parse(&OWN).unwrap();
    let mut file = OWN.clone();
    for (tensor, value) in [(0, f32::NAN), (60, f32::INFINITY), (header.entries.len() - 1, f32::NEG_INFINITY)] {
        let at = header.data_start + header.entries[tensor].range.1 - 4;
        let good = file[at..at + 4].to_vec();
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let name = &header.entries[tensor].name;
        refused(
            "not a number",
            Model::deserialize(&file),
            &format!("{name} holds a value that is not a finite number"),
        );
        file[at..at + 4].copy_from_slice(&good);
    }
    Model::deserialize(&file).unwrap();
}

#[test]
fn a_file_cut_short_is_refused() {
    let mut random = Random(11);
    let header = Header::len(&OWN).unwrap();
    let lengths = (0..20).chain([header - 1, header, header + 1, OWN.len() - 1]);
    for length in lengths.chain((0..50).map(|_| random.below(OWN.len()))) {
        refused(&format!("{length} bytes"), Model::deserialize(&OWN[..length]), "the file is cut short");
    }
    let archive = fixture("sequential.keras");
    for (file, start, reason) in [(&*KERAS, 8, "cut short"), (&archive, 4, ".keras archive is damaged")] {
        let lengths = [start, 16, 100, 2048, file.len() / 2, file.len() - 100, file.len() - 1];
        for length in lengths.into_iter().chain((0..20).map(|_| random.below(file.len()))) {
            refused(&format!("{length} of {} bytes", file.len()), read(file[..length].to_vec()), reason);
        }
    }
}

/// Names in archives are keys: those of other folders are as good as any, and nothing but the archive is read.
#[test]
fn names_in_archives_are_no_paths() {
    let keras = fixture("sequential.keras");
    let mut archive = ZipWriter::new_append(Cursor::new(keras.clone())).unwrap();
    for name in ["../../config.json", "/etc/passwd", "C:\\model.weights.h5", "file:///etc/passwd"] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(b"hostile").unwrap();
    }
    let tensors = |file, head| {
        let file = convert(file, Overrides { head, ..Overrides::default() })?;
        Ok::<_, Error>(Model::deserialize(&file)?.tensors)
    };
    let more = archive.finish().unwrap().into_inner();
    assert!(tensors(more, None).unwrap() == tensors(keras, None).unwrap());

    let whole = || fixture("notop.h5");
    let torch = fixture("head.pth");
    let elsewhere = replaced(&torch, b"head/", b"../x/");
    assert!(tensors(whole(), Some(elsewhere)).unwrap() == tensors(whole(), Some(torch.clone())).unwrap());
    let key = replaced(&torch, b"head/data/0", b"../../../..");
    refused("a key that is missing", tensors(whole(), Some(key)), "the head: ");
}

/// The bytes of each tensor that a decoder emits for a file read in pieces of some length.
fn split(header: &Header, data: &[u8], piece: usize) -> HashMap<usize, Vec<u8>> {
    let mut decoder = StreamDecoder::new(header, Stored::F32);
    let mut tensors: HashMap<usize, Vec<u8>> = HashMap::new();
    for bytes in data.chunks(piece) {
        let keep = |tensor, offset, values: &[u8]| {
            let Range { start, end } = offset..offset + values.len();
            assert!(start % 4 == 0 && end % 4 == 0, "whole values");
            let tensor = tensors.entry(tensor).or_default();
            assert_eq!(tensor.len(), start, "in order, nothing left out");
            tensor.extend(values);
        };
        decoder.push(bytes, keep).unwrap();
    }
    assert_eq!(decoder.finish().is_ok(), data.len() == OWN.len() - header.data_start);
    tensors
}

#[test]
fn pieces_of_any_length_make_the_same_tensors() {
    let header = Header::parse(&OWN).unwrap();
    // The first tensors in the file are short: 26,208 and 2,912 bytes.
    let data = &OWN[header.data_start..];
    let prefix = &data[..40_003];
    let expected = split(&header, prefix, prefix.len());
    assert_eq!(expected.len(), 3);
    for (tensor, bytes) in &expected {
        let start = header.entries.iter().find(|entry| entry.tensor == *tensor && !entry.is_scale).unwrap().range.0;
        assert!(*bytes == prefix[start..start + bytes.len()], "tensor {tensor}");
    }
    for piece in [1, 3, 5, 1000] {
        assert!(split(&header, prefix, piece) == expected, "pieces of {piece}");
    }
    assert!(split(&header, data, 1_000_003) == split(&header, data, data.len()));
}

/// A header of our own format, changed.
fn changed_header(change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> Vec<u8> {
    let mut header: serde_json::Value = serde_json::from_slice(&OWN[8..Header::len(&OWN).unwrap()]).unwrap();
    change(header.as_object_mut().unwrap());
    let json = header.to_string().into_bytes();
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}

/// Version 2 had dense layers behind a mean, one scale for all channels, and a softmax.
#[test]
fn files_of_version_2_are_read() {
    let header = changed_header(|header| {
        let text = &mut header["__metadata__"]["xception-webgpu"];
        let mut format: serde_json::Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        format["version"] = 2.into();
        let model = format["model"].as_object_mut().unwrap();
        model.remove("output").and(model.remove("is_logits")).unwrap();
        model["head"] = serde_json::json!([{"name": "predictions", "units": 1000, "relu": false}]);
        let preprocessing = model["preprocessing"].as_object_mut().unwrap();
        preprocessing.remove("bgr").and(preprocessing.remove("crop")).unwrap();
        for name in ["scale", "offset"] {
            preprocessing[name] = preprocessing[name][0].clone();
        }
        *text = format.to_string().into();
    });
    let file = [&header, &OWN[Header::len(&OWN).unwrap()..]].concat();
    assert_eq!(Model::deserialize(&file).unwrap(), Model::deserialize(&OWN).unwrap());
}

#[test]
fn hostile_headers_are_refused() {
    let misaligned = changed_header(|header| {
        for (name, tensor) in header.iter_mut().filter(|(name, _)| *name != "__metadata__") {
            for offset in tensor["data_offsets"].as_array_mut().unwrap() {
                *offset = (offset.as_u64().unwrap_or_else(|| panic!("{name}")) + 1).into();
            }
        }
        header.insert("odd".into(), serde_json::json!({"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}));
    });
    refused("a tensor between two values", Header::parse(&misaligned), "multiple of 8");
    let huge = changed_header(|header| {
        let from = header.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap();
        // Each at the limit of its integer type.
        let longest = (1 << 61) - 1;
        let starts = (0..8).map(|i| from + i * longest);
        for (i, start) in starts.enumerate() {
            let end = if i == 7 { u64::MAX } else { start + longest };
            let claim = serde_json::json!({"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]});
            header.insert(format!("huge{i}"), claim);
        }
    });
    refused("an endless file", Header::parse(&huge), "does not tell of the whole file");
    let with_meta = |change: &dyn Fn(&mut serde_json::Value)| {
        changed_header(|header| {
            let model = &mut header["__metadata__"]["xception-webgpu"];
            let mut description: serde_json::Value = serde_json::from_str(model.as_str().unwrap()).unwrap();
            change(&mut description["model"]);
            *model = description.to_string().into();
        })
    };
    let dense = |i| serde_json::json!({"name": format!("d{i}"), "operation": "dense", "units": 1});
    let many = with_meta(&|meta| meta["head"] = (0..100_000).map(dense).collect());
    refused("a hundred thousand layers", Header::parse(&many), "100000 layers");
    let infinite = with_meta(&|meta| meta["preprocessing"]["scale"] = 1e39.into());
    refused("an infinite scale", Header::parse(&infinite), "not finite");
    let huge = with_meta(&|meta| meta["input_size"] = serde_json::json!([4_000_000_000_u32, 299]));
    refused("a huge input", Header::parse(&huge), "4000000000×299");
}

#[test]
fn hostile_hdf5_is_refused() {
    let vector = |name: &str| {
        let mut file = FileBuilder::new();
        let mut group = file.create_group(name);
        group.create_dataset("kernel:0").with_f32_data(&[1.0, 2.0]).with_shape(&[2]);
        file.add_group(group.finish());
        file.finish().unwrap()
    };
    // Compressed zeros: a kernel of 8 MB in a file of 50 KB.
    let mut file = FileBuilder::new();
    let mut group = file.create_group("dense");
    let kernel = group.create_dataset("kernel:0").with_f32_data(&vec![0.0; 2048 * 1024]).with_shape(&[2048, 1024]);
    kernel.with_chunks(&[2048, 1024]).with_deflate(9);
    file.add_group(group.finish());
    refused(
        "a bomb",
        keras::read_head(file.finish().unwrap(), Prefix::none(Shape::new(10, 10, 2048)), &Limits::default()),
        "claim more than it holds",
    );
    refused("a dense layer of rank 1", read(vector("dense")), "not a whole Xception");
    let head = Overrides { head: Some(vector("dense")), ..Overrides::default() };
    refused("a head of rank 1", convert(fixture("notop.h5"), head), "it holds /dense");
    // Readers disagree on which of two objects has a name.
    let twice = replaced(&fixture("keras3.h5"), b"block3_sepconv1\0", b"block3_sepconv2\0");
    refused("a group twice", read(twice), "has block3_sepconv2 twice");
}

#[test]
fn timm_files_are_read_or_refused() {
    let file = fixture("timm.safetensors");
    let model = read(file.clone()).unwrap();
    let Preprocessing { filter, fit, crop, .. } = model.meta.preprocessing;
    assert_eq!((model.meta.architecture, model.meta.input_size), (Architecture::LegacyXception, [299, 299]));
    assert_eq!((filter, fit, crop), (Filter::Bicubic, Fit::Crop, 0.8975));
    assert_eq!(Model::deserialize(&model.serialize(Stored::F32).unwrap()).unwrap(), model);
    let renamed = replaced(&file, b"block4.rep.4.pointwise.weight", b"block4.rep.4.pointwise.wEight");
    refused("a missing array", read(renamed), "block4.rep.4.pointwise.weight is missing");
    let shape = replaced(&file, b"[728,1,3,3]", b"[1,728,3,3]");
    refused("a wrong shape", read(shape), "must be a float [728, 1, 3, 3]");
    for length in [1000, file.len() / 2, file.len() - 1] {
        refused(&format!("{length} bytes"), read(file[..length].to_vec()), "cut short");
    }
    let mut nan = file;
    let last = nan.len() - 4;
    nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused("NaN", read(nan), "not a finite number");
}
