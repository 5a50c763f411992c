//! `consistent-hash`: the same key to the same server, as long as that is in service and not overloaded.
//!
//! Each server has many places on a ring of hashes; a key belongs to the next place. When a server leaves, only
//! its keys move, and they spread over all others. A server with far more requests under way than the mean
//! passes new ones on to the next (consistent hashing with bounded loads).

use drover_guest::prelude::*;
use drover_guest::random::mix;
use drover_guest::select::{Entries, hash, no_server};
use drover_guest::selection::{all_loads, load_of};

/// Places on the ring for each unit of weight, unless set.
const PLACES: u32 = 100;
/// The most places of all servers; more only cost time in `update`.
const PLACES_MAX: usize = 16_384;
/// How far a key may travel on the ring to a server that has room.
const STEPS_MAX: usize = 64;
/// After so many choices, or one for each server where there are more, all loads are looked at anew.
const CHOICES_MAX: u32 = 256;
/// The same where a server has no room by what is known.
const CHOICES_MIN: u32 = 32;

/// How the ring is made, and how uneven the loads may get.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Places on the ring for each unit of weight.
    pub places: u32,
    /// A server takes at most so many times the mean of requests under way; 0 is no bound.
    pub bound: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { places: PLACES, bound: 1.25 }
    }
}

impl Settings {
    /// From the plugin's configuration.
    ///
    /// Errors: an unknown key, or a value out of range.
    pub fn read() -> Result<Self> {
        refuse_unknown(&["places", "bound"])?;
        let places = config_get("places").map_or(Ok(PLACES), |text| text.parse());
        let bound = config_get("bound").map_or(Ok(1.25), |text| text.parse());
        match (places, bound) {
            (Ok(places @ 1..=1_000), Ok(bound)) if bound == 0.0 || (1.0..=100.0).contains(&bound) => {
                Ok(Self { places, bound })
            }
            _ => Err(Error::retry("`places` is 1 to 1000, `bound` is 0 or 1 to 100")),
        }
    }
}

/// The ring, and what is known of the loads.
#[derive(Default)]
pub struct ConsistentHash {
    entries: Entries,
    settings: Settings,
    /// Hashes of the places, sorted, and whose they are.
    places: Vec<u64>,
    owners: Vec<u32>,
    /// For each value of a hash's first bits the first place that is not below it: a search would take as long as
    /// the rest of a choice.
    starts: Vec<u32>,
    /// How many bits follow the first ones.
    shift: u32,
    /// Requests under way when last seen, and chosen since; their sum. A server's own are looked at for each choice
    /// of it, which mends the sum as well.
    in_flight: Vec<u32>,
    total: u64,
    /// Choices since all were looked at, which costs more than a choice.
    choices: u32,
}

impl ConsistentHash {
    /// Builds the ring for these servers.
    pub fn build(&mut self, servers: &[Server], settings: Settings) {
        self.entries = Entries::of(servers);
        let mut ring = ring_of(servers, &self.entries, settings.places);
        ring.sort_unstable();
        self.places = ring.iter().map(|(place, _)| *place).collect();
        self.owners = ring.into_iter().map(|(_, owner)| owner).collect();
        let first_bits = (self.places.len().max(2) as u64).next_power_of_two().trailing_zeros();
        self.shift = 64 - first_bits;
        let mut places = self.places.iter().enumerate().peekable();
        let start_of = |bits: u64| {
            while places.next_if(|(_, place)| **place < bits << self.shift).is_some() {}
            places.peek().map_or(self.places.len(), |(index, _)| *index) as u32
        };
        self.starts = (0..1 << first_bits).map(start_of).collect();
        self.in_flight = vec![0; servers.len()];
        self.total = 0;
        self.choices = u32::MAX;
        self.settings = settings;
    }

    /// The server of a key; none without servers. The requests under way come from wherever they are kept: those of
    /// one server, and of all.
    pub fn choose(
        &mut self,
        key: u64,
        failed: Option<u32>,
        in_flight_of: impl Fn(u32) -> u32,
        in_flight: impl Fn() -> Vec<u32>,
    ) -> Option<u32> {
        let start = self.place_of(mix(key));
        let owner = *self.owners.get(start).or_else(|| self.owners.first())?;
        if self.settings.bound == 0.0 {
            return Some(self.owner_or_next(owner, start, failed, |_, _| true));
        }
        let servers = self.entries.len();
        if self.choices >= CHOICES_MAX.max(servers) {
            self.look(&in_flight);
        }
        self.note(owner, in_flight_of(owner));
        if !self.has_room(owner) && self.choices >= CHOICES_MIN.max(servers) {
            self.look(&in_flight);
        }
        let chosen = self.owner_or_next(owner, start, failed, |this, server| {
            if server != owner && this.has_room(server) {
                this.note(server, in_flight_of(server));
            }
            this.has_room(server)
        });
        self.note(chosen, self.in_flight[chosen as usize].saturating_add(1));
        self.choices += 1;
        Some(chosen)
    }

