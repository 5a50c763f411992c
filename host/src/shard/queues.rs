//! Who waits behind whom: for each order key that has work, the messages behind the one in flight.
//!
//! Exact: two keys never share a queue, however they hash. An entry exists only while its key has work, so
//! the size is bounded by what the lanes' windows let in.

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// What a message's order goes by.
#[derive(Clone, Debug)]
pub struct OrderKey {
    /// Already computed by the poll thread; the table goes by it.
    pub hash: u64,
    pub group: u16,
    /// As the shard numbers them: a name would be counted for by all threads.
    pub topic: u32,
    /// None: the partition is the key.
    pub key: Option<Bytes>,
    pub partition: i32,
}

impl PartialEq for OrderKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.group == other.group
            && self.key == other.key
            && (self.key.is_some() || self.partition == other.partition)
            && self.topic == other.topic
    }
}

impl Eq for OrderKey {}

/// Queues of waiting `T`.
pub struct Queues<T> {
    behind: HashTable<(OrderKey, VecDeque<T>)>,
    waiting: usize,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self { behind: HashTable::new(), waiting: 0 }
    }
}

impl<T> Queues<T> {
    /// Gives the item back when it is its turn at once; keeps it when its key is busy.
    pub fn enter(&mut self, key: OrderKey, item: T) -> Option<T> {
        match self.behind.entry(key.hash, |it| it.0 == key, |it| it.0.hash) {
            Entry::Occupied(mut busy) => {
                busy.get_mut().1.push_back(item);
                self.waiting += 1;
                None
            }
            Entry::Vacant(free) => {
                free.insert((key, VecDeque::new()));
                Some(item)
            }
        }
    }

    /// The one in flight is through: whose turn is it now?
    ///
    /// # Panics
    /// When the key has none in flight: that is our bug.
    pub fn leave(&mut self, key: &OrderKey) -> Option<T> {
        let found = self.behind.find_entry(key.hash, |it| it.0 == *key);
        assert!(found.is_ok(), "a key left that had not entered");
        let mut busy = found.ok()?;
        let next = busy.get_mut().1.pop_front();
        match next {
            Some(_) => self.waiting -= 1,
            None => drop(busy.remove()),
        }
        next
    }

    /// Takes out all that wait and are not to be kept; those in flight stay.
    pub fn sweep(&mut self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for (_, queue) in self.behind.iter_mut() {
            if queue.iter().all(&mut keep) {
                continue;
            }
            let (kept, dropped): (VecDeque<T>, VecDeque<T>) = queue.drain(..).partition(|it| keep(it));
            *queue = kept;
            out.extend(dropped);
        }
        self.waiting -= out.len();
        out
    }

    /// Messages that wait behind another.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Keys that have work.
    pub fn keys(&self) -> usize {
        self.behind.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key(hash: u64, name: &str) -> OrderKey {
        let key = Some(Bytes::copy_from_slice(name.as_bytes()));
        OrderKey { hash, group: 0, topic: 0, key, partition: 0 }
    }

    /// S115: keys whose hashes collide do not wait for each other, and one key is strictly in order.
    #[test]
    fn colliding_keys_are_apart() {
        let mut it = Queues::default();
        assert_eq!(it.enter(key(1, "a"), 1), Some(1));
        assert_eq!(it.enter(key(1, "b"), 2), Some(2));
        assert_eq!(it.enter(key(1, "a"), 3), None);
        assert_eq!(it.leave(&key(1, "b")), None);
        assert_eq!(it.leave(&key(1, "a")), Some(3));
        assert_eq!(it.leave(&key(1, "a")), None);
        assert_eq!((it.keys(), it.waiting()), (0, 0));
    }

    /// Against the naive model: a list of (key, item) in order of arrival.
    #[test]
    fn a_seeded_walk_agrees_with_a_list() {
        for seed in 1..100u64 {
            let mut random = seed;
            let mut below = |n: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % n
            };
            let mut it = Queues::default();
            let mut running: BTreeMap<u64, u64> = BTreeMap::new();
            let mut list: Vec<(u64, u64)> = Vec::new();
            for item in 0..500 {
                match below(8) {
                    0..=3 => {
                        let name = below(5);
                        let entered = it.enter(key(name % 2, &name.to_string()), item);
                        if let Some(started) = entered {
                            assert_eq!(running.insert(name, started), None, "two of a key at once");
                        } else {
                            list.push((name, item));
                        }
                    }
                    4..=6 => {
                        let Some((&name, _)) = running.iter().nth(below(5) as usize) else { continue };
                        running.remove(&name);
                        let next = it.leave(&key(name % 2, &name.to_string()));
                        let expected = list.iter().position(|at| at.0 == name).map(|at| list.remove(at).1);
                        assert_eq!(next, expected, "seed {seed}");
                        if let Some(next) = next {
                            running.insert(name, next);
                        }
                    }
                    _ => {
                        let mut out = it.sweep(|item| item % 3 != 0);
                        out.sort_unstable();
                        let mut expected: Vec<u64> =
                            list.iter().filter(|at| at.1 % 3 == 0).map(|at| at.1).collect();
                        expected.sort_unstable();
                        list.retain(|at| at.1 % 3 != 0);
                        assert_eq!(out, expected, "seed {seed}");
                    }
                }
                assert_eq!((it.keys(), it.waiting()), (running.len(), list.len()), "seed {seed}");
            }
        }
    }
}
