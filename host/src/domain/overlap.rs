//! Which regular expressions of a table match the same commands: not by samples, but by walking both
//! automata at once until a command is found that both take, or none is left. S44.

use std::collections::{HashSet, VecDeque};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::start;

use crate::domain::routes::{Matcher, Routes};

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

/// What was found, and whether every pair was compared to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlaps {
    /// In file order.
    pub found: Vec<Overlap>,
    pub complete: bool,
}

/// Steps of the search in all: a table that needs more is compared in part, since a reload has to end.
const STEPS_MAX: usize = 1 << 20;

/// What comparing two patterns costs at least, in steps.
const STEPS_OF_A_PAIR: usize = 64;

/// A pair about which nothing can be told: over the limit, or no automaton of this kind can do it.
struct Untold;

impl Routes {
    /// Overlapping regular expressions.
    pub fn overlaps(&self) -> Overlaps {
        let entries = self.entries();
        let mut overlaps = Overlaps { found: Vec::new(), complete: true };
        let mut walkers: Vec<(usize, Walker)> = Vec::new();
        let mut steps = STEPS_MAX;
        for (second, entry) in entries.iter().enumerate() {
            let Matcher::Regex(pattern) = &entry.matcher else { continue };
            let Ok(mut walker) = Walker::new(&pattern.anchored()) else {
                overlaps.complete = false;
                continue;
            };
            for (first, earlier) in walkers.iter_mut().filter(|it| entries[it.0].meets(entry)) {
                match walk(earlier, &mut walker, &mut steps) {
                    Ok(Some((example, covered))) => {
                        overlaps.found.push(Overlap { first: *first, second, example, covered });
                    }
                    Ok(None) => {}
                    Err(Untold) => overlaps.complete = false,
                }
            }
            walkers.push((second, walker));
        }
        overlaps
    }
}

/// A shortest text that both match, and whether `a` matches all that `b` does; none where there is no text.
fn walk(a: &mut Walker, b: &mut Walker, steps: &mut usize) -> Result<Option<(String, bool)>, Untold> {
    *steps = steps.checked_sub(STEPS_OF_A_PAIR).ok_or(Untold)?;
    let start = (a.start()?, b.start()?);
    let bytes = representatives(&a.dfa, &b.dfa);
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
            // Where `b` is dead nothing is left to learn; where `a` is, only whether it covers all.
            let ended = next_b.is_dead() || (next_a.is_dead() && !covered);
            if ended || !seen.insert((next_a, next_b)) {
                continue;
            }
            *steps = steps.checked_sub(1).ok_or(Untold)?;
            ways.push((way, *byte));
            queue.push_back(((next_a, next_b), ways.len() - 1));
        }
    }
    Ok(example.map(|it| (it, covered)))
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

/// An automaton whose states are made as they are asked for, and kept from one pair to the next.
struct Walker {
    dfa: DFA,
    cache: Cache,
    /// How often the cache was cleared before this walk: states found before that have lost their meaning.
    cleared: usize,
}

impl Walker {
    fn new(pattern: &str) -> Result<Self, Untold> {
        // Unicode word boundaries are beyond automata of this kind.
        let dfa = DFA::new(pattern).map_err(|_| Untold)?;
        let cache = dfa.create_cache();
        Ok(Self { dfa, cache, cleared: 0 })
    }

    fn start(&mut self) -> Result<LazyStateID, Untold> {
        self.cleared = self.cache.clear_count();
        let anchored = start::Config::new().anchored(regex_automata::Anchored::Yes);
        self.dfa.start_state(&mut self.cache, &anchored).map_err(|_| Untold)
    }

    fn next(&mut self, state: LazyStateID, byte: u8) -> Result<LazyStateID, Untold> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).map_err(|_| Untold)?;
        self.good(next)
    }

    fn matches(&mut self, state: LazyStateID) -> Result<bool, Untold> {
        let end = self.dfa.next_eoi_state(&mut self.cache, state).map_err(|_| Untold)?;
        self.good(end).map(|it| it.is_match())
    }

    fn good(&self, state: LazyStateID) -> Result<LazyStateID, Untold> {
        let is_good = self.cache.clear_count() == self.cleared && !state.is_quit();
        if is_good { Ok(state) } else { Err(Untold) }
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
            let overlaps = routes.overlaps();
            assert_eq!(overlaps.found, Vec::from_iter(expected), "{first} and {second}");
            // Whether it can be told at all by this kind of automaton.
            assert_eq!(overlaps.complete, !first.contains(r"\b"));
        }
    }

    #[test]
    fn the_search_ends_whatever_the_patterns() {
        let (first, second) = ("g * /(a|b)*a(a|b){14}/", "g * /(a|b)*b(a|b){14}/");
        let routes = Routes::new(vec![entry(first), entry(second)]).unwrap();
        assert_eq!(routes.overlaps(), Overlaps::default());
    }
}
