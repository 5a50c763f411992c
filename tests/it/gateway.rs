//! The producers' door: what is answered "ok" is in Kafka, everything else is answered with an error.

use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::harness::http::{call, connect, get, post_form, post_json, reply, request};
use crate::harness::{Case, Host, Record, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A host that only serves producers: nothing reads what they send.
fn door(case: &Case, gateway: &str) -> (Host, String) {
    let topic = case.topic("in", 3);
    let read = case.topic("read", 1);
    let lines: String = gateway.lines().map(|it| format!("  {it}\n")).collect();
    let main = format!("gateway:\n  listen: '127.0.0.1:0'\n  topics: ['{topic}']\n{lines}");
    let main = main.replace("{topic}", &topic);
    let host = case.host().reads(&read, "").app("a", "servers: ['127.0.0.1:1']\ncommands: [{any: true}]");
    (host.main(&main).start(), topic)
}

fn text(bytes: Option<&Vec<u8>>) -> String {
    String::from_utf8(bytes.unwrap().clone()).unwrap()
}

fn only(records: Vec<Record>) -> Record {
    assert_eq!(records.len(), 1);
    records.into_iter().next().unwrap()
}

/// S31: the answer tells where it stands, and it stands there.
#[test]
fn a_message_is_answered_with_where_it_stands() {
    let case = Case::new();
    let (host, topic) = door(&case, "");
    let body = r#"{"command":"pay","key":"k","hash_key":"h","log_id":"l-1","data":{"n": 1.50},
                  "headers":{"x-a":"1"},"expires_ms":4102444800000}"#;
    let answer = post_json(host.gateway(), "/v1/messages", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let it = only(case.records(&topic, 1));
    let at = json!({"results": [{"topic": topic, "partition": it.partition, "offset": 0, "log_id": "l-1"}]});
    assert_eq!(answer.json(), at);
    assert_eq!(
        (text(it.key.as_ref()), text(it.value.as_ref())),
        ("k".to_owned(), r#"{"n": 1.50}"#.to_owned())
    );
    let said = ["drover-command", "drover-log-id", "drover-hash-key", "drover-expires-ms", "x-a"];
    assert_eq!(said.map(|name| it.said(name)), ["pay", "l-1", "h", "4102444800000", "1"]);
    host.stop();
}

/// S32, S208: each of many gets its own result, in the order in which they were sent.
#[test]
fn many_messages_at_once() {
    let case = Case::new();
    let (host, topic) = door(&case, "");
    let one = |it: usize| json!({"command": "c", "key": format!("k{}", it % 7), "text": it.to_string()});
    let list: Vec<_> = (0..500).map(one).collect();
    let answer = post_json(host.gateway(), "/v1/messages", &json!({ "messages": list }).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let records = case.records(&topic, 500);
    for (number, result) in answer.json()["results"].as_array().unwrap().iter().enumerate() {
        let is = |it: &&Record| result["partition"] == it.partition && result["offset"] == it.offset;
        let it = records.iter().find(is).unwrap();
        assert_eq!(text(it.value.as_ref()), number.to_string());
    }
    host.stop();
}

/// S32, S208.
#[test]
fn two_senders_at_once_get_their_own_results() {
    let case = Case::new();
    let (host, topic) = door(&case, "");
    let to = host.gateway();
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            std::thread::spawn(move || {
                let send = |number: i32| {
                    let body = json!({"command": "c", "text": format!("{sender}/{number}")}).to_string();
                    let answer = post_json(to, "/v1/messages", &body);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    (format!("{sender}/{number}"), answer.json()["results"][0].clone())
                };
                (0..20).map(send).collect::<Vec<_>>()
            })
        })
        .collect();
    let results: Vec<_> = senders.into_iter().flat_map(|it| it.join().unwrap()).collect();
    let records = case.records(&topic, 160);
    for (sent, result) in results {
        let is = |it: &&Record| result["partition"] == it.partition && result["offset"] == it.offset;
        assert_eq!(text(records.iter().find(is).unwrap().value.as_ref()), sent);
    }
    host.stop();
}

#[test]
fn data_that_is_no_json() {
    let case = Case::new();
    let (host, topic) = door(&case, "");
    let what = "POST /v1/messages?command=img&key=k%201";
    let answer = call(host.gateway(), what, &[("content-type", "image/png")], [0xff, 0, 1]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let it = only(case.records(&topic, 1));
    assert_eq!((it.key.as_deref(), it.value.as_deref()), (Some(&b"k 1"[..]), Some(&[0xff, 0, 1][..])));
    assert_eq!(
        (it.said("drover-command"), it.said("content-type")),
        ("img".to_owned(), "image/png".to_owned())
    );
    host.stop();
}

/// S38: every refusal has its status and says what to do; nothing of a refused request is written.
#[test]
fn refusals() {
    let case = Case::new();
    let (host, topic) = door(&case, "commands: [pay]\nbody-mb: 1");
    let to = host.gateway();
    let big = "x".repeat(1 << 20);
    type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let cases: &[Refused<'_>] = &[
        ("GET /v1/messages", &[], "", 405, "this path takes POST"),
        ("POST /v1/message", &[JSON], "{}", 404, "there is no POST /v1/message here"),
        ("POST /v1/messages", &[JSON], "{", 400, "the body is no JSON object"),
        ("POST /v1/messages", &[JSON], r#"{"comand":"pay"}"#, 400, "`comand` is no field of a message"),
        (
            "POST /v1/messages",
            &[JSON],
            r#"{"messages":[{"command":"pay","data":1},{"command":"pay","data":1,"delay_ms":-5}]}"#,
            400,
            "`messages[1].delay_ms` has to be a whole number of milliseconds from now, it is -5",
        ),
        (
            "POST /v1/messages",
            &[JSON],
            r#"{"command":"no","data":1}"#,
            403,
            "command `no` is not open to you",
        ),
        (
            "POST /v1/messages",
            &[JSON],
            r#"{"command":"pay","data":1,"topic":"other"}"#,
            403,
            "topic `other` is not open to you",
        ),
        (
            "POST /v1/messages",
            &[("content-type", "text/plain")],
            "hi",
            415,
            "text/plain is taken as the data",
        ),
        ("POST /v1/messages?command=pay&key=k&x=1", &[], "hi", 400, "`x` is no field"),
        (
            "POST /v1/messages?command=pay",
            &[("content-encoding", "gzip")],
            "hi",
            415,
            "`Content-Encoding: gzip` is not undone here",
        ),
        ("POST /v1/messages", &[JSON], &big, 413, "the body is larger than 1048576 bytes"),
        (
            "POST /v1/messages",
            &[JSON, ("origin", "http://evil.example")],
            r#"{"command":"pay","data":1}"#,
            403,
            "pages of other sites may not publish here",
        ),
    ];
    for (what, headers, body, status, error) in cases {
        let body = if *status == 413 { format!("{body}x") } else { (*body).to_owned() };
        let answer = call(to, what, headers, body);
        let shown = &answer.body[..answer.body.len().min(300)];
        assert_eq!(answer.status, *status, "{what}: {shown}");
        let text = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(text.starts_with(error), "{what}: {text}");
    }
    assert!(case.kafka.read(&topic).is_empty());
    host.stop();
}

/// S22, S37: the limit holds while the body is read, however it comes.
#[test]
fn a_body_over_the_limit_in_chunks() {
    let case = Case::new();
    let (host, topic) = door(&case, "body-mb: 1");
    let mut connection = connect(host.gateway());
    let head = "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
                connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        connection.write_all(&chunk).unwrap();
    }
    connection.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(reply(&mut connection).status, 413);
    assert!(case.kafka.read(&topic).is_empty());
    host.stop();
}

/// S22: 20 MiB is taken.
#[test]
fn a_large_message() {
    let case = Case::new();
    let topic = case.topic_with("large", 1, &[("max.message.bytes", "33554432")]);
    let read = case.topic("read", 1);
    let host = case.host().reads(&read, "").app("a", "servers: ['127.0.0.1:1']\ncommands: [{any: true}]");
    let main = format!("gateway: {{listen: '127.0.0.1:0', topics: ['{topic}']}}");
    let host = host.main(&main).start();
    let body = vec![7; 20 << 20];
    let answer = call(host.gateway(), "POST /v1/messages?command=c", &[], &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(only(case.records(&topic, 1)).value.as_deref() == Some(&body));
    host.stop();
}

/// S159, S161: what a credential opens, and what it does not.
#[test]
fn credentials() {
    let case = Case::new();
    let gateway =
        "credentials:\n- {name: shop, secret: fern-3, commands: [pay]}\n- {name: all, secret: moss-4}";
    let (host, topic) = door(&case, gateway);
    let to = host.gateway();
    let pay = r#"{"command":"pay","data":1}"#;
    let other = r#"{"command":"other","data":1}"#;
    let cases = [
        (None, pay, 401),
        (Some("Bearer fern-3"), pay, 200),
        (Some("Bearer fern-3"), other, 403),
        (Some("Bearer moss-4"), other, 200),
        (Some("Bearer fern-"), pay, 401),
        (Some("Bearer fern-33"), pay, 401),
        // shop:fern-3, shop:moss-4, all:fern-3
        (Some("Basic c2hvcDpmZXJuLTM="), pay, 200),
        (Some("Basic c2hvcDptb3NzLTQ="), pay, 401),
        (Some("Basic YWxsOmZlcm4tMw=="), pay, 401),
        (Some("Digest x"), pay, 401),
    ];
    for (shown, body, status) in cases {
        let mut headers = vec![JSON];
        headers.extend(shown.map(|it| ("authorization", it)));
        let answer = call(to, "POST /v1/messages", &headers, body);
        assert_eq!(answer.status, status, "{shown:?} {body}: {answer:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    case.records(&topic, 3);
    host.stop();
}

/// S33.
#[test]
fn the_rate_of_the_door() {
    let case = Case::new();
    let (host, _) = door(&case, "rate: 1");
    // The bucket holds one and fills slowly: of many at once most are refused.
    let send = || post_json(host.gateway(), "/v1/messages", r#"{"command":"c","data":1}"#);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..10).map(|_| scope.spawn(send)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|it| it.status == 429).collect();
    assert!(answers.iter().any(|it| it.status == 200) && !refused.is_empty(), "{answers:?}");
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    host.stop();
}

/// S28, S34, S17: as alpaca-mq's clients call it.
#[test]
fn sendmsg() {
    let case = Case::new();
    let (host, topic) = door(&case, "alpaca: {topic: '{topic}', commands: {pay: true, off: false}}");
    let to = host.gateway();
    let answer = post_form(to, "/sendmsg", "cmd=pay&data=%7B%22a%22%3A1%7D&logid=l-1&hash_key=k-1");
    assert_eq!(answer.said(), (200, r#"{"errno":0,"errmsg":"success","log_id":"l-1"}"#));
    let it = only(case.records(&topic, 1));
    let value = r#"{"Cmd":"pay","LogId":"l-1","HashKey":"k-1","Data":"{\"a\":1}","Delay":0}"#;
    assert_eq!(
        (text(it.key.as_ref()), text(it.value.as_ref()), it.headers),
        ("k-1".into(), value.into(), vec![])
    );
    assert_eq!(it.partition, fnv1a("k-1", 3));
    let answer = get(to, "/sendmsg?cmd=pay&data=x&logid=l-2&delay=0");
    assert_eq!(answer.said(), (200, r#"{"errno":0,"errmsg":"success","log_id":"l-2"}"#));
    // Body over query.
    let answer = post_form(to, "/sendmsg?cmd=off&logid=q", "cmd=pay&logid=l-3&delay=-1");
    assert_eq!(answer.said(), (200, r#"{"errno":0,"errmsg":"success","log_id":"l-3"}"#));
    let made_up = post_form(to, "/sendmsg", "cmd=pay").json();
    assert!(made_up["errno"] == 0 && made_up["log_id"].as_str().is_some_and(|it| !it.is_empty()));
    let refusals = [
        ("data=1&logid=l", r#"{"errno":-1,"errmsg":"Command cannot be empty"}"#),
        ("cmd=off&logid=l", r#"{"errno":-1,"errmsg":"Unidentified Cmd","log_id":"l"}"#),
        ("cmd=never&logid=l", r#"{"errno":-1,"errmsg":"Unidentified Cmd","log_id":"l"}"#),
    ];
    for (form, expected) in refusals {
        assert_eq!(post_form(to, "/sendmsg", form).said(), (200, expected), "{form}");
    }
    let answer = get(to, "/sendmsg?cmd=pay&data=x&logid=l-4&hash_key=k&delay=5");
    assert_eq!(answer.said(), (200, r#"{"errno":0,"errmsg":"success","log_id":"l-4"}"#));
    let all = case.records(&topic, 5);
    let late: Vec<_> = all.iter().filter(|it| text(it.value.as_ref()).contains(r#""Delay":5"#)).collect();
    assert_eq!(late.len(), 1, "{all:?}");
    let without_key = all.into_iter().filter(|it| it.key.is_none()).count();
    assert_eq!(without_key, 3);
    host.stop();
}

/// S33: the bucket is looked at before the command.
#[test]
fn sendmsg_too_fast() {
    let case = Case::new();
    let (host, _) = door(&case, "alpaca: {topic: '{topic}', rate: 1, commands: {pay: true}}");
    let to = host.gateway();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..10).map(|_| scope.spawn(|| post_form(to, "/sendmsg", "cmd=never&logid=l").body)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let too_fast = r#"{"errno":-1,"errmsg":"Request rate is too fast","log_id":"l"}"#;
    assert!(answers.iter().any(|it| it == too_fast), "{answers:?}");
    assert!(answers.iter().any(|it| it.contains("Unidentified Cmd")), "{answers:?}");
    host.stop();
}

/// S29, S159, S18: as bigpipe's clients call it, content type and all.
#[test]
fn rpc_call() {
    let case = Case::new();
    let (host, topic) = door(&case, "bigpipe: {acl: [{name: shop, secret: fern-3, topic: '{topic}'}]}");
    let to = host.gateway();
    let body = |secret: &str| {
        json!({"acl": {"name": "shop", "secret": secret}, "url": "http://a/p", "data": "d", "partition_key": "用1"})
            .to_string()
    };
    let answer = call(
        to,
        "PUT /rpc/call",
        &[("content-type", "application/x-www-form-urlencoded"), ("x-trace", "t"), ("x-trace", "u")],
        body("fern-3"),
    );
    assert_eq!(answer.said(), (200, r#"{"data":"","errno":0,"msg":"发送成功"}"#));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let it = only(case.records(&topic, 1));
    let value: serde_json::Value = serde_json::from_slice(it.value.as_ref().unwrap()).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(value["Headers"]["X-Trace"], json!(["t", "u"]));
    assert_eq!(value["Headers"]["Content-Type"], json!(["application/x-www-form-urlencoded"]));
    assert_eq!(
        (&value["Url"], &value["Data"], &value["Topic"]),
        (&json!("http://a/p"), &json!("d"), &json!(topic))
    );
    let hash = "用1".chars().fold(0, |hash, it| (hash * 33 + u64::from(u32::from(it))) % 3);
    assert_eq!((value["Partition"].as_u64(), u64::try_from(it.partition).ok()), (Some(hash), Some(hash)));
    assert_eq!((it.key, it.headers), (None, vec![]));
    let refusals = [
        ("x".to_owned(), "JSON无效"),
        ("{}".to_owned(), "url无效"),
        (body("fern-"), "权限错误"),
        (body("fern-33"), "权限错误"),
        (body(""), "权限错误"),
    ];
    for (body, msg) in refusals {
        let expected = json!({"data": "", "errno": -1, "msg": msg}).to_string();
        assert_eq!(call(to, "GET /rpc/call", &[], &body).said(), (200, &*expected), "{body}");
    }
    assert_eq!(get(to, "/rpc/server/mock").said(), (200, ""));
    host.stop();
}

/// S35, and what Kafka does not take is answered with an error.
#[test]
fn kafka_is_slow() {
    let case = Case::with_faults();
    let (host, _) = door(
        &case,
        "accept-queue: 1\ntimeout-ms: 500\nbigpipe: {acl: [{name: n, secret: s, topic: '{topic}'}]}",
    );
    let to = host.gateway();
    assert_eq!(post_json(to, "/v1/messages", r#"{"command":"c","data":1}"#).status, 200);
    case.faults().delay(drover_broker::ApiKey::Produce, std::time::Duration::from_secs(3));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let send = || post_json(to, "/v1/messages", r#"{"command":"c","data":1}"#);
        let all: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|it| it.status == 503 && it.header("retry-after").is_some()), "{answers:?}");
    let waits = answers.iter().filter(|it| it.body.contains("too many messages wait for Kafka")).count();
    assert!((1..=3).contains(&waits), "{answers:?}");
    host.stop();
}

/// S114: without the count of partitions a key has no place of its own, and is not written elsewhere.
#[test]
fn a_key_whose_place_is_not_known() {
    let case = Case::with_faults();
    let (host, topic) = door(&case, "timeout-ms: 500\nalpaca: {topic: '{topic}'}");
    let to = host.gateway();
    assert_eq!(post_json(to, "/v1/messages", r#"{"command":"c","data":1}"#).status, 200);
    case.faults().delay(drover_broker::ApiKey::Metadata, std::time::Duration::from_secs(3));
    let one = json!({"command": "c", "key": "k", "data": 1});
    let answer = post_json(to, "/v1/messages", &json!({"messages": [one, one, one]}).to_string());
    let unknown = format!(
        "Kafka has not said how many partitions {topic} has, so the key's own is not known: nothing was written"
    );
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(answer.json()["error"], format!("messages[0]: {unknown}"));
    let answer = post_form(to, "/sendmsg", "cmd=c&data=x&logid=l&hash_key=k");
    assert_eq!(answer.json(), json!({"errno": -1, "errmsg": unknown, "log_id": "l"}));
    case.faults().clear();
    let send = || post_form(to, "/sendmsg", "cmd=c&data=x&hash_key=k").json()["errno"] == 0;
    eventually("the count of partitions", || send().then_some(()));
    let records = case.records(&topic, 2);
    assert_eq!(records.iter().find(|it| it.key.is_some()).unwrap().partition, fnv1a("k", 3));
    host.stop();
}

/// S40: a request that waits for Kafka when the host is told to stop is answered, and truly.
#[test]
fn what_is_under_way_at_the_end_is_answered() {
    let case = Case::with_faults();
    let (host, topic) = door(&case, "");
    let (gateway, admin) = (host.gateway(), host.admin());
    assert_eq!(post_json(gateway, "/v1/messages", r#"{"command":"c","data":1}"#).status, 200);
    case.faults().delay(drover_broker::ApiKey::Produce, std::time::Duration::from_millis(300));
    let send = move || post_json(gateway, "/v1/messages", r#"{"command":"c","text":"last"}"#);
    let sender = std::thread::spawn(send);
    let waits = || get(admin, "/metrics").body.contains("drover_gateway_waiting{} 1").then_some(());
    eventually("a request that waits for Kafka", waits);
    host.stop();
    assert_eq!(sender.join().unwrap().status, 200);
    case.faults().clear();
    assert!(case.records(&topic, 2).iter().any(|it| it.value.as_deref() == Some(b"last")));
}

/// Two requests on one connection; and HTTP/2 by prior knowledge is understood.
#[test]
fn connections_are_kept() {
    let case = Case::new();
    let (host, topic) = door(&case, "");
    let mut connection = connect(host.gateway());
    let body = br#"{"command":"c","data":1}"#;
    let both = request(host.gateway(), "POST /v1/messages", &[JSON], body);
    let first = String::from_utf8(both.clone()).unwrap().replace("connection: close\r\n", "");
    connection.write_all(first.as_bytes()).unwrap();
    connection.write_all(&both).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    case.records(&topic, 2);
    let mut connection = connect(host.gateway());
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    connection.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
    host.stop();
}

fn fnv1a(key: &str, partitions: i32) -> i32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, it| (hash ^ u32::from(it)).wrapping_mul(0x0100_0193));
    (hash as i32 % partitions).abs()
}
