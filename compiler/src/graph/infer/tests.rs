use super::super::{Activation, Binary, Constant, Conv, Coordinates, DType, F32, Filter, Linear, Resize, Scale};
use super::*;

fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], pads: Pads::symmetric(pad, pad), dilation: [1, 1] }
}

fn conv(channels: usize, window: Window, groups: usize) -> Op {
    Op::Conv(Conv { channels, window, groups, bias: false })
}

fn max_pool(window: Window, ceil_mode: bool) -> Op {
    Op::MaxPool(Pool { window, ceil_mode, count_include_pad: false })
}

/// Infers with the weights that the operator wants.
fn infer_with(op: &Op, operands: &[&[usize]]) -> Result<TensorType, TypeError> {
    let types: Vec<TensorType> = operands.iter().map(|shape| TensorType::f32(*shape)).collect();
    let types: Vec<&TensorType> = types.iter().collect();
    let weights = weight_shapes(op, &types).unwrap_or_default();
    infer(op, &types, &weights.iter().map(|(_, shape)| shape.as_slice()).collect::<Vec<_>>())
}

#[track_caller]
fn gives(op: &Op, operands: &[&[usize]], shape: &[usize]) {
    assert_eq!(infer_with(op, operands), Ok(TensorType::f32(shape)));
}

#[track_caller]
fn refuses(op: &Op, operands: &[&[usize]], message: &str) -> TypeError {
    let error = infer_with(op, operands).unwrap_err();
    assert_eq!(error.message, message);
    error
}

#[test]
fn windows_round_down_and_pools_up_where_asked() {
    gives(&conv(32, window(3, 2, 1), 1), &[&[1, 3, 224, 224]], &[1, 32, 112, 112]);
    gives(&conv(8, window(3, 1, 0), 1), &[&[2, 4, 3, 5]], &[2, 8, 1, 3]);
    let dilated = Window { dilation: [2, 1], ..window(3, 1, 0) };
    gives(&conv(8, dilated, 4), &[&[1, 4, 5, 3]], &[1, 8, 1, 1]);
    gives(&max_pool(window(3, 2, 1), false), &[&[1, 4, 6, 7]], &[1, 4, 3, 4]);
    gives(&max_pool(window(3, 2, 0), true), &[&[1, 4, 6, 7]], &[1, 4, 3, 3]);
    // A window that would start on the padding behind the map is not there.
    gives(&max_pool(window(2, 2, 1), true), &[&[1, 1, 3, 4]], &[1, 1, 2, 3]);
}

#[test]
fn a_window_larger_than_the_map_is_refused() {
    let message = "conv with a 5×5 kernel (stride [1, 1], dilation [1, 1], padding [0, 0, 0, 0]) does not fit a map of \
                   4×9 pixels";
    refuses(&conv(8, window(5, 1, 0), 1), &[&[1, 4, 4, 9]], message);
    let message = "pool with a 3×3 kernel (stride [0, 0], dilation [1, 1], padding [0, 0, 0, 0]) is out of bounds";
    refuses(&max_pool(window(3, 0, 0), false), &[&[1, 4, 4, 4]], message);
    let huge = usize::MAX;
    assert!(infer_with(&conv(8, window(huge, huge, huge), 1), &[&[1, 4, 4, 4]]).is_err());
    assert!(
        infer_with(&max_pool(Window { dilation: [huge; 2], ..window(huge, 1, huge) }, true), &[&[1, 4, 4, 4]]).is_err()
    );
}

#[test]
fn a_pool_over_padding_alone_is_refused() {
    let message = "a pool with a 2×2 kernel cannot have padding [2, 2, 2, 2] here: a window would hold nothing else";
    refuses(&max_pool(window(2, 1, 2), false), &[&[1, 4, 4, 4]], message);
    let apart = Window { dilation: [2, 2], ..window(2, 1, 1) };
    let message = "a pool with a 2×2 kernel cannot have padding [1, 1, 1, 1] here: a window would hold nothing else";
    refuses(&max_pool(apart, false), &[&[1, 4, 1, 4]], message);
    gives(&max_pool(apart, false), &[&[1, 4, 2, 4]], &[1, 4, 2, 4]);
}

#[test]
fn groups_divide_channels() {
    let message = "conv cannot split 4 input channels and 9 output channels into 3 groups";
    refuses(&conv(9, Window::POINT, 3), &[&[1, 4, 4, 4]], message);
    refuses(&conv(9, Window::POINT, 0), &[&[1, 4, 4, 4]], &message.replace("3 groups", "0 groups"));
    refuses(&Op::ChannelShuffle { groups: 3 }, &[&[1, 4, 4, 4]], "cannot shuffle 4 channels in 3 groups");
}

