//! Where Redis is: `store.redis`, for one server, for Sentinel and for a cluster.
//!
//! redis-rs knows URLs of one server. Those of several name their hosts before the path, as in
//! `redis+sentinel://:PASSWORD@H1:26379,H2:26379/MASTER/0`; they become a URL of one server for each host.

use redis::IntoConnectionInfo;

use super::{Secret, value::Format};

/// How its servers work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTopology {
    /// One server.
    Server,
    /// Sentinels, which know the address of this master.
    Sentinel {
        /// The name of the master, as the sentinels know it.
        master: String,
    },
    /// A cluster, each of whose masters has some of the keys.
    Cluster,
}

/// A URL of Redis.
#[derive(Clone)]
pub struct RedisUrl {
    /// How the servers work together.
    pub topology: RedisTopology,
    /// A URL of one server for each host, in their order, with the user, password and database; at least one.
    pub servers: Vec<String>,
}

/// How URLs are written.
const HOW: &str = "write redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH; for several servers \
                   redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT";

/// Errors do not show the URL: in a broken one, nobody knows where the password ends.
pub(super) const REDIS_URL: Format<Secret> = Format {
    parse: |value| {
        let text = value.text("the URL of Redis")?;
        RedisUrl::parse(text).map(|_| Secret::new(text))
    },
    show: |url| url.expose().to_owned(),
};

impl RedisUrl {
    /// Parses a URL of Redis.
    ///
    /// # Errors
    /// A text for the operator: what is wrong, and how such a URL is written. It never shows the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("is no URL; {HOW}"));
        };
        let (plain, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let url = match (plain, kind) {
            ("redis" | "rediss" | "unix", "") | ("redis", "unix") => {
                Self { topology: RedisTopology::Server, servers: vec![text.to_owned()] }
            }
            ("redis" | "rediss", "sentinel") => {
                let Several { servers, path, end } = Several::of(rest);
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    let how = "write redis+sentinel://HOST:PORT,HOST:PORT/MASTER";
                    return Err(format!("names no master behind its sentinels; {how}"));
                }
                let topology = RedisTopology::Sentinel { master: master.to_owned() };
                Self { topology, servers: plain_urls(plain, &servers, database, end) }
            }
            ("redis" | "rediss", "cluster") => {
                let Several { servers, path, end } = Several::of(rest);
                if !matches!(path, "" | "0") {
                    return Err("names a database, and a cluster has only 0; leave it out".to_owned());
                }
                Self { topology: RedisTopology::Cluster, servers: plain_urls(plain, &servers, "", end) }
            }
            _ => return Err(format!("is no URL of Redis; {HOW}")),
        };
        url.servers.iter().try_for_each(|server| check_server(server)).map(|()| url)
    }

    /// Whether nobody checks who the servers are.
    pub(crate) fn is_insecure(&self) -> bool {
        self.servers.iter().any(|server| server.ends_with("#insecure"))
    }

    /// Whether its servers are reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.servers.iter().any(|server| server.starts_with("rediss://"))
    }
}

/// The parts of a URL of several servers, behind its scheme.
struct Several<'a> {
    /// User and password, if there are any, with the `@`; then the hosts.
    servers: (&'a str, Vec<&'a str>),
    path: &'a str,
    /// Parameters and fragment.
    end: &'a str,
}

impl<'a> Several<'a> {
    fn of(text: &'a str) -> Self {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (text, end) = text.split_at(end);
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let hosts = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, hosts) = authority.split_at(hosts);
        Self { servers: (user, hosts.split(',').collect()), path: path.trim_end_matches('/'), end }
    }
}

fn plain_urls(scheme: &str, (user, hosts): &(&str, Vec<&str>), database: &str, end: &str) -> Vec<String> {
    hosts.iter().map(|host| format!("{scheme}://{user}{host}/{database}{end}")).collect()
}

