//! YAML in, values out; every mistake with its file, line, column, the line itself and what to write.
//!
//! A file is read in two steps. serde-saphyr parses it under limits (size, depth, aliases) into a tree
//! that remembers where each node stands ([`tree`]). The tree is then read into the caller's type
//! ([`value`]); a node that does not fit is reported and taken out, and the rest is read again, so that
//! one pass reports every mistake of the file and not only the first.

mod problem;
mod suggest;
mod tree;
mod value;

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use problem::{Place, Problem, Severity};
pub use suggest::{did_you_mean, nearest};
pub use tree::Cursor;
pub use value::TEXT_OR_KEYS;

use problem::Source;
use tree::Node;

/// A file over this is refused: no configuration is that long, so it is something else.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Mistakes of one file after which we stop: the rest would be noise.
const PROBLEMS_MAX: usize = 50;

/// A file that is good YAML; what it means is for [`Doc::value`] to say.
#[derive(Debug)]
pub struct Doc {
    source: Arc<Source>,
    root: Node,
}

/// What became of reading a file into a type.
#[derive(Debug)]
pub struct Read<T> {
    /// What is left when the wrong parts are taken out; none where nothing useful is.
    pub value: Option<T>,
    pub problems: Vec<Problem>,
}

impl Doc {
    /// Parses a file's bytes; `path` is how the file is called in errors.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("the file is too long: {} bytes, at most {FILE_BYTES_MAX}", bytes.len());
            return Err(Problem::of_file(path, message).help("is it a configuration file at all?"));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
            Err(error) => return Err(not_utf8(path, bytes, error.valid_up_to())),
        };
        let source = Arc::new(Source::new(path, text));
        let root = tree::parse(text).map_err(|it| it.problem(&source))?;
        if root.is_null() {
            return Err(Problem::of_file(path, "the file is empty").help("remove it, or fill it"));
        }
        Ok(Self { source, root })
    }

    /// Reads the file into `T`, and reports all that does not fit.
    pub fn value<T: DeserializeOwned>(&self) -> Read<T> {
        let mut root = self.root.clone();
        let mut problems: Vec<Problem> = Vec::new();
        loop {
            let fault = match value::read::<T>(&root) {
                Ok(value) => return Read { value: Some(value), problems },
                Err(fault) => fault,
            };
            // A key that is missing only because its bad value was taken out is no second mistake.
            if !fault.follows_from_a_removal(&root) {
                problems.push(fault.problem(&self.source, &root));
            }
            if problems.len() >= PROBLEMS_MAX || !fault.remove_from(&mut root) {
                return Read { value: None, problems };
            }
        }
    }

    /// The root of the file, to find the place of a value that is wrong for reasons of its own.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.source, &self.root)
    }
}

