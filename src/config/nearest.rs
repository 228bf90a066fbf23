//! The name somebody probably meant.

/// Longest edit distance at which a name is still offered, by the length of what was written.
fn reach(len: usize) -> usize {
    match len {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    }
}

/// The nearest of `names` to `word`, where one is near enough to be what was meant.
pub(super) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let limit = reach(word.chars().count());
    names
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&word, name);
            // Ties go to the name that begins alike, as typing errors come late in a word.
            (distance, -(strsim::jaro_winkler(&word, name) * 1000.0) as i64, name)
        })
        .filter(|(distance, _, name)| *distance <= limit && *distance < name.chars().count())
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
}
