//! What `INFO` and `CONFIG GET timeout` say of a server. Pure.

use super::Lack;

/// An idle connection is used again within this time, in seconds: a server must not close it earlier.
const IDLE: u64 = 30;

/// What a server says of itself.
pub(super) struct Facts<'a> {
    /// The reply to `INFO`; empty if that was refused.
    pub(super) info: &'a str,
    /// After so many seconds it closes a connection that is idle; `None` if it does not say.
    pub(super) timeout: Option<u64>,
}

/// Where the settings say that it is.
pub(super) struct Address<'a> {
    /// Host and port.
    pub(super) host: &'a str,
    pub(super) is_tls: bool,
}

impl Facts<'_> {
    /// What it lacks, whatever kind of server it is.
    pub(super) fn lacks(&self) -> Vec<Lack> {
        let texts = [self.version(), self.policy(), self.timeout()];
        texts.into_iter().flatten().map(|text| Lack { text, is_serious: false }).collect()
    }

    /// That it is not a server of its own, and the URL to write for what it is.
    pub(super) fn other_kind(&self, address: &Address<'_>) -> Option<Lack> {
        let scheme = if address.is_tls { "rediss" } else { "redis" };
        let host = address.host;
        let text = if self.mode() == Some("sentinel") {
            let urls: Vec<_> =
                self.masters().iter().map(|name| format!("{scheme}+sentinel://{host}/{name}")).collect();
            let urls =
                if urls.is_empty() { vec![format!("{scheme}+sentinel://{host}/MASTER")] } else { urls };
            format!("{host} is a sentinel: write {}", urls.join(" or "))
        } else if self.mode() == Some("cluster") || self.member("cluster_enabled") == Some("1") {
            format!("{host} is a server of a cluster: write {scheme}+cluster://{host}")
        } else if self.member("role") == Some("slave") {
            let master = self.member("master_host").zip(self.member("master_port"));
            let (master, port) = master.unwrap_or(("HOST", "PORT"));
            format!(
                "{host} is a replica: write {scheme}://{master}:{port}, which is its master, or \
                 {scheme}+sentinel://HOST:PORT/MASTER"
            )
        } else {
            return None;
        };
        Some(Lack { text, is_serious: true })
    }

    fn version(&self) -> Option<String> {
        let (name, version, least) = match self.member("valkey_version") {
            Some(version) => ("Valkey", version, (7, 2)),
            None => ("Redis", self.member("redis_version")?, (7, 0)),
        };
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        let number = (parts.next()??, parts.next()??);
        (number < least).then(|| {
            let (major, minor) = least;
            format!("{name} {version} is too old: it must be {major}.{minor} or later")
        })
    }

    fn policy(&self) -> Option<String> {
        let limit = self.member("maxmemory").filter(|bytes| *bytes != "0")?;
        (self.member("maxmemory_policy") == Some("noeviction")).then(|| {
            format!(
                "with maxmemory-policy noeviction, Redis takes no more writes once it has {limit} bytes (maxmemory): \
                 set allkeys-lru"
            )
        })
    }

    fn timeout(&self) -> Option<String> {
        let seconds = self.timeout.filter(|seconds| (1..IDLE).contains(seconds))?;
        Some(format!(
            "Redis closes connections that are idle for {seconds} s: set timeout 0, or {IDLE} at least"
        ))
    }

    /// `standalone`, `cluster` or `sentinel`.
    fn mode(&self) -> Option<&str> {
        self.member("redis_mode").or_else(|| self.member("server_mode"))
    }

    /// The names of the masters that a sentinel watches: `master0:name=main,status=ok,…`.
    fn masters(&self) -> Vec<&str> {
        let name = |line: &'_ str| -> Option<usize> {
            let rest = line.strip_prefix("master")?.split_once(":name=")?;
            rest.0.bytes().all(|byte| byte.is_ascii_digit()).then(|| line.len() - rest.1.len())
        };
        let lines = self.info.lines().filter_map(|line| name(line).map(|at| &line[at..]));
        lines.filter_map(|rest| rest.split(',').next()).collect()
    }

    fn member(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        self.info.lines().find(|line| value(line)).map(|line| line[name.len() + 1..].trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address<'static> = Address { host: "h:1", is_tls: false };

    fn texts(info: &str, timeout: u64) -> String {
        let facts = Facts { info, timeout: Some(timeout) };
        let lacks = facts.lacks().into_iter().chain(facts.other_kind(&ADDRESS));
        lacks.map(|lack| lack.text).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_server_that_will_do_lacks_nothing() {
        for info in [
            "",
            "redis_version:7.0.15\r\nredis_mode:standalone\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n",
            "redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nserver_mode:standalone\r\nrole:master\r\n",
            "redis_version:8.2.1\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n",
        ] {
            assert_eq!(texts(info, 0), "", "{info}");
            assert_eq!(texts(info, 300), "", "{info}");
        }
    }

    #[test]
    fn what_a_server_lacks_is_named() {
        for (info, text) in [
            ("redis_version:6.2.5\r\n", "Redis 6.2.5 is too old: it must be 7.0 or later"),
            (
                "maxmemory:100\r\nmaxmemory_policy:noeviction\r\n",
                "with maxmemory-policy noeviction, Redis takes no more writes once it has 100 bytes (maxmemory): set \
                 allkeys-lru",
            ),
            (
                "redis_mode:sentinel\r\nmaster0:name=main,status=ok\r\nmaster1:name=b,status=ok\r\n",
                "h:1 is a sentinel: write redis+sentinel://h:1/main or redis+sentinel://h:1/b",
            ),
            ("redis_mode:sentinel\r\n", "h:1 is a sentinel: write redis+sentinel://h:1/MASTER"),
            ("server_mode:cluster\r\n", "h:1 is a server of a cluster: write redis+cluster://h:1"),
            (
                "role:slave\r\nmaster_host:m\r\nmaster_port:2\r\n",
                "h:1 is a replica: write redis://m:2, which is its master, or redis+sentinel://HOST:PORT/MASTER",
            ),
        ] {
            assert_eq!(texts(info, 0), text);
        }
        assert!(texts("", 10).starts_with("Redis closes connections that are idle for 10 s"));
    }

    #[test]
    fn over_tls_the_url_says_so() {
        let facts = Facts { info: "cluster_enabled:1\r\n", timeout: None };
        let lack = facts.other_kind(&Address { is_tls: true, ..ADDRESS }).expect("a lack");
        assert!(lack.text.ends_with("rediss+cluster://h:1"), "{}", lack.text);
    }
}
