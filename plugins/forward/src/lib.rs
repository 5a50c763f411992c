//! `forward`: sends the message's value as it came, with its headers.

use drover_guest::config::Config;
use drover_guest::forward::PassOn;
use drover_guest::prelude::*;

/// What the operator sets, and the request that follows from it. Usable without a component.
pub type Settings = PassOn;

/// The settings, from wherever they are kept.
///
/// Errors: an unknown key or method.
pub fn read(config: &Config) -> Result<Settings> {
    config.refuse_unknown(&PassOn::KEYS)?;
    PassOn::of(config)
}

fn read_of_host() -> Result<Settings> {
    read(&Config::of_host())
}

thread_local! {
    static SETTINGS: PerInstance<Settings> = const { PerInstance::new() };
}

#[init]
fn start() -> Result<()> {
    SETTINGS.with(|slot| slot.get(read_of_host, |_| Ok(())))
}

#[handler]
fn forward(message: Message) -> Result<Action> {
    SETTINGS.with(|slot| slot.get(read_of_host, |settings| deliver(settings.request(&message.headers))))
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;

    use super::*;

    fn sent(message: Message) -> Request {
        forward(message).unwrap().request().unwrap().clone()
    }

    // S5, S26: POST of the data as it came, with its headers.
    #[test]
    fn the_default_is_a_post_of_the_value_to_the_apps_path() {
        let _host = MockHost::new();
        let headers = HeaderBlock::new().with("X-One", "1").with("Connection", "x-two").with("x-two", "2");
        let request = sent(Message { headers: headers.into_bytes(), ..Message::default() });
        let expected = Request::new(Method::Post).header("X-One", "1");
        assert_eq!(request, expected);
        assert_eq!(request.body, Body::Passthrough);
    }

    #[test]
    fn settings_change_the_request_but_not_the_body() {
        let _host = MockHost::new()
            .config("method", "PUT")
            .config("path", "/in?x=1")
            .config("content-type", "text/plain")
            .config("forward-headers", "[\"x-one\"]");
        let headers = HeaderBlock::new().with("x-one", "1").with("content-type", "a/b").with("x-two", "2");
        let request = sent(Message { headers: headers.into_bytes(), ..Message::default() });
        let expected = Request { body: Body::Passthrough, ..put("/in?x=1") };
        assert_eq!(request, expected.header("content-type", "text/plain").header("x-one", "1"));
    }

    #[test]
    fn a_method_without_a_body_sends_none() {
        for (method, has_body) in [("get", false), ("DELETE", false), ("patch", true)] {
            let _host = MockHost::new().config("method", method);
            assert_eq!(sent(Message::default()).body == Body::Passthrough, has_body, "{method}");
        }
    }

    #[test]
    fn a_wrong_setting_refuses_the_version() {
        for (key, value) in [("methd", "POST"), ("method", "PUSH")] {
            let _host = MockHost::new().config(key, value);
            assert!(start().unwrap_err().reason().contains(value) || key == "methd");
            // S6: a message that comes all the same fails, it does not succeed.
            assert!(forward(Message::default()).is_err());
        }
    }
}
