//! Pickles and archives by hand: what Python 2 wrote, and what nobody should have.

use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::pickle::{MAX_OPCODES, Pickle, Value, read};
use super::*;

/// A pickle of protocol 2.
fn pickle(opcodes: &[&[u8]]) -> Vec<u8> {
    [&[0x80, 2][..], &opcodes.concat(), b"."].concat()
}

fn word(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: i32) -> Vec<u8> {
    [b"J", &value.to_le_bytes()[..]].concat()
}

/// A whole number of 64 bits.
fn long(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

/// A tensor over storage 0 of that many floats.
fn tensor(len: &[u8], offset: &[u8], shape: &[&[u8]], strides: &[&[u8]]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        word("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        word("0"),
        word("cpu"),
        len.to_vec(),
        b"tQ".to_vec(),
        offset.to_vec(),
        b"(".to_vec(),
        shape.concat(),
        b"t(".to_vec(),
        strides.concat(),
        b"t\x89}tR".to_vec(),
    ]
    .concat()
}

fn dict(name: &str, value: &[u8]) -> Vec<u8> {
    pickle(&[b"}", &word(name), value, b"s"])
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ZipArchiveWriter::new(&mut bytes);
    for (name, data) in entries {
        let start = writer.new_file(name).compression_method(CompressionMethod::STORE).start();
        let (mut entry, config) = start.expect("an entry");
        let mut data_writer = config.wrap(&mut entry);
        std::io::Write::write_all(&mut data_writer, data).expect("memory");
        let (_, descriptor) = data_writer.finish().expect("memory");
        entry.finish(descriptor).expect("memory");
    }
    writer.finish().expect("memory");
    bytes
}

/// What is wrong with an archive of a pickle and six floats.
fn fails(pickle: &[u8]) -> String {
    StateDict::parse(&archive(&[("a/data.pkl", pickle), ("a/data/0", &[0; 24])])).expect_err("a mistake").to_string()
}

fn value(opcodes: &[&[u8]]) -> Result<String, String> {
    let bytes = pickle(opcodes);
    let (Pickle { root, .. }, rest) = read(&bytes, "p", 0).map_err(|error| error.to_string())?;
    assert!(rest.is_empty());
    Ok(format!("{root:?}"))
}

#[test]
fn integers_of_every_width() {
    for (opcodes, number) in [
        (&b"J\xff\xff\xff\xff"[..], -1),
        (b"K\xff", 255),
        (b"M\x00\x01", 256),
        (b"\x8a\x00", 0),
        (b"\x8a\x01\xff", -1),
        (b"\x8a\x02\xff\x00", 255),
        (b"\x8a\x08\0\0\0\0\0\0\0\x80", i64::MIN),
        (b"\x8b\x01\0\0\0\x07", 7),
    ] {
        assert_eq!(value(&[opcodes]), Ok(format!("{:?}", Value::Int(number))));
    }
    assert_eq!(value(&[b"\x8a\x09\0\0\0\0\0\0\0\0\x01"]), Ok("Other".to_owned()));
}

#[test]
fn strings_of_python_2_and_pairs_of_its_dicts() {
    // OrderedDict([["w", tensor]]): a list of lists.
    let tensor = tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]);
    let pairs = [&b"ccollections\nOrderedDict\n]](U\x01w"[..], &tensor, b"ea\x85R"];
    let file = archive(&[("a/data.pkl", &pickle(&pairs)), ("a/data/0", &[0; 24])]);
    let dict = StateDict::parse(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(dict.shapes().collect::<Vec<_>>(), [("w", &[6][..])]);
}

