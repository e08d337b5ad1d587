//! `image(resize = 256, filter = "bicubic", crop = 224, mean = 127, std = 128)`: how a photo becomes the network's input.

use super::attribute::Args;
use super::call::Given;
use super::eval::variable_name;
use super::ops::{OpEntry, Preset, param};
use super::{Elaborator, Eval, Value};
use crate::diag::{Diagnostic, Span};
use crate::front::spec::Call;
use crate::graph::Preprocessing;

/// The resampling filters.
const FILTERS: &[&str] = &["nearest", "bilinear", "bicubic", "lanczos"];

/// The statement as an op without a tensor.
static IMAGE: OpEntry = OpEntry {
    name: "image",
    params: &[
        param("resize", Preset::Unset),
        param("filter", Preset::Str("bilinear")),
        param("crop", Preset::Unset),
        param("mean", Preset::Float(0.0)),
        param("std", Preset::Float(1.0)),
    ],
    doc: "How a photo becomes the input: its shorter side is resized to `resize` pixels, the middle square of `crop` pixels is \
          cut out, and each channel of the pixels (0 to 255) is `(p - mean) / std`.",
    build: |elaborator, args| elaborator.keep_preprocessing(args),
};

impl<'a> Elaborator<'a> {
    pub(super) fn preprocess(&mut self, call: &'a Call, place: Span) -> Eval {
        if self.frames.last().is_none_or(|frame| !frame.is_net) {
            return Ok(self.report(Diagnostic::error(place, "`image(…)` belongs in a net or beside it")));
        }
        let mut given = Vec::new();
        for arg in &call.args {
            let value = self.expr(&arg.value)?;
            if arg.name.is_none() {
                self.report(Diagnostic::error(arg.value.span, "the arguments of `image` have names"));
                return Ok(Value::Poison);
            }
            let variable = variable_name(&arg.value);
            given.push(Given { name: arg.name.as_ref(), value, span: arg.value.span, variable });
        }
        Ok(self.op(&IMAGE, given, place))
    }

    fn keep_preprocessing(&mut self, args: &Args<'a>) -> Option<Value> {
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
        let (mean, std) = (self.floats(args, "mean"), self.floats(args, "std"));
        let made = Preprocessing { resize: resize?, filter: filter?, crop: crop?, mean: mean?, std: std? };
        for (param, numbers) in [("mean", &made.mean), ("std", &made.std)] {
            if numbers.len() != 1 && numbers.len() != channels {
                let count = numbers.len();
                let message = format!("`{param}` of image has {count} numbers for an input of {channels} channels");
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
