// SPDX-License-Identifier: MPL-2.0
//! `Link` headers that name ICE servers (RFC 8288; RFC 9725 section 4.6), read and written.

use super::IceServerLink;

/// More servers than this are passed over.
const MAX_SERVERS: usize = 16;

/// A longer URL, name or password is passed over.
const MAX_VALUE: usize = 1024;

/// The ICE servers in all `Link` headers of one message, in their order, at most 16. Links of other
/// kinds and links that cannot be read are passed over.
pub(super) fn read<'a>(values: impl Iterator<Item = &'a str>) -> Vec<IceServerLink> {
    let mut servers = Vec::new();
    for value in values {
        let mut rest = Cursor { rest: value };
        while let Some(link) = rest.link() {
            servers.extend(link.ice_server());
            if servers.len() == MAX_SERVERS {
                return servers;
            }
        }
    }
    servers
}

/// One link as the value of a `Link` header. Control characters, which no header can carry, are
/// left out.
pub(super) fn write(link: &IceServerLink) -> String {
    let url: String = (link.url.chars())
        .filter(|c| !c.is_control() && !matches!(c, '<' | '>' | ' '))
        .collect();
    let mut text = format!("<{url}>; rel=\"ice-server\"");
    if !link.username.is_empty() || !link.credential.is_empty() {
        for (name, value) in [
            ("username", link.username.as_str()),
            ("credential", link.credential.as_str()),
            ("credential-type", "password"),
        ] {
            text += &format!("; {name}=\"");
            for c in value.chars().filter(|c| !c.is_control()) {
                if matches!(c, '"' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
            text.push('"');
        }
    }
    text
}

/// A link and its parameters; of those that come twice the first counts (RFC 8288 section 3).
struct Link<'a> {
    url: &'a str,
    parameters: Vec<(String, String)>,
}

impl Link<'_> {
    fn parameter(&self, name: &str) -> &str {
        let mut all = self.parameters.iter();
        all.find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    fn ice_server(&self) -> Option<IceServerLink> {
        let mut kinds = self.parameter("rel").split_ascii_whitespace();
        let (scheme, host) = self.url.split_once(':')?;
        let known = ["stun", "stuns", "turn", "turns"].contains(&scheme);
        let readable = !host.is_empty()
            && self.url.len() <= MAX_VALUE
            && self.url.chars().all(|c| c.is_ascii_graphic());
        let by_password = matches!(self.parameter("credential-type"), "" | "password");
        let wanted = kinds.any(|kind| kind.eq_ignore_ascii_case("ice-server"));
        (wanted && known && readable && by_password).then(|| IceServerLink {
            url: self.url.to_owned(),
            username: self.parameter("username").to_owned(),
            credential: self.parameter("credential").to_owned(),
        })
    }
}

/// What is left of a header.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// The next link: `<URL>`, and parameters with a semicolon before each. What stands before the
    /// bracket is passed over.
    fn link(&mut self) -> Option<Link<'a>> {
        let (_, rest) = self.rest.split_once('<')?;
        let (url, rest) = rest.split_once('>')?;
        self.rest = rest;
        let mut parameters = Vec::new();
        while self.take(';') {
            let name = self.token().to_ascii_lowercase();
            let value = if self.take('=') {
                self.value()
            } else {
                String::new()
            };
            if parameters.len() < MAX_SERVERS && value.len() <= MAX_VALUE {
                parameters.push((name, value));
            }
        }
        Some(Link {
            url: url.trim(),
            parameters,
        })
    }

    /// Whether `wanted` comes next; it is passed then, with the space around it.
    fn take(&mut self, wanted: char) -> bool {
        match self.rest.trim_start().strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> &'a str {
        let end = |c: char| matches!(c, ';' | ',' | '=' | '"') || c.is_whitespace();
        let (token, rest) = self
            .rest
            .split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        token
    }

    /// A token, or a string in quotes, in which a backslash stands before what is meant as it is.
    fn value(&mut self) -> String {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.token().to_owned();
        };
        let mut value = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.rest = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, username: &str, credential: &str) -> IceServerLink {
        IceServerLink {
            url: url.to_owned(),
            username: username.to_owned(),
            credential: credential.to_owned(),
        }
    }

    #[test]
    fn servers_are_read_from_one_header_or_several() {
        let stun = server("stun:stun.example.net", "", "");
        let turn = server("turn:turn.example.net?transport=udp", "user", "a, b;c");
        let first = "<stun:stun.example.net>; rel=\"ice-server\"";
        let second = "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; \
                      username=\"user\"; credential=\"a, b;c\"; credential-type=\"password\"";
        assert_eq!(
            read([first, second].into_iter()),
            [stun.clone(), turn.clone()]
        );
        let one = format!("{first}, {second}");
        assert_eq!(read([one.as_str()].into_iter()), [stun, turn]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for link in [
            server("stun:stun.example.net:3478", "", ""),
            server(
                "turns:turn.example.net",
                "a \"user\"",
                "back\\slash\", x=<y>; rel=z",
            ),
        ] {
            let text = write(&link);
            assert_eq!(read([text.as_str()].into_iter()), [link], "{text}");
        }
    }

    #[test]
    fn no_header_is_broken_by_what_is_written() {
        let text = write(&server("turn:a>\r\nX: y", "u\r\nX: y", "p\0"));
        assert!(!text.chars().any(char::is_control), "{text}");
        assert_eq!(text.matches('>').count(), 1, "{text}");
    }

    #[test]
    fn names_are_read_in_either_case_and_without_quotes() {
        let link =
            "<stun:a.example.net>;REL=ICE-Server, <stun:b.example.net> ; rel = \"x ice-server\"";
        assert_eq!(read([link].into_iter()).len(), 2);
    }

    #[test]
    fn other_links_are_passed_over() {
        for text in [
            "",
            "<",
            "<>",
            "stun:a.example.net; rel=ice-server",
            "<stun:a.example.net>",
            "<stun:a.example.net>; rel=next; rel=ice-server",
            "<https://a.example.net>; rel=\"ice-server\"",
            "<stun:>; rel=\"ice-server\"",
            "<turn:a.example.net>; rel=\"ice-server\"; credential-type=\"oauth\"",
            "<stun:a b>; rel=\"ice-server\"",
            "<stun:a.example.net; rel=\"ice-server\"",
            "\"<\";;=\\",
        ] {
            assert_eq!(read([text].into_iter()), [], "{text}");
        }
        let odd = "<stun:a.example.net>; rel=\"ice-server\"; username=\"not closed \\";
        assert_eq!(
            read([odd].into_iter()),
            [server("stun:a.example.net", "not closed ", "")]
        );
    }

    #[test]
    fn their_number_is_bounded() {
        let many = "<stun:a.example.net>; rel=ice-server, ".repeat(100);
        assert_eq!(read([many.as_str(); 3].into_iter()).len(), MAX_SERVERS);
    }
}