#[test]
fn attributes_of_a_state_dict_are_left_out() {
    // state_dict._metadata is what BUILD sets.
    let tensor = tensor(&int(6), &int(1), &[&int(2), &int(2)], &[&int(1), &int(2)]);
    let built = pickle(&[b"ccollections\nOrderedDict\n)R", &word("w"), &tensor, b"s}", &word("_metadata"), b"}sb"]);
    let floats: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let file = archive(&[("a/data.pkl", &built), ("a/data/0", &floats), ("a/byteorder", b"little")]);
    let dict = StateDict::parse(&file).unwrap_or_else(|error| panic!("{error}"));
    let Ok(Stored::View(view)) = dict.tensor("w", Kind::Kernel, &[2, 2]) else { panic!("no tensor") };
    assert_eq!((0..4).map(|i| view.element(i)).collect::<Vec<_>>(), [1.0, 3.0, 2.0, 4.0]);
    assert!(dict.tensor("w", Kind::Kernel, &[4]).is_err() && dict.tensor("v", Kind::Kernel, &[2, 2]).is_err());
}

/// Calls of whatever a training program keeps, and of what nobody should: they make nothing, and a tensor beside them is
/// read.
#[test]
fn what_a_pickle_asks_for_is_never_looked_up() {
    let tensor = tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]);
    for value in [
        &b"cos\nsystem\nU\x04true\x85R"[..],
        b"cbuiltins\neval\n",
        b"\x8c\x02os\x8c\x06system\x93)R",
        b"ctorch\nload\n",
        b"(ios\nsystem\n",
        b"(cmodule\nClass\nK\x01o",
        b"cargparse\nNamespace\n)\x81}U\x02lrG?\xb9\x99\x99\x99\x99\x99\x9asb",
        b"cmodule\nClass\n)}\x92",
        b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RU\x01a]s",
        b"ccollections\nCounter\n}U\x01aK\x02s\x85R",
        b"c__builtin__\nset\n](K\x01K\x02e\x85R",
        b"ccollections\ndeque\n)R(K\x01K\x02e",
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00K\x01\x87RU\x08\0\0\0\0\0\0\xf8?\x86R",
        b"cpathlib\nPosixPath\nU\x01/U\x03tmp\x86R",
        b"cbuiltins\ngetattr\ncm\nA\nU\x01b\x86R)R",
        b"ctorch\nfloat16\n",
        b"K\x0120",
    ] {
        let dict = pickle(&[b"}", &word("x"), value, b"s", &word("w"), &tensor, b"s"]);
        let file = archive(&[("a/data.pkl", &dict), ("a/data/0", &[0; 24])]);
        let dict =
            StateDict::parse(&file).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(value)));
        assert_eq!(dict.names(), ["w"]);
    }
}

#[test]
fn tensors_within_what_is_not_read_are_told_when_they_are_asked_for() {
    let inner = tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]);
    // A class that holds one in its state, at some depth; as a list of them, which has no names, is not.
    let state = [&b"cmodels\nNet\n)\x81}U\x01a]("[..], &inner, b"esb"].concat();
    let list = [&b"]("[..], &inner, b"e"].concat();
    let both = pickle(&[b"}", &word("net"), &state, b"s", &word("list"), &list, b"s", &word("w"), &inner, b"s"]);
    let file = archive(&[("a/data.pkl", &both), ("a/data/0", &[0; 24])]);
    let dict = StateDict::parse(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(dict.names(), ["net", "w"]);
    let message = dict.tensor("net", Kind::Kernel, &[6]).expect_err("no tensor").to_string();
    assert_eq!(message, "tensor `net` has a value made by `models.Net`, which kiln does not read");
    // Alone, it is said of the file.
    let message = fails(&pickle(&[b"}", &word("net"), &state, b"s"]));
    assert!(
        message.contains("no dict of tensors that kiln reads: `net` has a value made by `models.Net`"),
        "{message}"
    );
    let message = fails(&pickle(&[&state]));
    assert!(message.contains("no dict of tensors by name, but a value made by `models.Net`"), "{message}");
    // A dict of its own kind is one.
    let entries = [&b"cmodels\nConfig\n)R"[..], &word("w"), &inner, b"s"].concat();
    let file = archive(&[("a/data.pkl", &pickle(&[&entries])), ("a/data/0", &[0; 24])]);
    assert_eq!(StateDict::parse(&file).expect("a dict").names(), ["w"]);
}

