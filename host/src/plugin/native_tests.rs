//! S5: a native twin does what the component does that is made of the same crate. The components run in the engine,
//! as on a shard; both get the same seeded walk.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use drover_guest::random::Random;

use super::*;
use crate::domain::exchange::Response;
use crate::domain::headers;
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;
use crate::domain::record::Record;

/// A component and its twin, under one name.
struct Pair {
    engine: Engine,
    both: [Plugin; 2],
}

impl Pair {
    fn of(name: &str) -> Self {
        let engine = Engine::new().unwrap();
        // A busy machine is not what this is about.
        let limits = Limits { call_ms: 60_000, start_ms: 60_000, ..Limits::HANDLER };
        let settings = || Settings { limits: Some(limits.clone()), ..Settings::default() };
        let component = compile(&engine, name, standard::component(name).unwrap(), settings()).unwrap();
        let twin = native(&engine, name, &format!("native:{name}"), settings()).unwrap().unwrap();
        assert_eq!(component.code.kind(), twin.code.kind());
        assert_eq!(twin.digest, format!("native:{name}"));
        Self { engine, both: [component, twin] }
    }

    fn set(&mut self, settings: &BTreeMap<String, String>) {
        for it in &mut self.both {
            it.config = Arc::new(settings.clone());
        }
    }

    fn handlers(&self) -> [Result<Handler, Stopped>; 2] {
        [0, 1].map(|at| match &self.both[at].code {
            Code::Handler(code) => code.start(&self.engine, &self.both[at], u32::MAX),
            Code::Selector(_) => panic!("{} is a selector", self.both[at].name),
        })
    }

    fn selectors(&self) -> [Selector; 2] {
        [0, 1].map(|at| match &self.both[at].code {
            Code::Selector(code) => code.start(&self.engine, &self.both[at]).unwrap(),
            Code::Handler(_) => panic!("{} is a handler", self.both[at].name),
        })
    }
}

fn one_of<'a, T: ?Sized>(random: &mut Random, all: &[&'a T]) -> &'a T {
    all[random.below(all.len() as u32) as usize]
}

/// Right and wrong ones.
fn settings(random: &mut Random) -> BTreeMap<String, String> {
    let all: [(&str, &[&str]); 5] = [
        ("method", &["POST", "put", "GET", "delete", "PUSH", ""]),
        ("path", &["/in", "/in?x=1", ""]),
        ("content-type", &["application/json", "text/plain; charset=utf-8"]),
        ("forward-headers", &["on", "off", "x-one, X-TWO", "[\"x-one\"]", "false", ""]),
        ("pth", &["/typo"]),
    ];
    let mut settings = BTreeMap::new();
    for (key, values) in all {
        // A typing mistake is rarer.
        if random.below(if key == "pth" { 8 } else { 3 }) == 0 {
            settings.insert(key.to_owned(), one_of(random, values).to_owned());
        }
    }
    settings
}

fn message(random: &mut Random) -> Rc<Message> {
    let mut block = Vec::new();
    for _ in 0..random.below(8) {
        let names = ["x-one", "X-Two", "connection", "Host", "content-type", "bad name", "x-three", "te"];
        let values: [Option<&[u8]>; 6] =
            [Some(b"1"), Some(b"x-one, close"), Some(b""), None, Some(b"a\r\nb"), Some(&[0xe4, 0xff])];
        let value = values[random.below(values.len() as u32) as usize];
        headers::push(&mut block, one_of(random, &names).as_bytes(), value);
    }
    let value = [None, Some(&b""[..]), Some(&b"{\"a\":1}"[..])][random.below(3) as usize];
    let place = ("orders".into(), 3, i64::from(random.below(1_000)));
    let record = Record::new(place, Some(1_700_000_000_000), Some(b"key"), value, &block);
    Rc::new(Message {
        record,
        command: "pay".into(),
        log_id: "log".into(),
        hash_key: None,
        delay_ms: 0,
        due_ms: None,
        expires_ms: None,
        url: None,
        value: value.map(Bytes::from_static),
        headers: block.into(),
        attempt: 1,
        past: None,
    })
}

fn response(random: &mut Random) -> Response {
    let bodies = [
        "{\"errno\":0}",
        "{\"errno\":7}",
        "{}",
        "[0]",
        "",
        "ok",
        "{\"errno\":0,\"errno\":0}",
        "{\"errno\":\"0\"}",
    ];
    Response {
        status: [200, 200, 200, 201, 404, 500][random.below(6) as usize],
        headers: Vec::new(),
        body: Bytes::from_static(one_of(random, &bodies).as_bytes()),
        took_ms: random.below(100),
        retry_after_ms: None,
    }
}

fn call_of(message: &Rc<Message>) -> Call {
    Call { message: Some(Rc::clone(message)), attempt: 1, remaining_ms: 10_000, ..Call::default() }
}

fn handled(it: &mut Handler, message: &Rc<Message>) -> String {
    let handled = it.handle(message, "group", 1_700_000_000_001, call_of(message)).unwrap();
    assert_eq!(handled.emitted, []);
    match handled.action {
        Action::Deliver(request) => format!("{request:?}"),
        Action::Finish(verdict) => format!("{verdict:?}"),
    }
}

fn judged(it: &mut Handler, message: &Rc<Message>, response: &Response) -> Option<Verdict> {
    it.judge(message, "10.0.0.1:80", response, call_of(message)).unwrap()
}

