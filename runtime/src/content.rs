//! What a file is, by what stands in it: for messages about one that stands where another kind belongs.
//!
//! Nothing here decides how a file is read. Readers ask when they cannot read one, so that a file of weights that is a web
//! page is called a web page.

use std::fmt;

/// As much of a file's start as is looked at.
pub const START: usize = 4096;

/// As much of an archive's end as is searched for the names in it.
const DIRECTORY: usize = 1 << 20;

/// Kinds of files that are easily taken for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Display` says what each is")]
pub enum Content {
    Empty,
    Onnx,
    OnnxText,
    OnnxRuntime,
    TensorFlowGraph,
    SavedModel,
    TfLite,
    Hdf5,
    Keras,
    SafeTensors,
    WeightsIndex,
    StateDict,
    TorchScript,
    Pickle,
    Gguf,
    PackedWeights,
    Npy,
    Npz,
    Png,
    Jpeg,
    Gif,
    WebP,
    Bmp,
    Tiff,
    Heif,
    Zip,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    SevenZip,
    Tar,
    GitLfs,
    Html,
    Xml,
    Json,
    ProtocolText,
    Text,
}

impl Content {
    /// What a file is; its first [`START`] bytes tell all but what an archive holds.
    pub fn of(file: &[u8]) -> Option<Self> {
        let start = &file[..file.len().min(START)];
        Some(match start {
            [] => Self::Empty,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Self::Npy,
            [b'P', b'K', 3, 4, ..] => archive(file),
            [0x89, b'H', b'D', b'F', ..] => Self::Hdf5,
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [b'G', b'I', b'F', b'8', ..] => Self::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::Bmp,
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Self::Tiff,
            [0, 0, 0, _, b'f', b't', b'y', b'p', ..] => Self::Heif,
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Self::TfLite,
            [_, _, _, _, b'O', b'R', b'T', b'M', ..] => Self::OnnxRuntime,
            [b'G', b'G', b'U', b'F', ..] => Self::Gguf,
            [b'k', b'i', b'l', b'n', b'w', b't', b's', b'\n', ..] => Self::PackedWeights,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'7', b'z', 0xbc, 0xaf, ..] => Self::SevenZip,
            // The length of a header, and the header, which is JSON.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Self::SafeTensors,
            // The magic number of `torch.save` before archives, ten bytes long.
            [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, ..] => Self::StateDict,
            [0x80, 2..=5, ..] => Self::Pickle,
            // Field 1 of a `SavedModel`, the version, and field 2, a message whose own field 1 is a message.
            [0x08, 0x01, 0x12, rest @ ..] if behind_length(rest).starts_with(&[0x0a]) => Self::SavedModel,
            // Field 1 of a `ModelProto`, the version, and the key of one of its other fields, as all exporters write them.
            [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..] => Self::Onnx,
            [0x0a, rest @ ..] if is_node(behind_length(rest)) => Self::TensorFlowGraph,
            _ if start.get(257..262) == Some(b"ustar") => Self::Tar,
            _ => return text(start),
        })
    }

    /// Whether it is text of some kind.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::OnnxText
                | Self::WeightsIndex
                | Self::GitLfs
                | Self::Html
                | Self::Xml
                | Self::Json
                | Self::ProtocolText
                | Self::Text
        )
    }

    /// What to do with it, where something is known.
    pub fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::Html | Self::Xml => {
                "what was downloaded is a page about the file: look for a link to the file itself"
            }
            Self::GitLfs => "`git lfs pull` in its repository fetches the file that it stands for",
            Self::Gzip | Self::Bzip2 | Self::Xz | Self::Zstd | Self::SevenZip | Self::Tar | Self::Zip => {
                "unpack it, and name a file that was in it"
            }
            Self::OnnxText => {
                "in Python, `onnx.save(onnx.load(FILE, format=\"textproto\"), \"model.onnx\")` writes it as models are read"
            }
            Self::OnnxRuntime => "name the .onnx file that it was made of",
            Self::TorchScript => {
                "in Python, `torch.onnx.export` of `torch.jit.load(FILE)` writes a model, and `torch.save` of its \
                 `state_dict()` its weights"
            }
            Self::SavedModel => {
                "`python -m tf2onnx.convert --saved-model FOLDER --output model.onnx` makes a model of it"
            }
            Self::TensorFlowGraph => {
                "`python -m tf2onnx.convert --graphdef FILE --output model.onnx` makes a model of it"
            }
            Self::TfLite => "`python -m tf2onnx.convert --tflite FILE --output model.onnx` makes a model of it",
            Self::Hdf5 | Self::Keras => {
                "in Python, Keras' `model.export(\"model.onnx\", format=\"onnx\")` writes the model with its weights"
            }
            Self::WeightsIndex => "name one of the files that it lists",
            Self::SafeTensors | Self::StateDict => "it holds weights, without the network that they belong to",
            Self::Pickle => {
                "kiln runs nothing, as pickles ask for; in Python, `torch.save` of a dict of tensors writes a state dict"
            }
            Self::Empty
            | Self::Onnx
            | Self::Gguf
            | Self::PackedWeights
            | Self::Npy
            | Self::Npz
            | Self::Png
            | Self::Jpeg
            | Self::Gif
            | Self::WebP
            | Self::Bmp
            | Self::Tiff
            | Self::Heif
            | Self::Json
            | Self::ProtocolText
            | Self::Text => return None,
        })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Onnx => "an ONNX model",
            Self::OnnxText => "an ONNX model written as text",
            Self::OnnxRuntime => "a model in ONNX Runtime's own format",
            Self::TensorFlowGraph => "a graph of TensorFlow",
            Self::SavedModel => "a SavedModel of TensorFlow",
            Self::TfLite => "a TensorFlow Lite model",
            Self::Hdf5 => "an HDF5 file, as Keras writes it",
            Self::Keras => "a Keras model",
            Self::SafeTensors => "a safetensors file",
            Self::WeightsIndex => "the index of several files of weights",
            Self::StateDict => "a file of PyTorch's `torch.save`",
            Self::TorchScript => "a TorchScript module",
            Self::Pickle => "a pickle, but none of `torch.save`",
            Self::Gguf => "a GGUF file, as llama.cpp reads it",
            Self::PackedWeights => "the packed weights of a kiln crate",
            Self::Npy => "an array, as .npy files hold it",
            Self::Npz => "an archive of arrays, as .npz files are",
            Self::Png => "a PNG image",
            Self::Jpeg => "a JPEG image",
            Self::Gif => "a GIF image",
            Self::WebP => "a WebP image",
            Self::Bmp => "a BMP image",
            Self::Tiff => "a TIFF image",
            Self::Heif => "a HEIF image or a film",
            Self::Zip => "a zip archive",
            Self::Gzip => "compressed by gzip",
            Self::Bzip2 => "compressed by bzip2",
            Self::Xz => "compressed by xz",
            Self::Zstd => "compressed by zstd",
            Self::SevenZip => "a 7z archive",
            Self::Tar => "a tar archive",
            Self::GitLfs => "a Git LFS pointer to the file",
            Self::Html => "an HTML page",
            Self::Xml => "an XML text",
            Self::Json => "a JSON text",
            Self::ProtocolText => "a protobuf message written as text",
            Self::Text => "a text",
        })
    }
}

