//! Buffers that are freed as soon as nobody uses them.

use std::ops::Deref;

/// A buffer whose memory is freed when it is dropped, behind the work that was submitted: browsers would leave that to garbage collection,
/// which does not see a GPU's memory.
#[derive(Debug)]
pub struct Buffer(pub(super) wgpu::Buffer);

impl Deref for Buffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.destroy();
    }
}