/// Checks the URL of one server.
fn check_server(url: &str) -> Result<(), String> {
    check_parameters(url)?;
    match url.into_connection_info() {
        Ok(_) => Ok(()),
        Err(error) if error.detail().is_none() => {
            // Without a detail, the crate writes a text of its own, twice: `Invalid database number -
            // Invalid…`.
            let error = error.to_string();
            let reason = error.split(" - ").next().unwrap_or_default();
            Err(format!("is no URL of Redis ({reason}); {HOW}"))
        }
        Err(_) => Err(format!("is no URL of Redis; {HOW}")),
    }
}

/// Checks the parameters of a URL. The Redis crate ignores unknown ones, and so misspelt ones.
fn check_parameters(text: &str) -> Result<(), String> {
    let Ok(url) = url::Url::parse(text) else { return Ok(()) };
    let is_socket = url.scheme().contains("unix");
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("protocol", "2" | "resp2") => {}
            ("protocol", _) => {
                return Err(
                    "asks for a protocol that sidecache does not speak; leave `protocol` out, or write \
                     protocol=resp2"
                        .to_owned(),
                );
            }
            ("db" | "user" | "pass", _) if is_socket => {}
            _ if is_socket => {
                return Err(
                    "has a parameter that is not known; write db, user, pass, or protocol=resp2, as in \
                     unix:///PATH?db=0&user=USER&pass=PASSWORD"
                        .to_owned(),
                );
            }
            _ => {
                return Err(
                    "has a parameter that is not known; user, password and database stand elsewhere: write \
                     redis://USER:PASSWORD@HOST:PORT/DATABASE"
                        .to_owned(),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (RedisTopology, Vec<String>) {
        let url = RedisUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        (url.topology, url.servers)
    }

    fn sentinel(master: &str) -> RedisTopology {
        RedisTopology::Sentinel { master: master.to_owned() }
    }

    #[test]
    fn several_servers_become_urls_of_one_each() {
        for (url, topology, servers) in [
            ("redis://h", RedisTopology::Server, &["redis://h"][..]),
            ("redis+sentinel://:p@a:1,b:2/main", sentinel("main"), &["redis://:p@a:1/", "redis://:p@b:2/"]),
            (
                "rediss+sentinel://u:p%40@a,[::1]:2/main/3?protocol=2",
                sentinel("main"),
                &["rediss://u:p%40@a/3?protocol=2", "rediss://u:p%40@[::1]:2/3?protocol=2"],
            ),
            (
                "redis+cluster://a:1,b:2,c:3",
                RedisTopology::Cluster,
                &["redis://a:1/", "redis://b:2/", "redis://c:3/"],
            ),
            (
                "rediss+cluster://u:p@one.example:6379/0",
                RedisTopology::Cluster,
                &["rediss://u:p@one.example:6379/"],
            ),
        ] {
            let (found, urls) = parsed(url);
            assert_eq!(
                (found, urls.iter().map(String::as_str).collect::<Vec<_>>()),
                (topology, servers.to_vec()),
                "{url}"
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_its_password() {
        for (url, wanted) in [
            ("redis+sentinel://:sesame@a:1", "names no master"),
            ("redis+sentinel://:sesame@a:1/", "names no master"),
            ("redis+sentinel://:sesame@a:1/main/x", "Invalid database number"),
            ("redis+sentinel://:sesame@a:1,/main", "Redis URL did not parse"),
            ("redis+sentinel://:sesame@a:x/main", "is no URL of Redis"),
            ("redis+cluster://:sesame@a/1", "has only 0"),
            ("redis+clutser://:sesame@a", "is no URL of Redis"),
            ("unix+cluster://:sesame@a", "is no URL of Redis"),
            ("redis+cluster://:sesame@a?timeout=3", "a parameter that is not known"),
        ] {
            let error = RedisUrl::parse(url).map(|_| ()).expect_err(url);
            assert!(error.contains(wanted) && !error.contains("sesame"), "{url}: {error}");
        }
    }
}
