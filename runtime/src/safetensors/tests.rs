//! Whole files: good ones, each kind of bad one, and random damage.

use super::*;
use crate::fill::Kind;
use crate::weights::Source;

fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

fn example() -> Vec<u8> {
    let floats: Vec<u8> = [1.0_f32, -2.0, 0.5, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    write([
        ("conv.weight", View { dtype: Dtype::F32, shape: &[2, 3], bytes: &floats }),
        ("odd \"name\"\n\u{1F98A}", View { dtype: Dtype::U8, shape: &[], bytes: &[7] }),
        ("none", View { dtype: Dtype::I64, shape: &[0, 4], bytes: &[] }),
    ])
}

#[test]
fn a_written_file_reads_back() {
    let file = example();
    let tensors = SafeTensors::parse(&file).unwrap();
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["conv.weight", "none", "odd \"name\"\n\u{1F98A}"]);
    let weight = tensors.tensor("conv.weight").unwrap();
    assert_eq!((weight.dtype, weight.shape, weight.len()), (Dtype::F32, &[2, 3][..], 6));
    assert_eq!((0..6).map(|i| weight.element(i)).collect::<Vec<_>>(), [1.0, -2.0, 0.5, 4.0, 5.0, 6.0]);
    assert_eq!(tensors.tensor("odd \"name\"\n\u{1F98A}").unwrap().element(0), 7.0);
    assert!(tensors.tensor("none").unwrap().is_empty());
    assert_eq!(tensors.tensor("conv"), None);
}

#[test]
fn headers_of_other_writers() {
    let header = r#" { "__metadata__" : {"format":"pt", "\u0061\ud83e\udd8a\/":"x\ty"},
        "a" : {"data_offsets":[0,2],"shape":[1 , 1],"dtype":"BF16"} }   "#;
    let file = file_of(header, &[0x80, 0x3F]);
    let tensors = SafeTensors::parse(&file).unwrap();
    assert_eq!(tensors.tensor("a").unwrap().element(0), 1.0);
    assert_eq!(tensors.metadata()["format"], "pt");
    assert_eq!(tensors.metadata()["a\u{1F98A}/"], "x\ty");
    assert_eq!(SafeTensors::parse(&file_of("{}", &[])).unwrap().names().count(), 0);
}

