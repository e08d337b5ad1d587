//! From what a user calls a network to its graph.

use super::elaborate::{Loader, Overrides, elaborate, nearest, nets};
use super::rust_file::{declares, parse_rust};
use super::spec::Spec;
use super::{parse_text, zoo};
use crate::diag::{Diagnostic, Error, Span};
use crate::graph::{Graph, text};

/// The graph of `zoo:NAME`, of a `.net` file, of a Rust file with `network!`, or of a printed graph, a `.graph` file; of the
/// net called `net` where there are several. `settings` are for [`Overrides::set`].
///
/// # Errors
/// What cannot be read, what is not there, and all mistakes of the source.
pub fn load(source: &str, net: Option<&str>, settings: &[String], loader: &dyn Loader) -> Result<Graph, Error> {
    if source.ends_with(".onnx") {
        return Err(unplaced(format!("{source} is an ONNX file, which is no text of a network"))
            .help("`kiln build` makes a crate of it")
            .into());
    }
    let (name, text, variant) = match source.strip_prefix("zoo:") {
        Some(name) => {
            let entry = zoo::find(name).ok_or_else(|| {
                let mistake = unplaced(format!("the zoo has no network `{name}`"));
                match nearest(name, zoo::names()) {
                    Some(near) => mistake.help(format!("`{near}` is near; `kiln zoo` lists all")),
                    None => mistake.help("`kiln zoo` lists what it has"),
                }
            })?;
            (format!("zoo:{}", entry.family.name), entry.family.text.to_owned(), entry.net)
        }
        None => {
            let (name, text) = loader.load("", source).map_err(|why| {
                let mistake = unplaced(format!("cannot read {source}: {why}"));
                Diagnostic { help: of_zoo(source), ..mistake }
            })?;
            (name, text, None)
        }
    };
    if source.ends_with(".graph") {
        if !settings.is_empty() {
            return Err(unplaced("a printed graph has no parameters to set").into());
        }
        let graph = text::parse(&text).map_err(|error| unplaced(format!("{name}:{error}")))?;
        return match net {
            Some(net) if net != graph.name => {
                Err(unplaced(format!("{source} is the graph of `{}`, not of `{net}`", graph.name)).into())
            }
            Some(_) | None => Ok(graph),
        };
    }
    let mut overrides = Overrides::default();
    for setting in settings {
        overrides.set(setting)?;
    }
    let specs = match source.ends_with(".rs") {
        true => parse_rust(&name, &text)?,
        false => vec![parse_text(&name, &text)?],
    };
    let nets_of = |spec| if source.starts_with("zoo:") { written_out(spec) } else { nets(spec) };
    let declared: Vec<(&Spec, &str)> =
        specs.iter().flat_map(|spec| nets_of(spec).into_iter().map(move |net| (spec, net))).collect();
    let (spec, net) = match (net.or(variant), declared.as_slice()) {
        (Some(net), _) => match (specs.iter().find(|spec| declares(spec, net)), specs.as_slice()) {
            (Some(spec), _) | (None, [spec]) => (spec, net),
            (None, _) => {
                let names: Vec<&str> = declared.iter().map(|(_, net)| *net).collect();
                let message = format!("{source} declares no network `{net}`");
                return Err(unplaced(message).help(format!("it has {}", names.join(", "))).into());
            }
        },
        (None, [only]) => *only,
        (None, []) => return Err(unplaced(format!("{source} declares no `pub net`")).into()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|(_, net)| *net).collect();
            let message = format!("{source} declares several networks: {}", names.join(", "));
            let first = names[0];
            let help = format!("name one: `{source}#{first}` for kiln, `.net({first:?})` in a build script");
            return Err(unplaced(message).help(help).into());
        }
    };
    elaborate(spec, net, &overrides, loader)
}

