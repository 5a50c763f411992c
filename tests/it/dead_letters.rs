//! S88: dead letters are listed, looked at, sent again and deleted, by the command line and by the operators' door.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Parser as _;
use drover::dlq::reentry::{Parts, ReEntry};
use drover::dlq::{Dlq, Error, Place, Redrive, Redriven, Way};
use drover::domain::dead::{DeadLetter, Filter};
use drover::domain::headers::push;
use drover::domain::record::Record;
use drover::kafka::ClientSettings;
use drover::kafka::producer::ProducerSettings;
use drover::outbox::Outbox;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

use crate::harness::http::{get, post_json};
use crate::harness::{Answer, Case, Host, Send, Service, eventually_is};

/// A host whose dead letters have two partitions; its group is `g`.
fn running(case: &Case, letters: impl IntoIterator<Item = Send>) -> Host {
    let letters: Vec<_> = letters.into_iter().collect();
    let topic = case.topic("in", 1);
    case.kafka.make_topic(&case.dead_topic(), 2, &[]);
    let app = Service::ok().app("");
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&case.dead_topic(), letters);
    host
}

/// A dead letter as drover writes it, with what matters here.
fn letter(case: &Case, command: &str, offset: i64) -> Send {
    Send::default()
        .to(0)
        .key(format!("key-{offset}"))
        .value(format!("value {offset}"))
        .header("x-own", "kept")
        .header("drover-origin-topic", case.named("in"))
        .header("drover-origin-partition", "0")
        .header("drover-origin-offset", offset.to_string())
        .header("drover-group", case.group())
        .header("drover-origin-command", command)
        .header("drover-origin-log-id", format!("log-{offset}"))
        .header("drover-route", format!("shop/{command}"))
        .header("drover-first-reason", "status 500")
        .header("drover-stage", "judge")
        .header("drover-code", "attempts")
        .header("drover-reason", "five attempts")
        .header("drover-attempts", "5")
        .header("drover-first-seen-ms", "900")
        .header("drover-ended-ms", (1_000 * (offset + 1)).to_string())
}

/// What `drover dlq` says, and whether it went well.
fn dlq(host: &Host, words: &str) -> (bool, String) {
    let mut words: Vec<&str> = ["drover", "dlq"].into_iter().chain(words.split(' ')).collect();
    words.extend(["--config", host.path().to_str().unwrap()]);
    let mut out = Vec::new();
    match drover::cli::Cli::parse_from(words).run(&mut out) {
        Ok(code) => (code == ExitCode::SUCCESS, String::from_utf8(out).unwrap()),
        Err(error) => (false, format!("{error:#}")),
    }
}

/// `partition:offset` of what `ls --json` lists.
fn listed(host: &Host, words: &str) -> Vec<String> {
    let (good, said) = dlq(host, format!("ls --json {words}").trim_end());
    assert!(good, "{said}");
    let place = |line: &str| {
        let it: Value = serde_json::from_str(line).unwrap();
        format!("{}:{}", it["partition"], it["offset"])
    };
    said.lines().map(place).collect()
}

