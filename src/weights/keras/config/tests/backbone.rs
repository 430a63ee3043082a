//! The backbone's connections, and layers in front of it that resize.

use serde_json::{Value, json};

use super::super::*;
use super::{average, backbone, dense, functional, layer, layers_of, reading};
use crate::network::layer::Part;
use crate::resize::{Filter, Fit};

/// A model whose backbone has its layers changed.
fn changed_of(architecture: Architecture, change: impl FnOnce(&mut Vec<Value>)) -> Result<Config> {
    let mut layers = layers_of(architecture);
    change(&mut layers);
    let last = if architecture == Architecture::InceptionV3 { "mixed10" } else { "block14_sepconv2_act" };
    let layers = [functional("backbone", &layers, last), average(), dense("out", 3, &Value::Null)];
    Config::parse(&layer("Sequential", json!({"layers": layers})).to_string(), None)
}

fn changed(change: impl FnOnce(&mut Vec<Value>)) -> Result<Config> {
    changed_of(Architecture::Xception, change)
}

fn at(layers: &[Value], name: &str) -> usize {
    layers.iter().position(|layer| layer["config"]["name"] == name).unwrap()
}

/// Lets layers read others, each with some of the earlier ones, and expects each such model to be refused; how many there were.
fn rewired(architecture: Architecture, steps: &[usize]) -> usize {
    let mut tried = 0;
    for reader in 1..layers_of(architecture).len() {
        for step in steps {
            let Some(source) = reader.checked_sub(*step) else { continue };
            let mut is_same = false;
            let config = changed_of(architecture, |layers| {
                let name = layers[source]["config"]["name"].clone();
                let inputs = layers[reader]["inbound_nodes"][0].as_array_mut().unwrap();
                let place = step % inputs.len();
                is_same = inputs.iter().any(|input| input[0] == name);
                inputs[place][0] = name;
            });
            if !is_same {
                tried += 1;
                let error = config.map(drop).expect_err("another backbone").to_string();
                assert!(
                    error.contains("backbone") || error.contains("is not part of"),
                    "{reader} reads {source}: {error}"
                );
            }
        }
    }
    tried
}

#[test]
fn an_inception_that_is_connected_otherwise_is_refused() {
    let config = changed_of(Architecture::InceptionV3, |_| ()).unwrap();
    assert_eq!((config.places.len(), config.backbone), (94, Some(Architecture::InceptionV3)));
    assert_eq!(config.epsilon, Some(0.002));
    let tried = rewired(Architecture::InceptionV3, &[1, 4, 9]);
    assert!(tried > 500, "{tried}");
    let config = |change: &dyn Fn(&mut Vec<Value>)| changed_of(Architecture::InceptionV3, change);
    // Two branches change places: the same arrays, another order of channels.
    let swapped = config(&|layers| {
        let block = at(layers, "mixed4");
        layers[block]["inbound_nodes"][0].as_array_mut().unwrap().swap(1, 2);
    });
    assert!(swapped.unwrap_err().to_string().contains("keras.applications.InceptionV3"));
    for (name, option, value) in [
        ("mixed1", "axis", json!(1)),
        ("mixed0.average_pool", "padding", json!("valid")),
        ("mixed4.branch7x7_2", "kernel_size", json!([7, 1])),
        ("mixed3.branch3x3", "strides", json!([1, 1])),
    ] {
        let changed = config(&|layers| {
            let at = at(layers, name);
            layers[at]["config"][option] = value.clone();
        });
        assert!(changed.expect_err(name).to_string().contains(name), "{name}");
    }
    let shorter = config(&|layers| {
        let block = at(layers, "mixed2");
        layers[block]["inbound_nodes"][0].as_array_mut().unwrap().pop();
    });
    assert!(shorter.unwrap_err().to_string().contains("joins 3 branches instead of 4"));
    // Joins of joins, which would be 2⁹⁰ branches, and ones of nothing.
    for inputs in [2, 1, 0] {
        let nested = config(&|layers| {
            let last = at(layers, "mixed9");
            for depth in 0..90 {
                let from = if depth == 0 { "mixed8".to_owned() } else { format!("join{}", depth - 1) };
                let read = vec![&*from; if depth == 0 { inputs } else { inputs.max(1) }];
                layers.insert(last, reading("Concatenate", json!({"axis": 3}), &format!("join{depth}"), &read));
            }
            let block = at(layers, "mixed10");
            layers[block]["inbound_nodes"][0][0][0] = json!("join89");
        });
        assert!(nested.is_err(), "{inputs}");
    }
}

