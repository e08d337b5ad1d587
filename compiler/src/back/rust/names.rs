//! Names in what is emitted: legal where they stand, readable, each of one thing. Networks, layers and tensors may be called
//! anything; what they are called in Rust, in C, by Cargo and on disk is decided here.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use proc_macro2::{Ident, Span};

/// The longest identifier or package name that a text of a user's gives, and the longest file name without its ending: what
/// the longest file names of build folders and systems leave room for.
const LONGEST: usize = 64;

/// Words that no identifier is: Rust's keywords of all editions, strict and reserved.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final \
    fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait \
    true try type typeof unsafe unsized use virtual where while yield";

/// Names that a crate takes from those that use it: types of the language, and crates that come with the compiler.
const OF_RUST: &str = "alloc bool char core f128 f16 f32 f64 i128 i16 i32 i64 i8 isize proc_macro std str test u128 u16 u32 \
    u64 u8 usize";

/// Names of devices, which are no names of files on Windows, with any ending.
const DEVICES: &str = "aux com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 con lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 \
    lpt8 lpt9 nul prn";

fn is_one_of(words: &str, name: &str) -> bool {
    words.split_ascii_whitespace().any(|word| word == name)
}

/// The name of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageName(String);

impl PackageName {
    /// A name like `wish`: lower-case letters, digits, `-` and `_`, a letter first, and neither a keyword nor a name of
    /// Rust's own, so that Cargo takes it and programs can depend on it.
    pub fn like(wish: &str) -> Self {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
        let name: String = wish.chars().map(legal).skip_while(|&c| c == '_' || c == '-').take(LONGEST).collect();
        let is_taken = [KEYWORDS, OF_RUST, DEVICES].iter().any(|words| is_one_of(words, &name.replace('-', "_")));
        Self(match name.chars().next() {
            None => "net".to_owned(),
            Some(first) if is_taken || first.is_ascii_digit() => format!("net_{name}"),
            Some(_) => name,
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What Rust calls the package's library.
    pub fn crate_name(&self) -> String {
        self.0.replace('-', "_")
    }

    /// What its names in C start with. Two underscores in a row are the C++ compiler's own.
    pub(super) fn prefix(&self) -> String {
        snake(&self.0)
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The files that a program writes its outputs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFiles {
    /// `NAME.npy` for each output, in order. What is no file name on some system becomes one: characters other than ASCII
    /// letters, digits, `_`, `.` and `-` are underscores, long names are cut, and no two differ by case alone.
    pub files: Vec<String>,
    /// What `outputs.json` beside them holds: an object with the file of each output by its name.
    pub json: String,
}

impl OutputFiles {
    /// The files of outputs with these names.
    pub fn of(outputs: &[&str]) -> Self {
        let stems: Vec<String> = outputs.iter().map(|output| file_stem(output)).collect();
        // What may stand as it is has its name before others that become like it.
        let mut taken = BTreeSet::new();
        let pairs = || outputs.iter().zip(&stems);
        let kept: Vec<bool> =
            pairs().map(|(output, stem)| output == stem && taken.insert(stem.to_ascii_lowercase())).collect();
        let mut file = |stem: &str, kept: bool| {
            if kept {
                return format!("{stem}.npy");
            }
            let mut names = std::iter::once(stem.to_owned()).chain((2..).map(|n| format!("{stem}_{n}")));
            let free = names.find(|name| taken.insert(name.to_ascii_lowercase())).unwrap_or_default();
            format!("{free}.npy")
        };
        let files: Vec<String> = stems.iter().zip(kept).map(|(stem, kept)| file(stem, kept)).collect();
        let entries: Vec<String> = outputs
            .iter()
            .zip(&files)
            .map(|(output, file)| format!("  {}: {}", quoted(output), quoted(file)))
            .collect();
        Self { files, json: format!("{{\n{}\n}}\n", entries.join(",\n")) }
    }
}

/// What a name becomes in the name of a file.
fn file_stem(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let stem: String = name.chars().map(plain).take(LONGEST).collect();
    let device = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if stem.is_empty() || stem.starts_with('.') || is_one_of(DEVICES, &device) { format!("_{stem}") } else { stem }
}

/// A text in quotes, as JSON and TOML have it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Hands out identifiers that differ from all it gave before.
#[derive(Debug, Default)]
pub(super) struct Namer {
    taken: HashSet<String>,
}

impl Namer {
    /// One that gives none of some names.
    pub(super) fn without(names: &[&str]) -> Self {
        Self { taken: names.iter().map(|&name| name.to_owned()).collect() }
    }

    /// An identifier like `wish`: itself where it is free, else with the first free number behind it.
    pub(super) fn fresh(&mut self, wish: &str) -> Ident {
        let mut wish = snake(wish);
        if wish.len() > LONGEST {
            wish.truncate(LONGEST);
            wish.truncate(wish.trim_end_matches('_').len());
        }
        let mut name = wish.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            name = format!("{}_{number}", wish.trim_end_matches('_'));
            number += 1;
        }
        ident(&name)
    }

    /// Takes a name back.
    pub(super) fn release(&mut self, name: &Ident) {
        self.taken.remove(&name.to_string());
    }

    /// Keeps a name for someone else.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Whether a name was given or kept.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains(name)
    }
}

/// An identifier of emitted code; `name` is a legal one.
pub(super) fn ident(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// `features.0.conv-1` as `features_0_conv_1`: letters, digits and single underscores, no digit first, no keyword.
pub(super) fn snake(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 'n');
    }
    if name.is_empty() || name == "_" || is_one_of(KEYWORDS, &name) {
        name.push_str("_v");
    }
    name
}

/// The same for constants and statics: `FEATURES_0_CONV_1`.
pub(super) fn upper(text: &str) -> String {
    snake(text).to_ascii_uppercase()
}

/// The same for types: `mobilenet_v2` as `MobilenetV2`, `MobileNetV2` as it is.
pub(super) fn camel(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            starts = true;
        } else if std::mem::take(&mut starts) {
            name.push(c.to_ascii_uppercase());
        } else {
            name.push(c);
        }
    }
    name.truncate(LONGEST);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name == "Self" {
        name.insert_str(0, "Net");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_distinct() {
        let mut namer = Namer::without(&["x"]);
        let names: Vec<String> = ["x", "features.0.0", "features.0.0", "for", "gen", "0", "_", "a  b"]
            .map(|wish| namer.fresh(wish).to_string())
            .into();
        assert_eq!(names, ["x_1", "features_0_0", "features_0_0_1", "for_v", "gen_v", "n0", "__v", "a_b"]);
        assert_eq!([camel("mobilenet_v2"), camel("MobileNetV2"), camel("3d")], ["MobilenetV2", "MobileNetV2", "Net3d"]);
        assert_eq!([camel("self"), camel(""), camel("über")], ["NetSelf", "Net", "Ber"]);

        assert_eq!(namer.fresh(&("x".repeat(LONGEST - 1) + "/y")).to_string(), "x".repeat(LONGEST - 1));
        let long = "é".repeat(9) + &"layer".repeat(99);
        let cut: Vec<String> = [&long, &long].map(|wish| namer.fresh(wish).to_string()).into();
        assert!(cut[0].len() == LONGEST && cut[1] == format!("{}_1", cut[0]), "{cut:?}");
        assert_eq!(camel(&long).len(), LONGEST);
        assert_eq!(["b?", "b?"].map(|wish| namer.fresh(wish).to_string()), ["b_", "b_1"]);
    }

    #[test]
    fn every_keyword_of_the_parser_is_known() {
        for word in KEYWORDS.split_ascii_whitespace().filter(|&word| word != "gen") {
            assert!(syn::parse_str::<Ident>(word).is_err(), "{word} is an identifier");
        }
    }

    #[test]
    fn package_names_are_what_cargo_takes() {
        let names = [
            ("MobileNetV2", "mobilenetv2"),
            ("resnet 18", "resnet_18"),
            ("my__net", "my__net"),
            ("my-net", "my-net"),
            ("über", "ber"),
            ("_x", "x"),
            ("3d", "net_3d"),
            ("", "net"),
            ("数", "net"),
        ];
        for (wish, name) in names {
            assert_eq!(PackageName::like(wish).as_str(), name, "{wish}");
        }
        for taken in ["crate", "Self", "gen", "std", "core", "alloc", "test", "proc-macro", "u8", "str", "con"] {
            assert_eq!(PackageName::like(taken).as_str(), format!("net_{}", taken.to_lowercase()));
        }
        assert_eq!(PackageName::like(&"x".repeat(300)).as_str().len(), LONGEST);
        let name = PackageName::like("my--net");
        assert_eq!((name.crate_name().as_str(), name.prefix().as_str()), ("my__net", "my_net"));
    }

    #[test]
    fn outputs_have_files_of_their_own() {
        let named = |outputs: &[&str]| OutputFiles::of(outputs).files;
        assert_eq!(named(&["y", "a/b", "a_b", "a b"]), ["y.npy", "a_b_2.npy", "a_b.npy", "a_b_3.npy"]);
        assert_eq!(named(&["a/b", "a:b", "A/B"]), ["a_b.npy", "a_b_2.npy", "A_B_3.npy"]);
        assert_eq!(named(&["Y", "y"]), ["Y.npy", "y_2.npy"]);
        assert_eq!(named(&["", "..", ".x", "nul.0", "-"]), ["_.npy", "_...npy", "_.x.npy", "_nul.0.npy", "-.npy"]);
        let long = ["a", "b"].map(|end| "logits/".repeat(60) + end);
        let files = named(&[&long[0], &long[1]]);
        assert!(files[0] != files[1] && files.iter().all(|file| file.len() < 80), "{files:?}");
        let json = OutputFiles::of(&["y", "a\"\\\n\u{85}é"]).json;
        assert_eq!(json, "{\n  \"y\": \"y.npy\",\n  \"a\\\"\\\\\\u000a\\u0085é\": \"a_____.npy\"\n}\n");
    }
}
