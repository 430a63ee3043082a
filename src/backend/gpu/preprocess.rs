//! A photo on the GPU, resized and normalised into the network's input by one or two dispatches.

use super::{Buffer, Gpu};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::resize::{Filter, Preprocessing, Rgba, Taps, taps};
use crate::shader::{
    Constants, Kernel, PipelineDescriptor, Precision, RESIZE_BILINEAR, RESIZE_HORIZONTAL, RESIZE_VERTICAL,
};

/// The side of photos that the resources have room for at load; a larger photo grows them, and [`PATIENCE`] smaller ones shrink them.
const INITIAL_SIDE: u32 = 1024;

/// The number of photos in a row that need less than a quarter of the room before it shrinks: one large photo does not hold memory for
/// ever, and alternating sizes do not reallocate each time.
const PATIENCE: u32 = 8;

/// The most pixels of room beyond a photo's own: 32 Mi, 128 MiB.
const ROOM_PIXELS: u64 = 1 << 25;

/// The pipelines, and the buffers for the largest photo of late.
pub struct Preprocessor {
    gpu: Gpu,
    /// Height and width of the network's input.
    size: [usize; 2],
    /// Pillow's two passes, or TensorFlow's one.
    pipelines: Vec<wgpu::ComputePipeline>,
    room: PhotoResources,
    /// Photos in a row that need less than a quarter of the room.
    small: u32,
    /// Rows that the photo at hand needs.
    rows: u32,
    /// Width and height of the photo whose taps are on the GPU, how it is resized, and which image it becomes.
    photo: Option<([u32; 2], Preprocessing, usize)>,
}

/// Resources that depend on the size of photos.
struct PhotoResources {
    width: u32,
    height: u32,
    texture: wgpu::Texture,
    across: Buffer,
    down: Buffer,
    /// Between Pillow's two passes.
    _rows: Option<Buffer>,
    /// For each pipeline.
    groups: Vec<wgpu::BindGroup>,
}

/// Bytes of the taps along one axis: Pillow's Lanczos filter takes at most 6 pixels a scale step and 3 more, 7 where it enlarges.
fn taps_bytes(length: u32, outputs: usize) -> u64 {
    4 * (4 + 2 * outputs as u64 + (6 * u64::from(length) + 7 * outputs as u64))
}

