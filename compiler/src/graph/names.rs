//! Names, each of one thing.

use std::collections::HashMap;

/// Names that are taken.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Each with the last number that made another name of it.
    taken: HashMap<String, usize>,
}

impl Names {
    /// Says that something has this very name.
    pub fn reserve(&mut self, name: &str) {
        self.taken.entry(name.to_owned()).or_insert(1);
    }

    /// Takes a name, as near to the wanted one as can be: `conv`, `conv#2`, `conv#3`, …; never an empty one.
    pub fn fresh(&mut self, wanted: &str) -> String {
        if !wanted.is_empty() && !self.taken.contains_key(wanted) {
            self.taken.insert(wanted.to_owned(), 1);
            return wanted.to_owned();
        }
        let mut number = self.taken.get(wanted).copied().unwrap_or(1);
        let name = loop {
            number += 1;
            let name = format!("{wanted}#{number}");
            if !self.taken.contains_key(&name) {
                break name;
            }
        };
        self.taken.insert(wanted.to_owned(), number);
        self.taken.insert(name.clone(), 1);
        name
    }
}

impl<S: Into<String>> FromIterator<S> for Names {
    fn from_iter<T: IntoIterator<Item = S>>(names: T) -> Self {
        Names { taken: names.into_iter().map(|name| (name.into(), 1)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_get_a_number() {
        let mut names = Names::from_iter(["x#2"]);
        let wanted = ["x", "x", "x", "x#2", "", "y"];
        assert_eq!(wanted.map(|name| names.fresh(name)), ["x", "x#3", "x#4", "x#2#2", "#2", "y"]);
    }

    /// A hundred thousand of one name take no longer than a hundred thousand names.
    #[test]
    fn a_name_wanted_often_is_not_searched_for_from_the_start() {
        let mut names = Names::default();
        let last = (0..100_000).map(|_| names.fresh("x")).last();
        assert_eq!(last.as_deref(), Some("x#100000"));
    }
}