#[test]
fn broadcasting_names_the_axis_that_differs() {
    let add = Op::Binary(Binary::Add);
    gives(&add, &[&[2, 4, 3, 3], &[4, 1, 1]], &[2, 4, 3, 3]);
    gives(&add, &[&[4, 1], &[1, 5]], &[4, 5]);
    gives(&add, &[&[], &[3]], &[3]);
    let error = refuses(
        &add,
        &[&[1, 24, 56, 56], &[1, 32, 56, 56]],
        "cannot add tensors of shape [1, 24, 56, 56] and [1, 32, 56, 56]",
    );
    assert_eq!(error.label.as_deref(), Some("channels differ: 24 and 32"));
    let error = refuses(
        &Op::Binary(Binary::Div),
        &[&[1, 24, 56, 56], &[55, 1]],
        "cannot divide tensors of shape [1, 24, 56, 56] and [55, 1]",
    );
    assert_eq!(error.label.as_deref(), Some("heights differ: 56 and 55"));
    let error = refuses(&Op::Binary(Binary::Sub), &[&[2], &[3]], "cannot subtract tensors of shape [2] and [3]");
    assert_eq!(error.label.as_deref(), Some("extents of axis 0 differ: 2 and 3"));
    let (a, b) = (TensorType { dtype: DType::U8, shape: vec![1] }, TensorType::f32([1]));
    assert_eq!(infer(&add, &[&a, &b], &[]).unwrap_err().message, "elements of type u8 and f32 do not mix");
}

#[test]
fn ranks_are_checked() {
    let error = refuses(
        &Op::Linear(Linear { features: 3, bias: true }),
        &[&[1, 8, 2, 2]],
        "linear needs a tensor [N, F], not one of shape [1, 8, 2, 2]",
    );
    assert_eq!(error.label.as_deref(), Some("`.flatten()` makes one of a feature map"));
    let message = "conv needs a feature map [N, C, H, W], not a tensor of shape [1, 8]";
    refuses(&conv(8, Window::POINT, 1), &[&[1, 8]], message);
    let bn = Op::BatchNorm { eps: F32::new(1e-5), affine: true };
    gives(&bn, &[&[1, 8]], &[1, 8]);
    refuses(&bn, &[&[8]], "bn needs [N, C, H, W] or [N, C], not a tensor of shape [8]");
    refuses(&Op::Softmax { axis: 2 }, &[&[1, 8]], "softmax along axis 2 of a tensor of shape [1, 8]");
}

#[test]
fn products_have_parts_that_are_equal_or_one() {
    gives(&Op::MatMul, &[&[3, 2, 5], &[3, 5, 7]], &[3, 2, 7]);
    gives(&Op::MatMul, &[&[1, 2, 5], &[3, 5, 7]], &[3, 2, 7]);
    gives(&Op::MatMul, &[&[3, 2, 5], &[1, 5, 7]], &[3, 2, 7]);
    let message = "cannot multiply matrices of shape [3, 2, 5] and [2, 5, 7]";
    assert_eq!(refuses(&Op::MatMul, &[&[3, 2, 5], &[2, 5, 7]], message).operand, Some(1));
    refuses(&Op::MatMul, &[&[1, 2, 5], &[1, 2, 5]], "cannot multiply matrices of shape [1, 2, 5] and [1, 2, 5]");
    let message = "matmul takes matrices [parts, rows, columns], not a tensor of shape [2, 5]";
    assert_eq!(refuses(&Op::MatMul, &[&[1, 5, 2], &[2, 5]], message).operand, Some(1));
    refuses(
        &Op::MatMul,
        &[&[1, 1 << 20, 1], &[1, 1, 1 << 20]],
        "matmul would give a tensor of shape [1, 1048576, 1048576], more than 2^31 elements",
    );
}

#[test]
fn movers_say_what_does_not_fit() {
    let error = refuses(
        &Op::Concat { axis: 1 },
        &[&[1, 2, 3, 3], &[1, 5, 3, 3], &[1, 5, 4, 3]],
        "cannot concatenate tensors of shape [1, 2, 3, 3] and [1, 5, 4, 3] along axis 1",
    );
    assert_eq!(error.operand, Some(2));
    gives(&Op::Concat { axis: 1 }, &[&[1, 2], &[1, 5]], &[1, 7]);
    let slice = |start, end| Op::Slice { axis: 1, start, end };
    gives(&slice(1, 3), &[&[1, 4]], &[1, 2]);
    refuses(&slice(3, 3), &[&[1, 4]], "cannot take 3..3 of axis 1 of a tensor of shape [1, 4]");
    refuses(&slice(3, 5), &[&[1, 4]], "cannot take 3..5 of axis 1 of a tensor of shape [1, 4]");
    let gather = |indices: &[u32]| Op::Gather { axis: 1, indices: indices.to_vec() };
    gives(&gather(&[3, 0, 0, 1, 2]), &[&[1, 4]], &[1, 5]);
    refuses(&gather(&[0, 4]), &[&[1, 4]], "cannot take element 4 of axis 1 of a tensor of shape [1, 4]");
    refuses(&gather(&[]), &[&[1, 4]], "takes no element of axis 1 of a tensor of shape [1, 4]");
    refuses(
        &Op::Reshape { shape: vec![3, 3] },
        &[&[2, 4]],
        "cannot reshape a tensor of shape [2, 4] (8 elements) to [3, 3]",
    );
    refuses(
        &Op::Transpose { perm: vec![0, 0] },
        &[&[2, 4]],
        "[0, 0] is not a permutation of the axes of a tensor of shape [2, 4]",
    );
    gives(&Op::Transpose { perm: vec![1, 0] }, &[&[2, 4]], &[4, 2]);
}

