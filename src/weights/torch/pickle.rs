//! A reader of pickles as PyTorch writes them. Nothing of a pickle is executed: names of classes and functions stay names, and only
//! those that make tensors and ordered dictionaries are known.
//!
//! Values lie in an arena and refer to one another by number, so that no depth of them takes stack, and cycles do no harm.
//! Opcodes: `Lib/pickletools.py` of CPython; how tensors are pickled: `torch/_utils.py` and `torch/serialization.py`.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The most values that a pickle may make or copy: a model with its optimizer has some ten thousand.
const MAX_VALUES: usize = 1 << 22;

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

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: BTreeMap<usize, Value>,
    nodes: Vec<Node>,
    /// Values that may still be made or copied.
    left: usize,
}

impl Pickle {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is damaged, has an unknown opcode, or more values than a checkpoint.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (stack, memo, nodes) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut machine = Machine { bytes, at: 0, stack, memo, nodes, left: MAX_VALUES };
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

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| damaged("it is cut short"))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    /// A number of up to 8 bytes, little-endian.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let part = self.take(bytes)?;
        Ok(part.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize> {
        usize::try_from(self.number(bytes)?).map_err(|_| damaged("a length is too large"))
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| damaged("it is cut short"))?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 1;
        Ok(line)
    }

    fn spend(&mut self, values: usize) -> Result<()> {
        self.left = self.left.checked_sub(values).ok_or_else(|| damaged("it has more values than a model"))?;
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.spend(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Result<()> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() - 1))
    }

    fn push_text(&mut self, length: usize) -> Result<()> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push_node(Node::Text(text))
    }

    fn pop(&mut self) -> Result<Value> {
        match self.stack.pop() {
            Some(Value::Mark) | None => Err(damaged("it takes a value that is not there")),
            Some(value) => Ok(value),
        }
    }

    fn top(&self) -> Result<Value> {
        self.stack
            .last()
            .copied()
            .filter(|value| *value != Value::Mark)
            .ok_or_else(|| damaged("it takes a value that is not there"))
    }

    /// The values behind the last mark.
    fn marked(&mut self) -> Result<Vec<Value>> {
        let mark =
            self.stack.iter().rposition(|value| *value == Value::Mark).ok_or_else(|| damaged("a mark is missing"))?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        self.spend(values.len())?;
        Ok(values)
    }

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

    /// Puts pairs into a dictionary, or what has one.
    fn set(&mut self, target: Value, values: &[Value]) -> Result<()> {
        let pairs = values.as_chunks::<2>();
        if !pairs.1.is_empty() {
            return Err(damaged("a key has no value"));
        }
        let pairs = pairs.0.iter().map(|&[key, value]| (key, value));
        let new = self.nodes.len();
        if let Value::Node(index) = target {
            match &mut self.nodes[index] {
                Node::Dict(entries) => entries.extend(pairs),
                // An object of a class that is a dictionary too.
                Node::Object(state @ (Value::None | Value::Other)) => {
                    let dict = Node::Dict(pairs.collect());
                    *state = Value::Node(new);
                    self.nodes.push(dict);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn append(&mut self, target: Value, values: &[Value]) {
        if let Value::Node(index) = target
            && let Node::Items(items) = &mut self.nodes[index]
        {
            items.extend(values);
        }
    }

    /// The result of a call, of which only those are known that make tensors and dictionaries.
    fn call(&mut self, function: Value, arguments: Value) -> Result<()> {
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

    fn global(&self, value: Value) -> Option<String> {
        match value {
            Value::Node(index) => match &self.nodes[index] {
                Node::Global(name) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// A value that lies outside of the pickle: a storage, or a class with its source.
    fn persistent(&mut self, id: Value) -> Result<()> {
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

    /// An integer of any number of bytes, little-endian, in two's complement; beyond 64 bits no tensor needs its value.
    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        let value = if bytes.len() > 8 {
            Value::Other
        } else {
            let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { -1_i64 } else { 0 };
            Value::Int(bytes.iter().rev().fold(sign, |value, &byte| value << 8 | i64::from(byte)))
        };
        self.push(value)
    }

    fn remember(&mut self, place: usize) -> Result<()> {
        let value = self.top()?;
        self.spend(1)?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<()> {
        let value = self.memo.get(&place).copied().ok_or_else(|| damaged("it recalls a value that is not there"))?;
        self.push(value)
    }

    fn index(line: &str) -> Result<usize> {
        line.parse().map_err(|_| damaged("a number is none"))
    }

    /// The next opcode; whether there is another one.
    fn step(&mut self) -> Result<bool> {
        let code = self.take(1)?[0];
        match code {
            // PROTO and FRAME tell nothing that is needed.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(false),
            b'(' => self.push(Value::Mark)?,
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.marked()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Int(1))?,
            0x89 => self.push(Value::Int(0))?,
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let value = self.number(1)?;
                self.push(Value::Int(value as i64))?;
            }
            b'M' => {
                let value = self.number(2)?;
                self.push(Value::Int(value as i64))?;
            }
            b'I' | b'L' => {
                let line = self.line()?;
                let value = line.trim_end_matches('L').parse().map_or(Value::Other, Value::Int);
                self.push(value)?;
            }
            0x8a => {
                let length = self.length(1)?;
                self.long(length)?;
            }
            0x8b => {
                let length = self.length(4)?;
                self.long(length)?;
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'S' | b'V' => {
                let line = self.line()?;
                self.push_node(Node::Text(line.trim_matches(['\'', '"']).to_owned()))?;
            }
            b'T' | b'X' | b'B' => {
                let length = self.length(4)?;
                self.push_text(length)?;
            }
            b'U' | b'C' | 0x8c => {
                let length = self.length(1)?;
                self.push_text(length)?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = self.length(8)?;
                self.push_text(length)?;
            }
            b']' | b')' | 0x8f => self.push_node(Node::Items(Vec::new()))?,
            b'}' => self.push_node(Node::Dict(Vec::new()))?,
            b't' | b'l' | 0x91 => {
                let values = self.marked()?;
                self.push_node(Node::Items(values))?;
            }
            0x85..=0x87 => {
                let mut values = (0x84..code).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                values.reverse();
                self.push_node(Node::Items(values))?;
            }
            b'd' => {
                let values = self.marked()?;
                self.push_node(Node::Dict(Vec::new()))?;
                let dict = self.top()?;
                self.set(dict, &values)?;
            }
            b'a' => {
                let value = self.pop()?;
                let list = self.top()?;
                self.append(list, &[value]);
            }
            b'e' | 0x90 => {
                let values = self.marked()?;
                let list = self.top()?;
                self.append(list, &values);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.top()?;
                self.set(dict, &[key, value])?;
            }
            b'u' => {
                let values = self.marked()?;
                let dict = self.top()?;
                self.set(dict, &values)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push_node(Node::Global(name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let words = [module, name].map(|word| text(&self.nodes, word));
                let [Some(module), Some(name)] = words else { return Err(damaged("a class has no name")) };
                self.push_node(Node::Global(format!("{module}.{name}")))?;
            }
            b'i' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                let arguments = self.marked()?;
                self.push_node(Node::Global(name))?;
                self.push_node(Node::Items(arguments))?;
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.call(class, arguments)?;
            }
            b'o' => {
                let mut values = self.marked()?;
                if values.is_empty() {
                    return Err(damaged("an object has no class"));
                }
                let class = values.remove(0);
                self.push_node(Node::Items(values))?;
                let arguments = self.pop()?;
                self.call(class, arguments)?;
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(class, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                if let Value::Node(index) = self.top()?
                    && let Node::Object(old) = &mut self.nodes[index]
                {
                    *old = state;
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            b'h' => {
                let place = self.length(1)?;
                self.recall(place)?;
            }
            b'j' => {
                let place = self.length(4)?;
                self.recall(place)?;
            }
            b'g' => {
                let place = Self::index(&self.line()?)?;
                self.recall(place)?;
            }
            b'q' => {
                let place = self.length(1)?;
                self.remember(place)?;
            }
            b'r' => {
                let place = self.length(4)?;
                self.remember(place)?;
            }
            b'p' => {
                let place = Self::index(&self.line()?)?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            code => {
                return Err(damaged(format!("the opcode {code:#04x} at byte {} is none of PyTorch's", self.at - 1)));
            }
        }
        Ok(true)
    }
}
