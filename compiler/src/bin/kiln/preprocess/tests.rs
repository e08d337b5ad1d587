use image::{Luma, Rgb};

use super::*;

fn spec(resize: usize, filter: &str, crop: usize) -> Preprocessing {
    Preprocessing { resize, filter: filter.to_owned(), crop, order: "rgb".to_owned(), mean: vec![0.0], std: vec![1.0] }
}

fn prepare(spec: &Preprocessing, shape: &[usize]) -> Preparation {
    Preparation::new(spec, "image", shape).expect("a preparation")
}

fn refused(spec: &Preprocessing, shape: &[usize]) -> String {
    match Preparation::new(spec, "image", shape) {
        Ok(_) => panic!("{spec:?} for {shape:?}"),
        Err(failure) => format!("{failure:?}"),
    }
}

/// A picture without any symmetry, which wraps and so has edges.
fn pattern(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, y| {
        Rgb([x * x * 7 + y * 31, x * 53 + y * y * 11, (x * 29) ^ (y * 17)].map(|value| value as u8))
    })
}

#[test]
fn resizing_keeps_the_ratio_of_sides_and_the_crop_is_in_the_middle() {
    let classic = prepare(&spec(256, "bilinear", 224), &[1, 3, 224, 224]);
    let sizes = [(500, 375), (375, 500), (256, 256), (640, 480), (224, 224)];
    let resized = sizes.map(|(width, height)| classic.resized(width, height).expect("it fits"));
    assert_eq!(resized, [[341, 256], [256, 341], [256, 256], [341, 256], [256, 256]]);
    // 451 * 256 / 300 is 384.85.
    assert_eq!(classic.resized(451, 300), Ok([385, 256]));
    // 0.5 goes to 0, 1.5 to 2, as in Python.
    assert_eq!(
        [(224, 224), (225, 224), (226, 224), (227, 224), (385, 224)].map(|(a, b)| middle(a, b)),
        [0, 0, 1, 2, 80]
    );
}

#[test]
fn other_inputs_keep_the_fraction_of_the_photo() {
    let spec = spec(256, "bilinear", 224);
    // floor(192 * 256 / 224), as timm has it.
    let smaller = prepare(&spec, &[1, 3, 192, 192]);
    assert_eq!((smaller.covers, smaller.resized(400, 300)), ([219, 219], Ok([292, 219])));
    // An input of 448 rows and 224 columns: what is wider is bound by the rows, what is higher by the columns.
    let tall = prepare(&spec, &[1, 3, 448, 224]);
    assert_eq!(tall.covers, [256, 512]);
    assert_eq!([tall.resized(100, 100), tall.resized(100, 400)], [Ok([512, 512]), Ok([256, 1024])]);
}

#[test]
fn a_photo_far_longer_than_wide_is_refused_before_it_is_resized() {
    let classic = prepare(&spec(256, "bilinear", 224), &[1, 3, 224, 224]);
    assert!(classic.resized(60_000, 50).expect_err("too many pixels").contains("60000 × 50"));
    assert!(classic.resized(1, 60_000).is_err());
    assert!(classic.image(&RgbImage::new(1, 60_000)).is_err());
    assert_eq!(classic.resized(16_000, 4_000), Ok([1024, 256]));
}

#[test]
fn normalized_pixels_stand_channel_by_channel() {
    // The middle 2×2 of 4×4, without resizing; (p - mean) / std by hand.
    let spec = Preprocessing { mean: vec![10.0, 20.0, 30.0], std: vec![2.0, 4.0, 0.5], ..spec(4, "bicubic", 2) };
    let photo = ImageBuffer::from_fn(4, 4, |x, y| Rgb([(10 * y + x) as u8, 100, if x == 2 { 31 } else { 30 }]));
    let values = prepare(&spec, &[1, 3, 2, 2]).image(&photo).expect("an image");
    assert_eq!(values, [0.5, 1.0, 5.5, 6.0, 20.0, 20.0, 20.0, 20.0, 0.0, 2.0, 0.0, 2.0]);
    // Mean and deviation are those of the input's channels: blue first.
    let bgr = Preprocessing { order: "bgr".to_owned(), ..spec };
    let values = prepare(&bgr, &[1, 3, 2, 2]).image(&photo).expect("an image");
    assert_eq!(values, [10.0, 10.5, 10.0, 10.5, 20.0, 20.0, 20.0, 20.0, -38.0, -36.0, -18.0, -16.0]);
}