impl Preprocessor {
    /// Descriptors of its pipelines.
    pub fn pipelines(
        preprocessing: Preprocessing,
        [height, width]: [usize; 2],
        storage: Dtype,
    ) -> Vec<PipelineDescriptor> {
        let precision = if storage == Dtype::F16 { Precision::Stored } else { Precision::Single };
        let pipeline = |kernel: &'static Kernel, constants: Constants| {
            let label = kernel.name.to_owned();
            PipelineDescriptor { label, kernel, precision, constants }
        };
        let (width, height) = (width as f64, height as f64);
        let Preprocessing { scale, offset, bgr, .. } = preprocessing;
        let mut normalising = vec![("WIDTH", width), ("HEIGHT", height), ("BGR", f64::from(u8::from(bgr)))];
        let names = [["SCALE_0", "SCALE_1", "SCALE_2"], ["OFFSET_0", "OFFSET_1", "OFFSET_2"]];
        normalising.extend(names.into_iter().flatten().zip(scale.into_iter().chain(offset).map(f64::from)));
        if preprocessing.filter == Filter::TfBilinear {
            return vec![pipeline(&RESIZE_BILINEAR, normalising)];
        }
        vec![pipeline(&RESIZE_HORIZONTAL, vec![("OUT_WIDTH", width)]), pipeline(&RESIZE_VERTICAL, normalising)]
    }

    /// Prepares for photos that become `output`, a slot of `[images, height, width, 4]` values stored as `storage`.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] if the GPU refuses.
    pub async fn new(
        gpu: &Gpu,
        preprocessing: Preprocessing,
        size: [usize; 2],
        output: &wgpu::Buffer,
        storage: Dtype,
    ) -> Result<Self> {
        gpu.scoped("photos", || {
            let descriptors = Self::pipelines(preprocessing, size, storage);
            let pipelines: Vec<_> = descriptors.iter().map(|descriptor| gpu.pipeline(descriptor)).collect();
            let room = PhotoResources::new(gpu, (INITIAL_SIDE, INITIAL_SIDE), size, &pipelines, output);
            Self { gpu: gpu.clone(), size, pipelines, room, small: 0, rows: 0, photo: None }
        })
        .await
    }

    /// Makes room for a photo of this width and height, which becomes the image of this number, and writes its taps; then its
    /// pixels go into [`Self::texture`]. Filter, scale and offset are those of [`Self::new`].
    ///
    /// # Errors
    /// [`crate::error::Error::TooLarge`] if the photo is beyond the GPU's limits.
    pub async fn prepare(
        &mut self,
        [width, height]: [u32; 2],
        preprocessing: Preprocessing,
        image: usize,
        output: &wgpu::Buffer,
    ) -> Result<()> {
        let least = (width.max(INITIAL_SIDE), height.max(INITIAL_SIDE));
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let is_small = 4 * pixels(least) < pixels((self.room.width, self.room.height));
        self.small = if is_small { self.small + 1 } else { 0 };
        let photo = Some(([width, height], preprocessing, image));
        let shrinks = self.small == PATIENCE;
        if self.photo == photo && !shrinks {
            return Ok(());
        }
        if shrinks || width > self.room.width || height > self.room.height {
            let max = self.gpu.max_photo_side();
            let what = |side| format!("a photo side of {side} pixels (at most {max} here)");
            self.gpu.fits(&what(height), 4 * u64::from(height) * self.size[1] as u64, true, "scale it down")?;
            // Room for the larger sides of both, so that it seldom grows; not for long strips.
            let union = (width.max(self.room.width), height.max(self.room.height));
            let larger = if pixels(union) > ROOM_PIXELS { (width, height) } else { union };
            let room = if shrinks { least } else { larger };
            self.photo = None;
            let make = || PhotoResources::new(&self.gpu, room, self.size, &self.pipelines, output);
            self.room = self.gpu.scoped(format!("a photo of {width}×{height} pixels"), make).await?;
            self.small = 0;
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
        words.extend(taps.weights.iter().map(|&weight| weight as u32));
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

    /// Encodes the dispatches.
    pub fn encode(&self, pass: &mut wgpu::ComputePass) {
        let [height, width] = self.size.map(|side| side as u32);
        for (index, (pipeline, group)) in self.pipelines.iter().zip(&self.room.groups).enumerate() {
            // Before the last pass, rows of the photo.
            let rows = if index + 1 < self.pipelines.len() { self.rows } else { height };
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(width.div_ceil(16), rows.div_ceil(16), 1);
        }
    }
}

impl PhotoResources {
    fn new(
        gpu: &Gpu,
        (width, height): (u32, u32),
        [out_height, out_width]: [usize; 2],
        pipelines: &[wgpu::ComputePipeline],
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
        let [photo, output] = [wgpu::BindingResource::TextureView(&view), output.as_entire_binding()];
        let (x, y) = (across.as_entire_binding(), down.as_entire_binding());
        let mut rows = None;
        let groups = match pipelines {
            [horizontal, vertical] => {
                let rows =
                    rows.insert(gpu.buffer("rows", 4 * u64::from(height) * out_width as u64)).as_entire_binding();
                let horizontal = gpu.bind_group(RESIZE_HORIZONTAL.name, horizontal, vec![photo, x, rows.clone()]);
                vec![horizontal, gpu.bind_group(RESIZE_VERTICAL.name, vertical, vec![rows, y, output])]
            }
            [bilinear] => vec![gpu.bind_group(RESIZE_BILINEAR.name, bilinear, vec![photo, x, y, output])],
            _ => vec![],
        };
        Self { width, height, texture, across, down, _rows: rows, groups }
    }
}

impl Drop for PhotoResources {
    fn drop(&mut self) {
        self.texture.destroy();
    }
}
