//! Names of classes from a file.

use serde_json::Value;

use crate::error::{Error, Result};

/// Reads labels: one a line, a JSON array of names, or Keras's `imagenet_class_index.json`
/// (`{"0": ["n01440764", "tench"], …}`).
///
/// # Errors
/// [`Error::Argument`] where it is JSON of another form, or holds no label.
pub fn parse(text: &str) -> Result<Vec<String>> {
    let name = |value: &Value| value.as_str().or(value[1].as_str()).map(str::to_owned);
    let labels: Option<Vec<String>> = match serde_json::from_str(text) {
        Ok(Value::Array(names)) => names.iter().map(name).collect(),
        Ok(Value::Object(names)) => {
            (0..names.len()).map(|class| names.get(&class.to_string()).and_then(name)).collect()
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
