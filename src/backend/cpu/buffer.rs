//! Cache-line-aligned buffers: a vector across two lines takes two reads.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Values, or bytes of other types, aligned to a cache line.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` zeros.
    pub fn new(len: usize) -> Self {
        Self { lines: vec![Line::zeroed(); len.div_ceil(16)], len }
    }

    /// Sets the length; memory only grows. Values are unspecified.
    pub fn resize(&mut self, len: usize) {
        if self.lines.len() * 16 < len {
            *self = Self::new(len);
        }
        self.len = len;
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        cast_slice_mut(&mut self.lines)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut cast_slice_mut(&mut self.lines)[..self.len]
    }
}