#[test]
fn mistakes_are_named_and_placed() {
    let tensor = |name: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let of = |entries: &[String]| format!("{{{}}}", entries.join(","));
    let cases: &[(String, usize, &str)] = &[
        ("[]".into(), 8, "safetensors header, byte 8: `{` was expected"),
        ("{} x".into(), 8, "safetensors header, byte 11: the end of the header was expected"),
        (r#"{"a"#.into(), 8, "safetensors header, byte 11: a string without an end"),
        (r#"{"\q":1}"#.into(), 8, "safetensors header, byte 10: an unknown escape"),
        (r#"{"\ud800":1}"#.into(), 8, "safetensors header, byte 10: an unknown escape"),
        (r#"{"a":{"dtype":"F9"}}"#.into(), 8, "safetensors header, byte 9: tensor `a` has no shape"),
        (
            r#"{"a":{"dtype":"F9","shape":[3],"data_offsets":[4,1]}}"#.into(),
            8,
            "safetensors header, byte 9: tensor `a`: F9 [3] does not take bytes 4 to 1",
        ),
        (r#"{"a":{"size":1}}"#.into(), 8, "safetensors header, byte 14: unknown key `size` of a tensor"),
        (r#"{"a":{}}"#.into(), 8, "safetensors header, byte 9: tensor `a` has no dtype"),
        (
            of(&[tensor("a", "[1]", "[0,4]"), tensor("a", "[1]", "[4,8]")]),
            8,
            "safetensors header, byte 62: tensor `a` twice",
        ),
        (of(&[tensor("a", "[-1]", "[0,4]")]), 8, "safetensors header, byte 37: a whole number was expected"),
        (
            of(&[tensor("a", "[99999999999999999999]", "[0,4]")]),
            8,
            "safetensors header, byte 37: the number 99999999999999999999 is too large",
        ),
        (
            of(&[tensor("a", "[4294967296,4294967296]", "[0,0]")]),
            0,
            "safetensors header, byte 9: tensor `a`: F32 [4294967296, 4294967296] does not take bytes 0 to 0",
        ),
        (
            of(&[tensor("a", "[2]", "[8,0]")]),
            8,
            "safetensors header, byte 9: tensor `a`: F32 [2] does not take bytes 8 to 0",
        ),
        (
            of(&[tensor("a", "[2]", "[0,4]")]),
            8,
            "safetensors header, byte 9: tensor `a`: F32 [2] does not take bytes 0 to 4",
        ),
        (of(&[tensor("a", "[3]", "[0,12]")]), 8, "the file is cut: tensor `a` ends at byte 12 of 8 bytes of data"),
        (of(&[tensor("a", "[2]", "[0,8]"), tensor("b", "[1]", "[4,8]")]), 8, "tensors `a` and `b` overlap"),
        (of(&[tensor("a", "[1]", "[4,8]")]), 8, "bytes 0 to 4 of the data belong to no tensor"),
    ];
    for (header, data, message) in cases {
        let file = file_of(header, &vec![0; *data]);
        assert_eq!(SafeTensors::parse(&file).unwrap_err().to_string(), *message, "{header}");
    }
    let mut file = file_of(&"[".repeat(100_000), &[]);
    assert!(SafeTensors::parse(&file).is_err());
    file.truncate(500);
    let cut = SafeTensors::parse(&file).unwrap_err().to_string();
    assert_eq!(cut, "the file is cut, or not safetensors: a header of 100000 bytes, 492 found");
    for (file, words) in [
        (&b"PK\x03\x04 a zip file"[..], "not a safetensors file, but a zip archive; unpack it"),
        (b"", "not a safetensors file, but an empty file"),
        (b"<!doctype html><html></html>", "not a safetensors file, but an HTML page; "),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS pointer to the file; `git lfs pull`",
        ),
        (b"Not Found", "not a safetensors file, but a text"),
        (b"\x01\x02\x03", "not a safetensors file: it has 3 of the first 8 bytes"),
    ] {
        let message = SafeTensors::parse(file).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

/// Types of the format that are not read, one of another time, and bytes behind the last tensor.
#[test]
fn what_nobody_asks_for_is_left_alone() {
    let header = r#"{"f8":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]},
        "a":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},
        "c":{"dtype":"C64","shape":[1],"data_offsets":[14,22]},
        "f4":{"dtype":"F4","shape":[4],"data_offsets":[22,24]},
        "new":{"dtype":"Q7_K","shape":[9],"data_offsets":[24,24]}}"#;
    let mut data = vec![0xff; 24];
    data[6..14].copy_from_slice(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    data.extend_from_slice(b"trailing");
    let file = file_of(header, &data);
    let tensors = SafeTensors::parse(&file).unwrap();
    let a = tensors.tensor("a").unwrap();
    assert_eq!((0..2).map(|i| a.element(i)).collect::<Vec<_>>(), [1.0, 2.0]);
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["a", "c", "f4", "f8", "new"]);
    assert_eq!(
        (tensors.unread("a"), tensors.unread("f8"), tensors.unread("new")),
        (None, Some("F8_E4M3"), Some("Q7_K"))
    );
    assert_eq!((tensors.tensor("f8"), tensors.shape("f8")), (None, Some(&[2, 3][..])));
    assert_eq!(tensors.trailing(), 8);
    let asked = |name| Source::tensor(&tensors, name, Kind::Kernel, tensors.shape(name).unwrap());
    assert!(asked("a").is_ok());
    let message = asked("c").unwrap_err().to_string();
    assert_eq!(message, "tensor `c` has elements of type C64, which kiln does not read");
    // Cut in the middle, it is still cut.
    assert!(SafeTensors::parse(&file[..file.len() - 9]).is_err());
}

/// Random bytes changed, removed and repeated: any answer but a panic, and a view that is given is whole.
#[test]
fn damage_is_never_a_panic() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let example = example();
    for _ in 0..20_000 {
        let mut file = example.clone();
        for _ in 0..=random(4) {
            let at = random(file.len());
            match random(4) {
                0 => file[at] ^= 1 << random(8),
                1 => file[at] = br#"{}[]":,\0919u"#[random(13)],
                2 => drop(file.drain(at..(at + random(8)).min(file.len()))),
                _ => {
                    let piece: Vec<u8> = file[at..(at + random(20)).min(file.len())].to_vec();
                    file.splice(at..at, piece);
                }
            }
            if file.is_empty() {
                break;
            }
        }
        if let Ok(tensors) = SafeTensors::parse(&file) {
            for name in tensors.names() {
                let Some(view) = tensors.tensor(name) else {
                    assert!(tensors.unread(name).is_some() && tensors.shape(name).is_some());
                    continue;
                };
                assert_eq!(view.len(), view.shape.iter().product::<usize>());
                assert_eq!((0..view.len()).filter(|&index| view.element(index) < f64::NEG_INFINITY).count(), 0);
            }
        }
    }
}