/// What a zip archive is, by the names in it: they stand before its entries, and in the directory at its end.
fn archive(file: &[u8]) -> Content {
    let name = match file.get(26..28).and_then(|length| <[u8; 2]>::try_from(length).ok()) {
        Some(length) => file.get(30..30 + usize::from(u16::from_le_bytes(length))).unwrap_or_default(),
        None => &[],
    };
    let directory = &file[file.len().saturating_sub(DIRECTORY)..];
    let names = |name: &[u8]| directory.windows(name.len()).any(|window| window == name);
    match name {
        _ if name.ends_with(b".npy") => Content::Npz,
        _ if names(b"/constants.pkl") => Content::TorchScript,
        _ if name.ends_with(b"/data.pkl") || names(b"/data.pkl") => Content::StateDict,
        b"metadata.json" | b"config.json" if names(b"model.weights.h5") => Content::Keras,
        _ => Content::Zip,
    }
}

/// What a field of bytes holds: what follows its length, a number in groups of seven bits.
fn behind_length(field: &[u8]) -> &[u8] {
    let last = field.iter().position(|byte| byte & 0x80 == 0);
    last.map_or(&[], |last| &field[last + 1..])
}

/// Whether a message begins as a `NodeDef` of TensorFlow: a name, and an operator, which starts with a capital.
fn is_node(message: &[u8]) -> bool {
    let [0x0a, length, rest @ ..] = message else { return false };
    let Some((name, rest)) = rest.split_at_checked(usize::from(*length)) else { return false };
    name.iter().all(u8::is_ascii_graphic) && matches!(rest, [0x12, 1..=63, b'A'..=b'Z', ..])
}

/// What a text is, from its first lines; None where it is none.
fn text(start: &[u8]) -> Option<Content> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c')) {
        return None;
    }
    let text = text.trim_start();
    let begins = |words: &str| text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    Some(if text.starts_with("version https://git-lfs.github.com/spec/") {
        Content::GitLfs
    } else if begins("<!doctype html") || begins("<html") || begins("<head") {
        Content::Html
    } else if begins("<?xml") {
        Content::Xml
    } else if let Some(inside) = text.strip_prefix(['{', '[']) {
        match inside.trim_start().starts_with(['"', '{', '[', '}', ']']) {
            true if text.contains("\"weight_map\"") => Content::WeightsIndex,
            true => Content::Json,
            false => Content::Text,
        }
    } else {
        protocol_text(text).unwrap_or(Content::Text)
    })
}

