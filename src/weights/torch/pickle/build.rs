//! Values that a pickle makes by calls: tensors and ordered dictionaries, and nothing else.

use super::machine::Machine;
use super::{Node, Storage, TensorRef, Value, damaged, text};
use crate::error::Result;

impl Machine<'_> {
    fn items(&self, value: Value) -> Result<&[Value]> {
        match value {
            Value::Node(index) => match &self.nodes[index] {
                Node::Items(items) => Ok(items),
                _ => Err(damaged("a list is something else")),
            },
            _ => Err(damaged("a list is something else")),
        }
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>> {
        let size = |value: &Value| match *value {
            Value::Int(size) => usize::try_from(size).map_err(|_| damaged("a size is negative")),
            _ => Err(damaged("a size is no number")),
        };
        self.items(value)?.iter().map(size).collect()
    }

    /// The result of a call, of which only those are known that make tensors and dictionaries.
    pub(super) fn call(&mut self, function: Value, arguments: Value) -> Result<()> {
        let name = match function {
            Value::Node(index) => match &self.nodes[index] {
                Node::Global(name) => name.clone(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let of = |machine: &Self, place: usize| -> Result<Value> {
            machine
                .items(arguments)?
                .get(place)
                .copied()
                .ok_or_else(|| damaged(format!("{name} has too few arguments")))
        };
        match &*name {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3" => {
                let storage = match of(self, 0)? {
                    Value::Node(index) => match &self.nodes[index] {
                        Node::Storage(storage) => storage.clone(),
                        _ => return Err(damaged("a tensor has no storage")),
                    },
                    _ => return Err(damaged("a tensor has no storage")),
                };
                let Value::Int(offset) = of(self, 1)? else { return Err(damaged("an offset is no number")) };
                let offset = usize::try_from(offset).map_err(|_| damaged("an offset is negative"))?;
                let (shape, strides) = (self.sizes(of(self, 2)?)?, self.sizes(of(self, 3)?)?);
                if shape.len() != strides.len() || shape.len() > 8 {
                    return Err(damaged("a tensor's strides are not those of its shape"));
                }
                let dtype = if name.ends_with("v3") { self.global(of(self, 6)?) } else { None };
                self.push_node(Node::Tensor(TensorRef { storage, dtype, offset, shape, strides }))
            }
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                let tensor = of(self, 0)?;
                self.push(tensor)
            }
            // A subclass of tensors: function, class, arguments, state.
            "torch._tensor._rebuild_from_type_v2" => {
                let (function, arguments) = (of(self, 0)?, of(self, 2)?);
                self.spend(1)?;
                match self.global(function).as_deref() {
                    Some("torch._tensor._rebuild_from_type_v2") => Err(damaged("a tensor's type has a type")),
                    _ => self.call(function, arguments),
                }
            }
            "collections.OrderedDict" | "builtins.dict" | "collections.defaultdict" => {
                let pairs = self.items(arguments)?.first().copied();
                let mut entries = Vec::new();
                if let Some(pairs) = pairs.filter(|pairs| self.items(*pairs).is_ok()) {
                    let pairs = self.items(pairs)?.to_vec();
                    self.spend(2 * pairs.len())?;
                    for pair in pairs {
                        if let &[key, value] = self.items(pair)? {
                            entries.push((key, value));
                        }
                    }
                }
                self.push_node(Node::Dict(entries))
            }
            _ => self.push_node(Node::Object(Value::None)),
        }
    }

    pub(super) fn global(&self, value: Value) -> Option<String> {
        match value {
            Value::Node(index) => match &self.nodes[index] {
                Node::Global(name) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// A value that lies outside of the pickle: a storage, or a class with its source.
    pub(super) fn persistent(&mut self, id: Value) -> Result<()> {
        let items = self.items(id)?.to_vec();
        self.spend(items.len())?;
        let word = |place: usize| items.get(place).and_then(|&item| text(&self.nodes, item));
        match (word(0).as_deref(), items.len()) {
            (Some("storage"), 5 | 6) => {
                let class = self.global(items[1]).ok_or_else(|| damaged("a storage has no type"))?;
                let class = class.rsplit('.').next().unwrap_or_default().to_owned();
                let key = word(2).ok_or_else(|| damaged("a storage has no name"))?;
                let Value::Int(len) = items[4] else { return Err(damaged("a storage's length is no number")) };
                let len = usize::try_from(len).map_err(|_| damaged("a storage's length is negative"))?;
                // Old files have views of storages: name, offset, length.
                let view = match items.get(5) {
                    None | Some(Value::None) => 0,
                    Some(&view) => match self.items(view)? {
                        [_, Value::Int(offset), _] => {
                            usize::try_from(*offset).map_err(|_| damaged("an offset is negative"))?
                        }
                        _ => return Err(damaged("a view of a storage is something else")),
                    },
                };
                self.push_node(Node::Storage(Storage { class, key, len, view }))
            }
            (Some("module"), 2..) => self.push(items[1]),
            _ => Err(damaged("it refers to something that is no storage")),
        }
    }
}