/// S5: the same refusals, requests and verdicts.
#[test]
fn a_handlers_twin_does_the_same() {
    for name in ["forward", "json-rpc-errno"] {
        let (mut pair, mut random) = (Pair::of(name), Random::from_seed(5));
        let mut refused = 0;
        for _ in 0..60 {
            let settings = settings(&mut random);
            pair.set(&settings);
            let (mut component, mut twin) = match pair.handlers() {
                [Ok(component), Ok(twin)] => (component, twin),
                [Err(component), Err(twin)] => {
                    assert_eq!(component, twin, "{name} {settings:?}");
                    refused += 1;
                    continue;
                }
                [component, twin] => {
                    panic!("{name} {settings:?}: {:?}, its twin {:?}", component.err(), twin.err())
                }
            };
            for _ in 0..20 {
                let message = message(&mut random);
                assert_eq!(handled(&mut component, &message), handled(&mut twin, &message), "{settings:?}");
                let response = response(&mut random);
                assert_eq!(
                    judged(&mut component, &message, &response),
                    judged(&mut twin, &message, &response),
                    "{name} {response:?}"
                );
            }
        }
        assert!((5..55).contains(&refused), "{refused} of 60 settings were refused");
        let [Code::Handler(component), Code::Handler(twin)] = pair.both.map(|it| it.code) else { panic!() };
        assert_eq!((component.has_judge(), component.asks_server), (twin.has_judge(), twin.asks_server));
    }
}

/// Tells both of the same servers, some of them twice.
fn tell(selectors: &mut [Selector; 2], weights: &[u32], twice: Option<usize>) -> usize {
    let mut uris: Vec<String> = (0..weights.len()).map(|it| format!("http://10.0.0.{it}:80")).collect();
    uris.extend(twice.and_then(|at| uris.get(at).cloned()));
    let weight_of = |at: usize| weights.get(at).copied().unwrap_or(1);
    let servers: Vec<ServerView<'_>> = uris
        .iter()
        .enumerate()
        .map(|(at, uri)| ServerView { id: uri, uri, weight: weight_of(at), zone: "a", labels: &[] })
        .collect();
    let app = AppView {
        name: "shop",
        protocol: "http",
        path: "/",
        server_type: "",
        commands: &["pay"],
        generation: 1,
        servers: &servers,
        shard: 0,
        shards: 1,
    };
    for it in selectors {
        it.update(&app).unwrap();
    }
    servers.len()
}

fn pick(random: &mut Random) -> Pick {
    let failed = (random.below(2) == 0).then(|| random.below(8));
    Pick { hash: random.next(), attempt: 1, failed, turn: random.next() }
}

/// S5: the same choices, where chance has no part in them, and the same words where there is no server.
#[test]
fn a_selectors_twin_does_the_same() {
    // Of two servers both are drawn, so that the loads alone decide; of one and another that failed, one is left.
    for (name, most) in [("round-robin", 8), ("weighted", 8), ("least-loaded", 2), ("random", 1)] {
        let (mut selectors, mut random) = (Pair::of(name).selectors(), Random::from_seed(105));
        for _ in 0..100 {
            let weights: Vec<u32> = (0..random.below(most + 1)).map(|_| random.below(5)).collect();
            let twice = (most == 8 && random.below(3) == 0).then_some(0);
            let servers = tell(&mut selectors, &weights, twice) as u32;
            for _ in 0..20 {
                let loads: Vec<Load> = (0..servers)
                    .map(|_| Load {
                        in_flight: random.below(1 << 24),
                        latency_ewma_us: random.next() as u32 >> random.below(32),
                        consecutive_failures: random.below(300),
                    })
                    .collect();
                let (pick, loads) = (pick(&mut random), Rc::new(loads));
                let [component, twin] = [0, 1].map(|at| {
                    let loads = Rc::clone(&loads);
                    let load_of = move |at: u32| loads.get(at as usize).copied().unwrap_or_default();
                    let call = Call { loads: Some(Rc::new(load_of)), servers, ..Call::default() };
                    selectors[at].select(&pick, call).unwrap()
                });
                assert_eq!(component, twin, "{name} {weights:?} {loads:?}");
                assert_eq!(component.is_err(), servers == 0);
            }
        }
    }
}

/// S5, S107: where chance decides, it decides alike: all servers but the failed one equally often.
#[test]
fn a_twin_by_chance_is_as_uniform() {
    for name in ["random", "least-loaded"] {
        let mut selectors = Pair::of(name).selectors();
        tell(&mut selectors, &[1; 5], None);
        for failed in [None, Some(2)] {
            for it in &mut selectors {
                let mut counts = [0_u32; 5];
                for turn in 0..4_000 {
                    let pick = Pick { hash: 0, attempt: 1, failed, turn };
                    counts[it.select(&pick, Call::default()).unwrap().unwrap() as usize] += 1;
                }
                let expected = if failed.is_some() { 1_000 } else { 800 };
                for (at, count) in counts.into_iter().enumerate() {
                    match failed == Some(at as u32) {
                        true => assert_eq!(count, 0, "{name}"),
                        // Seven standard deviations.
                        false => assert!(count.abs_diff(expected) < 200, "{name}: {counts:?}"),
                    }
                }
            }
        }
    }
}

/// S5: each name that the files may use is there, of its kind.
#[test]
fn every_native_name_is_there() {
    use crate::domain::plugin::{NATIVE, STANDARD};
    let engine = Engine::new().unwrap();
    let mut twins = 0;
    for (name, kind) in STANDARD.iter().filter(|it| it.0.starts_with(NATIVE)) {
        let plugin = native(&engine, "mine", name, Settings::default()).unwrap().unwrap();
        assert_eq!((plugin.code.kind(), &*plugin.name), (kind.as_str(), "mine"));
        assert!(standard::component(&name[NATIVE.len()..]).is_some(), "{name} has a component");
        twins += 1;
    }
    assert_eq!(twins, 6);
    assert!(native(&engine, "mine", "native:reshape", Settings::default()).is_none());
}
