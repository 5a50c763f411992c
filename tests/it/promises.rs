//! `docs/promises.md` maps every promise to its tests: it names each once, and its tests are real.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::tidy::{sources, workspace};

/// S1 to S215, P1 to P30.
fn expected() -> BTreeSet<String> {
    let numbered = |letter: char, last: u32| (1..=last).map(move |it| format!("{letter}{it}"));
    numbered('S', 215).chain(numbered('P', 30)).collect()
}

struct Row {
    number: String,
    words: String,
    tests: Vec<String>,
}

/// The rows `| S1 | words | tests |` of the document.
fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(workspace().join("docs/promises.md")).unwrap();
    let is_number = |it: &str| it.len() > 1 && it[1..].bytes().all(|it| it.is_ascii_digit());
    let cells = text.lines().filter_map(|line| {
        let cells: Vec<&str> =
            line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [number, words, tests] = cells[..] else { return None };
        if !is_number(number) {
            return None;
        }
        // `part:` says that they hold only a part of it.
        let tests = tests
            .trim_start_matches("part: ")
            .split(", ")
            .map(|it| it.trim_matches('`').to_owned())
            .collect();
        Some(Row { number: number.to_owned(), words: words.to_owned(), tests })
    });
    cells.collect()
}

#[test]
fn every_promise_stands_once() {
    let mut seen = BTreeMap::new();
    for row in rows() {
        assert!(!row.words.is_empty(), "{} says nothing", row.number);
        *seen.entry(row.number).or_insert(0) += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|it| *it.1 > 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    let seen: BTreeSet<_> = seen.into_keys().collect();
    let expected = expected();
    let missing: Vec<_> = expected.difference(&seen).collect();
    let unknown: Vec<_> = seen.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

/// A test is named by its file's path in the workspace and its function: `tests/it/deliver.rs::name`.
#[test]
fn every_test_that_is_named_is_there() {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for root in ["host", "broker", "guest-sdk", "plugins", "tests"] {
        files.extend(sources(root).into_iter().map(|(path, text)| (PathBuf::from(root).join(path), text)));
    }
    let mut wrong = Vec::new();
    for row in rows() {
        if row.tests == ["not yet"] {
            continue;
        }
        for test in &row.tests {
            let found = test.split_once("::").is_some_and(|(path, name)| {
                let text = files.get(&PathBuf::from(path));
                text.is_some_and(|it| is_test(it, name))
            });
            if !found {
                wrong.push(format!("{}: {test}", row.number));
            }
        }
    }
    assert!(wrong.is_empty(), "no such tests:\n{}", wrong.join("\n"));
}

/// Whether `#[test]` or its like stands above `fn name`, with nothing but attributes and comments between.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = [format!("fn {name}("), format!("async fn {name}(")];
    lines.iter().enumerate().any(|(at, line)| {
        declared.iter().any(|it| line.starts_with(it))
            && lines[..at]
                .iter()
                .rev()
                .take_while(|it| it.starts_with("#[") || it.starts_with("//"))
                .any(|it| it.starts_with("#[test]") || it.starts_with("#[tokio::test"))
    })
}
