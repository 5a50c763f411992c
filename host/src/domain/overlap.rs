//! Which regular expressions of a table match the same commands: not by samples, but by walking both
//! automata at once until a command is found that both take, or none is left. S44.

use std::collections::{HashSet, VecDeque};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::start;

use crate::domain::routes::{Entry, Matcher, Routes};

/// Two regular expressions that some command matches both of: the first one takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Numbers in [`Routes::entries`].
    pub first: usize,
    pub second: usize,
    /// A shortest command that both match.
    pub example: String,
    /// Every command of the second is one of the first's as well: the second is never reached.
    pub covered: bool,
}

/// Pairs of states looked at in all; a table that needs more is compared in part.
const STEPS_MAX: usize = 1 << 20;

impl Routes {
    /// Overlapping regular expressions, in file order.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let patterns: Vec<_> = self.entries().iter().enumerate().filter_map(automaton).collect();
        let mut steps = STEPS_MAX;
        let mut overlaps = Vec::new();
        for (at, (first, a)) in patterns.iter().enumerate() {
            for (second, b) in &patterns[at + 1..] {
                if !self.entries()[*first].meets(&self.entries()[*second]) {
                    continue;
                }
                if let Some((example, covered)) = walk(a, b, &mut steps) {
                    overlaps.push(Overlap { first: *first, second: *second, example, covered });
                }
            }
        }
        overlaps
    }
}

fn automaton((number, entry): (usize, &Entry)) -> Option<(usize, DFA)> {
    let Matcher::Regex(pattern) = &entry.matcher else { return None };
    // What no automaton of this kind can do (Unicode word boundaries) is left out of the report.
    DFA::new(&pattern.anchored()).ok().map(|dfa| (number, dfa))
}

/// A shortest text that both match, and whether `a` matches all that `b` does; none where no text is
/// found or it cannot be told within `steps`.
fn walk(a: &DFA, b: &DFA, steps: &mut usize) -> Option<(String, bool)> {
    let (mut a, mut b) = (Walker::new(a), Walker::new(b));
    let start = (a.start()?, b.start()?);
    let bytes = representatives(a.dfa, b.dfa);
    let mut seen = HashSet::from([start]);
    let mut queue = VecDeque::from([(start, 0)]);
    // How each text was reached: the one before it, and the byte behind that.
    let mut ways: Vec<(usize, u8)> = vec![(0, 0)];
    let (mut example, mut covered) = (None, true);
    while let Some(((in_a, in_b), way)) = queue.pop_front() {
        match (a.matches(in_a)?, b.matches(in_b)?) {
            (true, true) if example.is_none() => example = Some(text(&ways, way)),
            (false, true) => covered = false,
            _ => {}
        }
        if example.is_some() && !covered {
            break;
        }
        for byte in &bytes {
            let (next_a, next_b) = (a.next(in_a, *byte)?, b.next(in_b, *byte)?);
            // Where `b` is dead nothing is left to learn.
            if next_b.is_dead() || !seen.insert((next_a, next_b)) {
                continue;
            }
            *steps = steps.checked_sub(1)?;
            ways.push((way, *byte));
            queue.push_back(((next_a, next_b), ways.len() - 1));
        }
    }
    example.map(|it| (it, covered))
}

fn text(ways: &[(usize, u8)], mut way: usize) -> String {
    let mut bytes = Vec::new();
    while way != 0 {
        bytes.push(ways[way].1);
        way = ways[way].0;
    }
    bytes.reverse();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One byte of each class that either automaton tells apart; letters first, so that examples can be read.
fn representatives(a: &DFA, b: &DFA) -> Vec<u8> {
    let classes = |byte: u8| (a.byte_classes().get(byte), b.byte_classes().get(byte));
    let readable = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b"_.-");
    let mut seen = HashSet::new();
    readable.chain(0..=u8::MAX).filter(|it| seen.insert(classes(*it))).collect()
}

struct Walker<'a> {
    dfa: &'a DFA,
    cache: Cache,
}

impl<'a> Walker<'a> {
    fn new(dfa: &'a DFA) -> Self {
        Self { dfa, cache: dfa.create_cache() }
    }

    fn start(&mut self) -> Option<LazyStateID> {
        let anchored = start::Config::new().anchored(regex_automata::Anchored::Yes);
        self.dfa.start_state(&mut self.cache, &anchored).ok()
    }

    fn next(&mut self, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).ok()?;
        self.good(next)
    }

    fn matches(&mut self, state: LazyStateID) -> Option<bool> {
        let end = self.dfa.next_eoi_state(&mut self.cache, state).ok()?;
        self.good(end).map(|it| it.is_match())
    }

    /// None once the cache was cleared: states found before have lost their meaning.
    fn good(&self, state: LazyStateID) -> Option<LazyStateID> {
        (self.cache.clear_count() == 0 && !state.is_quit()).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::routes::tests::entry;

    /// S44.
    #[test]
    fn overlaps_are_found_with_an_example() {
        let cases = [
            ("g * /order_.*/", "g * /.*_paid/", Some(("order_paid", false))),
            ("g * /order_.*/", "g * /order_[a-z]+/", Some(("order_a", true))),
            ("g * /a|b/", "g * /c|d/", None),
            ("g * /[a-m]+/", "g * /[m-z]+/", Some(("m", false))),
            ("g * /.*/", "g * /x/", Some(("x", true))),
            ("g * /x/", "g * /.*/", Some(("x", false))),
            ("g * /(?i)AB/", "g * /ab/", Some(("ab", true))),
            ("g * /a*/", "g * /b*/", Some(("", false))),
            ("g * /größe/", "g * /gr.ße/", Some(("größe", false))),
            ("g x /a/", "g y /a+/", None),
            ("g x /a/", "h x /a+/", None),
            ("g x /a/", "g * /a+/", Some(("a", false))),
            ("g * /a/", "g * any", None),
            // Cannot be told by this kind of automaton.
            (r"g * /\bß\b/", "g * /ß/", None),
        ];
        for (first, second, overlap) in cases {
            let routes = Routes::new(vec![entry(first), entry(second)]).unwrap();
            let expected = overlap.map(|(example, covered)| Overlap {
                first: 0,
                second: 1,
                example: example.to_owned(),
                covered,
            });
            assert_eq!(routes.overlaps(), Vec::from_iter(expected), "{first} and {second}");
        }
    }

    #[test]
    fn the_search_ends_whatever_the_patterns() {
        let (first, second) = ("g * /(a|b)*a(a|b){11}/", "g * /(a|b)*b(a|b){11}/");
        let routes = Routes::new(vec![entry(first), entry(second)]).unwrap();
        assert!(routes.overlaps().is_empty());
    }
}
