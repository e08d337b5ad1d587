//! Feature maps sampled at other places.

use super::emitter::{Emitter, Is};
use crate::graph::{Coordinates, Filter, NodeId, Resize, Rounding};

/// `Resize` where its size follows from the scale, or the scale from the size; else what is taken, element by element.
pub(super) fn resize(emitter: &mut Emitter<'_>, id: NodeId, resize: &Resize, x: &str) {
    let (map, shape) = match emitter.operand_type(id, 0).shape[..] {
        [n, c, h, w] => ([h, w], [n, c, resize.size[0], resize.size[1]]),
        _ => unreachable!("inference admits only feature maps here"),
    };
    let scale = resize.scale.map(|scale| scale.get());
    let by_scale = (0..2).all(|i| (map[i] as f32 * scale[i]).floor() as usize == resize.size[i]);
    let by_size = (0..2).all(|i| resize.size[i] as f32 / map[i] as f32 == scale[i]);
    if !by_scale && !by_size {
        return sampled(emitter, id, resize, map, x);
    }
    let coordinates = match resize.coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
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
    if by_scale {
        let scales = emitter.floats(id, "scales", &[4], &[1.0, 1.0, scale[0], scale[1]]);
        emitter.whole(id, "Resize", &[x, "", &scales], &attributes);
    } else {
        let sizes = emitter.integers(id, "sizes", &shape);
        emitter.whole(id, "Resize", &[x, "", "", &sizes], &attributes);
    }
}

/// Rows, then columns, each gathered from where it lies.
fn sampled(emitter: &mut Emitter<'_>, id: NodeId, resize: &Resize, map: [usize; 2], x: &str) {
    let mut x = x.to_owned();
    for side in 0..2 {
        let axis = [("axis", Is::Int(2 + side))];
        let size = resize.size[side];
        let positions: Vec<f32> = (0..size).map(|y| resize.position(side, map[side], y)).collect();
        let within = |position: f32| position.clamp(0.0, (map[side] - 1) as f32) as usize;
        let is_last = side == 1;
        match resize.filter {
            Filter::Nearest(rounding) => {
                let index: Vec<usize> = positions.iter().map(|&p| within(rounding.round(p))).collect();
                let index = emitter.integers(id, "index", &index);
                if is_last {
                    return emitter.whole(id, "Gather", &[&x, &index], &axis);
                }
                x = emitter.part(id, "rows", "Gather", &[&x, &index], &axis);
            }
            Filter::Linear => {
                let shape = if is_last { vec![size] } else { vec![size, 1] };
                let mut shares = Vec::new();
                for next in [0.0, 1.0] {
                    let index: Vec<usize> = positions.iter().map(|&p| within(p.floor() + next)).collect();
                    let share: Vec<f32> = positions.iter().map(|&p| (1.0 - next - (p - p.floor())).abs()).collect();
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
