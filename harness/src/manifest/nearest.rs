//! "Did you mean …?"

/// The word that was most likely meant, if any is near: a third of its letters may be wrong, case does not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        // A third: "dri" is "dir" with two letters swapped (distance 1), "foo" is nothing that we know.
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        assert_eq!(nearest("signl", ["stop", "signal"]), Some("signal"));
        assert_eq!(nearest("dri", ["self", "dir", "port"]), Some("dir"));
        assert_eq!(nearest("hup", ["TERM", "HUP"]), Some("HUP"));
        assert_eq!(nearest("nginx/hub", ["nginx/usr2", "nginx/hup"]), Some("nginx/hup"));
    }

    #[test]
    fn a_far_word_finds_nothing() {
        assert_eq!(nearest("foo", ["self", "dir", "port"]), None);
    }
}
