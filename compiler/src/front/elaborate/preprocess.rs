//! `image(resize = 256, filter = "bicubic", crop = 224, mean = 127, std = 128)`: how a photo becomes the network's input.

use super::attribute::Args;
use super::ops::{OpEntry, Preset, param};
use super::{Elaborator, Value};
use crate::diag::{Diagnostic, counted};
use crate::graph::Preprocessing;

/// The resampling filters.
const FILTERS: &[&str] = &["nearest", "bilinear", "bicubic", "lanczos"];

/// The orders of channels.
const ORDERS: &[&str] = &["rgb", "bgr"];

/// The statement as an op without a tensor.
pub(super) static IMAGE: OpEntry = OpEntry {
    name: "image",
    params: &[
        param("resize", Preset::Unset),
        param("filter", Preset::Str("bilinear")),
        param("crop", Preset::Unset),
        param("order", Preset::Str("rgb")),
        param("mean", Preset::Float(0.0)),
        param("std", Preset::Float(1.0)),
    ],
    doc: "How a photo becomes the input: its shorter side is resized to `resize` pixels, the middle square of `crop` pixels is \
          cut out, and each channel of the pixels (0 to 255), in the `order` \"rgb\" or \"bgr\", is `(p - mean) / std`.",
    build: |elaborator, args| elaborator.keep_preprocessing(args),
};

impl<'a> Elaborator<'a> {
    fn keep_preprocessing(&mut self, args: &Args<'a>) -> Option<Value> {
        if self.frames.len() > 1 {
            // A net inside another one is given its input by that one.
            return Some(Value::Unit);
        }
        let input = self.graph.inputs().first().map(|&input| self.graph.node(input).ty.shape.clone());
        let (channels, side) = match input.as_deref() {
            Some(&[_, c, h, w]) => (c, h.min(w)),
            _ => {
                self.report(Diagnostic::error(args.place, "`image(…)` needs a net whose first input is [N, C, H, W]"));
                return None;
            }
        };
        let crop = if args.has("crop") { self.count(args, "crop") } else { Some(side) };
        let resize = if args.has("resize") { self.count(args, "resize") } else { crop };
        let filter = self.word(args, "filter", FILTERS);
        let order = self.word(args, "order", ORDERS);
        let (mean, std) = (self.floats(args, "mean"), self.floats(args, "std"));
        let (resize, filter, crop) = (resize?, filter?, crop?);
        let made = Preprocessing { resize, filter, crop, order: order?, mean: mean?, std: std? };
        for (param, numbers) in [("mean", &made.mean), ("std", &made.std)] {
            if numbers.len() != 1 && numbers.len() != channels {
                let count = numbers.len();
                let message = format!(
                    "`{param}` of image has {} for an input of {}",
                    counted(count, "number"),
                    counted(channels, "channel")
                );
                self.report(Diagnostic::error(args.place, message));
                return None;
            }
        }
        if made.std.contains(&0.0) {
            self.report(Diagnostic::error(args.place, "`std` of image must not be 0"));
            return None;
        }
        if made.crop > made.resize {
            let message = format!("a square of {} pixels does not fit an image resized to {}", made.crop, made.resize);
            self.report(Diagnostic::error(args.place, message));
            return None;
        }
        self.graph.preprocessing = Some(made);
        Some(Value::Unit)
    }
}
