//! Classes: their names, and which of them an output puts first.

use std::path::Path;

use kiln_compiler::files::Files;
use kiln_compiler::graph::{Graph, Op};

use crate::preprocess::Extents;
use crate::report::{Context, Failure};

/// The names of ImageNet's 1,000 classes (ILSVRC 2012) in the order that networks trained on them answer in: torchvision
/// 0.29's `_IMAGENET_CATEGORIES`.
const IMAGENET: &str = include_str!("../../../classes/imagenet.txt");

/// The names of an output's classes.
#[derive(Default)]
pub(crate) struct Labels(Vec<String>);

impl Labels {
    /// The lines of a text file. Without one, ImageNet's names for a network of 1,000 classes of which is said how a photo
    /// in colour becomes its input, and else none. `classes` is how many the output has, where it has any.
    ///
    /// # Errors
    /// Where the file does not name each class.
    pub(crate) fn of(graph: &Graph, classes: Option<usize>, file: Option<&Path>) -> Result<Self, Failure> {
        let names = |text: &str| Labels(text.lines().map(str::to_owned).collect());
        if let Some(path) = file {
            let shown = path.display();
            let (_, text) = Files::default().read(path).context(format!("cannot read {shown}"))?;
            let labels = names(&text);
            let named = labels.0.len();
            return match classes {
                Some(classes) if classes == named => Ok(labels),
                Some(classes) => Err(Failure::new(format!(
                    "{shown} names {named} {}, but the output has {classes}",
                    if named == 1 { "class" } else { "classes" }
                ))
                .help("write the name of a class in each line, in the order of the output")),
                None => Err(Failure::new(format!("{shown} names classes, but the output has none"))),
            };
        }
        let extents = |&input| Extents::of("", &graph.node(input).ty.shape).ok();
        let colour = graph.inputs().first().and_then(extents).is_some_and(|extents| extents.channels == 3);
        let imagenet = classes == Some(1000) && colour && graph.preprocessing.is_some();
        Ok(if imagenet { names(IMAGENET) } else { Labels::default() })
    }

    /// The name of a class.
    pub(crate) fn get(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(String::as_str)
    }
}

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) class: usize,
    pub(crate) probability: f32,
}

/// Whether a graph's first output is probabilities already.
pub(crate) fn gives_probabilities(graph: &Graph) -> bool {
    matches!(graph.node(graph.outputs()[0].node).op, Op::Softmax { .. })
}

/// The `top` most probable classes, the most probable first. Scores become probabilities by a softmax, unless they are.
pub(crate) fn rank(scores: &[f32], probabilities: bool, top: usize) -> Vec<Ranked> {
    let shares = if probabilities { scores.to_vec() } else { softmax(scores) };
    let mut ranked: Vec<Ranked> =
        shares.into_iter().enumerate().map(|(class, probability)| Ranked { class, probability }).collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    ranked.truncate(top);
    ranked
}

/// Scores as probabilities.
fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_names() {
        let names: Vec<&str> = IMAGENET.lines().collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| !name.is_empty() && name.trim() == *name));
        assert_eq!([0, 282, 999].map(|class: usize| names[class]), ["tench", "tiger cat", "toilet tissue"]);
    }

    #[test]
    fn scores_are_ranked_by_their_softmax() {
        let ranked = rank(&[0.0, 3f32.ln(), 1000.0f32.ln(), 3f32.ln()], false, 3);
        assert_eq!(ranked.iter().map(|r| r.class).collect::<Vec<_>>(), [2, 1, 3], "equal ones in the order of classes");
        assert!((ranked[0].probability - 1000.0 / 1007.0).abs() < 1e-6);
        assert_eq!(
            rank(&[0.25, 0.75], true, 9),
            [(1, 0.75), (0, 0.25)].map(|(class, probability)| Ranked { class, probability })
        );
        assert_eq!(rank(&[1e30, -1e30], false, 1)[0], Ranked { class: 0, probability: 1.0 });
    }
}
