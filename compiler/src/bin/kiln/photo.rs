//! Photos: PNG and JPEG files to pixels.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, RgbImage};
use kiln_rt::content::Content;

/// How the names of photos end, in any case.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// What kiln reads, for messages.
pub(crate) const FORMATS: &str = "PNG and JPEG, in files that end in .png, .jpg or .jpeg";

/// The most bytes that a file may have, and the most that the pixels in it may take.
const MOST_BYTES: u64 = 512 << 20;

/// Whether a file's name says that it is a photo.
pub(crate) fn is_named_photo(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The pixels of a PNG or JPEG file, eight bits a channel: upright as its EXIF orientation says, grey in all three
/// channels, without alpha. What the file is says its content, not its name.
///
/// # Errors
/// A message that names the file and says what is wrong with it.
pub(crate) fn decode(path: &Path) -> Result<RgbImage, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(format!(
            "{shown} has {} MiB, more than the {} that a photo may have",
            metadata.len() >> 20,
            MOST_BYTES >> 20
        ));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let reader = ImageReader::new(Cursor::new(bytes.as_slice())).with_guessed_format().map_err(unreadable)?;
    match reader.format() {
        Some(ImageFormat::Png) => {}
        Some(ImageFormat::Jpeg) if reaches_end(&bytes) => {}
        Some(ImageFormat::Jpeg) => return Err(format!("{shown} is broken: the file ends before the image does")),
        Some(other) => return Err(format!("{shown} holds a {other:?} image: kiln reads PNG and JPEG")),
        None => {
            let is = Content::of(&bytes).map_or(String::new(), |content| format!("{content}, "));
            return Err(format!("{shown} is {is}not a PNG or JPEG image"));
        }
    }
    let pixels = pixels(reader).map_err(|error| match error {
        ImageError::Limits(_) => {
            format!("{shown} is too large: its pixels would take more than {} MiB", MOST_BYTES >> 20)
        }
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Unsupported(_)
        | ImageError::IoError(_) => format!("{shown} is broken: {error}"),
    })?;
    if pixels.is_empty() { Err(format!("{shown} is broken: it has no pixels")) } else { Ok(pixels) }
}

fn pixels(mut reader: ImageReader<Cursor<&[u8]>>) -> ImageResult<RgbImage> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    // A photo whose EXIF cannot be read is still a photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Whether a JPEG file goes on to its end-of-image marker (ITU-T T.81, B.1.1); the decoder takes one that was cut, and
/// fills what is missing with grey.
fn reaches_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        let skipped = match rest {
            [] => return false,
            [0xd9, ..] => return true,
            // A fill byte: the next one may be the marker's.
            [0xff, ..] => 0,
            // A 0xff of the data, and markers that stand alone: TEM, restarts, start of image.
            [0x00 | 0x01 | 0xd0..=0xd8, ..] => 1,
            // Any other segment; its length counts the two bytes that hold it.
            &[_, high, low, ..] => 1 + usize::from(u16::from_be_bytes([high, low])),
            _ => return false,
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageEncoder, Luma, Rgb, Rgba, RgbaImage};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn names_of_photos_end_in_any_case() {
        let photos = ["a.png", "b.JPG", "c.d.jpeg", "e.PnG"].map(Path::new);
        let others = ["a.npy", "png", ".png", "b.jpg.txt", "c"].map(Path::new);
        assert!(photos.into_iter().all(is_named_photo) && !others.into_iter().any(is_named_photo));
    }

    #[test]
    fn grey_alpha_and_jpeg_become_rgb_whatever_the_name() {
        let folder = folder();
        let path = folder.path().join("a.png");
        GrayImage::from_pixel(3, 2, Luma([77])).save(&path).expect("a file");
        assert_eq!(decode(&path).expect("an image"), RgbImage::from_pixel(3, 2, Rgb([77, 77, 77])));
        RgbaImage::from_pixel(3, 2, Rgba([1, 2, 3, 0])).save(&path).expect("a file");
        assert_eq!(decode(&path).expect("an image"), RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])));
        RgbImage::from_pixel(8, 8, Rgb([90, 90, 90])).save_with_format(&path, ImageFormat::Jpeg).expect("a file");
        let decoded = decode(&path).expect("an image");
        assert!(decoded.pixels().all(|pixel| pixel.0.iter().all(|&value| value.abs_diff(90) <= 2)), "{decoded:?}");
    }

    /// An EXIF block with one entry: orientation (tag 0x0112, a short), here 6, "turn right by 90 degrees".
    const TURNED: &[u8] = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

    #[test]
    fn a_photo_is_turned_upright() {
        let folder = folder();
        let path = folder.path().join("turned.png");
        let (left, right) = (Rgb([255, 0, 0]), Rgb([0, 0, 255]));
        let image = RgbImage::from_fn(2, 1, |x, _| if x == 0 { left } else { right });
        let mut encoder = image::codecs::png::PngEncoder::new(fs::File::create(&path).expect("a file"));
        encoder.set_exif_metadata(TURNED.to_vec()).expect("PNG holds EXIF");
        encoder.write_image(&image, 2, 1, image::ExtendedColorType::Rgb8).expect("a file");
        let upright = decode(&path).expect("an image");
        assert_eq!((upright.dimensions(), *upright.get_pixel(0, 0), *upright.get_pixel(0, 1)), ((1, 2), left, right));
    }

    /// The message for a file with these bytes.
    fn refused(bytes: &[u8]) -> String {
        let folder = folder();
        let path = folder.path().join("photo.jpg");
        fs::write(&path, bytes).expect("a file");
        let message = decode(&path).map(|image| image.dimensions()).expect_err("no photo");
        assert!(message.contains("photo.jpg"), "{message}");
        message
    }

    #[test]
    fn what_is_no_photo_or_half_of_one_is_refused() {
        assert!(refused(b"").contains("not a PNG or JPEG"));
        assert!(refused(b"some text").contains("not a PNG or JPEG"));
        assert!(refused(b"GIF89a\x01\x00\x01\x00").contains("Gif"));
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x * 7) as u8, (y * 5) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).expect("encoded");
            let whole = bytes.into_inner();
            for cut in [20, whole.len() / 2, whole.len() - 20] {
                let message = refused(&whole[..cut]);
                assert!(message.contains("broken"), "{format:?} cut to {cut} of {} bytes: {message}", whole.len());
            }
        }
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Jpeg).expect("encoded");
        let mut flat = bytes.into_inner();
        // The frame header: marker, length, bits a sample, rows.
        let frame = flat.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a frame");
        flat[frame + 5..frame + 7].fill(0);
        assert!(refused(&flat).contains("broken"));
        assert!(decode(Path::new("nowhere.png")).expect_err("no file").contains("nowhere.png"));
        assert!(decode(folder().path()).expect_err("no file").contains("not a file"));
    }

    #[test]
    fn a_small_file_that_claims_to_be_enormous_is_refused() {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(1, 1).write_to(&mut bytes, ImageFormat::Png).expect("encoded");
        let mut bytes = bytes.into_inner();
        // The header chunk: its width and height, and the checksum over it (`crc32` of Ethernet and zip).
        bytes[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let checksum = !bytes[12..29].iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        });
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert!(refused(&bytes).contains("too large"));
    }
}
