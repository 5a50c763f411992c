//! What is wrong with a file, and how it is shown: as rustc shows it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file's name and lines, for snippets.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    lines: Vec<String>,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        // A carriage return alone ends a line as well, and the parser counts it.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// `line` and `column` count from 1, in characters.
    pub(super) fn place(&self, line: usize, column: usize, width: usize) -> Place {
        // The end of a file is reported on the line after the last.
        let line = line.clamp(1, self.lines.len().max(1));
        let text = self.lines.get(line - 1).map_or("", String::as_str);
        let column = column.clamp(1, text.chars().count() + 1);
        Place { file: self.path.clone(), line, column, width, text: mask_secrets(text), is_file: false }
    }

    pub(super) fn whole(&self) -> Place {
        Place { is_file: true, ..self.place(1, 1, 1) }
    }
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters to underline.
    pub width: usize,
    /// The line, secrets masked.
    text: String,
    /// The file as a whole is meant: something is missing in it.
    is_file: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_file {
            return self.file.display().fmt(f);
        }
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, but somebody should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub message: String,
    pub file: PathBuf,
    pub place: Option<Box<Place>>,
    /// More to know: where the other one stands.
    pub note: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        let problem = Self::of_file(&place.file, message);
        Self { place: (!place.is_file).then(|| Box::new(place)), ..problem }
    }

    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Of the file as a whole: it cannot be read.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            file: file.to_owned(),
            place: None,
            note: None,
            help: None,
        }
    }

    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        let number = self.place.as_ref().map_or(0, |it| it.line).to_string();
        let margin = " ".repeat(number.len());
        match &self.place {
            None => writeln!(f, "{margin}--> {}", self.file.display())?,
            Some(place) => {
                let (text, before) = excerpt(&place.text, place.column - 1);
                let room = text.chars().count().saturating_sub(before);
                writeln!(f, "{margin}--> {place}")?;
                writeln!(f, "{margin} |")?;
                writeln!(f, "{number} | {text}")?;
                let carets = "^".repeat(place.width.clamp(1, room.max(1)));
                writeln!(f, "{margin} | {}{carets}", " ".repeat(before))?;
            }
        }
        for (label, text) in [("note", &self.note), ("help", &self.help)] {
            if let Some(text) = text {
                writeln!(f, "{margin} = {label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The part of a line around a column that fits a terminal, with nothing in it that would move the cursor;
/// and how many characters of it stand before the column.
fn excerpt(line: &str, before: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    let chars: Vec<char> = line.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    if chars.len() <= WIDTH {
        return (chars.into_iter().collect(), before);
    }
    let from = before.saturating_sub(WIDTH / 2);
    let to = (from + WIDTH).min(chars.len());
    let (head, tail) = (if from > 0 { "…" } else { "" }, if to < chars.len() { "…" } else { "" });
    let text = format!("{head}{}{tail}", chars[from..to].iter().collect::<String>());
    (text, before - from + head.chars().count())
}

/// A snippet may end in a log, so the value behind a key that names a secret is not shown.
fn mask_secrets(line: &str) -> String {
    const NAMES: &[&str] = &["password", "secret", "token", "key.pem"];
    let lower = line.to_ascii_lowercase();
    let named = NAMES.iter().filter_map(|name| lower.find(name).map(|at| at + name.len())).min();
    let Some((head, tail)) = named.and_then(|end| {
        let colon = end + line[end..].find(':')? + 1;
        Some(line.split_at(colon))
    }) else {
        return line.to_owned();
    };
    let value = tail.trim_start();
    let gap = &tail[..tail.len() - value.len()];
    // A reference (`{env: NAME}`), an anchor or nothing at all is no secret.
    if value.is_empty() || value.starts_with(['{', '#', '~', '*']) {
        return line.to_owned();
    }
    format!("{head}{gap}***")
}

/// For errors that come from below: the message and, where it is known, the place.
pub(super) struct Raw {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Line, column, width.
    pub(super) at: Option<(usize, usize, usize)>,
}

impl Raw {
    pub(super) fn problem(self, source: &Arc<Source>) -> Problem {
        let problem = match self.at {
            Some((line, column, width)) => Problem::error(source.place(line, column, width), self.message),
            None => Problem::of_file(&source.path, self.message),
        };
        Problem { help: self.help, ..problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, column: usize, width: usize) -> String {
        let place = Source::new(Path::new("a.yaml"), line).place(1, column, width);
        Problem::error(place, "wrong").help("write it right").to_string()
    }

    #[test]
    fn a_problem_looks_as_rustc_shows_it() {
        let expected =
            "error: wrong\n --> a.yaml:1:4\n  |\n1 | a: bcd\n  |    ^^^\n  = help: write it right\n";
        assert_eq!(shown("a: bcd", 4, 3), expected);
        assert_eq!(shown("a:\tbcd", 4, 99), expected);
        let long = format!("a: {} bad {}", "x".repeat(300), "y".repeat(300));
        let text = shown(&long, 305, 3);
        assert!(text.lines().all(|it| it.chars().count() < 110), "{text}");
        let lines: Vec<_> = text.lines().collect();
        let at = lines[4].chars().position(|it| it == '^').unwrap();
        assert_eq!(lines[3].chars().skip(at).take(3).collect::<String>(), "bad");
    }

    /// S145.
    #[test]
    fn snippets_hide_secrets() {
        let cases = [
            ("  token: abc", "  token: ***"),
            ("sasl.password: 'abc' # x", "sasl.password: ***"),
            ("- {name: a, secret: b, topics: []}", "- {name: a, secret: ***"),
            ("  token: {env: TOKEN}", "  token: {env: TOKEN}"),
            ("  tokens", "  tokens"),
            ("  path: /a", "  path: /a"),
        ];
        for (line, masked) in cases {
            assert_eq!(mask_secrets(line), masked);
        }
    }
}