/// The network of the zoo that a name without a file may mean: `ResNet-50` for `resnet50`.
fn of_zoo(source: &str) -> Option<String> {
    if source.contains(['/', '\\', '.']) {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let same = zoo::names().find(|name| plain(name) == plain(source));
    let near = same.or_else(|| nearest(&source.to_lowercase(), zoo::names()))?;
    Some(format!("`zoo:{near}` is a network that comes with kiln; a file is named with its ending, `{source}.net`"))
}

/// The nets that a family of the zoo writes out; all others are made from them.
fn written_out(spec: &Spec) -> Vec<&str> {
    spec.nets().filter(|net| net.public).map(|net| net.function.name.name.as_str()).collect()
}

/// What a source is called in emitted code: a file by its name without folders, since paths are facts of a machine.
pub fn short_name(source: &str) -> &str {
    match source.strip_prefix("zoo:") {
        Some(_) => source,
        None => source.rsplit(['/', '\\']).next().unwrap_or(source),
    }
}

fn unplaced(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Span::NOWHERE, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::NoFiles;

    struct One(&'static str);

    impl Loader for One {
        fn load(&self, _from: &str, path: &str) -> Result<(String, String), String> {
            Ok((path.to_owned(), self.0.to_owned()))
        }
    }

    fn fails(source: &str, net: Option<&str>, settings: &[&str], text: &'static str) -> String {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        load(source, net, &settings, &One(text)).expect_err("a mistake").to_string()
    }

    #[test]
    fn sources_are_the_zoo_specs_and_printed_graphs() {
        let settings = ["classes=10".to_owned()];
        let graph = load("zoo:resnet18", None, &settings, &NoFiles).expect("a graph");
        assert_eq!(graph.node(graph.outputs()[0].node).ty.shape, [1, 10]);
        let two = "net A(x: [1, 3]) { x.relu() } net B(x: [1, 4]) { x.tanh() }";
        let b = load("two.net", Some("B"), &[], &One(two)).expect("a graph");
        let printed: &'static str = text::print(&b).leak();
        for net in [None, Some("B")] {
            assert_eq!(text::print(&load("b.graph", net, &[], &One(printed)).expect("a graph")), printed);
        }
        assert!(fails("b.graph", Some("A"), &[], printed).contains("the graph of `B`, not of `A`"));
        assert!(fails("b.graph", None, &["x=1"], printed).contains("no parameters"));
        assert!(fails("two.net", None, &[], two).contains("several networks: A, B"));
        assert!(fails("two.net", Some("C"), &[], two).contains('C'));
        assert!(fails("none.net", None, &[], "fn f(x) { x }").contains("declares no `pub net`"));
        let file: &'static str =
            "network! { net C(x: [1, 2]) { x.relu() } } mod m { network! { net B(x: [1, 4]) { x } } }";
        let c = load("two.rs", Some("B"), &[], &One(file)).expect("a graph");
        assert_eq!(
            (c.name.as_str(), load("one.rs", None, &[], &One(&file[..43])).expect("a graph").name.as_str()),
            ("B", "C")
        );
        assert!(fails("two.rs", None, &[], file).contains("several networks: C, B"));
        let unknown = fails("two.rs", Some("D"), &[], file);
        assert!(unknown.contains("declares no network `D`") && unknown.contains("it has C, B"), "{unknown}");
        let hidden =
            "network! { pub net C(x: [1, 2]) { x } } network! { net D(x: [1, 2]) { x } pub net E(x: [1]) { x } }";
        assert_eq!(load("two.rs", Some("D"), &[], &One(hidden)).expect("a graph").name, "D");
        assert!(fails("none.rs", None, &[], "fn f() {}").contains("has no `network!`"));
        assert!(fails("b.graph", None, &[], "graf").starts_with("error: b.graph:1:1: "));
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(fails("zoo:resnet17", None, &[], "").contains("no network `resnet17`"));
        let missing = |source: &str| load(source, None, &[], &NoFiles).expect_err("no files").to_string();
        for (source, meant) in [
            ("resnet50", Some("resnet50")),
            ("ResNet-50", Some("resnet50")),
            ("mobilenetv2", Some("mobilenet_v2")),
            ("mobilnet_v2", Some("mobilenet_v2")),
            ("frobnicate", None),
            ("resnet50.net", None),
            ("nets/resnet50", None),
        ] {
            let message = missing(source);
            let help = meant.map(|meant| format!("`zoo:{meant}` is a network that comes with kiln"));
            assert_eq!(help.is_some_and(|help| message.contains(&help)), meant.is_some(), "{message}");
            assert!(message.contains(&format!("cannot read {source}")), "{message}");
        }
        assert!(fails("zoo:blocks", None, &[], "").contains("declares no `pub net`"));
        let error = load("a.net", None, &[], &NoFiles).expect_err("no files").to_string();
        assert_eq!(error, "error: cannot read a.net: files cannot be read here\n");
    }

    #[test]
    fn folders_are_not_part_of_a_short_name() {
        assert_eq!(["zoo:resnet18", "nets/a.net", "a.net"].map(short_name), ["zoo:resnet18", "a.net", "a.net"]);
    }
}
