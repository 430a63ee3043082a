mod backbone;

use serde_json::json;

use super::*;
use crate::network::layer::Operation;
use crate::network::{Architecture, Network};
use StepKind::*;

fn layer(class: &str, config: Value) -> Value {
    json!({"class_name": class, "config": config})
}

/// A layer of a functional model that reads others.
fn reading(class: &str, mut config: Value, name: &str, reads: &[&str]) -> Value {
    config["name"] = json!(name);
    let call: Vec<Value> = reads.iter().map(|name| json!([name, 0, 0, {}])).collect();
    let calls = if reads.is_empty() { json!([]) } else { json!([call]) };
    json!({"class_name": class, "config": config, "inbound_nodes": calls})
}

fn functional(name: &str, layers: &[Value], output: &str) -> Value {
    let input = layers[0]["config"]["name"].clone();
    layer(
        "Functional",
        json!({"name": name, "layers": layers, "input_layers": [[input, 0, 0]], "output_layers": [[output, 0, 0]]}),
    )
}

/// The layers of a backbone as Keras writes them.
fn layers_of(architecture: Architecture) -> Vec<Value> {
    let mut layers = vec![reading("InputLayer", json!({}), "image", &[])];
    let mut values = vec!["image".to_owned()];
    let mut parts: Vec<String> = Vec::new();
    for row in &Network::backbone([299; 2], architecture).unwrap().layers {
        let (class, window, size) = match row.operation {
            Operation::SeparableConv(window) => ("SeparableConv2D", window, "kernel_size"),
            Operation::Conv(window) => ("Conv2D", window, "kernel_size"),
            Operation::MaxPool(window) => ("MaxPooling2D", window, "pool_size"),
            Operation::AveragePool(window) => ("AveragePooling2D", window, "pool_size"),
            Operation::Concat => {
                let mut from: Vec<&str> = parts.iter().map(String::as_str).collect();
                // Keras joins the last blocks' inner branches by themselves.
                if let [one, a, b, c, d, pool] = from[..] {
                    layers.push(reading("Concatenate", json!({"axis": 3}), &format!("{}_0", row.name), &[a, b]));
                    layers.push(reading("Concatenate", json!({"axis": 3}), &format!("{}_1", row.name), &[c, d]));
                    from = vec![one, "", "", pool];
                }
                let inner = [format!("{}_0", row.name), format!("{}_1", row.name)];
                let mut inner = inner.iter();
                let from: Vec<&str> =
                    from.into_iter().map(|name| if name.is_empty() { inner.next().unwrap() } else { name }).collect();
                layers.push(reading("Concatenate", json!({"axis": 3}), &row.name, &from));
                values.push(row.name.clone());
                parts.clear();
                continue;
            }
            _ => unreachable!(),
        };
        let name = &row.name;
        let mut from = values[row.from].clone();
        let mut add = |class: &str, config: Value, name: String, reads: &[&str]| {
            layers.push(reading(class, config, &name, reads));
            name
        };
        if row.activation_before.is_some() {
            from = add("Activation", json!({"activation": "relu"}), format!("{name}_act"), &[&from]);
        }
        let padding = if row.is_pointwise() || window.padding != [[0; 2]; 2] { "same" } else { "valid" };
        let options = json!({"filters": row.output.channels, size: window.kernel, "strides": window.stride, "padding": padding,
                             "activation": "linear", "dilation_rate": [1, 1]});
        from = add(class, options, name.clone(), &[&from]);
        if row.batch_norm {
            from = add("BatchNormalization", json!({"epsilon": 0.002}), format!("{name}_bn"), &[&from]);
        }
        if let Some(value) = row.add {
            from = add("Add", json!({}), format!("{name}_add"), &[&values[value], &from]);
        }
        if row.activation_after.is_some() {
            from = add("ReLU", json!({}), format!("{name}_act"), &[&from]);
        }
        parts.extend(row.slice.map(|_| from.clone()));
        values.push(from);
    }
    layers
}

fn backbone() -> Value {
    functional("xception", &layers_of(Architecture::Xception), "block14_sepconv2_act")
}

