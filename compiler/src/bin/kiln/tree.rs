//! Layers as the tree that their names are paths in: `layer1.0.conv1` lies in `0` of `layer1`.

use serde_json::{Value, json};

/// A layer of a network.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) op: &'static str,
    /// Of its result.
    pub(crate) shape: Vec<usize>,
    pub(crate) parameters: u64,
    pub(crate) macs: u64,
}

/// A layer, or all layers below a part of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// How deep it lies, from 0.
    pub(crate) level: usize,
    /// The path.
    pub(crate) name: String,
    /// The path from the row above that it lies in.
    pub(crate) label: String,
    /// The operator of a lone layer.
    pub(crate) op: Option<&'static str>,
    /// How many layers these are.
    pub(crate) layers: usize,
    /// Of the last layer's result.
    pub(crate) shape: Vec<usize>,
    /// Sums over the layers.
    pub(crate) parameters: u64,
    pub(crate) macs: u64,
}

impl Row {
    /// The row of a lone layer.
    pub(crate) fn of(layer: &Layer) -> Row {
        Row {
            level: 0,
            name: layer.name.clone(),
            label: layer.name.clone(),
            op: Some(layer.op),
            layers: 1,
            shape: layer.shape.clone(),
            parameters: layer.parameters,
            macs: layer.macs,
        }
    }

    /// The row in JSON; where layers are folded, with its place in the tree.
    pub(crate) fn object(&self, is_folded: bool) -> Value {
        let Row { level, name, label: _, op, layers, shape, parameters, macs } = self;
        let mut object = json!({ "name": name, "op": op, "shape": shape, "parameters": parameters, "macs": macs });
        if is_folded && let Some(object) = object.as_object_mut() {
            object.insert("level".to_owned(), json!(level));
            object.insert("layers".to_owned(), json!(layers));
        }
        object
    }
}

/// A layer, and where the parts of its path lie in its name.
type Path<'a> = (&'a Layer, Vec<(usize, usize)>);

/// The first `depth` levels of the tree, parents before what lies in them, in the order of the layers. A part that holds a
/// lone layer is that layer.
pub(crate) fn fold(layers: &[Layer], depth: usize) -> Vec<Row> {
    let paths: Vec<Path> = layers.iter().map(|layer| (layer, parts(&layer.name))).collect();
    let mut rows = Vec::new();
    level(&paths, 0, depth, &mut rows);
    rows
}

/// Where the parts of a path lie in it. ONNX's exporters write `/layer1/layer1.0/conv1/Conv`.
fn parts(name: &str) -> Vec<(usize, usize)> {
    let separator = if name.contains('/') { '/' } else { '.' };
    let mut parts = Vec::new();
    let mut start = 0;
    for part in name.split(separator) {
        if !part.is_empty() {
            parts.push((start, start + part.len()));
        }
        start += part.len() + 1;
    }
    parts
}

/// Adds the rows of paths that agree in all parts before `at`.
fn level(paths: &[Path<'_>], at: usize, depth: usize, rows: &mut Vec<Row>) {
    let part = |(layer, parts): &Path<'_>| parts.get(at).map(|&(start, end)| layer.name[start..end].to_owned());
    let mut groups: Vec<(Option<String>, Vec<Path>)> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for path in paths {
        let part = part(path);
        // A layer whose path ends here stands alone, whatever its name.
        let group = match &part {
            Some(part) => *known.entry(part.clone()).or_insert(groups.len()),
            None => groups.len(),
        };
        if group == groups.len() {
            groups.push((part, Vec::new()));
        }
        groups[group].1.push((path.0, path.1.clone()));
    }
    for (part, paths) in groups {
        let label = |layer: &Layer, parts: &[(usize, usize)]| match parts.get(at).or(parts.last()) {
            Some(&(start, _)) => layer.name[start..].to_owned(),
            None => layer.name.clone(),
        };
        match (&paths[..], part) {
            ([(layer, parts)], _) => rows.push(Row { level: at, label: label(layer, parts), ..Row::of(layer) }),
            ([(first, parts), .., (last, _)], Some(part)) => {
                rows.push(Row {
                    level: at,
                    name: first.name[..parts[at].1].to_owned(),
                    label: part,
                    op: None,
                    layers: paths.len(),
                    shape: last.shape.clone(),
                    parameters: paths.iter().map(|(layer, _)| layer.parameters).sum(),
                    macs: paths.iter().map(|(layer, _)| layer.macs).sum(),
                });
                if at + 1 < depth {
                    level(&paths, at + 1, depth, rows);
                }
            }
            ([] | [_, ..], _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(names: &[&str]) -> Vec<Layer> {
        let layer = |(i, name): (usize, &&str)| Layer {
            name: (*name).to_owned(),
            op: "conv",
            shape: vec![i],
            parameters: 1 << i,
            macs: 100,
        };
        names.iter().enumerate().map(layer).collect()
    }

    /// Rows as lines: indented labels, operator or number of layers, shape, parameters.
    fn lines(names: &[&str], depth: usize) -> Vec<String> {
        let line = |row: Row| {
            let what = row.op.map_or(row.layers.to_string(), str::to_owned);
            format!("{}{} {what} {:?} {}", " ".repeat(row.level), row.label, row.shape, row.parameters)
        };
        fold(&layers(names), depth).into_iter().map(line).collect()
    }

    #[test]
    fn parts_of_a_path_hold_the_layers_below_with_their_sums() {
        let names = ["stem", "a.0.conv", "a.0.bn", "a.1.conv", "b.0", "a.add"];
        assert_eq!(lines(&names, 1), ["stem conv [0] 1", "a 4 [5] 46", "b.0 conv [4] 16"]);
        let two = [
            "stem conv [0] 1",
            "a 4 [5] 46",
            " 0 2 [2] 6",
            " 1.conv conv [3] 8",
            " add conv [5] 32",
            "b.0 conv [4] 16",
        ];
        assert_eq!(lines(&names, 2), two);
        assert_eq!(fold(&layers(&names), 2)[2].name, "a.0");
        assert_eq!(lines(&names, 9).len(), 8);
    }

    #[test]
    fn a_name_may_be_a_path_and_a_part_of_others() {
        assert_eq!(lines(&["a", "a.b", "a"], 3), ["a 3 [2] 7", " a conv [0] 1", " b conv [1] 2", " a conv [2] 4"]);
        let names = ["/layer1/layer1.0/conv1/Conv", "/layer1/layer1.0/Relu", "", "..", "é.ü"];
        let wanted = ["layer1 2 [1] 3", " layer1.0 2 [1] 3", " conv [2] 4", ".. conv [3] 8", "é.ü conv [4] 16"];
        assert_eq!(lines(&names, 2), wanted);
    }
}