fn not_utf8(path: &Path, bytes: &[u8], good: usize) -> Problem {
    let line = 1 + bytes[..good].iter().filter(|it| **it == b'\n').count();
    let message = format!("the file is not UTF-8: byte {} of it, in line {line}", good + 1);
    Problem::of_file(path, message).help("save it as UTF-8")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
    struct Herd {
        name: String,
        sheep: u32,
        grown_ups: Vec<Sheep>,
        tags: BTreeMap<String, String>,
        share: f64,
        dog: Option<bool>,
        kind: Kind,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sheep {
        id: u8,
        name: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        #[default]
        Wool,
        Milk,
    }

    fn herd(text: &str) -> Herd {
        let read = Doc::parse(Path::new("herd.yaml"), text.as_bytes()).unwrap().value();
        assert_eq!(read.problems, []);
        read.value.unwrap()
    }

    /// All problems of a text as they are printed, without the first line's file name.
    fn problems(bytes: &[u8]) -> String {
        let path = Path::new("h.yaml");
        match Doc::parse(path, bytes) {
            Err(problem) => problem.to_string(),
            Ok(doc) => doc.value::<Herd>().problems.iter().map(|it| it.to_string()).collect(),
        }
    }

    #[test]
    fn scalars_are_what_the_type_says() {
        let it = herd(
            "name: 1.10\nsheep: 12\nshare: 1\ndog: ~\nkind: milk\ntags: {a: true, b: 0x1F, c: 1e3, d: \"x\"}\n",
        );
        assert_eq!((it.name.as_str(), it.sheep, it.share, it.dog), ("1.10", 12, 1.0, None));
        let tags: Vec<_> = it.tags.values().map(String::as_str).collect();
        assert_eq!(tags, ["true", "0x1F", "1e3", "x"]);
        assert_eq!(it.kind, Kind::Milk);
        assert_eq!(herd("grown-ups:\n  # - {id: 1}\ntags:\n"), Herd::default());
        let aliases = herd("name: &n 07\ntags: {a: *n}");
        assert_eq!((aliases.name.as_str(), aliases.tags["a"].as_str()), ("07", "07"));
    }

    #[test]
    fn every_mistake_of_a_file_is_reported_in_one_pass() {
        let text = "nam: x\nsheep: many\ngrown-ups:\n  - {id: 300, name: a}\n  - {id: 1}\n  - {id: 2, name: [b]}\nkind: wol\n";
        let expected = "\
error: unknown key `nam`
 --> h.yaml:1:1
  |
1 | nam: x
  | ^^^
  = help: did you mean `name`?
error: expected a whole number, found text `many`
 --> h.yaml:2:8
  |
2 | sheep: many
  |        ^^^^
error: expected u8, found integer `300`
 --> h.yaml:4:10
  |
4 |   - {id: 300, name: a}
  |          ^^^
error: the key `name` is missing
 --> h.yaml:5:5
  |
5 |   - {id: 1}
  |     ^
  = help: add `name: …`
error: expected text, found a list
 --> h.yaml:6:13
  |
6 |   - {id: 2, name: [b]}
  |             ^^^^
error: `wol` is not known here
 --> h.yaml:7:7
  |
7 | kind: wol
  |       ^^^
  = help: did you mean `wool`?
";
        let shown = problems(text.as_bytes());
        assert_eq!(shown, expected, "{shown}");
    }

    #[test]
    fn what_is_no_good_yaml() {
        let bomb: String = ["a: &a [x,x,x,x,x,x,x,x,x,x]".to_owned()]
            .into_iter()
            .chain(["ab", "bc", "cd", "de", "ef"].map(|it| {
                let (from, to) = it.split_at(1);
                format!("{to}: &{to} [{}]", vec![format!("*{from}"); 10].join(","))
            }))
            .collect::<Vec<_>>()
            .join("\n");
        let deep = "[".repeat(100);
        let huge = "#".repeat(FILE_BYTES_MAX + 1);
        let cases: &[(&[u8], &str, &str)] = &[
            (b"", "h.yaml", "the file is empty"),
            (b"# only a comment\n", "h.yaml", "the file is empty"),
            (b"name: a\nname: b\n", "h.yaml:2:1", "the key `name` stands here twice"),
            (b"name:\n\tsheep: 1\n", "h.yaml:2:2", "tabs disallowed within this context (block indentation)"),
            (b"name: 'a\nsheep: 1\n", "h.yaml:2:1", "invalid indentation in multiline quoted scalar"),
            (b"name: a\rsheep: 1\r\nnam: b\r", "h.yaml:3:1", "unknown key `nam`"),
            (b"a: 1\n---\nb: 2\n", "h.yaml:3:1", "a second document (`---`) begins here"),
            (b"a: 1\nname: \xff\n", "h.yaml", "the file is not UTF-8: byte 12 of it, in line 2"),
            (bomb.as_bytes(), "h.yaml:5:8", "the file unfolds to too much, or is nested too deep"),
            (deep.as_bytes(), "h.yaml:1:100", "unclosed bracket '['"),
            (huge.as_bytes(), "h.yaml", "the file is too long: 1048577 bytes, at most 1048576"),
            (b"- a\n", "h.yaml:1:1", "expected keys with values, found a list"),
            (b"just text", "h.yaml:1:1", "expected keys with values, found text `just text`"),
            (b"x: {<<: {a: 1}}\n", "h.yaml:1:5", "merge keys (`<<`) are not supported"),
            (b"name: *x\n", "h.yaml:1:7", "reference to unknown value"),
            (b"{a: 1}: b\n", "h.yaml:1:1", "unknown key `(no word)`"),
        ];
        for (bytes, place, message) in cases {
            let shown = problems(bytes);
            let mut lines = shown.lines();
            assert_eq!(lines.next(), Some(format!("error: {message}").as_str()), "{shown}");
            assert_eq!(lines.next(), Some(format!(" --> {place}").as_str()), "{shown}");
        }
    }
}