#[test]
fn opcodes_and_calls_that_no_writer_makes_are_mistakes_with_a_place() {
    for (opcodes, words) in [
        (&b"N0\x82\x01"[..], "a/data.pkl, byte 4: opcode EXT1 has no place"),
        (b"Px\n", "opcode PERSID"),
        (b"\xff", "0xff is no opcode"),
        (b"ccollections\nOrderedDict\nK\x01\x85R", "made of no list"),
        (b"ctorch\nFloatStorage\n)R", "a storage is made by a call"),
        (b"ctorch._utils\n_rebuild_parameter\nN\x85R", "other arguments"),
        (b"K\x01)R", "no function"),
        (b"K\x01)\x81", "no function"),
        (b"(o", "a call without a function"),
        (b"K\x01}b", "BUILD sets attributes of what has none"),
        (b"K\x01Q", "no tuple"),
        (b"U\x06module\x85Q", "not of a storage"),
        (b"(U\x07storagecm\nA\ntQ", "a storage of type `m.A`, which kiln does not know"),
        (b"cno end", "a name without an end"),
        (b"c\xff\nx\n", "not UTF-8"),
        (b"\x80\x01", "protocol 1"),
    ] {
        let message = fails(&pickle(&[opcodes]));
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_broken_stack_is_told() {
    for (opcodes, words) in [
        (&b"0"[..], "stack is empty"),
        (b"t", "no mark"),
        (b"K\x01(0", "stack is empty"),
        (b"K\x01(\x85", "no 1 value"),
        (b"h\x07", "remembered as 7"),
        (b"q\x01", "stack is empty"),
        (b"}K\x01a", "not a list"),
        (b"]K\x01K\x02s", "not a dict"),
        (b"}(K\x01u", "a key without a value"),
        (b"X\xff\xff\xff\xff", "4294967295 bytes, 1 left"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "is cut"),
        (b"", "stack is empty"),
    ] {
        let message = fails(&pickle(&[opcodes]));
        assert!(message.contains(words), "{message}");
    }
    assert!(fails(b"").contains("is cut"));
}

#[test]
fn no_tensor_reaches_beyond_its_storage() {
    let huge = long(i64::MAX);
    for (len, offset, shape, stride, words) in [
        (int(6), int(0), int(7), int(1), "reaches beyond its storage 0 of 6 elements"),
        (int(6), int(1), int(6), int(1), "reaches beyond"),
        (int(6), int(0), int(4), int(2), "reaches beyond"),
        (int(6), huge.clone(), int(1), int(1), "reaches beyond"),
        (int(6), int(0), int(2), huge.clone(), "reaches beyond"),
        (int(7), int(0), int(7), int(1), "its storage 0 is cut: 7 elements, 24 bytes"),
        (huge.clone(), int(0), int(1), int(1), "is cut"),
        (int(-1), int(0), int(1), int(1), "a storage of -1 elements"),
        (int(6), int(-1), int(1), int(1), "whole numbers"),
        (int(6), int(0), int(-1), int(1), "whole numbers"),
        (int(6), int(0), int(1), int(-1), "whole numbers"),
        (int(6), int(0), b"N".to_vec(), int(1), "whole numbers"),
    ] {
        let message = fails(&dict("w", &tensor(&len, &offset, &[&shape], &[&stride])));
        assert!(message.contains(words), "{message}");
    }
    let many = vec![&huge[..]; 16];
    assert!(fails(&dict("w", &tensor(&int(6), &int(0), &many, &many))).contains("reaches beyond"));
    let many = vec![&huge[..]; 17];
    assert!(fails(&dict("w", &tensor(&int(6), &int(0), &many, &many))).contains("up to 16 whole numbers"));
    // Elements that are one in the file are as many as the network asks for, and no more are made.
    let one = dict("w", &tensor(&int(6), &int(5), &[&huge], &[&int(0)]));
    let file = archive(&[("a/data.pkl", &one), ("a/data/0", &[0; 24])]);
    let dict = StateDict::parse(&file).unwrap_or_else(|error| panic!("{error}"));
    assert!(dict.tensor("w", Kind::Kernel, &[6]).is_err());
}

#[test]
fn dicts_within_themselves_and_deep_ones_end() {
    let tensor = tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]);
    let circle = pickle(&[b"}q\x00", &word("d"), b"h\x00s", &word("w"), &tensor, b"s"]);
    let file = archive(&[("a/data.pkl", &circle), ("a/data/0", &[0; 24])]);
    assert_eq!(StateDict::parse(&file).expect("a dict").names(), ["w"]);
    assert!(fails(&pickle(&[b"]q\x00h\x00a"])).contains("no dict of tensors"));
    let deep = pickle(&[&b"]".repeat(300_000), &b"a".repeat(299_999)]);
    assert!(fails(&deep).contains("no dict of tensors"));
    // A chain of dicts, each under a name of its own.
    let chain = pickle(&[&b"}U\x01d".repeat(100_000), &tensor, &b"s".repeat(100_000)]);
    assert!(fails(&chain).contains("names of tensors take more than"));
}