/// Whether the first line that is no remark is a field: `ir_version: 8`, `graph {`.
fn protocol_text(text: &str) -> Option<Content> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let end = line.find(|c: char| !(c.is_ascii_lowercase() || c == '_'))?;
    let (field, rest) = line.split_at(end);
    let is_field = !field.is_empty() && (rest.starts_with(": ") || rest.trim_start() == "{");
    let of_onnx = field == "ir_version" || text.contains("opset_import") || text.contains("op_type:");
    match is_field {
        true if of_onnx => Some(Content::OnnxText),
        true => Some(Content::ProtocolText),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_what_stands_in_them() {
        let known: &[(&[u8], Content)] = &[
            (b"", Content::Empty),
            (b"\x93NUMPY\x01\0", Content::Npy),
            (b"\x08\x0a\x12\x07pytorch", Content::Onnx),
            (b"\x08\x0a\x12\0\0\0\0\0{\"a\":", Content::SafeTensors),
            (b"\x08\x01\x12\xf5\xa6\x02\x0a\x8b\x02", Content::SavedModel),
            (b"\x0a\x35\x0a\x05input\x12\x0bPlaceholder*\x0b", Content::TensorFlowGraph),
            (b"\x1c\0\0\0TFL3\x14\0", Content::TfLite),
            (b"\x28\0\0\0ORTM", Content::OnnxRuntime),
            (b"\x89HDF\r\n\x1a\n", Content::Hdf5),
            (b"PK\x03\x04", Content::Zip),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Content::StateDict),
            (b"\x80\x04}.", Content::Pickle),
            (b"kilnwts\n\x01\0", Content::PackedWeights),
            (b"\x1f\x8b\x08\x08", Content::Gzip),
            (b"BZh91AY&SY", Content::Bzip2),
            (b"\xfd7zXZ\0", Content::Xz),
            (b"\x28\xb5\x2f\xfd\x04", Content::Zstd),
            (b"\x89PNG\r\n", Content::Png),
            (b"\xff\xd8\xff\xe0", Content::Jpeg),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Content::WebP),
            (b"\0\0\0\x18ftypheic", Content::Heif),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", Content::GitLfs),
            (b"\n<!DOCTYPE HTML>\n<html lang=\"en\">", Content::Html),
            (b"\xef\xbb\xbf<html>", Content::Html),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", Content::Xml),
            (b"{\"metadata\": {}, \"weight_map\": {\"a\": \"b.safetensors\"}}", Content::WeightsIndex),
            (b"{ \"error\": 404 }", Content::Json),
            (b"# of a converter\nir_version: 8\nproducer_name: \"x\"\ngraph {\n", Content::OnnxText),
            (b"graph {\n  node {\n    op_type: \"Relu\"\n", Content::OnnxText),
            (b"node {\n  name: \"input\"\n", Content::ProtocolText),
            (b"Entry not found", Content::Text),
            ("Nicht gefunden: stra\u{df}e".as_bytes(), Content::Text),
            (b"pub net A(x: [1]) { x }", Content::Text),
        ];
        for &(start, content) in known {
            assert_eq!(Content::of(start), Some(content), "{}", String::from_utf8_lossy(start));
        }
        for unknown in [&b"\x08\x0a"[..], b"\0\x01\x02", b"\xff\xfe\0", b"\x0a\x35\x0a\xff"] {
            assert_eq!(Content::of(unknown), None, "{unknown:?}");
        }
        let mut tar = [0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Content::of(&tar), Some(Content::Tar));
        // A character that the limit cuts.
        assert_eq!(Content::of(&[&[b'a'; START - 1][..], "\u{df}".as_bytes()].concat()), Some(Content::Text));
    }

    #[test]
    fn archives_are_known_by_their_names() {
        let archive = |first: &str, others: &str| {
            let length = (first.len() as u16).to_le_bytes();
            let start = [&b"PK\x03\x04"[..], &[0; 22], &length, &[0; 2], first.as_bytes()].concat();
            Content::of(&[&start[..], &[0; 9000], others.as_bytes()].concat())
        };
        assert_eq!(archive("a/data.pkl", ""), Some(Content::StateDict));
        assert_eq!(archive("a/version", "a/data.pkl"), Some(Content::StateDict));
        assert_eq!(archive("a/data.pkl", "a/code/m.py a/constants.pkl"), Some(Content::TorchScript));
        assert_eq!(archive("x.npy", "y.npy"), Some(Content::Npz));
        assert_eq!(archive("metadata.json", "config.json model.weights.h5"), Some(Content::Keras));
        assert_eq!(archive("word/document.xml", ""), Some(Content::Zip));
    }

    #[test]
    fn every_start_is_answered() {
        let mut state = 1_u64;
        for length in 0..2000 {
            let bytes: Vec<u8> = (0..length % 40)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            for start in [&b""[..], b"PK\x03\x04", b"\x0a", b"\x08\x01\x12", b"{"] {
                let content = Content::of(&[start, &bytes].concat());
                assert!(content.is_none_or(|content| !content.to_string().is_empty()));
            }
        }
    }
}
