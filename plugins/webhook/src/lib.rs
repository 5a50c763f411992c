//! `webhook`: signs each request as Standard Webhooks has it, so that the receiver can tell who sent it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drover_guest::clock::now_ms;
use drover_guest::forward::PassOn;
use drover_guest::prelude::*;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The shortest secret the standard allows, in bytes.
const SECRET_MIN: usize = 24;
/// The longest one.
const SECRET_MAX: usize = 64;

/// What the operator sets.
pub struct Settings {
    /// The request; its body is the message's value, which is what is signed.
    pub pass_on: PassOn,
    /// Each signs: a receiver takes the message if one of the signatures is right.
    pub secrets: Vec<Secret>,
}

impl Settings {
    /// From the plugin's configuration.
    ///
    /// Errors: an unknown key, no secret, or one that is no secret.
    pub fn read() -> Result<Self> {
        refuse_unknown(&["path", "content-type", "forward-headers", "secret", "secrets"])?;
        let mut texts: Vec<String> = config_get("secret").into_iter().collect();
        texts.extend(config_list("secrets").unwrap_or_default());
        if texts.is_empty() {
            return Err(Error::retry("`secret` or `secrets` has to be set"));
        }
        let secrets: Result<Vec<Secret>> = texts.iter().map(|text| Secret::parse(text)).collect();
        Ok(Self { pass_on: PassOn::from_config()?, secrets: secrets? })
    }

    /// The request for a message at this time, in ms since 1970.
    pub fn request(&self, message: &Message, now_ms: u64) -> Request {
        // The same for each attempt, so that a receiver can drop what it has already: the record names itself.
        let id = message.coordinates().replace('/', "-");
        let timestamp = now_ms / 1_000;
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&id, timestamp, message.bytes())).collect();
        let own = HeaderBlock::new()
            .with("webhook-id", &id)
            .with("webhook-timestamp", timestamp.to_string())
            .with("webhook-signature", signatures.join(" "));
        self.pass_on.request_with(own.into_bytes(), &message.headers)
    }
}

/// A key that signs. Never shown.
pub struct Secret {
    key: Vec<u8>,
}

impl Secret {
    /// From `whsec_` and base64.
    ///
    /// Errors: say what is wrong, without the secret.
    pub fn parse(text: &str) -> Result<Self> {
        let base64 = text.strip_prefix("whsec_").ok_or(Error::retry("a secret begins with `whsec_`"))?;
        let key = STANDARD.decode(base64).map_err(|_| Error::retry("a secret is `whsec_` and base64"))?;
        if !(SECRET_MIN..=SECRET_MAX).contains(&key.len()) {
            return Err(Error::retry(format!(
                "a secret has {SECRET_MIN} to {SECRET_MAX} bytes, not {}",
                key.len()
            )));
        }
        Ok(Self { key })
    }

    /// `v1,` and the base64 of the HMAC-SHA256 of id, time (s since 1970) and body.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

thread_local! {
    static SETTINGS: PerInstance<Settings> = const { PerInstance::new() };
}

#[init]
fn start() -> Result<()> {
    SETTINGS.with(|slot| slot.get(Settings::read, |_| Ok(())))
}

#[handler]
fn webhook(message: Message) -> Result<Action> {
    SETTINGS.with(|slot| slot.get(Settings::read, |settings| deliver(settings.request(&message, now_ms()))))
}

#[judge]
fn answered(_message: &Judged, response: &Response) -> Verdict {
    match response.status {
        // The receiver wants no more of these; the operator should know.
        410 => reject("gone", "the receiver answered 410 Gone"),
        _ => by_status(response),
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    // The vector that the standard's own libraries are tested with.
    #[test]
    fn it_signs_as_the_standard_does() {
        let secret = Secret::parse(SECRET).unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_request_carries_id_time_and_a_signature_of_each_secret() {
        let _host = MockHost::new()
            .config("secrets", &format!("[\"{SECRET}\", \"{OTHER}\"]"))
            .config("path", "/hook")
            .now_ms(1_614_265_330_999);
        let headers = HeaderBlock::new().with("Webhook-Id", "forged").with("x-one", "1").into_bytes();
        let value = b"{}".into();
        let message =
            Message { topic: "orders".into(), partition: 2, offset: 9, value, headers, ..Message::default() };
        let action = webhook(message).unwrap();
        let request = action.request().unwrap();
        let header = |name| request.headers().text_of(name).unwrap();
        assert_eq!((request.method, request.path.as_deref()), (Method::Post, Some("/hook")));
        assert_eq!(request.body, Body::Passthrough);
        assert_eq!(header("webhook-id"), "orders-2-9");
        assert_eq!(header("webhook-timestamp"), "1614265330");
        assert_eq!(header("x-one"), "1");
        assert_eq!(request.headers().count(), 4, "the forged id was passed on");
        let expected =
            [SECRET, OTHER].map(|text| Secret::parse(text).unwrap().sign("orders-2-9", 1_614_265_330, b"{}"));
        assert_eq!(header("webhook-signature"), expected.join(" "));
    }

    #[test]
    fn a_bad_secret_refuses_the_version_and_is_not_shown() {
        for secret in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ",
            "whsec_***",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        ] {
            let _host = MockHost::new().config("secret", secret);
            let error = start().unwrap_err();
            assert!(secret.is_empty() || !error.reason().contains(secret), "{error:?}");
        }
        let _host = MockHost::new();
        assert!(start().is_err());
    }

    // S69
    #[test]
    fn any_2xx_is_done_and_gone_is_final() {
        let message = Judged { command: "c".into(), log_id: "l".into(), attempt: 1 };
        let judged = |status| answered(&message, &Response { status, ..Response::default() });
        assert_eq!(judged(204), Verdict::Done);
        assert!(matches!(judged(410), Verdict::Reject(_)));
        assert!(matches!(judged(404), Verdict::Retry(_)));
        assert!(matches!(judged(302), Verdict::Retry(_)));
    }
}
