use super::*;

/// All mistakes of a text, as the user sees them.
fn mistakes(text: &str) -> String {
    match parse_text("model.net", text) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// Runs in a thread with the smallest stack that is promised to suffice.
fn on_a_small_stack(check: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(check).expect("a thread");
    thread.join().expect("no overflow and no panic");
}

#[test]
fn every_item_is_parsed() {
    let spec = parse_text(
        "model.net",
        r#"//! A file.
        use "blocks.net";
        use zoo::mobilenet_v2;
        /// Doubles.
        fn twice(x, by = 2) { x * by }
        image(resize = 256, crop = 224);
        pub net Net(n = 1, image: [n, 3, 8, 8]) { twice(image, by = 3) }
        pub use zoo::mobilenet_v2(width = 0.5) as Half;"#,
    )
    .expect("a sound text");
    let summary: Vec<String> = spec
        .items
        .iter()
        .map(|item| match item {
            Item::Function(f) => format!("fn {} {:?}", f.name.name, f.docs),
            Item::Net(n) => {
                format!("net {} {} params at {:?}", n.function.name.name, n.function.params.len(), n.function.body.span)
            }
            Item::Use(u) => format!("use {:?}", u.source),
            Item::Alias(a) => format!("alias {:?} as {}", a.target.path, a.name.name),
            Item::Setting(call) => format!("{} with {} arguments", call.path[0], call.args.len()),
        })
        .collect();
    assert_eq!(spec.docs, ["A file."]);
    insta::assert_snapshot!(summary.join("\n"));
}

#[test]
fn an_expression_keeps_its_places() {
    let spec = parse_text("model.net", "fn f(x) {\n    x.conv(8, 3, name = \"{at + 1}.0\") + -x\n}").expect("sound");
    let body = &spec.functions().next().expect("a function").body;
    insta::assert_debug_snapshot!(body.tail);
}

#[test]
fn mistakes_of_several_items_are_shown_together() {
    insta::assert_snapshot!(mistakes(
        r#"fn a(x) { x.conv(8 3) }
fn b(x) { while x { } let y = |z| z; y as f32 }
pub net C(image: [1, 3, 8, 8]) -> f32 { image }
"#
    ));
    insta::assert_snapshot!(mistakes(
        r#"fn a(x, x) { x.channels }
fn a(x) { let y; x.conv(name = "1", 3); "{x"; "}"; "{1 +}"; 3u8; 99999999999999999999; x[0] = 1 }
net N() { }"#
    ));
    insta::assert_snapshot!(mistakes("fn a(x) { f(x }\n"));
    insta::assert_snapshot!(mistakes("fn a(x) { \"abc }\n"));
    insta::assert_snapshot!(mistakes("use std::fs;\nstruct A;\n"));
    insta::assert_snapshot!(mistakes("fn f(x) { #[a] x }"));
    insta::assert_snapshot!(mistakes("fn f(x) { x ` y }"));
    insta::assert_snapshot!(mistakes(
        "fn f(x) { let n = format!(\"c.{i}\"); let w = vec![1, 2]; println!(\"{x}\"); assert!(true); w.map(|w| &w) }"
    ));
}

#[test]
fn tokens_of_a_macro_are_placed_in_its_file() {
    let tokens: TokenStream =
        "fn f(x) {\n  x.conv(3 4) }\nnet N(x: [1]) { x -= while true {} }".parse().expect("tokens");
    let (spec, spans) = parse_tokens(tokens);
    let Err(Error::Spec(errors)) = spec else { panic!("two mistakes are expected") };
    let places: Vec<String> = errors.diagnostics.iter().map(|d| format!("{:?} {}", d.span, d.message)).collect();
    insta::assert_snapshot!(places.join("\n"));
    let calls = spans.compile_errors(&errors).to_string();
    assert_eq!(calls.matches("compile_error").count(), 2, "{calls}");
}

#[test]
fn deep_nesting_is_an_error_on_a_small_stack() {
    for text in [
        "(",
        "-",
        "[",
        "if x {",
        "if ",
        "{",
        "!(",
        "a.b(",
        "a = ",
        "else if x {} ",
        "x + ",
        "x.y().",
        "A::<",
        "&",
        "|x| ",
    ] {
        on_a_small_stack(move || {
            assert!(parse_text("deep.net", &format!("fn f(x) {{ {} }}", text.repeat(100_000))).is_err());
        });
    }
}

#[test]
fn the_deepest_nesting_allowed_fits_a_small_stack() {
    let nested = |open: &str, close: &str, n: usize| format!("fn f(x) {{ {}x{} }}", open.repeat(n), close.repeat(n));
    for text in [
        nested("(", ")", 63),
        nested("f(-", ")", 63),
        nested("if x { ", " } else { x }", 60),
        nested("", ".f()", 250),
        nested("", " + x", 250),
        nested("-", "", 60),
        nested("", " = x", 250),
        format!("fn f(x) {{ if x {{ x }} {} else {{ x }} }}", "else if x { x }".repeat(120)),
    ] {
        on_a_small_stack(move || {
            parse_text("deep.net", &text).unwrap_or_else(|error| panic!("{error}"));
        });
    }
}

#[test]
fn broken_texts_never_panic() {
    let text = include_str!("../../../zoo/mobilenet_v2.net");
    let tokens: Vec<&str> = text.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
    let mut state = 1u64;
    for _ in 0..200 {
        let mut broken = tokens.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (at, from) = ((state >> 33) as usize % broken.len(), (state >> 13) as usize % broken.len());
            match state >> 62 {
                0 => drop(broken.remove(at)),
                1 => broken.insert(at, broken[from]),
                _ => broken.swap(at, from),
            }
        }
        let _ = parse_text("broken.net", &broken.concat());
    }
}
