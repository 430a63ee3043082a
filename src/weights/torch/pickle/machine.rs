//! The machine that a pickle is a program for.

use std::collections::BTreeMap;

use super::{Node, Value, damaged, text};
use crate::error::Result;

/// The most values that a pickle may make or copy: a model with its optimizer has some ten thousand.
const MAX_VALUES: usize = 1 << 22;

/// The machine's stack, memo and arena.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte.
    pub at: usize,
    stack: Vec<Value>,
    memo: BTreeMap<usize, Value>,
    pub nodes: Vec<Node>,
    /// Values that may still be made or copied.
    left: usize,
}

impl<'a> Machine<'a> {
    /// A machine at the start of a pickle.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, stack: Vec::new(), memo: BTreeMap::new(), nodes: Vec::new(), left: MAX_VALUES }
    }

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

    pub(super) fn spend(&mut self, values: usize) -> Result<()> {
        self.left = self.left.checked_sub(values).ok_or_else(|| damaged("it has more values than a model"))?;
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value) -> Result<()> {
        self.spend(1)?;
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn push_node(&mut self, node: Node) -> Result<()> {
        self.nodes.push(node);
        self.push(Value::Node(self.nodes.len() - 1))
    }

    fn push_text(&mut self, length: usize) -> Result<()> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push_node(Node::Text(text))
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
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
    pub(super) fn step(&mut self) -> Result<bool> {
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
