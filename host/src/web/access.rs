//! Who comes in: secrets compared in constant time (S159), and what browsers are kept from.

use std::hint::black_box;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::{Digest as _, Sha256};

use super::answer::header;
use crate::domain::secret::Secret;

/// A secret as it is compared: by its digest, so that neither its length nor where it differs can be timed.
#[derive(Clone)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// S159: takes the same time whatever is shown.
    pub fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        let differing = self.0.iter().zip(shown).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        black_box(differing) == 0
    }
}

/// S145.
impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What a request shows of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Token(String),
    Login {
        name: String,
        secret: String,
    },
    /// Something else than `Bearer` or `Basic`, or a broken one.
    Other,
}

pub fn shown(headers: &HeaderMap) -> Shown {
    if !headers.contains_key(AUTHORIZATION) {
        return Shown::Nothing;
    }
    let Some((scheme, rest)) = header(headers, AUTHORIZATION).and_then(|it| it.trim().split_once(' ')) else {
        return Shown::Other;
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Shown::Token(rest.to_owned());
    }
    let login = || {
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (name, secret) = text.split_once(':')?;
        Some(Shown::Login { name: name.to_owned(), secret: secret.to_owned() })
    };
    if scheme.eq_ignore_ascii_case("basic") { login().unwrap_or(Shown::Other) } else { Shown::Other }
}

/// Whether a browser sends this for a page of another site. Other clients send no Origin.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let origin = origin.to_str().unwrap_or("null");
    let of_origin = origin.split_once("://").map(|it| it.1);
    match (of_origin, header(headers, HOST)) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// Whether the request was meant for this machine by name: a page may have its own name lead to 127.0.0.1.
/// `authority`: of the request line, where HTTP/2 has it.
pub fn is_for_loopback(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let Some(named) = authority.or_else(|| header(headers, HOST)) else { return true };
    let host = match named.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => named.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|it: IpAddr| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    /// S159: the whole secret, nothing less, nothing more.
    #[test]
    fn secrets() {
        let digest = Digest::of(&Secret::new("fern-3"));
        for (shown, is) in
            [("fern-3", true), ("fern-", false), ("fern-33", false), ("", false), ("Fern-3", false)]
        {
            assert_eq!(digest.is(shown), is, "{shown:?}");
        }
        assert_eq!(format!("{digest:?}"), "***");
    }

    #[test]
    fn what_is_shown() {
        let login =
            |name: &str, secret: &str| Shown::Login { name: name.to_owned(), secret: secret.to_owned() };
        let cases = [
            (None, Shown::Nothing),
            (Some("Bearer t-1"), Shown::Token("t-1".to_owned())),
            (Some("bearer  t-1 "), Shown::Token("t-1".to_owned())),
            (Some("Bearer"), Shown::Other),
            (Some("Basic c2hvcDpmZXJuOjM="), login("shop", "fern:3")),
            (Some("Basic c2hvcA=="), Shown::Other),
            (Some("Basic ?"), Shown::Other),
            (Some("Digest x"), Shown::Other),
        ];
        for (value, expected) in cases {
            let all: Vec<_> = value.map(|it| ("authorization", it)).into_iter().collect();
            assert_eq!(shown(&headers(&all)), expected, "{value:?}");
        }
    }

    #[test]
    fn pages_of_other_sites() {
        let cases: [(&[(&str, &str)], bool); 5] = [
            (&[("host", "127.0.0.1:8081")], false),
            (&[("host", "127.0.0.1:8081"), ("origin", "http://127.0.0.1:8081")], false),
            (&[("host", "127.0.0.1:8081"), ("origin", "http://evil.example")], true),
            (&[("host", "127.0.0.1:8081"), ("origin", "null")], true),
            (&[("origin", "http://a")], true),
        ];
        for (all, foreign) in cases {
            assert_eq!(is_foreign(&headers(all)), foreign, "{all:?}");
        }
    }

    #[test]
    fn names_of_this_machine() {
        let cases = [
            ("127.0.0.1:8081", true),
            ("127.1.2.3", true),
            ("localhost:1", true),
            ("[::1]:80", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:8081", false),
            ("10.0.0.1:8081", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_for_loopback(&headers(&[("host", host)]), None), expected, "{host}");
            assert_eq!(is_for_loopback(&HeaderMap::new(), Some(host)), expected, "{host}");
        }
        assert!(is_for_loopback(&HeaderMap::new(), None));
    }
}