#[test]
fn the_work_of_a_pickle_is_bounded() {
    assert!(fails(&pickle(&[&b"N".repeat(MAX_OPCODES)])).contains("more than 1000000 opcodes"));
    // A list of many pairs, made into dicts over and over.
    let pairs = [&b"](NN\x86q\x00"[..], &b"h\x00".repeat(100_000), b"e\x85q\x01"].concat();
    let dicts = b"ccollections\nOrderedDict\nh\x01R".repeat(20);
    assert!(fails(&pickle(&[&pairs, &dicts])).contains("more than 1000000 entries of dicts"));
}

#[test]
fn archives_of_others_are_told_apart() {
    let whole = dict("w", &tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]));
    let storage = ("a/data/0", &[0_u8; 24][..]);
    let fails = |entries: &[(&str, &[u8])]| StateDict::parse(&archive(entries)).expect_err("a mistake").to_string();
    assert!(StateDict::parse(&archive(&[("a/data.pkl", &whole), storage])).is_ok());
    assert!(fails(&[("word/document.xml", b"")]).contains("no one `NAME/data.pkl`"));
    assert!(fails(&[("a/data.pkl", &whole), ("b/data.pkl", &whole), storage]).contains("no one `NAME/data.pkl`"));
    assert!(fails(&[("a/data.pkl", &whole), storage, storage]).contains("twice"));
    assert!(fails(&[("a/data.pkl", &whole)]).contains("there is no storage 0"));
    assert!(fails(&[("a/data.pkl", &whole), storage, ("a/byteorder", b"big")]).contains("big endian"));
    assert!(fails(&[("a/data.pkl", &whole), storage, ("a/constants.pkl", b"")]).contains("TorchScript"));
}

