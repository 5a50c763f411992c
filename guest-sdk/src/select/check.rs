//! What every selector has to keep, as a check for its tests.

use super::Select;
use crate::random::Random;
use crate::{App, Pick, Server};

/// An app of servers `s0`, `s1` … with these weights.
pub fn app_of(weights: &[u32]) -> App {
    let server = |(index, weight): (usize, &u32)| Server {
        id: format!("s{index}"),
        uri: format!("http://s{index}"),
        weight: *weight,
        zone: String::new(),
        labels: Vec::new(),
    };
    App {
        name: "test".to_string(),
        protocol: "http".to_string(),
        path: "/".to_string(),
        server_type: String::new(),
        commands: Vec::new(),
        generation: 1,
        servers: weights.iter().enumerate().map(server).collect(),
        shard: 0,
        shards: 1,
    }
}

/// A selector that has these servers.
///
/// # Panics
/// Where it refuses them.
pub fn updated<S: Select>(weights: &[u32]) -> S {
    let mut selector = S::default();
    if let Err(error) = selector.update(app_of(weights)) {
        panic!("{weights:?} is refused: {error:?}");
    }
    selector
}

/// A walk over updates and picks: an empty list is an error (S109), an index is always in the list, and the
/// server that failed is not chosen again while there is another (S110), be it named once or twice.
///
/// # Panics
/// Where a promise is broken.
pub fn promises<S: Select>() {
    assert!(S::default().select(&Pick::default()).is_err(), "chosen before any update");
    let mut selector = S::default();
    let mut random = Random::from_seed(109);
    for _ in 0..2_000 {
        let weights: Vec<u32> = (0..random.below(9)).map(|_| 1 + random.below(3)).collect();
        let mut app = app_of(&weights);
        if random.below(4) == 0 && !weights.is_empty() {
            let twice = app.servers[random.below(weights.len() as u32) as usize].clone();
            app.servers.push(twice);
        }
        let servers = app.servers.clone();
        assert!(selector.update(app).is_ok(), "refused: {servers:?}");
        for _ in 0..10 {
            // An index of an older list may come as well.
            let failed = (random.below(2) == 0).then(|| random.below(10));
            let pick = Pick { hash: random.next(), turn: random.next(), failed, ..Pick::default() };
            match selector.select(&pick) {
                Err(error) => {
                    assert!(servers.is_empty(), "{servers:?} {pick:?}: {error:?}");
                    assert!(error.reason().starts_with("no server"), "{error:?}");
                }
                Ok(index) => check_choice(&servers, failed, index),
            }
        }
    }
}

fn check_choice(servers: &[Server], failed: Option<u32>, index: u32) {
    let chosen = servers.get(index as usize);
    assert!(chosen.is_some(), "{index} of {}", servers.len());
    let failed = failed.and_then(|failed| servers.get(failed as usize));
    if let (Some(chosen), Some(failed)) = (chosen, failed) {
        let has_other = servers.iter().any(|server| server.uri != failed.uri);
        assert!(chosen.uri != failed.uri || !has_other, "{servers:?}: {index} has just failed");
    }
}