/// Any one layer that reads another one, or has another option, makes another network, though all arrays fit.
#[test]
fn a_backbone_that_is_connected_otherwise_is_refused() {
    assert_eq!(changed(|_| ()).unwrap().places.len(), 40);
    let tried = rewired(Architecture::Xception, &[1, 2, 3, 5, 11, 37]);
    assert!(tried > 500, "{tried}");
    for (name, option, value) in [
        ("block1_conv2", "padding", json!("same")),
        ("block1_conv1", "strides", json!([1, 1])),
        ("block5_sepconv1", "dilation_rate", json!([2, 2])),
        ("block5_sepconv1", "depth_multiplier", json!(2)),
        ("block6_sepconv2", "kernel_size", json!([5, 5])),
        ("block6_sepconv2", "padding", json!("valid")),
        ("block13_sepconv2", "filters", json!(728)),
        ("block13_pool", "pool_size", json!([2, 2])),
        ("block13_pool", "padding", json!("valid")),
        ("block13_shortcut", "strides", json!([1, 1])),
        ("block13_sepconv2", "data_format", json!("channels_first")),
    ] {
        let config = changed(|layers| {
            let at = at(layers, name);
            layers[at]["config"][option] = value.clone();
        });
        let error = config.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("other options"), "{error}");
    }
    let other = changed(|layers| {
        let at = at(layers, "block4_sepconv2_act");
        layers[at]["config"]["activation"] = json!("elu");
    });
    assert!(other.unwrap_err().to_string().contains("block4_sepconv2_act (Activation) is where a ReLU belongs"));
    // In another order, and with layers that do nothing, it is the same.
    let same = changed(|layers| {
        let reader = at(layers, "block6_sepconv1_act");
        layers[reader]["inbound_nodes"][0][0][0] = json!("dropout");
        let sum = at(layers, "block7_sepconv3_add");
        layers[sum]["inbound_nodes"][0].as_array_mut().unwrap().reverse();
        layers.push(reading("Dropout", json!({}), "dropout", &["block5_sepconv3_add"]));
        layers[1..].reverse();
    });
    let names = |config: Config| {
        config.places.into_iter().flat_map(|places| [places.conv.name, places.norm.name]).collect::<Vec<_>>()
    };
    assert_eq!(names(same.unwrap()), names(changed(|_| ()).unwrap()));
}

#[test]
fn images_are_resized_in_front_of_the_backbone() {
    let resizing = |class: &str, height: usize, width: usize, more: Value| {
        let mut resizing =
            layer(class, json!({"name": class, "height": height, "width": width, "interpolation": "bilinear"}));
        more.as_object().unwrap().iter().for_each(|(name, value)| resizing["config"][name] = value.clone());
        resizing
    };
    let plain = |side: usize| resizing("Resizing", side, side, json!({}));
    let times = |times: Value, filter: &str| {
        layer("UpSampling2D", json!({"name": "up", "size": times, "interpolation": filter}))
    };
    let read = |image: [Option<usize>; 2], steps: &[Value], size: Option<[usize; 2]>| -> Result<_> {
        let mut layers = vec![layer("InputLayer", json!({"batch_shape": [null, image[0], image[1], 3]}))];
        layers.extend_from_slice(steps);
        layers.extend([backbone(), average(), dense("out", 3, &Value::Null)]);
        let front = Config::parse(&layer("Sequential", json!({"layers": layers})).to_string(), None)?.front(size)?;
        let layers =
            front.layers.into_iter().map(|layer| (layer.resize.size, layer.resize.part, layer.resize.is_nearest));
        Ok((front.size, front.photo, layers.collect::<Vec<_>>()))
    };
    let fixed = [Some(32), Some(40)];
    let whole = |height, width| ([height, width], Part::Whole, false);
    let tf = |fit| Some((Filter::TfBilinear, fit));
    let aspect = json!({"crop_to_aspect_ratio": true});
    for (image, steps, size, expected) in [
        (fixed, vec![plain(299)], None, (Some([32, 40]), None, vec![whole(299, 299)])),
        (fixed, vec![plain(299)], Some([64, 64]), (Some([64, 64]), None, vec![whole(299, 299)])),
        (fixed, vec![resizing("Resizing", 32, 40, json!({}))], None, (Some([32, 40]), None, vec![])),
        (
            fixed,
            vec![times(json!([3, 2]), "nearest")],
            None,
            (Some([32, 40]), None, vec![([96, 80], Part::Whole, true)]),
        ),
        (fixed, vec![times(json!(7), "bilinear")], None, (Some([32, 40]), None, vec![whole(224, 280)])),
        ([None; 2], vec![plain(256), resizing("CenterCrop", 224, 200, json!({}))], None, {
            (Some([256, 256]), tf(Fit::Squash), vec![([224, 200], Part::Centre, false)])
        }),
        (
            [None; 2],
            vec![resizing("Resizing", 200, 100, aspect.clone())],
            None,
            (Some([200, 100]), tf(Fit::Crop), vec![]),
        ),
        ([None; 2], vec![resizing("Resizing", 200, 100, aspect)], Some([80, 80]), {
            (Some([80, 80]), None, vec![([200, 100], Part::Aspect, false)])
        }),
        ([None; 2], vec![resizing("CenterCrop", 99, 99, json!({}))], Some([120, 90]), {
            (Some([120, 90]), None, vec![([99, 99], Part::Centre, false)])
        }),
        ([None; 2], vec![], None, (None, None, vec![])),
    ] {
        assert_eq!(read(image, &steps, size).unwrap(), expected, "{steps:?} {size:?}");
    }
    for (steps, reason) in [
        (resizing("CenterCrop", 99, 99, json!({})), "CenterCrop resizes images of any size"),
        (times(json!([2, 2]), "nearest"), "give the size of its images"),
        (times(json!([2, 2]), "bicubic"), "another filter"),
        (resizing("Resizing", 99, 99, json!({"pad_to_aspect_ratio": true})), "which pads images"),
        (resizing("Resizing", 99, 99, json!({"antialias": true})), "another filter"),
        (
            layer("ZeroPadding2D", json!({"name": "pad", "padding": [[1, 1], [1, 1]]})),
            "pad (ZeroPadding2D, in front of the backbone)",
        ),
    ] {
        let error = read([None; 2], std::slice::from_ref(&steps), None).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} does not mention {reason}");
    }
}
