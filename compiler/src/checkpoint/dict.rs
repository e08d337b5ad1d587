//! Which dict of a file is the network's, where a training program keeps several beside each other: the network, a mean of
//! its weights over time, the state of an optimizer.

use std::collections::BTreeSet;

/// Under which names training programs keep the state dict of a network, the likeliest first, and then the means.
const NETWORKS: [&str; 19] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "module",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model_state_dict",
    "model_ema",
    "ema_model",
    "params_ema",
    "net_ema",
    "ema",
    "g_ema",
];

/// The dict that is taken for the network's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict {
    /// Its name, a path of names with dots; empty where the file as a whole is the network's.
    pub name: String,
    /// Those that are a network's too, by their names.
    pub others: Vec<String>,
}

impl Dict {
    /// The dict of a network among those that hold tensors, paths that end with a dot.
    pub(super) fn among(holders: &BTreeSet<String>) -> Self {
        if let [only] = holders.iter().collect::<Vec<_>>()[..] {
            return Dict { name: only.trim_end_matches('.').to_owned(), others: Vec::new() };
        }
        let there = |name: &&str| {
            holders.iter().any(|holder| holder.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.')))
        };
        let mut known = NETWORKS.iter().copied().filter(there).map(str::to_owned);
        let name = if holders.contains("") { String::new() } else { known.next().unwrap_or_default() };
        Dict { name, others: known.collect() }
    }

    /// What stands before the names of its tensors.
    pub(super) fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}.", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(holders: &[&str]) -> (String, String) {
        let Dict { name, others } = Dict::among(&holders.iter().map(|&holder| holder.to_owned()).collect());
        (name, others.join(" "))
    }

    #[test]
    fn the_network_is_told_from_what_is_kept_beside_it() {
        let found = |name: &str, others: &str| (name.to_owned(), others.to_owned());
        assert_eq!(among(&[""]), found("", ""));
        assert_eq!(among(&["generator."]), found("generator", ""));
        assert_eq!(among(&["params.", "params_ema."]), found("params", "params_ema"));
        assert_eq!(among(&["ema.", "model.", "optimizer.state."]), found("model", "ema"));
        assert_eq!(among(&["ema_state_dict.", "optimizer.", "state_dict."]), found("state_dict", "ema_state_dict"));
        assert_eq!(among(&["optimizer.", "state_dict_ema."]), found("state_dict_ema", ""));
        // Dicts within the network's.
        assert_eq!(among(&["model.backbone.", "model.head.", "optimizer."]), found("model", ""));
        assert_eq!(among(&["backbone.", "head."]), found("", ""));
        assert_eq!(among(&["", "ema."]), found("", "ema"));
        // A name that only begins so is another.
        assert_eq!(among(&["model_a.", "model_b."]), found("", ""));
    }
}
