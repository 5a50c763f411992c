//! What is sent, against the specification's rules (CloudEvents 1.0.2, its HTTP and Kafka bindings).

use drover_guest::mock::MockHost;
use serde_json::{Value, json};

use super::*;

fn message(headers: HeaderBlock, value: &[u8]) -> Message {
    Message {
        topic: "orders".into(),
        partition: 2,
        offset: 9,
        command: "order.new".into(),
        timestamp_ms: Some(1_700_000_000_123),
        value: value.into(),
        headers: headers.into_bytes(),
        ..Message::default()
    }
}

fn sent(settings: &[(&str, &str)], message: Message) -> Request {
    let mut host = MockHost::new();
    for (key, value) in settings {
        host = host.config(key, value);
    }
    start().unwrap();
    send(message).unwrap().request().unwrap().clone()
}

fn lines(request: &Request) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    request.headers().map(|(name, value)| format!("{}: {}", text(name), text(value.unwrap()))).collect()
}

fn event(settings: &[(&str, &str)], message: Message) -> Value {
    let mut all = vec![("mode", "structured")];
    all.extend(settings);
    let request = sent(&all, message);
    assert_eq!(request.headers().text_of("content-type"), Some(STRUCTURED));
    serde_json::from_slice(request.replaced_body().unwrap()).unwrap()
}

#[test]
fn binary_attributes_are_made_from_the_message() {
    let request = sent(&[], message(HeaderBlock::new().with("x-one", "1"), b"{}"));
    let expected = [
        "ce-specversion: 1.0",
        "ce-id: orders/2/9",
        "ce-source: /topics/orders",
        "ce-type: order.new",
        "ce-time: 2023-11-14T22:13:20.123Z",
    ];
    assert_eq!(lines(&request), expected);
    assert_eq!(request.body, Body::Passthrough);
}

#[test]
fn the_messages_own_attributes_win_and_are_encoded() {
    let headers = HeaderBlock::new()
        .with("ce_id", "a b")
        .with("CE-Source", "/Euro €\"%")
        .with("ce_tenant", "acme")
        .with("ce_bad-name", "x")
        .with("content-type", "text/plain")
        .with("x-one", "1");
    let settings =
        [("source", "/x"), ("type-prefix", "com.example."), ("path", "/in"), ("forward-headers", "on")];
    let request = sent(&settings, message(headers, b"hi"));
    let expected = [
        "ce-specversion: 1.0",
        "ce-id: a%20b",
        "ce-source: /Euro%20%E2%82%AC%22%25",
        "ce-type: com.example.order.new",
        "ce-time: 2023-11-14T22:13:20.123Z",
        "ce-tenant: acme",
        "content-type: text/plain",
        "ce_bad-name: x",
        "x-one: 1",
    ];
    assert_eq!(lines(&request), expected);
    assert_eq!(request.path.as_deref(), Some("/in"));
}

#[test]
fn a_structured_event_holds_json_text_or_base64() {
    let attributes = json!({
        "specversion": "1.0", "id": "orders/2/9", "source": "/topics/orders", "type": "order.new",
        "time": "2023-11-14T22:13:20.123Z",
    });
    let cases: [(&str, &[u8], &str, Value); 5] = [
        ("application/json", b" {\"a\":[1.50]} ", "data", json!({"a": [1.50]})),
        ("application/x+json; charset=utf-8", b"7", "data", json!(7)),
        ("text/plain", "a \"b\" \u{e4}".as_bytes(), "data", json!("a \"b\" \u{e4}")),
        ("text/plain", &[0xff], "data_base64", json!("/w==")),
        ("image/png", b"hi", "data_base64", json!("aGk=")),
    ];
    for (content_type, value, name, data) in cases {
        let mut expected = attributes.clone();
        expected["datacontenttype"] = json!(content_type);
        expected[name] = data;
        assert_eq!(
            event(&[], message(HeaderBlock::new().with("Content-Type", content_type), value)),
            expected
        );
    }
    // Without a content type, in the message or the settings, data is JSON if it can be.
    assert_eq!(event(&[], message(HeaderBlock::new(), b"[1]"))["data"], json!([1]));
    assert_eq!(event(&[], message(HeaderBlock::new(), b"hi"))["data_base64"], json!("aGk="));
    assert_eq!(
        event(&[("data-content-type", "text/csv")], message(HeaderBlock::new(), b"1,2"))["data"],
        json!("1,2")
    );
    let tombstone = Message { value: None.into(), ..message(HeaderBlock::new(), b"") };
    assert_eq!(event(&[], tombstone), attributes);
}

#[test]
fn data_that_lies_about_itself_is_rejected() {
    let _host = MockHost::new().config("mode", "structured");
    for value in [b"{\"a\":".as_slice(), b"", b"\"\xff\""] {
        let error =
            send(message(HeaderBlock::new().with("content-type", "application/json"), value)).unwrap_err();
        assert_eq!(error.code(), Some("bad-json"));
    }
}

#[test]
fn a_whole_event_stays_as_it_is() {
    for mode in ["binary", "structured"] {
        let headers = HeaderBlock::new().with("content-type", "application/cloudevents+json");
        let request = sent(&[("mode", mode)], message(headers, b"{\"specversion\":\"1.0\"}"));
        assert_eq!(lines(&request), ["content-type: application/cloudevents+json"]);
        assert_eq!(request.body, Body::Passthrough);
    }
}

// Against the naive model: count the days one by one.
#[test]
fn every_day_until_2400_has_its_date() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..157_000_u64 {
        let expected = format!("{year:04}-{month:02}-{day:02}T23:59:59.999Z");
        assert_eq!(rfc3339(days * 86_400_000 + 86_399_999), expected);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
}

// S69
#[test]
fn any_2xx_is_done() {
    let judged = Judged { command: "c".into(), log_id: "l".into(), attempt: 1 };
    assert_eq!(answered(&judged, &Response { status: 202, ..Response::default() }), Verdict::Done);
    assert!(matches!(answered(&judged, &Response { status: 400, ..Response::default() }), Verdict::Retry(_)));
}

#[test]
fn a_wrong_setting_refuses_the_version() {
    for (key, value) in [("mode", "batched"), ("mod", "binary")] {
        let _host = MockHost::new().config(key, value);
        assert!(start().is_err(), "{key}");
    }
}
