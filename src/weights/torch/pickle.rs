//! A reader of pickles as PyTorch writes them. Nothing of a pickle is executed: names of classes and functions stay names, and only
//! those that make tensors and ordered dictionaries are known.
//!
//! Values lie in an arena and refer to one another by number, so that no depth of them takes stack, and cycles do no harm.
//! Opcodes: `Lib/pickletools.py` of CPython; how tensors are pickled: `torch/_utils.py` and `torch/serialization.py`.

mod build;
mod machine;

use crate::error::{Error, Result};
use machine::Machine;

/// The deepest nesting that is searched for tensors.
const MAX_DEPTH: usize = 48;

/// The longest path of a tensor.
const MAX_PATH: usize = 400;

/// A value, or the number of one in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Mark,
    None,
    Int(i64),
    /// A value that no tensor needs, such as a float.
    Other,
    Node(usize),
}

/// A value that holds others.
#[derive(Debug)]
enum Node {
    Text(String),
    /// A list, tuple or set.
    Items(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or function, `module.name`.
    Global(String),
    /// An object of a class that is not known, with its state.
    Object(Value),
    Storage(Storage),
    Tensor(TensorRef),
}

/// Values of one type in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// The type: `FloatStorage`, or `UntypedStorage`.
    pub class: String,
    /// The name of its bytes in the file.
    pub key: String,
    /// The number of values; of an untyped one of bytes.
    pub len: usize,
    /// The first value of a view of another storage.
    pub view: usize,
}

/// A tensor in a pickle: values of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorRef {
    pub storage: Storage,
    /// The dtype's name where the storage is untyped.
    pub dtype: Option<String>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Value,
    /// The bytes of it in the file.
    pub len: usize,
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Weights(format!("the PyTorch file's pickle is damaged, or none that PyTorch makes: {what}"))
}

impl Pickle {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is damaged, has an unknown opcode, or more values than a checkpoint.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut machine = Machine::new(bytes);
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { nodes: machine.nodes, root, len: machine.at })
    }

    /// The integer that the pickle is; none if it is something else.
    pub(super) fn integer(&self) -> Option<i64> {
        if let Value::Int(value) = self.root { Some(value) } else { None }
    }

    /// Whether the dictionary that the pickle is says false of something.
    pub(super) fn is_false(&self, name: &str) -> bool {
        let Value::Node(root) = self.root else { return false };
        let Node::Dict(entries) = &self.nodes[root] else { return false };
        entries.iter().any(|&(key, value)| value == Value::Int(0) && text(&self.nodes, key).as_deref() == Some(name))
    }

    /// The texts of the list that the pickle is.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let Value::Node(root) = self.root else { return None };
        let Node::Items(items) = &self.nodes[root] else { return None };
        items.iter().map(|&item| text(&self.nodes, item)).collect()
    }

    /// All storages that the pickle refers to.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| if let Node::Storage(storage) = node { Some(storage) } else { None })
    }

    /// All tensors by their path: keys of dictionaries and names of modules, joined by dots.
    pub(super) fn tensors(&self) -> Vec<(String, TensorRef)> {
        let mut found = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut todo = vec![(self.root, String::new(), 0)];
        while let Some((value, path, depth)) = todo.pop() {
            let Value::Node(index) = value else { continue };
            if depth > MAX_DEPTH || path.len() > MAX_PATH {
                continue;
            }
            if let Node::Tensor(tensor) = &self.nodes[index] {
                found.push((path, tensor.clone()));
                continue;
            }
            // A value that refers to itself has no end.
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let join = |key: &str| match &*path {
                _ if key.is_empty() => path.clone(),
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            match &self.nodes[index] {
                Node::Dict(entries) => {
                    for &(key, value) in entries.iter().rev() {
                        // A module keeps what it has in three dictionaries.
                        let key = match text(&self.nodes, key).as_deref() {
                            Some("_parameters" | "_buffers" | "_modules") => String::new(),
                            Some(key) => key.to_owned(),
                            None => {
                                if let Value::Int(key) = key {
                                    key.to_string()
                                } else {
                                    "?".to_owned()
                                }
                            }
                        };
                        todo.push((value, join(&key), depth + 1));
                    }
                }
                Node::Items(items) => {
                    let items = items.iter().enumerate().rev();
                    todo.extend(items.map(|(place, &item)| (item, join(&place.to_string()), depth + 1)));
                }
                &Node::Object(state) => todo.push((state, path, depth + 1)),
                _ => {}
            }
        }
        found
    }
}

fn text(nodes: &[Node], value: Value) -> Option<String> {
    match value {
        Value::Node(index) => match &nodes[index] {
            Node::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}