/// A model of an input, steps on pixel values, the backbone and what follows.
fn parse(steps: &[Value], head: &[Value]) -> Result<Config> {
    let mut layers = vec![layer("InputLayer", json!({"batch_shape": [null, 150, 200, 3]}))];
    layers.extend_from_slice(steps);
    layers.push(backbone());
    layers.extend_from_slice(head);
    Config::parse(&layer("Sequential", json!({"layers": layers})).to_string(), None)
}

fn average() -> Value {
    layer("GlobalAveragePooling2D", json!({"name": "pool"}))
}

fn dense(name: &str, units: usize, activation: &Value) -> Value {
    layer("Dense", json!({"name": name, "units": units, "activation": activation}))
}

fn refused(steps: &[Value], head: &[Value], reason: &str) {
    let error = parse(steps, head).expect_err(reason).to_string();
    assert!(error.contains(reason), "{error} does not mention {reason}");
}

fn kinds(config: &Config) -> Vec<StepKind> {
    config.head.iter().map(|step| step.kind.clone()).collect()
}

const fn units(units: usize) -> StepKind {
    Dense { units, bias: true }
}

#[test]
fn a_head_is_read_with_its_groups() {
    let nested = layer(
        "Sequential",
        json!({"layers": [
            dense("dense_7", 8, &json!("linear")),
            layer("ReLU", json!({"max_value": null, "negative_slope": 0.0})),
            layer("Dropout", json!({})),
            dense("out", 3, &json!({"class_name": "function", "config": "softmax"})),
        ]}),
    );
    let relu = json!({"class_name": "ReLU", "config": {"max_value": null}});
    let config = parse(&[], &[average(), dense("dense_1", 64, &relu), nested]).unwrap();
    let relu = || Activation(Function::Relu);
    let average = GlobalPool(super::GlobalPool::Average);
    assert_eq!(kinds(&config), [average, units(64), relu(), units(8), relu(), units(3)]);
    let groups: Vec<&str> = config.head.iter().map(|step| &*step.group).collect();
    let dense = ["/layers/dense", "/layers/sequential/layers/dense", "/layers/sequential/layers/dense_1"];
    assert_eq!([groups[1], groups[3], groups[5]], dense);
    assert_eq!(
        (config.input_size, config.epsilon, config.output),
        (Some([150, 200]), Some(0.002), Some(Output::Softmax))
    );
}

#[test]
fn steps_on_pixel_values_are_read() {
    let out = [average(), dense("out", 3, &Value::Null)];
    let rescaling =
        |scale: f64, offset: f64| layer("Rescaling", json!({"name": "rescaling", "scale": scale, "offset": offset}));
    let op = |class: &str, operand: f64| json!({"class_name": class, "config": {}, "inbound_nodes": [{"args": [{}, operand]}]});
    let lambda = |function: &str, operand: f64| {
        json!({"class_name": "TFOpLambda", "config": {"function": function},
               "inbound_nodes": [["input", 0, 0, {"y": operand}]]})
    };
    let affine = |scale: f64, offset: f64| PixelStep::Affine([scale; 3], [offset; 3]);
    for (step, expected) in [
        (rescaling(0.5, -1.0), affine(0.5, -1.0)),
        (op("TrueDivide", 2.0), affine(0.5, 0.0)),
        (op("Subtract", 1.0), affine(1.0, -1.0)),
        (op("Multiply", 0.5), affine(0.5, 0.0)),
        (lambda("math.truediv", 2.0), affine(0.5, 0.0)),
        (lambda("math.subtract", 1.0), affine(1.0, -1.0)),
        (layer("Normalization", json!({"mean": [2.0, 4.0, 8.0], "variance": [4.0, 4.0, 4.0]})), {
            PixelStep::Affine([0.5; 3], [-1.0, -2.0, -4.0])
        }),
    ] {
        let steps = [layer("RandomFlip", json!({})), step];
        assert_eq!(parse(&steps, &out).unwrap().pixels, [expected], "{steps:?}");
    }
    refused(&[], &[average(), rescaling(0.5, 0.0), out[1].clone()], "rescaling");
    refused(&[layer("RandomCrop", json!({"name": "crop"}))], &out, "crop (RandomCrop, in front of the backbone)");
}