    /// Looks at all loads.
    fn look(&mut self, in_flight: impl Fn() -> Vec<u32>) {
        self.in_flight = in_flight();
        self.in_flight.resize(self.entries.len() as usize, 0);
        self.total = self.in_flight.iter().map(|count| u64::from(*count)).sum();
        self.choices = 0;
    }

    /// A server has so many requests under way.
    fn note(&mut self, index: u32, in_flight: u32) {
        let known = std::mem::replace(&mut self.in_flight[index as usize], in_flight);
        self.total = self.total - u64::from(known) + u64::from(in_flight);
    }

    /// The first place that is not below a hash; the number of places, if there is none.
    fn place_of(&self, hash: u64) -> usize {
        let start = self.starts.get((hash >> self.shift) as usize).copied().unwrap_or_default() as usize;
        let below = self.places.get(start..).unwrap_or_default().iter().take_while(|place| **place < hash);
        start + below.count()
    }

    /// The owner of a place, else the next on the ring that has not failed and has room, else one that has not
    /// failed, else the owner.
    fn owner_or_next(
        &mut self,
        owner: u32,
        start: usize,
        failed: Option<u32>,
        has_room: impl Fn(&mut Self, u32) -> bool,
    ) -> u32 {
        if !self.entries.is_failed(owner, failed) && has_room(self, owner) {
            return owner;
        }
        let places = self.owners.len();
        let (mut first, mut steps) = (None, 0);
        for place in start..start + places {
            let other = self.owners[place % places];
            if self.entries.is_failed(other, failed) {
                continue;
            }
            if has_room(self, other) {
                return other;
            }
            first = first.or(Some(other));
            steps += 1;
            if steps == STEPS_MAX {
                break;
            }
        }
        first.unwrap_or(owner)
    }

    fn has_room(&self, index: u32) -> bool {
        let mean = (self.total + 1) as f64 / self.in_flight.len() as f64;
        f64::from(self.in_flight[index as usize]) < (mean * self.settings.bound).ceil()
    }
}

#[selector]
impl Select for ConsistentHash {
    fn update(&mut self, app: App) -> Result<()> {
        let settings = Settings::read()?;
        self.build(&app.servers, settings);
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        let in_flight_of = |server| load_of(server).in_flight;
        let chosen = self.choose(pick.hash, pick.failed, in_flight_of, || all_loads().in_flight);
        chosen.map_or_else(no_server, Ok)
    }
}