#[test]
fn a_network_of_one_channel_sees_grey() {
    let photo = ImageBuffer::from_fn(2, 2, |x, y| match (x, y) {
        (0, 0) => Rgb([255, 0, 0]),
        (1, 0) => Rgb([0, 255, 0]),
        (0, 1) => Rgb([0, 0, 255]),
        _ => Rgb([200, 200, 200]),
    });
    // 0.299, 0.587 and 0.114 of 255.
    assert_eq!(prepare(&spec(2, "nearest", 2), &[1, 1, 2, 2]).image(&photo), Ok(vec![76.0, 150.0, 29.0, 200.0]));
    assert_eq!(grey(&RgbImage::from_pixel(1, 1, Rgb([255, 255, 255])))[(0, 0)], Luma([255]));
}

#[test]
fn shrinking_and_growing_average_by_hand() {
    // A shrink to a half by the triangle of radius 2: pixels at distances 0.5, 0.5, 1.5, 1.5 weigh 3, 3, 1, 1; at an
    // edge what lies outside is left out.
    let photo = ImageBuffer::from_fn(8, 2, |x, _| Rgb([[0u8, 0, 0, 160, 80, 0, 0, 240][x as usize]; 3]));
    let resized = resize(&photo, 4, 1, FilterType::Triangle);
    let row: Vec<u8> = resized.pixels().map(|pixel| pixel[0]).collect();
    // (0·3 + 0·3 + 0·1) / 7, (0·1 + 0·3 + 160·3 + 80·1) / 8, (160 + 80·3 + 0·3 + 0) / 8, (0 + 0·3 + 240·3) / 7.
    assert_eq!(row, [0, 70, 50, 103]);
}

/// The 4×4 pixels from column 3 and row 1 of `pattern(37, 23)` resized by PIL 13 to 10×6, channel by channel.
const SMALLER: [(&str, [[u8; 16]; 3]); 4] = [
    (
        "nearest",
        [
            [139, 155, 139, 91, 7, 23, 7, 215, 131, 147, 131, 83, 255, 15, 255, 207],
            [143, 99, 55, 11, 247, 203, 159, 115, 191, 147, 103, 59, 231, 187, 143, 99],
            [9, 133, 17, 237, 197, 73, 221, 33, 129, 13, 153, 101, 125, 241, 101, 153],
        ],
    ),
    (
        "bilinear",
        [
            [129, 142, 142, 132, 123, 125, 118, 128, 126, 136, 131, 127, 132, 129, 142, 125],
            [124, 118, 117, 123, 133, 116, 120, 123, 137, 140, 130, 126, 133, 131, 128, 135],
            [102, 155, 79, 153, 147, 106, 166, 107, 155, 98, 171, 100, 109, 145, 101, 143],
        ],
    ),
    (
        "bicubic",
        [
            [127, 146, 146, 134, 123, 124, 115, 126, 125, 138, 131, 130, 132, 129, 146, 122],
            [123, 116, 115, 122, 133, 113, 119, 124, 137, 142, 132, 127, 134, 130, 128, 135],
            [95, 169, 61, 163, 153, 94, 182, 99, 165, 83, 190, 86, 103, 153, 91, 150],
        ],
    ),
    (
        "lanczos",
        [
            [127, 148, 148, 136, 120, 124, 114, 122, 127, 138, 130, 133, 128, 132, 149, 119],
            [123, 115, 114, 123, 131, 112, 119, 126, 134, 142, 136, 128, 135, 129, 128, 134],
            [89, 178, 50, 170, 157, 88, 189, 95, 173, 73, 203, 76, 98, 159, 85, 154],
        ],
    ),
];

/// The same from column 22 and row 12 of 47×29.
const LARGER: [(&str, [[u8; 16]; 3]); 4] = [
    (
        "nearest",
        [
            [254, 243, 246, 7, 29, 18, 21, 38, 60, 49, 52, 69, 91, 80, 83, 100],
            [0, 53, 106, 159, 209, 6, 59, 112, 184, 237, 34, 87, 181, 234, 31, 84],
            [116, 147, 190, 221, 71, 160, 141, 238, 86, 177, 156, 255, 33, 198, 235, 136],
        ],
    ),
    (
        "bilinear",
        [
            [159, 150, 152, 77, 33, 24, 26, 37, 58, 49, 51, 62, 83, 74, 76, 87],
            [75, 34, 76, 117, 172, 54, 54, 84, 195, 237, 77, 64, 193, 235, 75, 62],
            [109, 152, 166, 203, 93, 164, 148, 200, 105, 177, 160, 213, 76, 194, 213, 185],
        ],
    ),
    (
        "bicubic",
        [
            [166, 155, 164, 62, 14, 8, 8, 29, 56, 49, 50, 60, 81, 74, 75, 85],
            [63, 18, 69, 113, 193, 40, 43, 80, 200, 237, 65, 51, 197, 237, 62, 47],
            [108, 152, 165, 206, 84, 163, 137, 203, 100, 177, 155, 216, 66, 194, 224, 182],
        ],
    ),
    (
        "lanczos",
        [
            [166, 154, 164, 52, 7, 0, 0, 30, 57, 49, 50, 60, 84, 76, 77, 86],
            [59, 6, 59, 103, 199, 42, 38, 86, 207, 237, 68, 39, 203, 238, 65, 34],
            [106, 153, 165, 200, 81, 163, 133, 202, 99, 177, 154, 214, 66, 194, 231, 179],
        ],
    ),
];