/// Each function by its names.
#[test]
fn activations_have_many_spellings() {
    let object = |class: &str, config: Value| json!({"class_name": class, "config": config});
    for (activation, expected) in [
        (json!("elu"), Function::Elu(1.0)),
        (json!("leaky_relu"), Function::LeakyRelu(0.2)),
        (object("LeakyReLU", json!({})), Function::LeakyRelu(0.3)),
        (object("LeakyReLU", json!({"alpha": 0.1})), Function::LeakyRelu(0.1)),
        (object("LeakyReLU", json!({"negative_slope": 0.1})), Function::LeakyRelu(0.1)),
        (object("ReLU", json!({"max_value": 6.0})), Function::Relu6),
        (object("ReLU", json!({"negative_slope": 0.2})), Function::LeakyRelu(0.2)),
        (object("ELU", json!({"alpha": 0.5})), Function::Elu(0.5)),
        (json!("swish"), Function::Silu),
        (object("function", json!("silu")), Function::Silu),
        (json!("gelu"), Function::Gelu),
        (object("keras.activations>gelu", json!({"approximate": true})), Function::GeluTanh),
        (json!("hard_sigmoid"), Function::HardSigmoid(1.0 / 6.0)),
        (json!("softplus"), Function::Softplus),
        (json!("tanh"), Function::Tanh),
        (json!("sigmoid"), Function::Sigmoid),
    ] {
        let head = [average(), dense("hidden", 9, &activation), dense("out", 3, &json!("softmax"))];
        assert_eq!(kinds(&parse(&[], &head).unwrap())[2], Activation(expected), "{activation}");
    }
    for (activation, name) in [
        (object("ReLU", json!({"max_value": 3.0})), "ReLU"),
        (object("ReLU", json!({"threshold": 0.5})), "ReLU"),
        (json!("mish"), "mish"),
        (object("Custom>magic", json!({})), "magic"),
    ] {
        refused(&[], &[average(), dense("hidden", 9, &activation)], "hidden has the activation ");
        refused(&[], &[average(), dense("hidden", 9, &activation)], name);
    }
}

#[test]
fn the_output_is_told_by_the_last_activation_or_the_loss() {
    let model = |units: usize, activation: &str, loss: Value| {
        let layers = json!({"layers": [dense("out", units, &json!(activation))]});
        let training = json!({"loss": loss}).to_string();
        let config = Config::parse(&layer("Sequential", layers).to_string(), Some(&training)).unwrap();
        (config.output, config.is_logits)
    };
    let class = |class: &str| json!({"class_name": class, "config": {"from_logits": true}});
    for (units, activation, loss, expected) in [
        (3, "softmax", json!("mse"), (Some(Output::Softmax), false)),
        (3, "sigmoid", json!(null), (Some(Output::Sigmoid), false)),
        (1, "sigmoid", json!(null), (Some(Output::Sigmoid), false)),
        (1, "tanh", json!("binary_crossentropy"), (Some(Output::Linear), false)),
        (3, "linear", json!(null), (None, true)),
        (1, "linear", json!("mse"), (Some(Output::Linear), true)),
        (3, "linear", json!("mean_absolute_error"), (Some(Output::Linear), true)),
        (3, "linear", json!(["huber"]), (Some(Output::Linear), true)),
        (3, "linear", json!({"out": "categorical_crossentropy"}), (Some(Output::Softmax), true)),
        (1, "linear", class("BinaryCrossentropy"), (Some(Output::Sigmoid), true)),
        (5, "linear", class("BinaryCrossentropy"), (Some(Output::Sigmoid), true)),
        (5, "linear", class("SparseCategoricalCrossentropy"), (Some(Output::Softmax), true)),
        (1, "linear", class("SparseCategoricalCrossentropy"), (None, true)),
        (3, "linear", json!({"class_name": "function", "config": "my_loss"}), (None, true)),
    ] {
        assert_eq!(model(units, activation, loss.clone()), expected, "{units} {activation} {loss}");
    }
}

