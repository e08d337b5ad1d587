//! Which name was meant.

/// The candidate nearest to a name that does not exist, if one is near: a third of its letters may differ, and none of a
/// name of one or two letters.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let letters = name.chars().count();
    let limit = if letters < 3 { 0 } else { letters.div_ceil(3) };
    let near = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: letters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("chanels", ["kernel", "channels"]), Some("channels"));
        assert_eq!(nearest("con", ["conv", "concat"]), Some("conv"));
        assert_eq!(nearest("widht", ["kind", "width"]), Some("width"));
        assert_eq!(nearest("y", ["x"]), None);
        assert_eq!(nearest("frobnicate", ["conv", "bn"]), None);
    }
}
