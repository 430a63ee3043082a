use super::n;
use crate::dtype::Dtype;
use crate::network::layer::{Role, Shape};

/// A buffer that an operation reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Values of the innermost dimension as they are stored: those beyond `shape` are zero.
    pub row: usize,
    /// The role of weights; none for an activation, which has values for each image.
    pub role: Option<Role>,
    /// Whether it is f32 in every storage.
    pub always_f32: bool,
}

impl Buffer {
    /// An activation.
    pub fn activation(Shape { height, width, channels }: Shape) -> Self {
        let row = channels.next_multiple_of(4);
        Self { shape: vec![height, width, channels], row, role: None, always_f32: false }
    }

    /// The gradient of an activation, which is f32.
    pub fn gradient(shape: Shape) -> Self {
        Self { always_f32: true, ..Self::activation(shape) }
    }

    /// Values behind the backbone, padded to whole `vec4`s.
    pub fn vector(len: usize) -> Self {
        Self { shape: vec![len], row: len.next_multiple_of(4), role: None, always_f32: true }
    }

    /// As [`Self::vector`], without padding.
    pub fn unpadded(len: usize) -> Self {
        Self { row: len, ..Self::vector(len) }
    }

    /// Weights.
    pub fn weights(shape: &[usize], role: Role) -> Self {
        let row = shape.last().map_or(1, |row| row.next_multiple_of(4));
        Self { shape: shape.to_vec(), row, role: Some(role), always_f32: role == Role::Bias }
    }

    /// The buffer of an activation that is written, or of the one that it is a part of.
    pub fn result(shape: Shape, slice: Option<Slice>) -> Self {
        Self::activation(Shape { channels: slice.map_or(shape.channels, |slice| slice.all), ..shape })
    }

    /// The number of values without padding.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values as they are stored.
    pub fn stored(&self) -> usize {
        let rows: usize = self.shape.iter().rev().skip(1).product();
        rows * self.row
    }

    /// How it is stored where activations are stored as `storage`.
    pub fn dtype(&self, storage: Dtype) -> Dtype {
        if self.always_f32 { Dtype::F32 } else { storage }
    }
}

/// The channels of an activation that one operation writes, where several write it side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first one.
    pub first: usize,
    /// The number of all.
    pub all: usize,
}

impl Slice {
    /// The first channel of a result of `channels` in the activation that is written, and the number of all.
    pub fn of(slice: Option<Self>, channels: usize) -> [usize; 2] {
        slice.map_or([0, channels], |Self { first, all }| [first, all])
    }

    /// The shader's constants.
    pub(super) fn constants(slice: Option<Self>, channels: usize) -> [(&'static str, f64); 2] {
        let [first, all] = Self::of(slice, channels);
        [n("FIRST", first), n("ALL", all)]
    }

    /// Index of a result's value in the activation that is written.
    pub(super) fn at(slice: Option<Self>, shape: Shape, [y, x, c]: [usize; 3]) -> usize {
        let [first, all] = Self::of(slice, shape.channels);
        at(Shape { channels: all, ..shape }, y, x, first + c)
    }
}

/// Index of a value in an activation as it is stored.
pub(super) fn at(shape: Shape, y: usize, x: usize, c: usize) -> usize {
    (y * shape.width + x) * shape.channels.next_multiple_of(4) + c
}

/// The pixel at row `y` and column `x`, where it lies inside.
pub(super) fn inside(shape: Shape, y: isize, x: isize) -> Option<(usize, usize)> {
    let inside = (0..shape.height as isize).contains(&y) && (0..shape.width as isize).contains(&x);
    inside.then_some((y as usize, x as usize))
}

/// Visits every row, column and channel.
pub(super) fn for_each(shape: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    visit_each(shape, &mut visit);
}

/// One loop for all references: the modules of the CPU have those of operations that it has no kernel for, optimized for speed.
#[inline(never)]
fn visit_each(shape: Shape, visit: &mut dyn FnMut(usize, usize, usize)) {
    for y in 0..shape.height {
        for x in 0..shape.width {
            for c in 0..shape.channels {
                visit(y, x, c);
            }
        }
    }
}

/// Rows and columns of a 3×3 filter.
pub(super) fn taps() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|i| (0..3).map(move |j| (i, j)))
}
