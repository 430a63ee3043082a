//! A photo on the GPU, resized and normalised into the network's input by two dispatches.

use super::Gpu;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::resize::{Preprocessing, Rgba, Taps, taps};
use crate::shader::{Constants, Kernel, Precision, RESIZE_HORIZONTAL, RESIZE_VERTICAL, Recipe};

/// The side of photos for which room is made at load; larger ones make it grow, once.
const INITIAL_SIDE: u32 = 1024;

/// The most pixels for which room is made beyond a photo's own: 32 Mi, 128 MiB.
const ROOM_PIXELS: u64 = 1 << 25;

/// The pipelines, and the buffers for the largest photo so far.
pub struct Preprocessor {
    gpu: Gpu,
    /// Height and width of the network's input.
    size: [usize; 2],
    horizontal: wgpu::ComputePipeline,
    vertical: wgpu::ComputePipeline,
    room: Room,
    /// Rows that the photo at hand needs.
    rows: u32,
    /// Width and height of the photo whose taps are on the GPU, how it is resized, and which image it becomes.
    photo: Option<([u32; 2], Preprocessing, usize)>,
}

/// What depends on the size of photos.
struct Room {
    width: u32,
    height: u32,
    texture: wgpu::Texture,
    across: wgpu::Buffer,
    down: wgpu::Buffer,
    horizontal: wgpu::BindGroup,
    vertical: wgpu::BindGroup,
}

/// Bytes of the taps along one axis: PIL's bicubic filter takes at most 4 pixels a scale step and 3 more.
fn taps_bytes(length: u32, outputs: usize) -> u64 {
    4 * (4 + 2 * outputs as u64 + (4 * u64::from(length) + 5 * outputs as u64))
}

impl Preprocessor {
    /// What its pipelines are made of.
    pub fn recipes(preprocessing: Preprocessing, [height, width]: [usize; 2], storage: Dtype) -> [Recipe; 2] {
        let precision = if storage == Dtype::F16 { Precision::Stored } else { Precision::Single };
        let recipe = |kernel: &'static Kernel, constants: Constants| {
            let label = kernel.name.to_owned();
            Recipe { label, kernel, precision, constants }
        };
        let (width, height) = (width as f64, height as f64);
        let (scale, offset) = (preprocessing.scale.into(), preprocessing.offset.into());
        let vertical = vec![("WIDTH", width), ("HEIGHT", height), ("SCALE", scale), ("OFFSET", offset)];
        [recipe(&RESIZE_HORIZONTAL, vec![("OUT_WIDTH", width)]), recipe(&RESIZE_VERTICAL, vertical)]
    }

    /// Prepares for photos that become `output`, a slot of `[images, height, width, 4]` values stored as `storage`.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] where the GPU refuses.
    pub async fn new(
        gpu: &Gpu,
        preprocessing: Preprocessing,
        size: [usize; 2],
        output: &wgpu::Buffer,
        storage: Dtype,
    ) -> Result<Self> {
        gpu.scoped(|| {
            let [horizontal, vertical] =
                Self::recipes(preprocessing, size, storage).map(|recipe| gpu.pipeline(&recipe));
            let room = Room::new(gpu, (INITIAL_SIDE, INITIAL_SIDE), size, (&horizontal, &vertical), output);
            Self { gpu: gpu.clone(), size, horizontal, vertical, room, rows: 0, photo: None }
        })
        .await
    }

    /// Makes room for a photo of this width and height, which becomes the image of this number, and writes its taps; then its
    /// pixels go into [`Self::texture`]. Scale and offset are those of [`Self::new`].
    ///
    /// # Errors
    /// [`crate::error::Error::TooLarge`] where the photo is beyond the GPU's limits.
    pub async fn prepare(
        &mut self,
        [width, height]: [u32; 2],
        preprocessing: Preprocessing,
        image: usize,
        output: &wgpu::Buffer,
    ) -> Result<()> {
        let photo = Some(([width, height], preprocessing, image));
        if self.photo == photo {
            return Ok(());
        }
        if width > self.room.width || height > self.room.height {
            let max = self.gpu.max_photo_side();
            let what = |side| format!("a photo side of {side} pixels (at most {max} here)");
            self.gpu.fits(&what(height), 4 * u64::from(height) * self.size[1] as u64, true)?;
            // Room for the larger sides of both, so that it seldom grows; not where they are long strips.
            let union = (width.max(self.room.width), height.max(self.room.height));
            let room = if u64::from(union.0) * u64::from(union.1) > ROOM_PIXELS { (width, height) } else { union };
            let pipelines = (&self.horizontal, &self.vertical);
            self.photo = None;
            self.room = self.gpu.scoped(|| Room::new(&self.gpu, room, self.size, pipelines, output)).await?;
        }
        let (across, down) = taps(preprocessing, (width as usize, height as usize), self.size);
        let (first, end) = down.range();
        self.rows = end - first;
        self.write(&self.room.across, &across, first, image);
        self.write(&self.room.down, &down, first, image);
        self.photo = photo;
        Ok(())
    }

    fn write(&self, buffer: &wgpu::Buffer, taps: &Taps, first_row: u32, image: usize) {
        let mut words = vec![taps.stride as u32, first_row, self.rows, image as u32];
        words.extend(taps.spans.iter().flat_map(|&(first, count)| [first, count]));
        words.extend(taps.weights.iter().map(|weight| weight.to_bits()));
        self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&words));
    }

    /// The texture that holds the photo in its upper left corner.
    pub fn texture(&self) -> &wgpu::Texture {
        &self.room.texture
    }

    /// Copies a photo's pixels from memory.
    pub fn upload(&self, photo: &Rgba) {
        let (width, height) = (photo.width() as u32, photo.height() as u32);
        self.gpu.queue.write_texture(
            self.room.texture.as_image_copy(),
            photo.data(),
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None },
            wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        );
    }

    /// Encodes the two dispatches.
    pub fn encode(&self, pass: &mut wgpu::ComputePass) {
        let cover = |length: u32| length.div_ceil(16);
        let [height, width] = self.size.map(|side| side as u32);
        pass.set_pipeline(&self.horizontal);
        pass.set_bind_group(0, &self.room.horizontal, &[]);
        pass.dispatch_workgroups(cover(width), cover(self.rows), 1);
        pass.set_pipeline(&self.vertical);
        pass.set_bind_group(0, &self.room.vertical, &[]);
        pass.dispatch_workgroups(cover(width), cover(height), 1);
    }
}

impl Room {
    fn new(
        gpu: &Gpu,
        (width, height): (u32, u32),
        [out_height, out_width]: [usize; 2],
        (horizontal, vertical): (&wgpu::ComputePipeline, &wgpu::ComputePipeline),
        output: &wgpu::Buffer,
    ) -> Self {
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("photo"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            // Browsers copy their images by rendering.
            usage: wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let across = gpu.buffer("taps across", taps_bytes(width, out_width));
        let down = gpu.buffer("taps down", taps_bytes(height, out_height));
        let rows = gpu.buffer("rows", 4 * u64::from(height) * out_width as u64);
        let group = |label: &str, pipeline, resources| gpu.bind_group(label, pipeline, resources);
        let resources =
            vec![wgpu::BindingResource::TextureView(&view), across.as_entire_binding(), rows.as_entire_binding()];
        let horizontal = group(RESIZE_HORIZONTAL.name, horizontal, resources);
        let resources = vec![rows.as_entire_binding(), down.as_entire_binding(), output.as_entire_binding()];
        let vertical = group(RESIZE_VERTICAL.name, vertical, resources);
        Self { width, height, texture, across, down, horizontal, vertical }
    }
}
