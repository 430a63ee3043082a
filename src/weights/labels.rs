//! Names of classes: from a file, and ImageNet's.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::network::HeadLayer;
use crate::network::layer::Operation;

/// A line for each class: its WordNet number and its name as Keras gives it, with spaces.
const IMAGENET: &str = include_str!("imagenet.txt");

/// The last layer's name in the published classifiers: Keras today, its first version, and timm's.
const PUBLISHED_HEADS: [&str; 4] = ["predictions", "dense_2", "fc", "head.fc"];

/// ImageNet's 1000 classes.
pub fn imagenet() -> Vec<String> {
    IMAGENET.lines().map(str::to_owned).collect()
}

/// ImageNet's labels for a model whose only dense layer is that of the published classifiers; else none.
pub(super) fn of_published(head: &[HeadLayer]) -> Vec<String> {
    let dense: Vec<&HeadLayer> = head.iter().filter(|layer| layer.operation == Operation::Dense).collect();
    match dense[..] {
        [dense] if dense.units == 1000 && PUBLISHED_HEADS.contains(&&*dense.name) => imagenet(),
        _ => Vec::new(),
    }
}

/// Reads labels: one a line, a JSON array of names, or Keras's `imagenet_class_index.json`
/// (`{"0": ["n01440764", "tench"], …}`).
///
/// # Errors
/// [`Error::Argument`] if it is JSON of another form, or holds no label.
pub fn parse(text: &str) -> Result<Vec<String>> {
    let label = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Array(pair) => Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
        _ => None,
    };
    let text = text.trim_start_matches('\u{feff}');
    let labels: Option<Vec<String>> = match serde_json::from_str(text) {
        Ok(Value::Array(names)) => names.iter().map(label).collect(),
        Ok(Value::Object(names)) => {
            (0..names.len()).map(|class| names.get(&class.to_string()).and_then(label)).collect()
        }
        _ => Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()),
    };
    labels.filter(|labels| !labels.is_empty()).ok_or_else(|| {
        Error::Argument(
            "not a file of labels: give one label a line, a JSON array of names, or {\"0\": [\"wnid\", \"name\"], …}"
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_three_forms() {
        let names = ["tench", "great white shark"].map(str::to_owned);
        let synsets = ["n01440764 tench", "n01484850 great white shark"].map(str::to_owned);
        for (text, expected) in [
            ("tench\ngreat white shark\n", &names),
            ("\r\n tench \r\n\r\ngreat white shark", &names),
            ("\u{feff}tench\ngreat white shark", &names),
            (r#"["tench", "great white shark"]"#, &names),
            (r#"{"1": ["n01484850", "great white shark"], "0": ["n01440764", "tench"]}"#, &synsets),
            (r#"[["n01440764", "tench"], ["n01484850", "great white shark"]]"#, &synsets),
        ] {
            assert_eq!(&parse(text).unwrap(), expected, "{text}");
        }
        for text in
            ["", " \n\n", "[]", "{}", "[1, 2]", r#"["tench", null]"#, r#"{"0": "tench", "2": "gap"}"#, r#"{"a": 1}"#]
        {
            assert!(matches!(parse(text), Err(Error::Argument(_))), "{text}");
        }
    }
}
