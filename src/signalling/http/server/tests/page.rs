// SPDX-License-Identifier: MPL-2.0
//! The page.

use super::*;

#[tokio::test]
async fn page_is_served_with_its_endpoint_and_a_strict_policy() {
    for (protocol, location, path) in [
        (Protocol::Whep, "http://127.0.0.1:0/", "/whep"),
        (Protocol::Whip, "http://127.0.0.1:0", "/whip"),
        (
            Protocol::Whep,
            "http://127.0.0.1:0/a&b/c%20d/",
            "/a&amp;b/c%20d",
        ),
    ] {
        let bench = Bench::new(ServerConfig {
            protocol,
            location: location.to_owned(),
            ..config()
        })
        .await;
        for page in ["/", "/index.html"] {
            let reply = bench.ask("GET", page, "", "").await;
            assert_eq!(reply.status, 200);
            assert!(
                reply.body.contains(&format!("\"{path}\"")),
                "{}",
                reply.body
            );
            assert!(!reply.body.lines().any(|line| line.starts_with("{{")));
            let content_type = reply.header("content-type");
            assert_eq!(content_type, Some("text/html; charset=utf-8"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; "));
        }
        let reply = bench.ask("HEAD", "/", "", "").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
        assert_eq!(bench.ask("GET", "/favicon.ico", "", "").await.status, 204);
        let reply = bench.ask("GET", "/other", "", "").await;
        assert_eq!(reply.status, 404);
        assert!(
            reply
                .header("content-type")
                .unwrap()
                .starts_with("text/plain")
        );
    }
}
