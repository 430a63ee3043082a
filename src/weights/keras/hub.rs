//! KerasHub's models, whose configs have no list of layers.

use serde_json::{Value, json};

use super::graph::{Graph, Node};
use crate::error::{Error, Result};

impl Graph {
    /// Adds the layers of a class of KerasHub that reads `inputs`; none of another class.
    pub(super) fn hub(&mut self, class: &str, name: &str, config: &Value, inputs: &[usize]) -> Result<Option<usize>> {
        let (class, read) = (class.rsplit('>').next().unwrap_or(class), inputs.first().copied());
        Ok(match class {
            "XceptionBackbone" => Some(self.backbone(name, config, read)?),
            "XceptionImageConverter" | "ImageConverter" => Some(self.converter(name, config, read)),
            "XceptionImageClassifier" => Some(self.classifier(config)?),
            _ => None,
        })
    }

    fn add(&mut self, class: &str, name: &str, config: Value, group: &str, read: Option<usize>) -> usize {
        self.nodes.push(Node {
            class: class.to_owned(),
            name: name.to_owned(),
            config,
            call: Value::Null,
            group: group.to_owned(),
            inputs: read.into_iter().collect(),
        });
        self.nodes.len() - 1
    }

    /// A backbone, of which its first and last layers stand for all: the others are those of the table.
    fn backbone(&mut self, name: &str, config: &Value, read: Option<usize>) -> Result<usize> {
        let middle = || json!([728, 728, 728]);
        let mut filters = vec![json!([32, 64]), json!([128, 128]), json!([256, 256]), json!([728, 728])];
        filters.extend((0..8).map(|_| middle()));
        filters.extend([json!([728, 1024]), json!([1536, 2048])]);
        let pooling: Vec<bool> = (0..14).map(|block| matches!(block, 1..=3 | 12)).collect();
        if config["stackwise_conv_filters"] != Value::Array(filters)
            || config["stackwise_pooling"] != json!(pooling)
            || config["data_format"] == "channels_first"
        {
            return Err(Error::Weights(format!("{name} (XceptionBackbone) has other blocks than Xception's")));
        }
        self.is_hub = true;
        let mut last = self.add("Conv2D", "block1_conv1", json!({}), "", read);
        for (class, layer, config) in [
            ("SeparableConv2D", "block14_sepconv2", json!({})),
            ("BatchNormalization", "block14_sepconv2_bn", json!({})),
            ("ReLU", "block14_sepconv2_act", json!({})),
        ] {
            last = self.add(class, layer, config, "", Some(last));
        }
        Ok(last)
    }

    /// An image converter: resizing, then scale and offset.
    fn converter(&mut self, name: &str, config: &Value, read: Option<usize>) -> usize {
        let mut last = read;
        if let [height, width] = config["image_size"].as_array().map_or(&[][..], Vec::as_slice) {
            let mut resizing = config.clone();
            (resizing["height"], resizing["width"]) = (height.clone(), width.clone());
            last = Some(self.add("Resizing", name, resizing, "", last));
        }
        let or = |value: &Value, default: f64| if value.is_null() { json!(default) } else { value.clone() };
        let rescaling = json!({"scale": or(&config["scale"], 1.0), "offset": or(&config["offset"], 0.0)});
        self.add("Rescaling", name, rescaling, "", last)
    }

    /// A whole classifier: preprocessing, backbone, pooling and a dense layer.
    fn classifier(&mut self, config: &Value) -> Result<usize> {
        let backbone = &config["backbone"]["config"];
        let [height, width, channels] = [0, 1, 2].map(|axis| backbone["image_shape"][axis].clone());
        let input = json!({"batch_shape": [null, height, width, channels]});
        let mut last = self.add("InputLayer", "image", input, "", None);
        let converter = &config["preprocessor"]["config"]["image_converter"]["config"];
        if !converter.is_null() {
            last = self.converter("image_converter", converter, Some(last));
        }
        last = self.backbone("backbone", backbone, Some(last))?;
        let pooling = if config["pooling"] == "max" { "GlobalMaxPooling2D" } else { "GlobalAveragePooling2D" };
        last = self.add(pooling, "pooler", json!({}), "", Some(last));
        let dense = json!({"units": config["num_classes"], "activation": config["activation"]});
        Ok(self.add("Dense", "predictions", dense, "/layers/dense", Some(last)))
    }
}
