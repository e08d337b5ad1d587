//! What a file is, by its first bytes: for messages about one that stands where another kind belongs.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Kinds of files that are easily taken for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Onnx,
    Npy,
    SafeTensors,
    Zip,
    Hdf5,
    Photo,
}

impl Content {
    /// What a file is that begins so.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Content::Npy),
            [b'P', b'K', 3, 4, ..] => Some(Content::Zip),
            [0x89, b'H', b'D', b'F', ..] => Some(Content::Hdf5),
            [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => Some(Content::Photo),
            // The length of a header, and the header, which is JSON.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Some(Content::SafeTensors),
            // Field 1 of a `ModelProto`, the version, and the key of one of its other fields, as all exporters write them.
            [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..] => Some(Content::Onnx),
            _ => None,
        }
    }

    /// What a file is; None where there is none, or nothing that can be read twice.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let mut start = Vec::new();
        if path.is_file() {
            File::open(path).ok()?.take(16).read_to_end(&mut start).ok()?;
        }
        Content::of(&start)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Onnx => "an ONNX model",
            Content::Npy => "an array, as .npy files hold it",
            Content::SafeTensors => "a safetensors file",
            Content::Zip => "a zip archive, as .npz files and PyTorch's state dicts are",
            Content::Hdf5 => "an HDF5 file",
            Content::Photo => "a photo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let of = |start: &[u8]| Content::of(start);
        assert_eq!(of(b"\x93NUMPY\x01\0"), Some(Content::Npy));
        assert_eq!(of(b"\x08\x0a\x12\x07pytorch"), Some(Content::Onnx));
        assert_eq!(of(b"\x08\x0a\x12\0\0\0\0\0{\"a\":"), Some(Content::SafeTensors), "a header of 0x120a08 bytes");
        assert_eq!(of(b"PK\x03\x04"), Some(Content::Zip));
        assert_eq!((of(b"pub net A(x: [1]) { x }"), of(b"\x08\x0a"), of(b"")), (None, None, None));
    }
}
