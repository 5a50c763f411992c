//! The operators' door: what it tells and what it changes.

use serde_json::{Value, json};

use crate::harness::http::{call, get, post_json};
use crate::harness::{Case, Host, Send, Service, eventually, guests};

/// A host that delivers to one service.
fn running(case: &Case, service: &Service, more: &str) -> (Host, String) {
    let topic = case.topic("in", 1);
    let app = format!("servers: ['{}']\ncommands: [{{match: pay}}]", service.address());
    (case.host().reads(&topic, "").app("shop", &app).main(more).start(), topic)
}

#[test]
fn alive_and_ready() {
    let case = Case::new();
    let service = Service::ok();
    let (host, _) = running(&case, &service, "");
    let to = host.admin();
    assert_eq!(get(to, "/livez").said(), (200, r#"{"alive":true}"#));
    eventually("ready", || (get(to, "/readyz").status == 200).then_some(()));
    assert_eq!(get(to, "/readyz").json(), json!({"ready": true, "missing": []}));
    assert_eq!(get(to, "/nothing").status, 404);
    let answer = call(to, "POST /stats", &[], "");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    host.stop();
}

/// S134, S138: bigpipe's shape, by topic and group; and by the route that takes the command.
#[test]
fn stats_and_metrics() {
    let case = Case::new();
    let service = Service::ok();
    let (host, topic) = running(&case, &service, "");
    let to = host.admin();
    case.produce(&topic, (0..3).map(|it| Send::command("pay").value(it.to_string())));
    case.produce(&topic, [Send::command("never")]);
    let sent = post_json(host.gateway(), "/v1/messages", r#"{"command":"pay","data":1}"#);
    assert_eq!(sent.status, 200, "{sent:?}");
    case.committed(&topic, &[5]);
    let stats = eventually("five settled", || {
        let stats = get(to, "/stats").json();
        (stats["data"]["groupStats"][0]["settled"] == 5).then_some(stats)
    });
    let data = &stats["data"];
    assert_eq!((&stats["errno"], &stats["msg"]), (&json!(0), &json!("success")));
    let server = json!({"receivedCall": 1, "acceptedCall": 1, "overloadCall": 0});
    assert_eq!(data["serverStats"], server);
    assert_eq!(data["producerStats"][&topic], json!({"deliverySuccess": 1, "deliveryFail": 0}));
    let consumer = json!({"topic": topic, "groupId": case.group(), "handleMessage": 4, "invalidMessage": 1});
    assert_eq!(data["consumerStats"], json!([consumer]));
    let client = json!({"rpcTotal": 4, "rpcSuccess": 4, "rpcFail": 0, "rpcRetries": 0, "circuitIsBreak": 0});
    assert_eq!(data["clientStats"][&topic], client);
    let route = &data["routeStats"][0];
    assert_eq!((&route["route"], &route["done"]), (&json!("shop/pay"), &json!(4)));

    let page = get(to, "/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let group = case.group();
    let done = format!(
        r#"drover_messages_total{{group="{group}",topic="{topic}",route="shop/pay",outcome="done"}} 4"#
    );
    let received = format!(r#"drover_group_received_total{{group="{group}"}} 5"#);
    for line in
        [&*done, &*received, "# TYPE drover_messages_total counter", "drover_gateway_received_total{} 1"]
    {
        assert!(page.body.lines().any(|it| it == line), "{line}\n{}", page.body);
    }
    assert!(page.body.contains("drover_answer_seconds_bucket"));
    let open = call(to, "GET /metrics", &[("accept", "application/openmetrics-text")], "");
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
    host.stop();
}

#[test]
fn groups_and_servers() {
    let case = Case::new();
    let service = Service::ok();
    let (host, topic) = running(&case, &service, "");
    case.produce(&topic, [Send::command("pay")]);
    case.committed(&topic, &[1]);
    let lane = eventually("the lane's report", || {
        let groups = get(host.admin(), "/v1/groups").json();
        let lane = groups["groups"][0]["lanes"][0].clone();
        (lane["committed"] == 1).then_some(lane)
    });
    assert_eq!((&lane["topic"], &lane["low"], &lane["open"]), (&json!(topic), &json!(1), &json!(0)));
    let servers = get(host.admin(), "/v1/servers").json();
    let server = &servers["servers"][0];
    assert_eq!((&server["app"], &server["server"]), (&json!("shop"), &json!(service.address().to_string())));
    assert_eq!((&server["requests"], &server["ejected"]), (&json!(1), &json!(false)));
    host.stop();
}

/// A component is uploaded while messages flow, and the next ones go through it.
#[test]
fn a_plugin_is_swapped_in() {
    let case = Case::new();
    let service = Service::ok();
    let topic = case.topic("in", 1);
    let app = format!("servers: ['{}']\nhandler: mine\ncommands: [{{match: pay}}]", service.address());
    let plugins = "plugins: [{name: mine, use: forward}]";
    let host = case.host().reads(&topic, "").app("shop", &app).main(plugins).start();
    let to = host.admin();
    let mine =
        |all: &Value| all["plugins"].as_array().unwrap().iter().find(|it| it["name"] == "mine").cloned();
    let before = mine(&get(to, "/v1/plugins").json()).unwrap();
    assert_eq!((&before["kind"], &before["used_by"]), (&json!("handler"), &json!(["route shop/pay"])));
    let component = std::fs::read(guests::ECHO).unwrap();
    let answer = call(to, "PUT /v1/plugins/mine", &[], &component);
    assert_eq!((answer.status, &answer.json()["unchanged"]), (200, &json!(false)), "{answer:?}");
    let after = mine(&get(to, "/v1/plugins").json()).unwrap();
    assert!(before["digest"] != after["digest"] && after["digest"] == answer.json()["digest"]);
    assert_eq!(get(to, "/v1/plugins/mine").json(), after);
    let again = call(to, "PUT /v1/plugins/mine", &[], &component);
    assert_eq!(again.json()["unchanged"], true, "{again:?}");
    host.stop();
}

/// Refusals are typed, and what runs goes on.
#[test]
fn uploads_that_are_refused() {
    let case = Case::new();
    let service = Service::ok();
    let (host, topic) = running(&case, &service, "");
    let to = host.admin();
    let module = b"\0asm\x01\0\0\0";
    let selector = std::fs::read(guests::FAULTY_SELECTOR).unwrap();
    let cases: [(&str, &[u8], u16); 9] = [
        ("/v1/plugins/forward", b"", 400),
        ("/v1/plugins/for%20ward", module, 400),
        ("/v1/plugins/native:forward", module, 400),
        ("/v1/plugins/..", module, 400),
        ("/v1/plugins/%ff", module, 400),
        ("/v1/plugins/forward", b"#!/bin/sh", 415),
        ("/v1/plugins/forward", module, 422),
        ("/v1/plugins/forward", &vec![0; (32 << 20) + 1], 413),
        ("/v1/plugins/forward", &selector, 422),
    ];
    for (path, body, status) in cases {
        let answer = call(to, &format!("PUT {path}"), &[], body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(get(to, "/v1/plugins/none").status, 404);
    case.produce(&topic, [Send::command("pay")]);
    case.committed(&topic, &[1]);
    host.stop();
}

#[test]
fn reloading() {
    let case = Case::new();
    let service = Service::ok();
    let (host, _) = running(&case, &service, "");
    let to = host.admin();
    assert!(call(to, "POST /v1/reload", &[], "").json()["generation"].is_number());
    let path = host.path().parent().unwrap().join("apps/shop.yaml");
    std::fs::write(path, "servers: []\nnever: 1").unwrap();
    let answer = call(to, "POST /v1/reload", &[], "");
    assert_eq!(answer.status, 422);
    assert!(answer.json()["problems"].as_array().is_some_and(|it| !it.is_empty()), "{answer:?}");
    host.stop();
}

/// S164: a token where one is set; without one this machine alone, and no page that its browser shows.
#[test]
fn who_may_operate() {
    let case = Case::new();
    let service = Service::ok();
    let (host, _) = running(&case, &service, "");
    let to = host.admin();
    let cases = [
        ("GET /stats", ("host", "localhost:1"), 200),
        ("GET /stats", ("host", "evil.example"), 403),
        ("POST /v1/reload", ("origin", "http://evil.example"), 403),
        ("POST /v1/reload", ("origin", "null"), 403),
    ];
    for (what, header, status) in cases {
        assert_eq!(call(to, what, &[header], "").status, status, "{what} {header:?}");
    }
    host.stop();
}

#[test]
fn a_token_is_asked_for() {
    let case = Case::new();
    let service = Service::ok();
    let (host, _) = running(&case, &service, "admin: {listen: '127.0.0.1:0', token: oak-9}");
    let to = host.admin();
    assert_eq!(get(to, "/livez").status, 200);
    for path in ["/stats", "/metrics", "/v1/plugins", "/v1/groups", "/v1/servers"] {
        let with = |token: &str| call(to, &format!("GET {path}"), &[("authorization", token)], "").status;
        assert_eq!(get(to, path).status, 401, "{path}");
        assert_eq!((with("Bearer oak-"), with("Bearer oak-99"), with("Basic b2FrLTk=")), (401, 401, 401));
        eventually("let in", || [200].contains(&with("Bearer oak-9")).then_some(()));
    }
    assert_eq!(call(to, "PUT /v1/plugins/forward", &[], "x").status, 401);
    host.stop();
}
