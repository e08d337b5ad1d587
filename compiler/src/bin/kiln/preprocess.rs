//! From pixels to a network's input: resized, cropped, normalized, as the spec's `image(…)` says.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Pixel, RgbImage};
use kiln_compiler::diag::counted;
use kiln_compiler::graph::Preprocessing;

use crate::report::Failure;

/// The most pixels of a resized photo, and of one that is resized in one direction only: 512 MiB in f32 RGBA.
const MOST_PIXELS: u128 = 1 << 25;

/// How many rows are resized together, so that what is between the two directions stays small.
const STRIP: u32 = 64;

/// Where the channels of an input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[N, C, H, W]`, as PyTorch has it.
    Nchw,
    /// `[N, H, W, C]`, as TensorFlow has it.
    Nhwc,
}

/// What an input of photos holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) layout: Layout,
}

impl Extents {
    /// Of an input of this shape, with one channel or three: the second extent counts them where it can, else the last.
    ///
    /// # Errors
    /// Where the input holds no photo.
    pub(crate) fn of(name: &str, shape: &[usize]) -> Result<Self, Failure> {
        match *shape {
            [_, channels @ (1 | 3), height, width] => Ok(Extents { channels, height, width, layout: Layout::Nchw }),
            [_, height, width, channels @ (1 | 3)] => Ok(Extents { channels, height, width, layout: Layout::Nhwc }),
            _ => Err(Failure::new(format!("a photo does not fit the input `{name}` of shape {shape:?}"))
                .help("photos go into inputs [N, C, H, W] and [N, H, W, C], with C = 3 in colour and C = 1 in grey")),
        }
    }
}

