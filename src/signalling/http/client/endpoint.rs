// SPDX-License-Identifier: MPL-2.0
//! URLs: what the user names, what a server answers with, and what may be shown of them.

use url::Url;

use crate::signalling::SignallingError;
use crate::signalling::http::Protocol;

/// Reads the URL of an endpoint. `whip:` and `whep:` mean `http:`, `whips:` and `wheps:` mean
/// `https:`.
///
/// # Errors
///
/// What is wrong with it; quotes nothing that may be a secret.
pub(super) fn read(protocol: Protocol, text: &str) -> Result<Url, SignallingError> {
    let name = protocol.as_str();
    let wrong = |what: &str| {
        Err(SignallingError::Settings(format!(
            "{what}: set location to the URL of the {name} endpoint, such as \
             https://live.example.org/{}/stream",
            name.to_ascii_lowercase()
        )))
    };
    let text = text.trim();
    if text.is_empty() {
        return wrong("location is not set");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("location is no URL");
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "whip" | "whep" => "http",
        "https" | "whips" | "wheps" => "https",
        _ => return wrong("location is no http or https URL"),
    };
    let mut url = match Url::parse(&format!("{scheme}://{rest}")) {
        Ok(url) => url,
        Err(error) => return wrong(&format!("location is no URL ({error})")),
    };
    if has_userinfo(&url) {
        return wrong("location has a user name or a password in it, which belong into auth-token");
    }
    url.set_fragment(None);
    Ok(url)
}

/// What a server's `Location` means, seen from the URL that answered.
///
/// # Errors
///
/// What is wrong with it, for people.
pub(super) fn resolve(base: &Url, location: &str) -> Result<Url, String> {
    let mut url = base
        .join(location)
        .map_err(|error| format!("its Location is no URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its Location is no http or https URL".to_owned());
    }
    url.set_fragment(None);
    if has_userinfo(&url) {
        return Err("its Location has a user name or a password in it".to_owned());
    }
    if base.scheme() == "https" && url.scheme() == "http" {
        // A server behind a proxy that ends TLS names itself as it sees itself.
        let behind_proxy = url.host() == base.host() && url.port().is_none();
        if !(behind_proxy && url.set_scheme("https").is_ok() && url.set_port(base.port()).is_ok()) {
            return Err(format!(
                "its Location leads from https to {}, where everybody could read what is sent",
                shown(&url)
            ));
        }
    }
    Ok(url)
}

/// Without the query, which may hold a secret.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only where there is none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Whether `url` leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_of_an_endpoint_is_one_of_two() {
        for (text, expected) in [
            ("http://a.example/x?y=1#z", "http://a.example/x?y=1"),
            ("whip://a.example:81/x", "http://a.example:81/x"),
            (" wheps://a.example/x ", "https://a.example/x"),
            ("WHIPS://A.example", "https://a.example/"),
        ] {
            let url = read(Protocol::Whip, text).unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn a_wrong_location_is_told_without_its_secrets() {
        for text in [
            "",
            "stream",
            "rtsp://a.example/S3cret",
            "http://user:S3cret@a.example",
            "http://[S3cret",
            "http://",
        ] {
            let error = read(Protocol::Whep, text).unwrap_err();
            assert!(matches!(error, SignallingError::Settings(_)));
            let error = error.to_string();
            assert!(
                error.contains("location") && error.contains("WHEP"),
                "{error}"
            );
            assert!(!error.contains("S3cret"), "{error}");
        }
    }

    #[test]
    fn a_location_is_seen_from_the_url_that_answered() {
        let base = Url::parse("https://a.example:444/whip/x?k=1").unwrap();
        for (location, expected) in [
            ("/r/1", "https://a.example:444/r/1"),
            ("r/1?s=2", "https://a.example:444/whip/r/1?s=2"),
            ("//b.example/r", "https://b.example/r"),
            ("https://b.example/r", "https://b.example/r"),
            ("http://a.example/r", "https://a.example:444/r"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().as_str(), expected);
        }
        for location in [
            "http://b.example/r",
            "http://a.example:81/r",
            "ftp://a.example",
            "https://u:p@a.example/",
            "https://",
        ] {
            assert!(resolve(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let url = Url::parse("https://u:p@a.example/x?token=1#y").unwrap();
        assert_eq!(shown(&url), "https://a.example/x");
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for (text, expected) in [
            ("http://127.8.0.1:80/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://a.localhost/", true),
            ("http://localhost.example/", false),
            ("http://192.0.2.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(text).unwrap()), expected, "{text}");
        }
    }
}