#[test]
fn photos_are_resized_as_by_pil() {
    // An input of 4×4 whose crop begins where the stored pixels do: (10 - 4) / 2 and (6 - 4) / 2, and
    // (47 - 4) / 2 = 21.5, to even 22, and (29 - 4) / 2 = 12.5, to even 12.
    for (rows, stored) in [(6, SMALLER), (29, LARGER)] {
        for (filter, expected) in stored {
            let values = prepare(&spec(rows, filter, 4), &[1, 3, 4, 4]).image(&pattern(37, 23)).expect("an image");
            for (value, expected) in values.iter().zip(expected.as_flattened()) {
                let most = if filter == "nearest" { 0.0 } else { 1.0 };
                assert!((value - f32::from(*expected)).abs() <= most, "{rows} rows, {filter}: {values:?}");
            }
        }
    }
}

#[test]
fn strips_leave_no_seam() {
    let (photo, filter) = (pattern(20, 3 * STRIP + 1), FilterType::CatmullRom);
    assert_eq!(resize(&photo, 20, 3 * STRIP + 1, filter), photo);
    let narrow = resize(&photo, 9, 3 * STRIP + 1, filter);
    for y in [0, STRIP - 1, STRIP, 3 * STRIP] {
        let row = imageops::crop_imm(&photo, 0, y, 20, 1).to_image();
        assert_eq!(resize(&row, 9, 1, filter), imageops::crop_imm(&narrow, 0, y, 9, 1).to_image());
    }
}

#[test]
fn numbers_that_make_no_sense_for_the_input_are_refused() {
    let good = spec(8, "bilinear", 4);
    let check = |spec: &Preprocessing, shape: &[usize], words: &str| {
        let message = refused(spec, shape);
        assert!(message.contains(words), "{message}");
    };
    check(&good, &[1, 4, 4, 4], "[1, 4, 4, 4]");
    check(&good, &[1, 16], "[1, 16]");
    check(&spec(8, "sinc", 4), &[1, 3, 4, 4], "sinc");
    check(&spec(8, "bilinear", 0), &[1, 3, 4, 4], "cuts 0");
    check(&spec(3, "bilinear", 4), &[1, 3, 4, 4], "cuts 4");
    check(&spec(usize::MAX, "bilinear", 1), &[1, 3, 4, 4], "more pixels");
    check(&Preprocessing { mean: vec![1.0; 2], ..good.clone() }, &[1, 3, 4, 4], "2 numbers for `mean`");
    check(&Preprocessing { std: vec![], ..good.clone() }, &[1, 3, 4, 4], "0 numbers for `std`");
    check(&Preprocessing { std: vec![1.0, 0.0, 1.0], ..good }, &[1, 3, 4, 4], "divides by 0");
}

#[test]
fn channels_are_first_or_last_as_the_input_has_them() {
    let photo = pattern(40, 30);
    let spec = Preprocessing { order: "bgr".to_owned(), mean: vec![1.0, 2.0, 3.0], ..spec(20, "bilinear", 16) };
    let image = |shape: &[usize]| prepare(&spec, shape).image(&photo).expect("an image");
    let (first, last) = (image(&[1, 3, 12, 16]), image(&[1, 12, 16, 3]));
    assert_eq!((first.len(), last.len()), (3 * 12 * 16, 3 * 12 * 16));
    let moved: Vec<f32> = (0..12 * 16)
        .flat_map(|pixel| (0..3).map(move |channel| (channel, pixel)))
        .map(|(channel, pixel)| first[channel * 12 * 16 + pixel])
        .collect();
    assert_eq!(last, moved);
    assert_ne!(first, last);
    let layout = |shape: &[usize]| Extents::of("x", shape).expect("extents").layout;
    assert_eq!(
        [&[1, 1, 28, 28][..], &[1, 28, 28, 1], &[1, 3, 8, 3]].map(layout),
        [Layout::Nchw, Layout::Nhwc, Layout::Nchw]
    );
    assert!(Extents::of("x", &[1, 4, 8, 8]).is_err() && Extents::of("x", &[3, 8, 8]).is_err());
}