/// How a photo becomes one image of a network's input.
pub(crate) struct Preparation {
    layout: Layout,
    /// Which channel of the photo each channel of the input is; the photo has as many.
    channels: Vec<usize>,
    /// Columns and rows of the input.
    size: [u32; 2],
    /// Columns and rows that the resized photo covers, just so.
    covers: [u32; 2],
    filter: FilterType,
    /// One number a channel.
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Preparation {
    /// For an input of shape `[N, C, H, W]` or `[N, H, W, C]`. An input that is not a square of `crop` pixels keeps the fraction of the
    /// photo that the spec's crop takes: the photo is resized to cover `H * resize / crop` rows and `W * resize / crop`
    /// columns, fractions of a pixel cut off.
    ///
    /// # Errors
    /// Where the input holds no photo, or the spec's numbers make no sense for it.
    pub(crate) fn new(preprocessing: &Preprocessing, name: &str, shape: &[usize]) -> Result<Self, Failure> {
        let Preprocessing { resize, filter, crop, order, mean, std } = preprocessing;
        let Extents { channels, height, width, layout } = Extents::of(name, shape)?;
        let wrong = |what: String| Failure::new(format!("the network's image(…) {what}"));
        let filter = match filter.as_str() {
            "nearest" => FilterType::Nearest,
            "bilinear" => FilterType::Triangle,
            "bicubic" => FilterType::CatmullRom,
            "lanczos" => FilterType::Lanczos3,
            other => return Err(wrong(format!("names a filter that kiln does not have: `{other}`"))),
        };
        let channel_order: Vec<usize> = match order.as_str() {
            "rgb" => (0..channels).collect(),
            "bgr" => (0..channels).rev().collect(),
            other => return Err(wrong(format!("names an order of channels that kiln does not have: `{other}`"))),
        };
        if *crop == 0 || crop > resize {
            return Err(wrong(format!("cuts {crop} pixels from {resize}")));
        }
        let per_channel = |what: &str, numbers: &[f64]| match numbers {
            &[one] => Ok(vec![one; channels]),
            several if several.len() == channels => Ok(several.to_vec()),
            several => Err(wrong(format!(
                "has {} for `{what}`, but `{name}` has {}",
                counted(several.len(), "number"),
                counted(channels, "channel")
            ))),
        };
        let (mean, std) = (per_channel("mean", mean)?, per_channel("std", std)?);
        if std.contains(&0.0) {
            return Err(wrong("divides by 0".to_owned()));
        }
        let covered = |side: usize| u32::try_from(side as u128 * *resize as u128 / *crop as u128).ok();
        match (u32::try_from(width), u32::try_from(height), covered(width), covered(height)) {
            (Ok(width), Ok(height), Some(columns), Some(rows)) => {
                let (size, covers) = ([width, height], [columns, rows]);
                Ok(Preparation { layout, channels: channel_order, size, covers, filter, mean, std })
            }
            _ => Err(wrong(format!("resizes to more pixels than kiln holds: {resize}"))),
        }
    }

    /// How many numbers an image of the input has.
    pub(crate) fn len(&self) -> usize {
        self.channels.len() * self.size[0] as usize * self.size[1] as usize
    }

    /// Columns and rows of a photo of `width × height` once it is resized: what it is to cover in one direction, and
    /// the nearest whole number that keeps its ratio of sides in the other, where torchvision's `Resize` cuts the
    /// fraction off.
    ///
    /// # Errors
    /// Where that takes too many pixels, since one side is so much longer than the other.
    pub(crate) fn resized(&self, width: u32, height: u32) -> Result<[u32; 2], String> {
        let [columns, rows] = self.covers.map(u128::from);
        let (width, height) = (u128::from(width), u128::from(height));
        // `a * b / c`, rounded to the nearest.
        let scaled = |a: u128, b: u128, c: u128| (2 * a * b + c) / (2 * c);
        let (new_width, new_height) = if width * rows >= height * columns {
            (scaled(width, rows, height), rows)
        } else {
            (columns, scaled(height, columns, width))
        };
        if new_width * new_height.max(height) > MOST_PIXELS {
            return Err(format!("of {width} × {height} pixels becomes {new_width} × {new_height}: too many"));
        }
        Ok([new_width as u32, new_height as u32])
    }

    /// One image of the input, `[C, H, W]` or `[H, W, C]`: the photo resized, its middle cut out, each channel `(p - mean) / std`.
    ///
    /// The middle is where torchvision's `CenterCrop` finds it.
    ///
    /// # Errors
    /// As [`Preparation::resized`].
    pub(crate) fn image(&self, photo: &RgbImage) -> Result<Vec<f32>, String> {
        let [width, height] = self.resized(photo.width(), photo.height())?;
        match self.channels.len() {
            1 => Ok(self.normalized(&resize(&grey(photo), width, height, self.filter))),
            _ => Ok(self.normalized(&resize(photo, width, height, self.filter))),
        }
    }

    fn normalized<P: Pixel<Subpixel = u8>>(&self, resized: &ImageBuffer<P, Vec<u8>>) -> Vec<f32> {
        let [width, height] = self.size;
        let (left, top) = (middle(resized.width(), width), middle(resized.height(), height));
        let mut values = Vec::with_capacity(self.len());
        let value = |channel: usize, x: u32, y: u32| {
            let level = f64::from(resized.get_pixel(x, y).channels()[self.channels[channel]]);
            ((level - self.mean[channel]) / self.std[channel]) as f32
        };
        let pixels = || (top..top + height).flat_map(move |y| (left..left + width).map(move |x| (x, y)));
        let channels = self.channels.len();
        match self.layout {
            Layout::Nchw => (0..channels).for_each(|c| values.extend(pixels().map(|(x, y)| value(c, x, y)))),
            Layout::Nhwc => pixels().for_each(|(x, y)| values.extend((0..channels).map(|c| value(c, x, y)))),
        }
        values
    }
}

/// A photo resized as by PIL: a convolution whose support grows with the factor of shrinking, `bicubic` with a = -0.5,
/// first along rows, then along columns, each rounded to whole grey levels. PIL's weights are integers, so that now and
/// then it differs by a level.
fn resize<P>(photo: &ImageBuffer<P, Vec<u8>>, width: u32, height: u32, filter: FilterType) -> ImageBuffer<P, Vec<u8>>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let mut narrow = ImageBuffer::new(width, photo.height());
    for top in (0..photo.height()).step_by(STRIP as usize) {
        let rows = STRIP.min(photo.height() - top);
        let strip = imageops::crop_imm(photo, 0, top, photo.width(), rows);
        imageops::replace(&mut narrow, &imageops::resize(&*strip, width, rows, filter), 0, i64::from(top));
    }
    imageops::resize(&narrow, width, height, filter)
}

/// Where `part` of `whole` pixels begins so that it lies in the middle; half a pixel is rounded to the even side.
fn middle(whole: u32, part: u32) -> u32 {
    (f64::from(whole - part) / 2.0).round_ties_even() as u32
}

/// A photo in grey: the luma of ITU-R BT.601 in 16 fractional bits, as in PIL's `convert("L")`.
fn grey(photo: &RgbImage) -> image::GrayImage {
    ImageBuffer::from_fn(photo.width(), photo.height(), |x, y| {
        let [r, g, b] = photo.get_pixel(x, y).0.map(u32::from);
        image::Luma([((19595 * r + 38470 * g + 7471 * b + (1 << 15)) >> 16) as u8])
    })
}

#[cfg(test)]
mod tests;
