//! Feature maps sampled at other places.

use super::emitter::{Emitter, Is};
use crate::graph::{Coordinates, F32, Filter, NodeId, Resize, Rounding, Scale};

/// `Resize` where its size follows from the scale, or the scale from the size; else what is taken, element by element.
pub(super) fn resize(emitter: &mut Emitter<'_>, id: NodeId, resize: &Resize, x: &str) {
    let (map, shape) = match emitter.operand_type(id, 0).shape[..] {
        [n, c, h, w] => ([h, w], [n, c, resize.size[0], resize.size[1]]),
        _ => unreachable!("inference admits only feature maps here"),
    };
    // Along a side that stays as it is, either way says so.
    let as_number = |side: usize| match resize.scale[side] {
        Scale::Number(scale) => {
            ((map[side] as f32 * scale.get()).floor() as usize == resize.size[side]).then_some(scale.get())
        }
        Scale::Ratio { outputs, inputs } => (outputs == inputs && map[side] == resize.size[side]).then_some(1.0),
    };
    // ONNX Runtime rounds a scale given by sizes to f32, and may then choose another element than the exact scale.
    let is_ratio = |side: usize| {
        let rounded = F32::new(resize.size[side] as f32 / map[side] as f32);
        match resize.scale[side] {
            Scale::Number(scale) => scale == rounded,
            Scale::Ratio { outputs, inputs } => {
                let by_number = Resize { scale: [Scale::Number(rounded); 2], ..*resize };
                let takes_the_same = || {
                    (0..resize.size[side])
                        .all(|y| resize.taken(side, map[side], y) == by_number.taken(side, map[side], y))
                };
                outputs as u128 * map[side] as u128 == inputs as u128 * resize.size[side] as u128
                    && (resize.filter == Filter::Linear || takes_the_same())
            }
        }
    };
    let by_scale = as_number(0).zip(as_number(1));
    if by_scale.is_none() && !(0..2).all(is_ratio) {
        return sampled(emitter, id, resize, map, x);
    }
    let coordinates = match resize.coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
        Coordinates::TfHalfPixelForNn => "tf_half_pixel_for_nn",
        Coordinates::Asymmetric => "asymmetric",
        Coordinates::AlignCorners => "align_corners",
    };
    let mut attributes = vec![("coordinate_transformation_mode", Is::Text(coordinates))];
    match resize.filter {
        Filter::Nearest(rounding) => {
            let rounding = match rounding {
                Rounding::Floor => "floor",
                Rounding::Ceil => "ceil",
                Rounding::HalfDown => "round_prefer_floor",
                Rounding::HalfUp => "round_prefer_ceil",
            };
            attributes.extend([("mode", Is::Text("nearest")), ("nearest_mode", Is::Text(rounding))]);
        }
        Filter::Linear => attributes.push(("mode", Is::Text("linear"))),
    }
    match by_scale {
        Some((rows, columns)) => {
            let scales = emitter.floats(id, "scales", &[4], &[1.0, 1.0, rows, columns]);
            emitter.whole(id, "Resize", &[x, "", &scales], &attributes);
        }
        None => {
            let sizes = emitter.integers(id, "sizes", &shape);
            emitter.whole(id, "Resize", &[x, "", "", &sizes], &attributes);
        }
    }
}

/// Rows, then columns, each gathered from where it lies.
fn sampled(emitter: &mut Emitter<'_>, id: NodeId, resize: &Resize, map: [usize; 2], x: &str) {
    let mut x = x.to_owned();
    for side in 0..2 {
        let axis = [("axis", Is::Int(2 + side))];
        let size = resize.size[side];
        let taken: Vec<Vec<(usize, f64)>> = (0..size).map(|y| resize.taken(side, map[side], y)).collect();
        let is_last = side == 1;
        match resize.filter {
            Filter::Nearest(_) => {
                let index: Vec<usize> = taken.iter().map(|taken| taken[0].0).collect();
                let index = emitter.integers(id, "index", &index);
                if is_last {
                    return emitter.whole(id, "Gather", &[&x, &index], &axis);
                }
                x = emitter.part(id, "rows", "Gather", &[&x, &index], &axis);
            }
            Filter::Linear => {
                let shape = if is_last { vec![size] } else { vec![size, 1] };
                let mut shares = Vec::new();
                for next in 0..2 {
                    let index: Vec<usize> = taken.iter().map(|taken| taken[next].0).collect();
                    let share: Vec<f32> = taken.iter().map(|taken| taken[next].1 as f32).collect();
                    let index = emitter.integers(id, "index", &index);
                    let taken = emitter.part(id, "taken", "Gather", &[&x, &index], &axis);
                    let share = emitter.floats(id, "share", &shape, &share);
                    shares.push(emitter.part(id, "shared", "Mul", &[&taken, &share], &[]));
                }
                if is_last {
                    return emitter.whole(id, "Add", &[&shares[0], &shares[1]], &[]);
                }
                x = emitter.part(id, "rows", "Add", &[&shares[0], &shares[1]], &[]);
            }
        }
    }
}