/// Places that depend on nothing but the server's uri, so that they stay when others come and go.
fn ring_of(servers: &[Server], entries: &Entries, places: u32) -> Vec<(u64, u32)> {
    let divisor = servers.iter().fold(0, |divisor, server| common_divisor(divisor, server.weight)).max(1);
    let weight_of = |server: &Server| (server.weight / divisor).clamp(1, 1_000) as usize;
    let wanted: usize = servers.iter().map(|server| weight_of(server) * places as usize).sum();
    let mut listed = vec![0_u64; servers.len()];
    let mut ring = Vec::with_capacity(wanted.min(PLACES_MAX + servers.len()));
    for (index, server) in servers.iter().enumerate() {
        let uri = hash(server.uri.as_bytes());
        // An entry that is there twice has places of its own, and so twice the keys.
        let nth = &mut listed[entries.first_of(index as u32) as usize];
        *nth += 1;
        let own = uri.wrapping_add(mix(*nth));
        let count = weight_of(server) * places as usize;
        let count = if wanted > PLACES_MAX { (count * PLACES_MAX / wanted).max(1) } else { count };
        ring.extend((0..count as u64).map(|place| (mix(own ^ mix(place)), index as u32)));
    }
    ring
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use drover_guest::mock::MockHost;
    use drover_guest::random::Random;
    use drover_guest::select::check;

    use super::*;

    const KEYS: u64 = 20_000;

    fn of(app: &App, bound: f64) -> ConsistentHash {
        let mut selector = ConsistentHash::default();
        selector.build(&app.servers, Settings { places: PLACES, bound });
        selector
    }

    fn uris(app: &App, selector: &mut ConsistentHash) -> Vec<String> {
        (0..KEYS)
            .map(|key| app.servers[selector.choose(key, None, |_| 0, Vec::new).unwrap() as usize].uri.clone())
            .collect()
    }

    // S108: consistent hash by key.
    #[test]
    fn only_the_keys_of_a_server_that_leaves_move() {
        let app = check::app_of(&[1; 10]);
        let before = uris(&app, &mut of(&app, 0.0));
        for gone in 0..10 {
            let mut left = app.clone();
            let gone = left.servers.remove(gone).uri;
            left.servers.rotate_left(3);
            let after = uris(&left, &mut of(&left, 0.0));
            for (before, after) in before.iter().zip(&after) {
                assert!(before == after || *before == gone, "{before} became {after}, {gone} has gone");
            }
            let moved: Vec<&String> =
                after.iter().zip(&before).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
            for server in &left.servers {
                assert!(moved.contains(&&server.uri), "{} got nothing of {gone}", server.uri);
            }
        }
    }

    // Against the naive model: look at all places.
    #[test]
    fn a_key_belongs_to_the_next_place() {
        let mut random = Random::from_seed(64);
        for servers in [1, 2, 7, 200] {
            let selector = of(&check::app_of(&vec![1; servers]), 0.0);
            let edges = [0, 1, u64::MAX, selector.places[0], selector.places[0] + 1];
            for hash in edges.into_iter().chain((0..2_000).map(|_| random.next())) {
                let expected = selector.places.iter().filter(|place| **place < hash).count();
                assert_eq!(selector.place_of(hash), expected);
            }
        }
    }

    #[test]
    fn keys_spread_by_weight() {
        let app = check::app_of(&[10, 10, 20]);
        let all = uris(&app, &mut of(&app, 0.0));
        let share = |index: usize| {
            all.iter().filter(|uri| **uri == app.servers[index].uri).count() as f64 / KEYS as f64
        };
        for (index, expected) in [(0, 0.25), (1, 0.25), (2, 0.5)] {
            assert!((share(index) - expected).abs() < 0.08, "{index}: {}", share(index));
        }
    }

    // One hot key: its server takes only its bound, the rest goes on, always in the same order. And all loads are looked
    // at rarely, however full the server is.
    #[test]
    fn a_hot_key_does_not_drown_its_server() {
        let app = check::app_of(&[1; 8]);
        let mut selector = of(&app, 1.25);
        let mut in_flight = vec![0_u32; 8];
        let (mut random, looks) = (Random::from_seed(5), Cell::new(0));
        for step in 0..4_000 {
            let key = if random.below(2) == 0 { 42 } else { random.next() };
            let all = || {
                looks.set(looks.get() + 1);
                in_flight.clone()
            };
            let chosen = selector.choose(key, None, |index| in_flight[index as usize], all).unwrap();
            in_flight[chosen as usize] += 1;
            if step >= 400 {
                let busy: Vec<usize> = (0..8).filter(|index| in_flight[*index] > 0).collect();
                in_flight[busy[random.below(busy.len() as u32) as usize]] -= 1;
            }
            // What it knows of their sum is a few choices old.
            let bound = f64::from(in_flight.iter().sum::<u32>()) / 8.0 * 1.25;
            assert!(in_flight.iter().all(|count| f64::from(*count) <= bound + 4.0), "{step}: {in_flight:?}");
        }
        assert!(looks.get() <= 1 + 4_000 / CHOICES_MIN, "{} looks", looks.get());
    }

    // What others send, and what has been answered, shows in the very next choice of a server. Against the model that
    // looks at all loads each time: the same choices as long as the sum is the same.
    #[test]
    fn the_load_of_the_chosen_one_is_exact() {
        let app = check::app_of(&[1; 8]);
        let (mut selector, mut model) = (of(&app, 1.25), of(&app, 1.25));
        let mut random = Random::from_seed(125);
        let mut in_flight: Vec<u32> = vec![40; 8];
        let mut others = 0;
        for _ in 0..4_000 {
            // From one server to another, so that the sum stays.
            let (from, to) = (random.below(8) as usize, random.below(8) as usize);
            let moved = random.below(30).min(in_flight[from]);
            in_flight[from] -= moved;
            in_flight[to] += moved;
            let key = random.next();
            let chosen =
                selector.choose(key, None, |index| in_flight[index as usize], || in_flight.clone()).unwrap();
            let most = (f64::from(in_flight.iter().sum::<u32>()) / 8.0 * 1.25 * 1.3).ceil() as u32;
            assert!(in_flight[chosen as usize] <= most, "{chosen} of {in_flight:?}");
            model.choices = u32::MAX;
            let by_model =
                model.choose(key, None, |index| in_flight[index as usize], || in_flight.clone()).unwrap();
            others += u32::from(by_model != chosen);
        }
        assert!(others < 200, "{others} of 4000 choices are others than with all loads known");
    }

    #[test]
    fn a_key_stays_where_it_was_while_there_is_room() {
        let app = check::app_of(&[1; 8]);
        let mut selector = of(&app, 1.25);
        let before = uris(&app, &mut selector);
        assert_eq!(uris(&app, &mut selector), before);
    }

    #[test]
    fn a_wrong_setting_is_refused() {
        for (key, value) in [("bound", "0.5"), ("places", "0"), ("plces", "1"), ("bound", "NaN")] {
            let _host = MockHost::new().config(key, value);
            assert!(ConsistentHash::default().update(check::app_of(&[1])).is_err(), "{key} {value}");
        }
    }

    // S109, S110
    #[test]
    fn it_keeps_the_promises_of_every_selector() {
        check::promises::<ConsistentHash>();
    }
}