/// S88: what really died is found, shown whole, and said to have come from where it did.
#[test]
fn what_died_is_listed_and_shown() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("in", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    let unknown = Send::command("unknown").key("k").value([0, 159, 146, 150]).header("x", "1").at(1_234);
    case.produce(&topic, [Send::command("pay"), unknown]);
    case.committed(&topic, &[2]);
    case.records(&case.dead_topic(), 1);
    let (good, said) = dlq(&host, "ls");
    assert!(good && said.starts_with("LETTER"), "{said}");
    assert!(said.contains("unknown") && said.contains("route/unmatched"), "{said}");
    assert!(said.contains(&format!("{topic}[0]@1")), "{said}");
    assert!(said.ends_with(&format!("1 dead letter of group {} in {}\n", case.group(), case.dead_topic())));
    let (good, said) = dlq(&host, "show 0:0");
    assert!(good, "{said}");
    for part in ["key      k", "value    4 bytes as hex\n009f9296", "  x: 1\n", "  drover-origin-offset: 1\n"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let (good, said) = dlq(&host, "show --json 0:0");
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert!(good);
    assert_eq!((&shown["origin-offset"], &shown["value"]), (&json!(1), &json!({"hex": "009f9296"})));
    let (good, said) = dlq(&host, "show 0:1");
    assert!(!good && said.contains("it holds 0 to 0"), "{said}");
    assert!(dlq(&host, "show 7:1").1.contains("has no partition 7: it has 1"));
    host.stop();
}

/// S88: one filter, or several together.
#[test]
fn filters() {
    let case = Case::new();
    let mut other = letter(&case, "refund", 2).to(1);
    for (name, value) in [
        ("drover-code", "unmatched"),
        ("drover-stage", "route"),
        ("drover-reason", "no route takes it"),
        ("drover-route", "billing/any"),
        ("drover-origin-topic", "other"),
        ("drover-origin-partition", "3"),
    ] {
        other.headers.iter_mut().find(|it| it.0 == name).unwrap().1 = Some(value.into());
    }
    let foreign = letter(&case, "pay", 9).to(1).header("drover-group", "another");
    let host = running(&case, [letter(&case, "pay", 0), letter(&case, "refund", 1), other, foreign]);
    let cases = [
        ("", &["0:0", "0:1", "1:0"][..]),
        ("--limit 2", &["0:0", "0:1"]),
        ("--command pay", &["0:0"]),
        ("--command refund", &["0:1", "1:0"]),
        ("--app shop", &["0:0", "0:1"]),
        ("--app billing", &["1:0"]),
        ("--code unmatched", &["1:0"]),
        ("--stage judge", &["0:0", "0:1"]),
        ("--reason attempts", &["0:0", "0:1"]),
        ("--reason takes", &["1:0"]),
        ("--key key-1", &["0:1"]),
        ("--log-id log-0", &["0:0"]),
        ("--from 1970-01-01T00:00:02Z", &["0:1", "1:0"]),
        ("--to 1970-01-01T00:00:02Z", &["0:0"]),
        ("--from 2000 --to 3000", &["0:1"]),
        ("--origin-topic other", &["1:0"]),
        ("--origin-partition 0", &["0:0", "0:1"]),
        ("--partition 1", &["1:0"]),
        ("--from-offset 1", &["0:1"]),
        ("--partition 0 --to-offset 0", &["0:0"]),
        ("--command refund --stage judge", &["0:1"]),
        ("--command nothing", &[]),
    ];
    for (words, expected) in cases {
        assert_eq!(listed(&host, words), expected, "{words}");
    }
    let (_, said) = dlq(&host, "ls --limit 1");
    assert!(said.contains("1 of 3 dead letters") && said.contains("2 more: raise --limit"), "{said}");
    assert!(said.contains("1 record there is no dead letter of this group"), "{said}");
    for (words, part) in [
        ("ls --from soon", "`from`: \"soon\" is no time"),
        ("ls --partition 5", "has no partition 5: it has 2"),
        ("ls --group nobody", "has no group nobody; it has: "),
        ("show nothing", "as in `0:17`"),
    ] {
        let (good, said) = dlq(&host, words);
        assert!(!good && said.contains(part), "{words}: {said}");
    }
    host.stop();
}

/// S88: only the front of a partition goes, only what was meant, and only when it is told twice.
#[test]
fn purging() {
    let case = Case::new();
    let host = running(
        &case,
        [
            letter(&case, "pay", 0),
            letter(&case, "pay", 1),
            letter(&case, "refund", 2),
            letter(&case, "pay", 3),
            letter(&case, "pay", 4).to(1),
        ],
    );
    let firsts = || case.kafka.ends(&case.dead_topic()).iter().map(|it| it.0).collect::<Vec<_>>();
    for (words, part) in [
        ("purge --before 1", "say which by `partition`"),
        ("purge --before 9 --partition 0", "ends at 4"),
        ("purge --before soon", "not `all`"),
        (
            "purge --before all --command pay",
            "@2 is not meant (command refund, code attempts), and one that is meant",
        ),
        ("purge --before all --command pay", "can go: partition 0, before 2"),
        ("purge --before all --partition 0 --from-offset 1 --yes", "nothing lies before it"),
    ] {
        let (good, said) = dlq(&host, words);
        assert!(!good && said.contains(part), "{words}: {said}");
    }
    let (good, said) = dlq(&host, "purge --before 2 --partition 0 --command pay");
    assert!(good && said.contains("would delete 2 letters; nothing was done: --yes does it"), "{said}");
    assert_eq!(firsts(), [0, 0]);
    let (good, said) = dlq(&host, "purge --before 2 --partition 0 --command pay --yes");
    assert!(good && said.contains("begins at 2 now") && said.ends_with("deleted 2 letters\n"), "{said}");
    assert_eq!(firsts(), [2, 0]);
    assert_eq!(listed(&host, ""), ["0:2", "0:3", "1:0"]);
    let (good, said) = dlq(&host, "purge --before 1970-01-01T00:00:04Z --yes");
    assert!(good && said.ends_with("deleted 1 letter\n"), "{said}");
    assert_eq!(firsts(), [3, 0]);
    let (good, said) = dlq(&host, "purge --before all --yes --json");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(
        good && said["purged"]
            == json!([
                {"partition": 0, "first": 4, "error": null}, {"partition": 1, "first": 1, "error": null},
            ]),
        "{said}"
    );
    assert_eq!((firsts(), listed(&host, "")), (vec![4, 1], Vec::new()));
    host.stop();
}

/// S88: what is not this group's goes only when that is said.
#[test]
fn a_purge_takes_nothing_of_others_along() {
    let case = Case::new();
    let foreign = letter(&case, "pay", 1).header("drover-group", "another");
    let host = running(&case, [letter(&case, "pay", 0), foreign, Send::default().to(0).value("?")]);
    let (good, said) = dlq(&host, "purge --before all --yes");
    assert!(!good && said.contains("no dead letter of group"), "{said}");
    assert_eq!(case.kafka.ends(&case.dead_topic())[0], (0, 3));
    let (good, said) = dlq(&host, "purge --before all --others --yes");
    assert!(good && said.contains("1 letter and 2 other records"), "{said}");
    assert_eq!(case.kafka.ends(&case.dead_topic())[0], (3, 3));
    host.stop();
}

/// S88: a redrive says what it would do and what it leaves, and does nothing by itself.
#[test]
fn redrives_are_planned_and_guarded() {
    let case = Case::new();
    let looped = letter(&case, "pay", 1).header("drover-redriven", "3");
    let cut = letter(&case, "pay", 2).header("drover-truncated-from-bytes", "70000");
    let host = running(&case, [letter(&case, "pay", 0), looped, cut, letter(&case, "pay", 3)]);
    let (good, said) = dlq(&host, "redrive --all");
    assert!(!good, "what is left is no success: {said}");
    for part in [
        "[0]: 2 letters to be sent again, offsets 0 to 3\n",
        "1 left out, sent again 3 times already: mend what kills it, or raise --max-redrives (0:1)",
        "1 left out, not whole",
        "would send 2 letters again, in about 1 s; nothing was done: --yes does it",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let (good, said) = dlq(&host, "redrive --letter 0:1 --max-redrives 4 --json");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(good && said["dry-run"] == true && said["redriven"]["letters"] == 1, "{said}");
    for (words, part) in [
        ("redrive", "say which letters"),
        ("redrive --all --command pay", "leave one of them out"),
        ("redrive --letter 0:1 --partition 0", "`letter` names partition and offset itself"),
    ] {
        let (good, said) = dlq(&host, words);
        assert!(!good && said.contains(part), "{words}: {said}");
    }
    assert_eq!(case.kafka.ends(&case.named("in")), [(0, 0)], "the source gets nothing");
    host.stop();
}

/// S88: the operators' door does the same.
#[test]
fn the_door_does_the_same() {
    let case = Case::new();
    let host =
        running(&case, [letter(&case, "pay", 0), letter(&case, "refund", 1), letter(&case, "pay", 2).to(1)]);
    let (to, group) = (host.admin(), case.group());
    let path = format!("/v1/dead-letters?group={group}");
    let all = get(to, &path).json();
    assert_eq!(
        (&all["topic"], &all["more"], &all["others"]),
        (&json!(case.dead_topic()), &json!(0), &json!(0))
    );
    assert_eq!(all["letters"].as_array().unwrap().len(), 3);
    let some = get(to, &format!("{path}&command=pay&limit=1")).json();
    assert_eq!((&some["letters"][0]["origin-offset"], &some["more"]), (&json!(0), &json!(1)));
    assert_eq!(some["letters"][0]["key"], json!({"text": "key-0"}));
    let one = get(to, &format!("/v1/dead-letters/{group}/1/0")).json();
    assert_eq!((&one["value"], &one["value-bytes"]), (&json!({"text": "value 2"}), &json!(7)));
    assert_eq!(one["headers"][0], json!({"name": "x-own", "value": {"text": "kept"}}));
    let refused = [
        ("/v1/dead-letters", 400, "?group="),
        ("/v1/dead-letters?group=nobody", 404, "no group"),
        (&format!("{path}&comand=pay"), 400, "comand"),
        (&format!("{path}&limit=99999"), 400, "at most 10000"),
        (&format!("/v1/dead-letters/{group}/0/9"), 404, "it holds 0 to 1"),
        (&format!("/v1/dead-letters/{group}/x/9"), 400, "{partition}"),
    ];
    for (path, status, part) in refused {
        let answer = get(to, path);
        assert!(answer.status == status && answer.body.contains(part), "{path}: {answer:?}");
    }
    let purge = |body: Value| post_json(to, "/v1/dead-letters/purge", &body.to_string());
    let plan = purge(json!({"group": group, "before": 1, "partition": 0, "command": "pay"}));
    assert_eq!((plan.status, &plan.json()["dry-run"]), (200, &json!(true)), "{plan:?}");
    assert_eq!(plan.json()["partitions"][0]["letters"], 1);
    assert_eq!(case.kafka.ends(&case.dead_topic())[0], (0, 2), "a plan deletes nothing");
    let blocked = purge(json!({"group": group, "before": "all", "command": "pay", "dry-run": false}));
    assert!(blocked.status == 400 && blocked.body.contains("is not meant"), "{blocked:?}");
    let done =
        purge(json!({"group": group, "before": 1, "partition": 0, "command": "pay", "dry-run": false}));
    assert_eq!(done.json()["purged"], json!([{"partition": 0, "first": 1, "error": null}]), "{done:?}");
    let redrive = |body: Value| post_json(to, "/v1/dead-letters/redrive", &body.to_string());
    let plan = redrive(json!({"group": group, "command": "refund"})).json();
    assert_eq!((&plan["dry-run"], &plan["redriven"]["letters"]), (&json!(true), &json!(1)));
    for (body, part) in [
        (json!({"group": group}), "say which letters"),
        (json!({"group": group, "all": true, "rate": 1}), "at most 60"),
        (json!({"group": group, "al": true}), "al"),
        (json!([]), "JSON object"),
    ] {
        let answer = redrive(body);
        assert!(answer.status == 400 && answer.body.contains(part), "{answer:?}");
    }
    assert_eq!(get(to, "/v1/dead-letters/purge").status, 405);
    host.stop();
}

/// S88, S164: what anybody may not do, nobody may do here without the token.
#[test]
fn the_door_asks_for_the_token() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("in", 1);
    let token = "admin: {listen: '127.0.0.1:0', token: oak-9}";
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).main(token).start();
    assert_eq!(get(host.admin(), &format!("/v1/dead-letters?group={}", case.group())).status, 401);
    for path in ["purge", "redrive"] {
        assert_eq!(post_json(host.admin(), &format!("/v1/dead-letters/{path}"), "{}").status, 401);
    }
    host.stop();
}