/// An archive whose entries are compressed, each with how many times it is repeated.
fn deflated(entries: &[(&str, &[u8], usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ZipArchiveWriter::new(&mut bytes);
    for (name, data, times) in entries {
        let start = writer.new_file(name).compression_method(CompressionMethod::DEFLATE).start();
        let (mut entry, config) = start.expect("an entry");
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
        let mut data_writer = config.wrap(encoder);
        for _ in 0..*times {
            std::io::Write::write_all(&mut data_writer, data).expect("memory");
        }
        let (encoder, descriptor) = data_writer.finish().expect("memory");
        encoder.finish().expect("memory");
        entry.finish(descriptor).expect("memory");
    }
    writer.finish().expect("memory");
    bytes
}

#[test]
fn compressed_entries_are_unpacked_and_checked() {
    let whole = dict("w", &tensor(&int(6), &int(1), &[&int(3)], &[&int(2)]));
    let floats: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let file = deflated(&[("a/data.pkl", &whole, 1), ("a/data/0", &floats, 1)]);
    let read = StateDict::parse(&file).unwrap_or_else(|error| panic!("{error}"));
    let Ok(Stored::View(view)) = read.tensor("w", Kind::Kernel, &[3]) else { panic!("no tensor") };
    assert_eq!((0..3).map(|i| view.element(i)).collect::<Vec<_>>(), [1.0, 3.0, 5.0]);
    // Each byte changed in turn: never a panic, and never other numbers without an error.
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        if let Ok(read) = StateDict::parse(&changed)
            && let Ok(Stored::View(view)) = read.tensor("w", Kind::Kernel, &[3])
        {
            assert_eq!((0..3).map(|i| view.element(i)).collect::<Vec<_>>(), [1.0, 3.0, 5.0], "byte {at}");
        }
    }
    // An entry that says less of itself than it holds.
    let mut lies = file.clone();
    let last = lies.windows(4).rposition(|window| window == b"PK\x01\x02").expect("a directory");
    lies[last + 24] = 20;
    let message = StateDict::parse(&lies).expect_err("a mistake").to_string();
    assert!(message.contains("`a/data/0`"), "{message}");
    lies[last + 10] = 93;
    let message = StateDict::parse(&lies).expect_err("a mistake").to_string();
    assert!(message.contains("`a/data/0` is compressed by ZSTD, which kiln does not unpack"), "{message}");
}

/// 600 MB of zeros in as many kB: refused before anything is unpacked.
#[test]
fn what_would_be_too_large_is_not_unpacked() {
    let whole = dict("w", &tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]));
    let zeros = vec![0; 1 << 20];
    let bomb = deflated(&[("a/data.pkl", &whole, 1), ("a/data/0", &zeros, 600)]);
    assert!(bomb.len() < 1 << 20);
    let message = StateDict::parse(&bomb).expect_err("a bomb").to_string();
    assert!(message.contains("when unpacked"), "{message}");
}

#[test]
fn a_legacy_file_says_what_is_wrong() {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let object = dict("w", &tensor(&int(6), &int(0), &[&int(6)], &[&int(1)]));
    let file = |protocol: &[u8], system: &[u8], keys: &[u8], count: u64, data: usize| {
        let count = count.to_le_bytes();
        [magic, &pickle(&[protocol])[..], &pickle(&[system]), &object, &pickle(&[keys]), &count, &vec![0; data]]
            .concat()
    };
    let keys = [b"]", &word("0")[..], b"a"].concat();
    assert!(StateDict::parse(&file(b"M\xe9\x03", b"}", &keys, 6, 24)).is_ok());
    let big = [b"}", &word("little_endian")[..], b"\x89s"].concat();
    let other = [b"]", &word("1")[..], b"a"].concat();
    for (file, words) in [
        (file(b"M\xe8\x03", b"}", &keys, 6, 24), "protocol is not 1001"),
        (file(b"M\xe9\x03", &big, &keys, 6, 24), "big endian"),
        (file(b"M\xe9\x03", b"}", b"K\x01", 6, 24), "no list"),
        (file(b"M\xe9\x03", b"}", b"]K\x01a", 6, 24), "no text"),
        (file(b"M\xe9\x03", b"}", &other, 6, 24), "storage 1 is in the file, but no tensor's"),
        (file(b"M\xe9\x03", b"}", b"]", 6, 24), "there is no storage 0"),
        (file(b"M\xe9\x03", b"}", &keys, 7, 28), "another number of elements than 6: 7"),
        (file(b"M\xe9\x03", b"}", &keys, 6, 23), "is cut in storage 0"),
        (magic.to_vec(), "the pickle of the protocol, byte 15: the pickle is cut"),
    ] {
        let message = StateDict::parse(&file).expect_err(words).to_string();
        assert!(message.contains(words), "{message}");
    }
}