#[test]
fn values_are_neither_empty_nor_huge() {
    refuses(&Op::Input(TensorType::f32([1, 0, 3])), &[], "input would give an empty tensor of shape [1, 0, 3]");
    refuses(
        &Op::Input(TensorType::f32([1 << 16, 1 << 16])),
        &[],
        "input would give a tensor of shape [65536, 65536], more than 2^31 elements",
    );
    let resize = |size, by: f32| {
        let (filter, coordinates) = (Filter::Linear, Coordinates::HalfPixel);
        Op::Resize(Resize { size, scale: [1.0, by].map(|by| Scale::Number(F32::new(by))), filter, coordinates })
    };
    gives(&resize([5, 3], 2.0), &[&[2, 3, 1, 1]], &[2, 3, 5, 3]);
    let by_ratio = |outputs, inputs| {
        let (filter, coordinates) = (Filter::Linear, Coordinates::HalfPixel);
        Op::Resize(Resize { size: [5, 3], scale: [Scale::Ratio { outputs, inputs }; 2], filter, coordinates })
    };
    gives(&by_ratio(5, 2), &[&[2, 3, 1, 1]], &[2, 3, 5, 3]);
    refuses(&by_ratio(5, 0), &[&[2, 3, 1, 1]], "resize cannot scale by 5/0");
    refuses(&by_ratio(usize::MAX, 1), &[&[2, 3, 1, 1]], &format!("resize cannot scale by {}/1", usize::MAX));
    refuses(&resize([5, 3], 0.0), &[&[2, 3, 1, 1]], "resize cannot scale by 0");
    assert!(infer_with(&resize([0, 3], 1.0), &[&[2, 3, 1, 1]]).is_err());
    assert!(infer_with(&resize([usize::MAX, 3], 1.0), &[&[2, 3, 1, 1]]).is_err());
    gives(&Op::Weight { shape: vec![2, 3] }, &[], &[2, 3]);
    let pads = Pads { top: usize::MAX, ..Pads::default() };
    assert!(infer_with(&Op::Pad { pads, value: F32::new(0.0) }, &[&[1, 1, 1, 1]]).is_err());
    let constant =
        |shape: &[usize], len| Op::Constant(Constant { shape: shape.to_vec(), values: vec![F32::new(1.0); len] });
    refuses(&constant(&[2], 3), &[], "a constant of shape [2] with 3 values");
    refuses(&constant(&[1025], 1025), &[], "a constant of shape [1025] with 1025 values");
    assert!(infer_with(&constant(&[usize::MAX, 2], 2), &[]).is_err());
}

#[test]
fn arity_and_weights_are_counted() {
    refuses(&Op::Binary(Binary::Add), &[&[1]], "add takes 2 operands, not 1");
    refuses(&Op::Concat { axis: 0 }, &[], "concat takes at least one operand, not 0");
    refuses(&conv(1, Window::POINT, 1), &[], "conv takes 1 operand, not 0");
    let ty = TensorType::f32([1, 3, 2, 2]);
    let error = |weights: &[&[usize]]| infer(&conv(4, window(1, 1, 0), 1), &[&ty], weights).unwrap_err().message;
    assert_eq!(error(&[]), "conv reads 1 weights, not 0");
    assert_eq!(error(&[&[4, 3, 1]]), "conv needs a Kernel of shape [4, 3, 1, 1], not [4, 3, 1]");
}

#[test]
fn fused_nodes_are_their_parts() {
    let core = Core::Conv(Conv { channels: 8, window: window(3, 2, 1), groups: 1, bias: true });
    let before = vec![Stage::Affine, Stage::Scale];
    let after = vec![Stage::Affine, Stage::Activate(Activation::Relu), Stage::Add];
    let fused = Op::Fused { before: before.clone(), core, after };
    let (x, by, other): (&[usize], &[usize], &[usize]) = (&[2, 4, 6, 6], &[2, 4, 1, 1], &[2, 8, 3, 3]);
    gives(&fused, &[x, by, other], &[2, 8, 3, 3]);
    let roles: Vec<(Role, Vec<usize>)> = weight_shapes(&fused, &[&TensorType::f32(x)]).unwrap();
    let expected = [
        (Role::Kernel, vec![8, 4, 3, 3]),
        (Role::Bias, vec![8]),
        (Role::Gamma, vec![4]),
        (Role::Beta, vec![4]),
        (Role::Gamma, vec![8]),
        (Role::Beta, vec![8]),
    ];
    assert_eq!(roles, expected);
    refuses(&fused, &[x, by, x], "a fused stage Add needs shape [2, 8, 3, 3], not [2, 4, 6, 6]");
    refuses(&fused, &[x, x, other], "a fused stage Scale needs shape [2, 4, 1, 1], not [2, 4, 6, 6]");
    let chain = Op::Fused { before, core: Core::Identity, after: vec![] };
    refuses(&chain, &[x, by], "the stages of a fused identity stand after it");
}