/// S88: records of a transaction that was aborted are none, and one that is open holds nothing up.
#[test]
fn only_what_is_committed_is_read() {
    let case = Case::new();
    let host = running(&case, [letter(&case, "pay", 0)]);
    let topic = case.dead_topic();
    let writer = |id: &str| -> BaseProducer {
        let writer: BaseProducer =
            case.kafka.config().set("transactional.id", case.named(id)).create().unwrap();
        writer.init_transactions(Duration::from_secs(30)).unwrap();
        writer.begin_transaction().unwrap();
        let it = letter(&case, "pay", 1);
        let headers = it
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }));
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&topic).partition(0).payload(&b"in"[..]).headers(headers);
        writer.send(record).map_err(|it| it.0).unwrap();
        writer.flush(Duration::from_secs(30)).unwrap();
        writer
    };
    writer("aborted").abort_transaction(Duration::from_secs(30)).unwrap();
    case.produce(&topic, [letter(&case, "pay", 2)]);
    let open = writer("open");
    case.produce(&topic, [letter(&case, "pay", 3)]);
    // The end of a transaction reaches a partition some time after it was told.
    let origins = || -> Vec<i64> {
        let (_, said) = dlq(&host, "ls --json");
        let origin =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["origin-offset"].as_i64().unwrap();
        said.lines().map(origin).collect()
    };
    eventually_is("what is committed before the open one", &vec![0, 2], origins);
    let (good, said) = dlq(&host, "purge --before all --yes");
    assert!(good && said.ends_with("deleted 2 letters\n"), "{said}");
    open.commit_transaction(Duration::from_secs(30)).unwrap();
    eventually_is("what was not seen was not deleted", &vec![1, 3], origins);
    host.stop();
}