#[test]
fn other_models_are_refused() {
    let out = || dense("out", 3, &json!("softmax"));
    for class in ["Add", "Conv2D", "LSTM", "Lambda", "LayerNormalization", "MultiHeadAttention", "DepthwiseConv2D"] {
        refused(&[], &[average(), layer(class, json!({"name": "odd", "activation": "relu"})), out()], "odd");
        refused(&[], &[average(), layer(class, json!({"name": "odd"})), out()], "odd");
    }
    refused(&[dense("early", 9, &Value::Null)], &[average(), out()], "early (Dense, in front of the backbone)");
    refused(&[], &[average(), dense("one", 1, &json!("softmax"))], "one ends in a softmax of its single output");
    refused(&[], &[average(), out(), dense("late", 3, &json!("relu"))], "out is a softmax with layers behind it");
    refused(
        &[],
        &[average(), out(), layer("Softmax", json!({"name": "again"}))],
        "out is a softmax with layers behind it",
    );
    let time = layer("TimeDistributed", json!({"name": "video", "layer": out()}));
    refused(&[], &[time], "video (TimeDistributed) applies out to each of several images");
    let relu = layer("BatchNormalization", json!({"name": "norm", "axis": 2}));
    refused(&[], &[average(), relu, out()], "along another axis than channels");
    // A head by itself.
    let head = |layers: &[Value]| Config::parse(&layer("Sequential", json!({"layers": layers})).to_string(), None);
    assert_eq!(head(&[dense("hidden", 9, &json!("relu")), out()]).unwrap().head.len(), 3);
    assert!(Config::parse("{", None).is_err());
}

/// Models whose layers read more than the one before them.
#[test]
fn graphs_are_followed() {
    let node = |class: &str, name: &str, reads: &[&str]| {
        reading(class, json!({"units": 3, "activation": "linear"}), name, reads)
    };
    let graph = |tail: &[Value], outputs: &[&str]| {
        let mut act = functional("act", &layers_of(Architecture::Xception), "block14_sepconv2_act");
        act["inbound_nodes"] = json!([[["input", 0, 0, {}]]]);
        let input = reading("InputLayer", json!({}), "input", &[]);
        // Not in the order of the graph.
        let layers: Vec<Value> = tail.iter().cloned().chain([act, input]).collect();
        let names: Vec<Value> = outputs.iter().map(|name| json!([name, 0, 0])).collect();
        let config = json!({"layers": layers, "input_layers": [["input", 0, 0]], "output_layers": names});
        Config::parse(&layer("Functional", config).to_string(), None)
    };
    let pool = |class: &str, name: &str, from: &str| reading(class, json!({}), name, &[from]);
    let [mean, max] = [pool("GlobalAveragePooling2D", "mean", "act"), pool("GlobalMaxPooling2D", "max", "act")];
    let join = |reads: &[&str]| reading("Concatenate", json!({"axis": -1}), "join", reads);
    for (order, expected) in
        [(["mean", "max"], super::GlobalPool::AverageMax), (["max", "mean"], super::GlobalPool::MaxAverage)]
    {
        let tail = [node("Dense", "out", &["join"]), join(&order), mean.clone(), max.clone()];
        assert_eq!(kinds(&graph(&tail, &["out"]).unwrap()), [GlobalPool(expected), units(3)]);
    }
    let refused = |tail: &[Value], outputs: &[&str], reason: &str| {
        let error = graph(tail, outputs).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error} does not mention {reason}");
    };
    let out = node("Dense", "out", &["mean"]);
    refused(
        &[out.clone(), mean.clone(), node("Dense", "more", &["mean"])],
        &["out", "more"],
        "returns 2 results (out, more)",
    );
    refused(&[node("Dense", "out", &["join"]), join(&["mean", "mean"]), mean.clone()], &["out"], "join (Concatenate");
    refused(&[node("Dense", "out", &["join"]), join(&["mean", "act"]), mean.clone()], &["out"], "join (Concatenate");
    refused(&[node("Dense", "out", &["nothing"])], &["out"], "out reads a layer that is not there");
    let mut twice = out.clone();
    twice["inbound_nodes"] = json!([[["mean", 0, 0, {}]], [["mean", 0, 0, {}]]]);
    refused(&[twice, mean], &["out"], "out is used 2 times");
}
