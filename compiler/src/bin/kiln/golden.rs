//! Which crates hold a stored answer. The graph interpreter computes it in plain loops: for a large network that takes
//! longer than compiling does, and more time and memory for more pixels. So only quick networks have one by default.

use kiln_compiler::graph::{Graph, count};

/// Steps of the interpreter: about an eighth of a second, so that four times the pixels do not show in the time of `build`.
const STEPS: u64 = 1 << 29;
/// Elements that a node reads and makes.
const ELEMENTS: u64 = 1 << 22;

/// Whether the interpreter answers in little time and memory.
pub(crate) fn is_quick(graph: &Graph) -> bool {
    let len = |id| graph.node(id).ty.len() as u64;
    let touched = |id| graph.operands(id).into_iter().map(len).fold(len(id), u64::saturating_add);
    let steps = |id| count::steps(graph, id);
    let order = graph.order();
    order.iter().map(|&id| steps(id)).fold(0, u64::saturating_add) <= STEPS
        && order.iter().all(|&id| touched(id) <= ELEMENTS)
}

#[cfg(test)]
mod tests {
    use kiln_compiler::front::{NoFiles, load};

    use super::is_quick;

    #[test]
    fn networks_that_take_plain_loops_long_have_no_stored_answer() {
        let quick = |image: usize| {
            let graph = load("zoo:mobilenet_v2", None, &[format!("image=[1, 3, {image}, {image}]")], &NoFiles);
            is_quick(&graph.expect("a network"))
        };
        assert!(quick(224));
        assert!(!quick(448));
    }
}