/// A way back to a topic of the test's own.
struct Aside(String);

impl ReEntry for Aside {
    fn re_entry(&self, letter: &DeadLetter, record: &Record, redriven: u32) -> Result<Parts, String> {
        if record.value() == Some(b"value 3") {
            return Err("there is no way back".to_owned());
        }
        let mut headers = letter.own_headers(record).to_vec();
        push(&mut headers, b"redriven", Some(redriven.to_string().as_bytes()));
        Ok(Parts { topic: self.0.clone(), partition: Some(0), headers })
    }

    fn make_ready(&self, topic: &str, letter: &DeadLetter) -> Result<(), Error> {
        assert!(topic == self.0 && letter.origin.topic.ends_with(".in"));
        Ok(())
    }
}

/// S88: what is sent again is the original, in its order; where it ends is told, and so is why.
#[test]
fn a_redrive_sends_the_original() {
    let case = Case::new();
    let host = running(&case, (0..5).map(|it| letter(&case, "pay", it)));
    let again = case.topic("again", 1);
    let client = ClientSettings { brokers: vec![case.kafka.bootstrap.clone()], ..ClientSettings::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outbox = Outbox::start(&client, &ProducerSettings::default()).unwrap();
    let way = Way { outbox, re_entry: Arc::new(Aside(again.clone())), runtime: runtime.handle().clone() };
    let (dlq, place) = (Dlq::new(&client).unwrap(), Place { group: case.group(), topic: case.dead_topic() });
    let run = |limit, from_offset, most: u64| {
        let filter = Filter { from_offset, ..Filter::default() };
        let wish = Redrive { filter, rate: 1_000, max_redrives: 3, limit };
        let mut watch = |it: &Redriven| {
            if it.letters < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        dlq.redrive((&place, &wish), Some(&way), Duration::from_secs(60), &mut watch).unwrap()
    };
    let first = run(Some(2), None, 99);
    assert_eq!((first.letters, first.partitions[&0].next), (2, 2));
    assert!(first.stopped.unwrap().contains("there are more"));
    let second = run(None, Some(2), 99);
    assert_eq!((second.letters, second.partitions[&0].next), (1, 3));
    assert_eq!(second.stopped.unwrap(), "0:3: there is no way back");
    let third = run(None, Some(4), 0);
    assert_eq!((third.letters, third.stopped.as_deref()), (0, Some("it was told to end")));
    let sent = case.records(&again, 3);
    assert_eq!(sent.len(), 3);
    for (offset, it) in sent.iter().enumerate() {
        assert_eq!(it.value.as_deref(), Some(format!("value {offset}").as_bytes()));
        assert_eq!(it.key.as_deref(), Some(format!("key-{offset}").as_bytes()));
        let headers: Vec<_> = it.headers.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(headers, ["x-own", "redriven"]);
        assert_eq!(it.said("redriven"), "1");
    }
    host.stop();
}

/// S88: a letter that is sent again comes to its own group alone, as what it was: the same data, key and delivery id,
/// and its attempts begin anew. If it dies again, its letter says how often it was sent.
#[test]
fn a_redriven_letter_is_delivered_as_what_it_was() {
    let (case, mended) = (Case::new(), Arc::new(AtomicBool::new(false)));
    let is_mended = Arc::clone(&mended);
    let service = Service::start(move |_| Answer::status(if is_mended.load(Relaxed) { 200 } else { 500 }));
    let other = Service::ok();
    let topic = case.topic("orders", 2);
    let host = case
        .host()
        .reads(&topic, "")
        .group("other", &[&topic], "")
        .app("shop", &format!("{}groups: [{}]\n", service.app("retry: {attempts: 1}"), case.group()))
        .app("audit", &format!("{}groups: [{}]\n", other.app(""), case.named("other")))
        .start();
    case.produce(&topic, [Send::command("pay").key("k").value("v").header("x-own", "kept").to(1)]);
    case.records(&case.dead_topic(), 1);
    let (good, said) = dlq(&host, &format!("redrive --all --yes --group {}", case.group()));
    assert!(good, "{said}");
    let again = case.records(&case.dead_topic(), 2).remove(1);
    assert_eq!((again.said("drover-redriven"), again.said("drover-attempts")), ("1".into(), "1".into()));
    assert_eq!((again.said("drover-origin-offset"), again.said("x-own")), ("0".into(), "kept".into()));
    mended.store(true, Relaxed);
    let body = json!({"group": case.group(), "from-offset": again.offset, "partition": again.partition, "dry-run": false});
    let answer = post_json(host.admin(), "/v1/dead-letters/redrive", &body.to_string());
    assert_eq!((answer.status, &answer.json()["redriven"]["letters"]), (200, &json!(1)), "{answer:?}");
    let got = service.got(3);
    case.all_committed(&format!("{}.{topic}.retry.1s", case.group()));
    host.stop();
    for it in &got {
        assert_eq!(
            (it.id(), it.text(), it.attempt()),
            (format!("{}/{topic}/1/0", case.group()), "v".into(), 1)
        );
    }
    assert_eq!((got.len(), other.count()), (3, 1), "no other group hears of it");
    assert_eq!(case.kafka.ends(&topic), [(0, 0), (0, 1)], "the source gets nothing");
}
