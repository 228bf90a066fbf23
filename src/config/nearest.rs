//! Suggests the name that was probably meant.

/// The maximum edit distance for a suggestion, by the length of the word.
fn reach(len: usize) -> usize {
    match len {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    }
}

/// The edit distance (Damerau-Levenshtein) of two words, or `None` above `limit`. Comparing letter counts first rules
/// out most pairs, so that a file with many unknown keys stays cheap.
pub(super) fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    (apart(a, b) <= limit).then(|| strsim::damerau_levenshtein(a, b)).filter(|distance| *distance <= limit)
}

/// A lower bound of the edit distance of two words.
fn apart(a: &str, b: &str) -> usize {
    if !a.is_ascii() || !b.is_ascii() {
        return a.chars().count().abs_diff(b.chars().count());
    }
    let mut letters = [0_i32; 128];
    a.bytes().for_each(|letter| letters[usize::from(letter & 0x7f)] += 1);
    b.bytes().for_each(|letter| letters[usize::from(letter & 0x7f)] -= 1);
    // One edit fixes at most one surplus and one missing letter.
    let more: u32 = letters.iter().filter(|n| **n > 0).map(|n| n.unsigned_abs()).sum();
    let fewer: u32 = letters.iter().filter(|n| **n < 0).map(|n| n.unsigned_abs()).sum();
    more.max(fewer) as usize
}

/// The nearest of `names` to `word`, if it is near enough.
pub(crate) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let limit = reach(word.chars().count());
    names
        .into_iter()
        .filter_map(|name| {
            let distance = distance(&word, name, limit)?;
            // Ties go to the name with the most similar beginning, since typos occur late in a word.
            Some((distance, -(strsim::jaro_winkler(&word, name) * 1000.0) as i64, name))
        })
        .filter(|(distance, _, name)| *distance < name.chars().count())
        .min()
        .map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_swapped_or_added_letter_is_found_and_nonsense_is_not() {
        let names = ["batch_size", "batch_timeout_ms", "fps", "width", "height"];
        assert_eq!(nearest("batch_sze", names), Some("batch_size"));
        assert_eq!(nearest("hieght", names), Some("height"));
        assert_eq!(nearest("batch-size", names), Some("batch_size"));
        assert_eq!(nearest("fp", names), Some("fps"));
        assert_eq!(nearest("elephants", names), None);
    }

    #[test]
    fn the_letter_count_bound_never_exceeds_the_distance() {
        let words =
            ["", "a", "pasword", "password", "passwörd", "wordpass", "secret", "secrets", "tokne", "token", "ß"];
        for (a, b) in words.iter().flat_map(|a| words.map(|b| (*a, b))) {
            let real = strsim::damerau_levenshtein(a, b);
            assert_eq!(distance(a, b, 3), (real <= 3).then_some(real), "{a} {b}");
        }
    }
}
