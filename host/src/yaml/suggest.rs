//! "Did you mean": the nearest of the words that would have been right.

/// The candidate that `word` was likely meant to be; none where nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong; a case or a `_` for a `-` costs nothing.
    let plain = |it: &str| it.to_lowercase().replace('_', "-");
    let word = plain(word);
    let most = (word.chars().count().max(3)) / 3;
    candidates
        .into_iter()
        .map(|it| (distance(&word, &plain(it)), it))
        .filter(|(distance, _)| *distance <= most && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// The help for a word that is not among the candidates: the nearest one, or all of them.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => "there is none".to_owned(),
        None => {
            let all: Vec<String> = candidates.iter().map(|it| format!("`{it}`")).collect();
            format!("one of {}", all.join(", "))
        }
    }
}

/// How many letters are to be put in, taken out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let words = ["topics", "commit-every-ms", "order", "window"];
        let cases = [
            ("topic", Some("topics")),
            ("tpoics", Some("topics")),
            ("commit_every_ms", Some("commit-every-ms")),
            ("Order", Some("order")),
            ("widnow", Some("window")),
            ("partition", None),
            ("", None),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, words), near, "{word}");
        }
    }
}
